//! The engine `partitioned`: a table per partition, made so that lookups take no lock, and that the
//! cache misses of a whole window overlap.
//!
//! ```text
//!  Partitioned
//!   +- tables[partition]: Table                              linear hashing, see table.rs
//!   |     buckets: count, segments: lines
//!   |        |
//!   |        v    a bucket is one cache line of 8 words      its chain, when it is full
//!   |     +-----------------------------------------------+     +------------------------+
//!   |     | version | overflow | key loc | key loc | key loc | --> | - | overflow | ... x 3 |
//!   |     +-----------------------------------------------+     +------------------------+
//!   |                    key = the key, zero-padded (1 to 8 bytes), or its keyed hash (longer)
//!   |                    loc = block, class, value bytes, inline key bytes; 0 = empty slot
//!   |                     |
//!   |                     v
//!   +- slab: Slab      block: | key bytes | key, padded | value ... |      see slab.rs
//!                             '--- only of a long key --'
//! ```
//!
//! A lookup of a short key reads one line of the table and the lines of its value; a value of 128
//! bytes has a block of two whole lines.
//!
//! Everything shared is an `AtomicU64`. What keeps it consistent:
//!
//! 1. A bucket's version guards its whole chain: slots, overflow references, and the blocks that
//!    its locators name. They are written only by the thread that made the version odd (a `Guard`),
//!    or before the locator that names them is.
//! 2. Writing begins with a release fence behind the odd version and ends with a release store of
//!    the next even one. A reader loads an even version with acquire, reads whatever it wants,
//!    passes an acquire fence and loads the version again. If it is the same, no write to what
//!    the version guards came between, and what was read was true at one moment. Otherwise it is
//!    thrown away: the answer is taken back and the lookup repeated.
//! 3. Blocks and lines that were freed may be read by a lookup that is under way: chunks never move
//!    and are never given back, and every word is a valid word. Such a lookup is always repeated:
//!    the version changed before the block was freed, and `free` and `allocate` pass a release fence
//!    before anybody writes into it, so whoever reads the new content sees the new version.
//! 4. Nothing is concluded from an overflow line before the version is seen again: neither an
//!    absence, nor a locator's length, nor the next line. The slots of a bucket's first line always
//!    hold genuine locators.
//! 5. A split locks both its buckets, and publishes the count of buckets before it unlocks them. A
//!    reader looks at the count again after it has loaded the version, so with an unchanged version
//!    the bucket is the key's.
//! 6. A reader that was disturbed often locks the bucket itself: large hot values make progress.
//! 7. Locks are taken in this order: growth of a table, buckets (old before new), one arena, the
//!    slab's end. Other arenas are only tried.
//!
//! `tests/loom.rs` runs these files under loom, which tries the orders that would break 2 to 5.
//!
//! Tables and slab grow, and never shrink: what is deleted is kept for reuse.

mod bucket;
mod key;
mod slab;
mod table;
mod words;

use super::{Engine, OutOfMemory, Placed, Usage, WINDOW_OPERATIONS, answer_delete, answer_put};
use crate::system::prefetch;
use batchkv_protocol::{Answer, Answers, Counters, Operation, Position};
use bucket::Place;
use key::{Key, Locator, Secrets};
use slab::{Block, Slab};
use std::sync::atomic::Ordering::Relaxed;
use table::{Lookup, Outcome, Table};
use words::{LINE_BYTES, copy_in, copy_out};

/// As much of a block is asked for ahead; the processor follows longer ones by itself.
const PREFETCH_BYTES_MAX: usize = 4 * LINE_BYTES;
/// Reads that were disturbed before the reader locks the bucket.
const DISTURBED_MAX: u32 = 64;
/// Blocks above this are written before the bucket is locked, so that its readers wait for a
/// reference only.
const LONG_BLOCK_BYTES_MIN: usize = 4 << 10;

/// The engine `partitioned`.
#[derive(Debug)]
pub struct Partitioned {
    tables: Box<[Table]>,
    slab: Slab,
    secrets: Secrets,
}

