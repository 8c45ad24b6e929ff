//! Exports: a partition's records in an order that no split disturbs.
//!
//! The order is that of the keys' hashes with their bits in reverse. A bucket's hashes have their lowest bits in
//! common, so in this order they are one range, and a split cuts a range in two: whatever the table's
//! size, the bucket of a hash holds the next records from there on. Invariant: at a cursor `c`, every record
//! that has been there since the export's begin was handed over if its reversed hash is below `c`,
//! and was not otherwise. Splits, and removals that fill holes, move records between slots and buckets, never
//! in this order; so none is passed over and none comes twice.
//!
//! A bucket is read as a get reads it: copied without a lock, and copied anew when it has changed meanwhile.
//! Its records go to the sink when everything that a call copies is there.

use super::bucket::{self, Content, Guard};
use super::key::{Secrets, long_key_words};
use super::slab::Slab;
use super::table::Table;
use super::words::{Line, copy_out};
use super::{DISTURBED_MAX, Partitioned};
use batchkv_protocol::limits::KEY_BYTES_MAX;
use std::sync::atomic::Ordering::Relaxed;

/// Buckets that a call looks at: one that comes upon empty ones only ends, too.
const BUCKETS_PER_CALL_MAX: usize = 4096;

/// Keys and values, one behind the other.
#[derive(Debug)]
struct Copies {
    bytes: Vec<u8>,
    /// Bytes of each key and each value.
    lengths: Vec<(usize, usize)>,
    limit_bytes: usize,
    /// What stands in the bucket that is being copied, by the reversed hash.
    contents: Vec<Content>,
}

/// How far a bucket was copied.
enum Copied {
    /// To its end.
    All,
    /// To the limit; goes on at this reversed hash.
    To(u64),
    /// Not at all: it was changed meanwhile.
    Disturbed,
}

impl Partitioned {
    /// Hands over records from the reversed hash `from` on, and gives where to go on.
    pub(super) fn export_table(
        &self,
        table: &Table,
        from: u64,
        limit_bytes: usize,
        sink: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<u64> {
        let mut copies = Copies::new(limit_bytes);
        let mut next = Some(from);
        for _ in 0..BUCKETS_PER_CALL_MAX {
            let Some(from) = next else {
                break;
            };
            let (reached, is_full) = self.copy_bucket(table, from, &mut copies);
            next = reached;
            if is_full {
                break;
            }
        }
        copies.hand_over(sink);
        next
    }

    /// Copies the records from `from` on out of the bucket that they are in. Gives where to go on, and
    /// whether the limit is reached.
    fn copy_bucket(&self, table: &Table, from: u64, copies: &mut Copies) -> (Option<u64>, bool) {
        let mut disturbed = 0;
        loop {
            let extent = table.extent(from.reverse_bits());
            let head = table.head(&self.slab, extent);
            let guard = (disturbed >= DISTURBED_MAX).then(|| Guard::lock(head));
            let version = match &guard {
                Some(guard) => guard.version,
                None => bucket::version(head),
            };
            let is_readable = guard.is_some() || version.is_multiple_of(2);
            // With this version the extent is still the bucket's: a split would have changed the version first.
            if is_readable && table.extent(from.reverse_bits()) == extent {
                match copies.add(&self.slab, &self.secrets, head, version, from) {
                    Copied::All => return (extent.end_reversed(), false),
                    Copied::To(next) => return (Some(next), true),
                    Copied::Disturbed => {}
                }
            }
            drop(guard);
            bucket::wait(&mut disturbed);
        }
    }
}

impl Copies {
    fn new(limit_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            lengths: Vec::new(),
            limit_bytes,
            contents: Vec::new(),
        }
    }

    /// Adds what the bucket holds from the reversed hash `from` on, as far as the limit goes, or nothing.
    fn add(
        &mut self,
        slab: &Slab,
        secrets: &Secrets,
        head: &Line,
        version: u64,
        from: u64,
    ) -> Copied {
        let before = (self.bytes.len(), self.lengths.len());
        let mut contents = std::mem::take(&mut self.contents);
        contents.clear();
        let mut copied = Copied::Disturbed;
        if bucket::read(slab, head, version, &mut contents).is_ok() {
            copied = self.add_contents(slab, secrets, &mut contents, from);
        }
        self.contents = contents;
        if !bucket::is_unchanged(head, version) {
            copied = Copied::Disturbed;
        }
        if let Copied::Disturbed = copied {
            self.bytes.truncate(before.0);
            self.lengths.truncate(before.1);
        }
        copied
    }

    fn add_contents(
        &mut self,
        slab: &Slab,
        secrets: &Secrets,
        contents: &mut Vec<Content>,
        from: u64,
    ) -> Copied {
        let reversed =
            |(word, locator): &Content| secrets.hash(*word, locator.form()).reverse_bits();
        contents.retain(|content| reversed(content) >= from);
        contents.sort_unstable_by_key(reversed);
        let mut last = None;
        for content in contents {
            let next = reversed(content);
            // Records with equal hashes go together: no cursor lies between them.
            if !self.add_record(slab, *content, last == Some(next)) {
                return Copied::To(next);
            }
            last = Some(next);
        }
        Copied::All
    }

    /// Copies one record; `false` when it goes over the limit, unless it is the first or `must` be copied. What
    /// it copies of a record that is being changed may be anything.
    fn add_record(&mut self, slab: &Slab, (word, locator): Content, must: bool) -> bool {
        let block = locator.block();
        let words = block.map_or(&[][..], |block| slab.words(block.unit));
        let (key_bytes, value_at) = match (locator.form() as usize, words.first()) {
            (0, length) => {
                let length = length.map_or(0, |length| length.load(Relaxed));
                let key_bytes = (length as usize).min(KEY_BYTES_MAX);
                (key_bytes, long_key_words(key_bytes))
            }
            (key_bytes, _) => (key_bytes, 0),
        };
        let start = self.bytes.len();
        let end = start + key_bytes + locator.value_bytes();
        if end > self.limit_bytes && !self.lengths.is_empty() && !must {
            return false;
        }
        self.bytes.resize(end, 0);
        self.lengths.push((key_bytes, locator.value_bytes()));
        let (key, value) = self.bytes[start..].split_at_mut(key_bytes);
        match value_at {
            0 => key.copy_from_slice(&word.to_le_bytes()[..key_bytes]),
            _ => copy_out(words.get(1..).unwrap_or(&[]), key),
        }
        copy_out(words.get(value_at..).unwrap_or(&[]), value);
        true
    }

    fn hand_over(&self, sink: &mut dyn FnMut(&[u8], &[u8])) {
        let mut rest = &self.bytes[..];
        for (key_bytes, value_bytes) in &self.lengths {
            let (key, behind) = rest.split_at(*key_bytes);
            let (value, behind) = behind.split_at(*value_bytes);
            sink(key, value);
            rest = behind;
        }
    }
}
