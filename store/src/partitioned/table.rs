//! One partition's table: linear hashing over segments that never move.
//!
//! With `n` buckets, a key's bucket is its hash modulo the smallest power of two that is `>= n`, or
//! modulo half of that where the former names a bucket that is not there yet. The table grows by
//! one bucket at a time: bucket `n` takes over a part of bucket `n - 2^k`, and of no other.

use super::bucket::{self, Content, Guard, Slot};
use super::key::{Key, Secrets};
use super::slab::{CHUNK_LINES, Slab};
use super::words::{LINE_BYTES, Line};
use crate::engine::OutOfMemory;
use crate::system::{AtomicU64, Mutex};
use std::iter;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

/// Buckets of the first four segments each; the next four have twice as many, and so on, so that at
/// most a fifth of a table is not yet in use.
const SEGMENT_BUCKETS: usize = 16;
const SEGMENTS_PER_SIZE: usize = 4;
/// Segments for 4 million buckets, the last of half a chunk each; a table with more than 8 million records
/// has longer chains.
const SEGMENTS: usize = 16 * SEGMENTS_PER_SIZE;
const _: () = assert!(2 * (SEGMENT_BUCKETS << (SEGMENTS / SEGMENTS_PER_SIZE - 1)) <= CHUNK_LINES);
/// The table grows when it has more records than this many times its buckets.
const RECORDS_PER_BUCKET: u64 = 2;

/// A table: what lookups read comes first, what only growth touches last.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Table {
    /// Buckets that are addressed; changed by the owner of `growth` while both buckets that a
    /// split concerns are locked.
    buckets: AtomicU64,
    /// The first unit of each in the slab. Only made by the owner of `growth`, before the first of its
    /// buckets is addressed.
    segments: [OnceLock<u32>; SEGMENTS],
    /// Keys are assigned to this arena of the slab.
    pub(super) arena: u32,
    records: AtomicU64,
    growth: Mutex<Scratch>,
}

/// What a split works with, kept so that it does not allocate.
#[derive(Debug, Default)]
struct Scratch {
    contents: Vec<Content>,
    lines: Vec<u32>,
}

impl Table {
    /// An empty table, whose first buckets lie in `slab`, whatever its limit says.
    pub(super) fn new(slab: &Slab, arena: u32) -> Self {
        slab.memory.add(Self::EMPTY_BYTES);
        let first = slab.new_lines(SEGMENT_BUCKETS);
        let segments = [const { OnceLock::new() }; SEGMENTS];
        segments[0].get_or_init(|| first.expect("a new slab has room for every partition"));
        Self {
            buckets: AtomicU64::new(SEGMENT_BUCKETS as u64),
            segments,
            arena,
            records: AtomicU64::new(0),
            growth: Mutex::default(),
        }
    }