impl Partitioned {
    /// An empty store of `partitions` tables that uses up to `memory_bytes_max` bytes, `None` = no
    /// limit; at most 64 GiB of blocks in any case.
    ///
    /// A put that needs more is refused. Gets, deletes, and puts of about the size that they
    /// replace go on.
    #[must_use]
    pub fn new(partitions: u32, memory_bytes_max: Option<u64>) -> Self {
        let slab = Slab::new(memory_bytes_max);
        Self {
            tables: (0..partitions)
                .map(|arena| Table::new(&slab, arena))
                .collect(),
            slab,
            secrets: Secrets::random(),
        }
    }

    /// First and second stage of a window: finds every operation's bucket, then its record, and asks
    /// for the lines that the third stage will read. Nothing here waits for another thread.
    #[inline]
    fn stage<'s, 'k>(
        &'s self,
        window: &[Placed<'k>],
        lookups: &mut [Option<Lookup<'s, 'k>>; WINDOW_OPERATIONS],
    ) {
        for (lookup, placed) in lookups.iter_mut().zip(window) {
            let key = Key::new(placed.operation.key(), &self.secrets);
            let table = &self.tables[placed.partition as usize];
            let lookup = lookup.insert(Lookup::new(&self.slab, table, key));
            prefetch(lookup.head, LINE_BYTES);
        }
        let mut undecided = 0u64;
        for (number, lookup) in lookups.iter_mut().flatten().enumerate() {
            let next = lookup.search_head();
            if next == 0 {
                self.prefetch_block(lookup);
            } else {
                prefetch(self.slab.words(next), LINE_BYTES);
                undecided |= 1 << number;
            }
        }
        while undecided != 0 {
            if let Some(lookup) = &mut lookups[undecided.trailing_zeros() as usize] {
                lookup.search(&self.slab);
                self.prefetch_block(lookup);
            }
            undecided &= undecided - 1;
        }
    }

    #[inline]
    fn prefetch_block(&self, lookup: &Lookup<'_, '_>) {
        let Outcome::Found(Place { locator, .. }) = lookup.outcome else {
            return;
        };
        let Some(block) = locator.block() else {
            return;
        };
        let bytes = lookup.key.block_bytes(locator.value_bytes());
        // The locator may be newer than what this thread sees of the slab: then there are no words.
        let words = self.slab.words(block.unit);
        prefetch(words, bytes.min(PREFETCH_BYTES_MAX));
    }

    /// Applies one operation; `false` when its answer does not fit.
    #[inline]
    fn execute<'s>(
        &'s self,
        lookup: &mut Lookup<'s, '_>,
        placed: &Placed<'_>,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> bool {
        let position = placed.position;
        match placed.operation {
            Operation::Get { .. } => self.get(lookup, position, answers, counters),
            Operation::Put { value, .. } => {
                answer_put(position, answers, counters, || self.put(lookup, value))
            }
            Operation::Delete { .. } => {
                answer_delete(position, answers, counters, || self.remove(lookup))
            }
        }
    }

    #[inline]
    fn get<'s>(
        &'s self,
        lookup: &mut Lookup<'s, '_>,
        position: Position,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> bool {
        // Often a put of the same window was here: found out before the value is copied in vain.
        if !lookup.is_current() {
            lookup.search(&self.slab);
        }
        match self.try_get(lookup, position, answers, counters) {
            Some(fits) => fits,
            None => self.get_disturbed(lookup, position, answers, counters),
        }
    }

    /// [`get`](Self::get) where another thread changes the bucket, or a put of the window has split it.
    #[cold]
    fn get_disturbed<'s>(
        &'s self,
        lookup: &mut Lookup<'s, '_>,
        position: Position,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> bool {
        let mut disturbed = 0;
        while disturbed < DISTURBED_MAX {
            lookup.search(&self.slab);
            if matches!(lookup.outcome, Outcome::Unknown) {
                bucket::wait(&mut disturbed);
            } else if let Some(fits) = self.try_get(lookup, position, answers, counters) {
                return fits;
            } else {
                disturbed += 1;
            }
        }
        let _guard = lookup.lock(&self.slab);
        self.try_get(lookup, position, answers, counters)
            .expect("nobody disturbs the owner of a bucket")
    }

