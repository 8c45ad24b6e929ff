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
//!    the thread that frees a block has changed the version before, behind a release fence, and
//!    `allocate` passes another before anybody else writes into it, so whoever reads the new content sees
//!    the new version.
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
//! 8. A bucket or an arena whose change was interrupted by a panic is not used again. Such a bucket's version
//!    stays odd, and whoever waits for it panics too; an arena's puts are refused, what is freed into it is lost.
//!
//! `tests/loom.rs` runs these files under loom, which tries the orders that would break 2 to 5.
//!
//! Tables and slab grow, and never shrink: what is deleted is kept for reuse.

mod bucket;
mod export;
mod get;
mod key;
mod locator;
mod put;
mod slab;
mod table;
mod words;

use crate::engine::{
    Engine, ExportCursor, Movable, OutOfMemory, Placed, Usage, WINDOW_OPERATIONS, answer_delete,
    answer_put,
};
use crate::system::prefetch;
use batchkv_protocol::{Answers, Counters, Operation};
use bucket::Slot;
use key::{Key, Secrets};
use slab::Slab;
use table::{Finding, Lookup, Table};
use words::LINE_BYTES;

/// Reads that were disturbed before the reader locks the bucket.
const DISTURBED_MAX: u32 = 64;
/// As much of a block is asked for ahead; the processor follows longer ones by itself.
const PREFETCH_BYTES_MAX: usize = 4 * LINE_BYTES;

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
    // Into each kind of answers' `apply`: a call costs a tenth of the server's rate (bench/RESULTS.md).
    #[inline(always)]
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
        let Finding::Present(Slot { locator, .. }) = lookup.finding else {
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
            memory_bytes: self.slab.memory.used_bytes(),
        }
    }
}

impl Movable for Partitioned {
    fn export(
        &self,
        partition: u32,
        cursor: &ExportCursor,
        limit_bytes: usize,
        sink: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<ExportCursor> {
        let table = &self.tables[partition as usize];
        let next = self.export_table(table, cursor.0, limit_bytes, sink);
        next.map(ExportCursor)
    }

    fn import(&self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), OutOfMemory> {
        let table = &self.tables[partition as usize];
        let key = Key::new(key.into(), &self.secrets);
        self.put(&mut Lookup::new(&self.slab, table, key), value)
    }

    fn clear(&self, partition: u32) {
        self.tables[partition as usize].clear(&self.slab);
    }
}

#[cfg(test)]
mod tests;