    /// Bytes of a table without records.
    const EMPTY_BYTES: usize = size_of::<Self>() + SEGMENT_BUCKETS * LINE_BYTES;

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    #[inline]
    fn bucket<'s>(&self, slab: &'s Slab, index: u64) -> &'s Line {
        let (segment, _, bucket) = locate(index as usize);
        let first = self.segments[segment].get();
        let first = first.expect("made before its buckets are addressed");
        slab.line_behind(*first, bucket)
            .expect("a bucket that is addressed is in a chunk")
    }

    /// Counts a new record, while its bucket is locked: so nobody can have removed and counted it before.
    pub(super) fn record_added(&self) {
        self.records.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn records_removed(&self, count: u64) {
        self.records.fetch_sub(count, Ordering::Relaxed);
    }

    /// Adds a bucket if there are too many records for those present. No bucket may be locked.
    pub(super) fn grow(&self, slab: &Slab, secrets: &Secrets) {
        if self.records() <= RECORDS_PER_BUCKET * self.buckets.load(Ordering::Relaxed) {
            return;
        }
        // Who finds the table growing leaves it at that: every later record asks again.
        if let Ok(mut scratch) = self.growth.try_lock() {
            // A table that gets no memory for buckets has longer chains.
            let _ = self.add_bucket(slab, secrets, &mut scratch);
        }
    }

    /// Removes the records of every bucket. A split meanwhile moves records to a bucket behind all others, and
    /// those are not reached yet.
    pub(super) fn clear(&self, slab: &Slab) {
        let mut scratch = Scratch::default();
        let mut cleared = 0;
        while cleared < self.buckets.load(Ordering::Acquire) {
            self.clear_bucket(slab, self.bucket(slab, cleared), &mut scratch);
            cleared += 1;
        }
    }

    fn clear_bucket(&self, slab: &Slab, head: &Line, scratch: &mut Scratch) {
        let Scratch { contents, lines } = scratch;
        let guard = Guard::lock(head);
        bucket::collect(slab, head, contents, lines);
        bucket::refill(slab, head, iter::empty(), lines);
        drop(guard);
        self.records_removed(contents.len() as u64);
        for block in contents
            .drain(..)
            .filter_map(|(_, locator)| locator.block())
        {
            slab.free(self.arena, block);
        }
        for unit in lines.drain(..) {
            slab.free_line(self.arena, unit);
        }
    }

    /// The bucket of keys with `hash`, as the table is now.
    pub(super) fn extent(&self, hash: u64) -> Extent {
        Extent::new(self.buckets.load(Ordering::Acquire), hash)
    }

    /// The first line of a bucket.
    pub(super) fn head<'s>(&self, slab: &'s Slab, extent: Extent) -> &'s Line {
        self.bucket(slab, extent.index)
    }

    /// Splits one bucket in two.
    fn add_bucket(
        &self,
        slab: &Slab,
        secrets: &Secrets,
        scratch: &mut Scratch,
    ) -> Result<(), OutOfMemory> {
        let new_index = self.buckets.load(Ordering::Relaxed);
        let old_index = new_index ^ (1 << new_index.ilog2());
        self.make_segment(slab, new_index)?;
        let (old, new) = (self.bucket(slab, old_index), self.bucket(slab, new_index));
        let (_old_guard, _new_guard) = (Guard::lock(old), Guard::lock(new));
        let Scratch { contents, lines } = scratch;
        bucket::collect(slab, old, contents, lines);
        let new_mask = (new_index + 1).next_power_of_two() - 1;
        let moves =
            |&(word, locator): &Content| secrets.hash(word, locator.form()) & new_mask == new_index;
        let staying = contents.iter().copied().filter(|content| !moves(content));
        bucket::refill(slab, old, staying, lines);
        bucket::refill(slab, new, contents.iter().copied().filter(moves), lines);
        self.buckets.store(new_index + 1, Ordering::Release);
        contents.clear();
        for unit in lines.drain(..) {
            slab.free_line(self.arena, unit);
        }
        Ok(())
    }

    fn make_segment(&self, slab: &Slab, index: u64) -> Result<(), OutOfMemory> {
        let (segment, segment_buckets, _) = locate(index as usize);
        let segment = self.segments.get(segment).ok_or(OutOfMemory)?;
        if segment.get().is_none() {
            let first = slab.take_lines(segment_buckets)?;
            segment.get_or_init(|| first);
        }
        Ok(())
    }
}

/// A bucket, and how many of their lowest bits its hashes have in common: they are its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    index: u64,
    bits: u32,
}

impl Extent {
    fn new(buckets: u64, hash: u64) -> Self {
        let index = index(buckets, hash);
        let bits = (buckets - 1).ilog2();
        // Split already, or made by a split.
        let is_split = index | 1 << bits < buckets;
        let bits = bits + u32::from(is_split);
        Self { index, bits }
    }

    /// The first of the hashes behind the bucket's, all with their bits in reverse; `None` behind the last.
    pub(super) fn end_reversed(self) -> Option<u64> {
        let last = self.index.reverse_bits() | u64::MAX >> self.bits;
        last.checked_add(1)
    }
}

/// The bucket of keys with `hash` in a table of so many.
#[inline]
fn index(buckets: u64, hash: u64) -> u64 {
    let mask = u64::MAX >> (buckets - 1).leading_zeros();
    let index = hash & mask;
    if index < buckets {
        index
    } else {
        index & (mask >> 1)
    }
}