    /// Answers with what the lookup found, if that is still true then; else leaves no trace.
    #[inline(always)]
    fn try_get(
        &self,
        lookup: &Lookup<'_, '_>,
        position: Position,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> Option<bool> {
        let mark = answers.mark();
        let (fits, is_hit) = match lookup.outcome {
            Outcome::Unknown => return None,
            Outcome::Absent => (answers.answer(position, Answer::Missing), false),
            Outcome::Found(Place { locator, .. }) => {
                let room = answers.value(position, locator.value_bytes());
                let fits = room.is_some();
                if let (Some(room), Some(block)) = (room, locator.block()) {
                    let words = self.slab.words(block.unit);
                    copy_out(words.get(lookup.key.block_words()..).unwrap_or(&[]), room);
                }
                (fits, true)
            }
        };
        if !lookup.is_current() {
            answers.rewind(mark);
            return None;
        }
        counters.gets += u64::from(fits);
        if fits && is_hit {
            counters.hits += 1;
            answers.refer(lookup.key.word);
        }
        Some(fits)
    }

    fn put<'s>(&'s self, lookup: &mut Lookup<'s, '_>, value: &[u8]) -> Result<(), OutOfMemory> {
        let (table, key) = (lookup.table, lookup.key);
        let is_long = key.block_bytes(value.len()) >= LONG_BLOCK_BYTES_MIN;
        // Without memory for a new block, the value may still fit in place.
        let written = if is_long {
            self.write_block(table, &key, value).unwrap_or(None)
        } else {
            None
        };
        let guard = lookup.lock(&self.slab);
        if let Outcome::Found(place) = lookup.outcome {
            return self.replace(lookup, &place, value, written);
        }
        let block = match written {
            Some(block) => Some(block),
            None => self.write_block(table, &key, value)?,
        };
        let entry = (key.word, Locator::new(block, value.len(), &key));
        let pushed = bucket::push(&self.slab, table.arena, lookup.head, entry);
        drop(guard);
        match (pushed, block) {
            (Ok(()), _) => table.record_added(&self.slab, &self.secrets),
            (Err(OutOfMemory), Some(block)) => self.slab.free(table.arena, block),
            (Err(OutOfMemory), None) => {}
        }
        pushed
    }

    /// Replaces the value at `place`, by the block `written` if there is one. The bucket is locked.
    #[inline]
    fn replace(
        &self,
        lookup: &Lookup<'_, '_>,
        place: &Place<'_>,
        value: &[u8],
        written: Option<Block>,
    ) -> Result<(), OutOfMemory> {
        let key = &lookup.key;
        let bytes = key.block_bytes(value.len());
        let old = place.locator.block();
        if let (None, Some(old)) = (written, old)
            && bytes > 0
            && old.suits(bytes)
        {
            self.overwrite(key, place, old, value);
            return Ok(());
        }
        let new = match (written, old) {
            (Some(block), _) => Some(block),
            (None, old) => match (self.write_block(lookup.table, key, value), old) {
                (Ok(block), _) => block,
                // Without memory, a block that is too large will do.
                (Err(OutOfMemory), Some(old)) if old.holds(bytes) => {
                    self.overwrite(key, place, old, value);
                    return Ok(());
                }
                (Err(OutOfMemory), _) => return Err(OutOfMemory),
            },
        };
        place.set_locator(Locator::new(new, value.len(), key));
        if let Some(old) = old {
            self.slab.free(lookup.table.arena, old);
        }
        Ok(())
    }

    /// Puts a value into the block that a record has. The bucket is locked.
    #[inline]
    fn overwrite(&self, key: &Key<'_>, place: &Place<'_>, block: Block, value: &[u8]) {
        copy_in(value, &self.slab.words(block.unit)[key.block_words()..]);
        place.set_locator(Locator::new(Some(block), value.len(), key));
    }

    /// A new block that holds the key, if it is long, and the value; none if both need none.
    fn write_block(
        &self,
        table: &Table,
        key: &Key<'_>,
        value: &[u8],
    ) -> Result<Option<Block>, OutOfMemory> {
        let bytes = key.block_bytes(value.len());
        if bytes == 0 {
            return Ok(None);
        }
        let block = self.slab.allocate(table.arena, bytes)?;
        let (key_words, value_words) = self.slab.words(block.unit).split_at(key.block_words());
        if let [length, key_words @ ..] = key_words {
            length.store(key.bytes.len() as u64, Relaxed);
            copy_in(key.bytes, key_words);
        }
        copy_in(value, value_words);
        Ok(Some(block))
    }

    fn remove<'s>(&'s self, lookup: &mut Lookup<'s, '_>) -> bool {
        let table = lookup.table;
        let guard = lookup.lock(&self.slab);
        let Outcome::Found(place) = lookup.outcome else {
            return false;
        };
        bucket::remove(&self.slab, table.arena, lookup.head, &place);
        drop(guard);
        if let Some(block) = place.locator.block() {
            self.slab.free(table.arena, block);
        }
        table.record_removed();
        true
    }
}

impl Engine for Partitioned {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let mut applied = 0;
        for window in window.chunks(WINDOW_OPERATIONS) {
            let mut lookups = [None; WINDOW_OPERATIONS];
            self.stage(window, &mut lookups);
            for (lookup, placed) in lookups.iter_mut().flatten().zip(window) {
                if !self.execute(lookup, placed, answers, counters) {
                    return applied;
                }
                applied += 1;
            }
        }
        applied
    }

    fn usage(&self) -> Usage {
        Usage {
            records: self.tables.iter().map(Table::records).sum(),
            memory_bytes: self.slab.budget.used_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long key's hash may be what stands in an empty slot.
    #[test]
    fn a_long_key_whose_hash_is_0_is_found_only_where_it_is() {
        let slab = Slab::new(None);
        let table = Table::new(&slab, 0);
        let bytes = &b"longer than a word"[..];
        let key = Key {
            bytes,
            word: 0,
            hash: 0,
        };
        let mut lookup = Lookup::new(&slab, &table, key);
        lookup.search_head();
        assert!(!matches!(lookup.outcome, Outcome::Found(_)));
        lookup.search(&slab);
        assert!(matches!(lookup.outcome, Outcome::Absent));
        let block = slab.allocate(0, key.block_bytes(0)).unwrap();
        let [length, words @ ..] = slab.words(block.unit) else {
            panic!("a block has words");
        };
        length.store(bytes.len() as u64, Relaxed);
        copy_in(bytes, words);
        let guard = lookup.lock(&slab);
        let entry = (key.word, Locator::new(Some(block), 0, &key));
        bucket::push(&slab, 0, lookup.head, entry).unwrap();
        drop(guard);
        lookup.search(&slab);
        assert!(matches!(lookup.outcome, Outcome::Found(_)));
    }

    /// On processors that reorder loads, a locator can be seen before the chunk that it names.
    #[test]
    fn a_block_in_a_chunk_that_is_not_visible_yet_is_no_harm() {
        let store = Partitioned::new(1, None);
        for bytes in [&b"short"[..], b"longer than a word"] {
            let placed = Placed {
                position: Position {
                    group: 0,
                    operation: 0,
                },
                partition: 0,
                operation: Operation::Get { key: bytes.into() },
            };
            let key = Key::new(placed.operation.key(), &store.secrets);
            let mut lookup = Lookup::new(&store.slab, &store.tables[0], key);
            let guard = lookup.lock(&store.slab);
            let block = Block {
                unit: u32::MAX,
                class: 0,
            };
            let entry = (key.word, Locator::new(Some(block), 1000, &key));
            bucket::push(&store.slab, 0, lookup.head, entry).unwrap();
            drop(guard);
            store.stage(&[placed], &mut [None; WINDOW_OPERATIONS]);
        }
    }
}