/// The segment of a bucket, that segment's number of buckets, and the bucket's number in it.
#[inline]
fn locate(index: usize) -> (usize, usize, usize) {
    let unit = index / SEGMENT_BUCKETS + SEGMENTS_PER_SIZE;
    let doublings = (unit / SEGMENTS_PER_SIZE).ilog2() as usize;
    let first_digits = unit >> doublings;
    let segment = SEGMENTS_PER_SIZE * doublings + first_digits - SEGMENTS_PER_SIZE;
    let units_before = unit - (first_digits << doublings);
    let bucket = units_before * SEGMENT_BUCKETS + index % SEGMENT_BUCKETS;
    (segment, SEGMENT_BUCKETS << doublings, bucket)
}

/// What is known of a key's record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Finding<'s> {
    /// Nothing yet.
    Unknown,
    /// It is there, if the bucket still has the lookup's version.
    Present(Slot<'s>),
    /// It is not there, if the bucket still has the lookup's version.
    Absent,
}

/// A lookup in stages, so that the cache misses of many can overlap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup<'s, 'k> {
    pub(super) table: &'s Table,
    pub(super) key: Key<'k>,
    pub(super) head: &'s Line,
    /// How many buckets the table had when `head` was the key's.
    buckets: u64,
    /// The bucket's version when it was searched.
    version: u64,
    pub(super) finding: Finding<'s>,
}

impl<'s, 'k> Lookup<'s, 'k> {
    /// Finds the bucket, without reading it.
    #[inline(always)]
    pub(super) fn new(slab: &'s Slab, table: &'s Table, key: Key<'k>) -> Self {
        let buckets = table.buckets.load(Ordering::Acquire);
        Self {
            table,
            key,
            head: table.bucket(slab, index(buckets, key.hash)),
            buckets,
            version: 0,
            finding: Finding::Unknown,
        }
    }

    /// Searches the bucket's first line for a short key. The finding stays unknown when that does
    /// not decide it; gives the unit of what to read then, 0 if there is none.
    #[inline]
    pub(super) fn search_head(&mut self) -> u32 {
        self.version = bucket::version(self.head);
        // Odd: being changed.
        if !self.version.is_multiple_of(2) || self.was_split() {
            return 0;
        }
        let overflow = bucket::overflow(self.head);
        match bucket::candidate(self.head, &self.key) {
            Some(slot) if self.key.is_inline() => self.finding = Finding::Present(slot),
            Some(slot) => return slot.locator.block().map_or(0, |block| block.unit),
            None if overflow == 0 => self.finding = Finding::Absent,
            None => return overflow,
        }
        0
    }

    /// Searches the whole chain; the finding stays unknown when others change it meanwhile.
    pub(super) fn search(&mut self, slab: &'s Slab) {
        self.finding = Finding::Unknown;
        self.version = bucket::version(self.head);
        if self.was_split() {
            *self = Self::new(slab, self.table, self.key);
        } else if self.version.is_multiple_of(2) {
            self.search_version(slab);
        }
    }

    /// Whether a split has given the key to another bucket: the index follows from the count alone, and
    /// never returns to one that it had.
    #[inline]
    fn was_split(&mut self) -> bool {
        let buckets = self.table.buckets.load(Ordering::Acquire);
        if buckets == self.buckets {
            return false;
        }
        let hash = self.key.hash;
        let was_split = index(self.buckets, hash) != index(buckets, hash);
        if !was_split {
            self.buckets = buckets;
        }
        was_split
    }

    /// Whether the finding, and all that was read on its strength, is true at this moment.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        bucket::is_unchanged(self.head, self.version)
    }

    /// Locks the key's bucket and finds out what is there, which then stays so.
    #[inline]
    pub(super) fn lock(&mut self, slab: &'s Slab) -> Guard<'s> {
        loop {
            let guard = Guard::lock(self.head);
            let is_unchanged = guard.version == self.version + 1;
            if is_unchanged && !matches!(self.finding, Finding::Unknown) {
                self.version = guard.version;
                return guard;
            }
            if !self.was_split() {
                self.version = guard.version;
                self.search_version(slab);
                return guard;
            }
            drop(guard);
            *self = Self::new(slab, self.table, self.key);
        }
    }

    fn search_version(&mut self, slab: &'s Slab) {
        self.finding = match bucket::find(slab, self.head, self.version, &self.key) {
            Ok(Some(slot)) => Finding::Present(slot),
            Ok(None) => Finding::Absent,
            Err(bucket::Disturbed) => Finding::Unknown,
        };
    }
}

#[cfg(test)]
mod tests;
