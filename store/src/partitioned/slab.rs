//! Blocks of memory in size classes, from chunks that never move and are never given back.
//!
//! A block is named by its first unit of 16 bytes, counted over all chunks. Every arena has, for
//! each class, a list of free blocks and a run that new blocks are carved from. What one arena
//! needs and another has free is taken from there before memory grows.
//!
//! A freed block's first word is its link in the free list, guarded by the arena's lock. Lookups
//! that are under way may still read the block; see the invariants in the module above.

use super::words::{LINE_BYTES, LINE_WORDS, Line, WORD_BYTES};
use crate::engine::OutOfMemory;
use crate::system::{AtomicU64, Mutex, Words, fence};
use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

const UNIT_BYTES: usize = 16;
const UNIT_WORDS: usize = UNIT_BYTES / WORD_BYTES;
const LINE_UNITS: usize = LINE_BYTES / UNIT_BYTES;

/// A chunk is address space; the system gives memory to what has been written.
const CHUNK_UNITS: usize = 1 << 22;
pub(super) const CHUNK_LINES: usize = CHUNK_UNITS / LINE_UNITS;
/// As many as 32 bits of units can name: 64 GiB.
const CHUNKS: usize = (1 << 32) / CHUNK_UNITS;

/// Enough for the longest key and value, see [`class_of`].
const CLASSES: usize = 113;
/// A block may be this many classes larger than needed, if a free one saves taking memory.
const CLASS_SLACK: usize = 2;
const LINE_CLASS: usize = class_of(LINE_BYTES);

/// Arenas, each with its own lock.
const ARENAS: usize = 16;
/// A run is a share of what its class has in its arena, within these bounds: an eighth while the
/// class only grows. Once blocks of it have been freed, as much again, which is a sixteenth over all
/// arenas: the number of records of a size goes up and down, and memory should not follow each peak.
const GROWING_SHARE: u64 = 8;
const RUN_UNITS_MIN: usize = (4 << 10) / UNIT_BYTES;
const RUN_UNITS_MAX: usize = (256 << 10) / UNIT_BYTES;

const _: () = {
    use batchkv_protocol::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
    let block_bytes_max = VALUE_BYTES_MAX + KEY_BYTES_MAX.next_multiple_of(8) + WORD_BYTES;
    assert!(class_of(block_bytes_max) < CLASSES);
    assert!(block_bytes_max <= CHUNK_UNITS * UNIT_BYTES / 8);
    assert!(ARENAS.is_power_of_two() && LINE_WORDS.is_multiple_of(UNIT_WORDS));
};

/// The class of the smallest blocks that hold `bytes` >= 1: steps of one unit up to 256 bytes,
/// then eight classes a doubling, so at most an eighth of a large block is waste.
#[inline]
const fn class_of(bytes: usize) -> usize {
    let last_unit = (bytes - 1) / UNIT_BYTES;
    let shift = (last_unit | 8).ilog2() as usize - 3;
    8 * shift + (last_unit >> shift)
}

const fn class_units(class: usize) -> usize {
    if class < 8 {
        return class + 1;
    }
    (class % 8 + 9) << (class / 8 - 1)
}

/// A block that belongs to whoever allocated it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) unit: u32,
    pub(super) class: u8,
}

impl Block {
    /// Whether the block is of the class for `bytes` >= 1.
    #[inline]
    pub(super) fn suits(self, bytes: usize) -> bool {
        usize::from(self.class) == class_of(bytes)
    }

    /// Whether `bytes` >= 1 have room in the block.
    pub(super) fn holds(self, bytes: usize) -> bool {
        usize::from(self.class) >= class_of(bytes)
    }
}

/// How much memory is in use and how much may be.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    used_bytes: AtomicU64,
    max_bytes: u64,
}

impl MemoryLimit {
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Adds bytes that are in use whatever the limit says.
    pub(super) fn add(&self, bytes: usize) {
        self.used_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Takes back what was added.
    fn give(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Adds bytes if the limit allows it.
    pub(super) fn take(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let used = self.used_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if used + bytes as u64 > self.max_bytes {
            self.give(bytes);
            return Err(OutOfMemory);
        }
        Ok(())
    }
}

/// The store's blocks.
#[derive(Debug)]
pub(super) struct Slab {
    chunks: Box<[OnceLock<Words>; CHUNKS]>,
    /// The first unit that no run has; guards the making of chunks.
    next_unit: Mutex<usize>,
    arenas: Box<[Mutex<Arena>]>,
    pub(super) memory: MemoryLimit,
}

#[derive(Debug)]
struct Arena {
    classes: [Class; CLASSES],
}

/// What an arena has of one class.
#[derive(Debug, Clone, Copy, Default)]
struct Class {
    /// First free block, by its unit; 0 for none. A free block's first word names the next.
    free: u32,
    /// The next block of the run, and how many are left.
    run_unit: u32,
    run_blocks: u32,
    /// Units of all runs so far.
    taken_units: u64,
    /// Whether a block was ever freed.
    was_freed: bool,
}

impl Slab {
    pub(super) fn new(memory_bytes_max: Option<u64>) -> Self {
        let arena = || {
            Mutex::new(Arena {
                classes: [Class::default(); CLASSES],
            })
        };
        let chunks: Box<[_]> = (0..CHUNKS).map(|_| OnceLock::new()).collect();
        Self {
            chunks: chunks.try_into().expect("as many as were made"),
            next_unit: Mutex::new(LINE_UNITS),
            arenas: (0..ARENAS).map(|_| arena()).collect(),
            memory: MemoryLimit {
                used_bytes: AtomicU64::new(0),
                max_bytes: memory_bytes_max.unwrap_or(u64::MAX),
            },
        }
    }

    /// The words from `unit` to its chunk's end; none when the chunk's making is not yet visible to
    /// this thread, which only a lookup that must be repeated can meet.
    #[inline]
    pub(super) fn words(&self, unit: u32) -> &[AtomicU64] {
        let unit = unit as usize;
        match self.chunks[unit / CHUNK_UNITS].get() {
            Some(chunk) => &chunk[unit % CHUNK_UNITS * UNIT_WORDS..],
            None => &[],
        }
    }

    /// The line that begins at `unit`; none as in [`words`](Self::words).
    #[inline]
    pub(super) fn line(&self, unit: u32) -> Option<&Line> {
        self.words(unit).first_chunk()
    }

    /// The line that many lines behind `unit`, in the same chunk.
    #[inline]
    pub(super) fn line_behind(&self, unit: u32, lines: usize) -> Option<&Line> {
        self.line(unit + (lines * LINE_UNITS) as u32)
    }

    /// A block for `bytes` >= 1, with arbitrary content.
    pub(super) fn allocate(&self, arena: u32, bytes: usize) -> Result<Block, OutOfMemory> {
        self.allocate_class(arena, class_of(bytes), CLASS_SLACK)
    }

    /// A block that is exactly one cache line, with arbitrary content.
    pub(super) fn allocate_line(&self, arena: u32) -> Result<Block, OutOfMemory> {
        self.allocate_class(arena, LINE_CLASS, 0)
    }

    /// Gives a block back that no slot names any more. Whoever sees the link sees that the bucket has
    /// changed: the thread that frees has itself locked it, and a lock passes a release fence.
    pub(super) fn free(&self, arena: u32, block: Block) {
        // What an interrupted change has made of the arena is not known: the block is not used again.
        let Ok(mut arena) = self.arena(arena).lock() else {
            return;
        };
        let class = &mut arena.classes[usize::from(block.class)];
        self.words(block.unit)[0].store(class.free.into(), Ordering::Relaxed);
        class.free = block.unit;
        class.was_freed = true;
    }

    pub(super) fn free_line(&self, arena: u32, unit: u32) {
        let class = LINE_CLASS as u8;
        self.free(arena, Block { unit, class });
    }

    fn allocate_class(&self, arena: u32, class: usize, slack: usize) -> Result<Block, OutOfMemory> {
        let mut own = self.arena(arena).lock().map_err(|_| OutOfMemory)?;
        let mut larger = class + 1..=(class + slack).min(CLASSES - 1);
        let block = own
            .pop_free(self, class)
            .or_else(|| own.carve(class))
            .or_else(|| {
                self.take_free(&mut own, class);
                own.pop_free(self, class)
            })
            .or_else(|| {
                self.take_run_left(&mut own, class);
                own.carve(class)
            })
            .or_else(|| {
                larger.find_map(|class| {
                    if own.classes[class].free == 0 {
                        self.take_free(&mut own, class);
                    }
                    own.pop_free(self, class)
                })
            });
        let block = match block {
            Some(block) => block,
            None => own.take_run(self, class)?,
        };
        // Orders the change that once freed the block before whatever is written into it.
        fence(Ordering::Release);
        Ok(block)
    }

    /// Moves another arena's free blocks of `class` to `own`, which has none.
    fn take_free(&self, own: &mut Arena, class: usize) {
        let free = |other: &mut Arena| {
            let free = mem::take(&mut other.classes[class].free);
            (free != 0).then_some(free)
        };
        own.classes[class].free = self.find_elsewhere(free).unwrap_or(0);
    }

    /// Moves what is left of another arena's run of `class` to `own`, whose run is used up.
    fn take_run_left(&self, own: &mut Arena, class: usize) {
        let left = self.find_elsewhere(|other| {
            let other = &mut other.classes[class];
            let blocks = mem::take(&mut other.run_blocks);
            (blocks != 0).then_some((other.run_unit, blocks))
        });
        if let Some((unit, blocks)) = left {
            own.classes[class].run_unit = unit;
            own.classes[class].run_blocks = blocks;
        }
    }

    /// Asks the arenas that nobody is busy with, until one has what is wanted.
    fn find_elsewhere<T>(&self, mut want: impl FnMut(&mut Arena) -> Option<T>) -> Option<T> {
        let mut arenas = self.arenas.iter();
        arenas.find_map(|arena| want(&mut *arena.try_lock().ok()?))
    }

    fn arena(&self, arena: u32) -> &Mutex<Arena> {
        &self.arenas[arena as usize % ARENAS]
    }

    /// The first unit of so many lines, which are zero and stay where they are for ever, whatever the
    /// budget says.
    pub(super) fn new_lines(&self, lines: usize) -> Result<u32, OutOfMemory> {
        Ok(self.new_units(lines * LINE_UNITS)? as u32)
    }

    /// [`new_lines`](Self::new_lines) within the limit.
    pub(super) fn take_lines(&self, lines: usize) -> Result<u32, OutOfMemory> {
        Ok(self.take_units(lines * LINE_UNITS)? as u32)
    }

    /// [`new_units`](Self::new_units) within the limit.
    fn take_units(&self, units: usize) -> Result<usize, OutOfMemory> {
        self.memory.take(units * UNIT_BYTES)?;
        let unit = self.new_units(units);
        if unit.is_err() {
            self.memory.give(units * UNIT_BYTES);
        }
        unit
    }

    /// Units that nobody has had, all in one chunk.
    fn new_units(&self, units: usize) -> Result<usize, OutOfMemory> {
        let mut next_unit = self.next_unit.lock().map_err(|_| OutOfMemory)?;
        let left = CHUNK_UNITS - *next_unit % CHUNK_UNITS;
        let first = if units <= left {
            *next_unit
        } else {
            *next_unit + left
        };
        let chunk = self.chunks.get(first / CHUNK_UNITS).ok_or(OutOfMemory)?;
        if chunk.get().is_none() {
            let words = Words::zeroed(CHUNK_UNITS * UNIT_WORDS).map_err(|_| OutOfMemory)?;
            chunk.get_or_init(|| words);
        }
        *next_unit = first + units;
        Ok(first)
    }
}

impl Arena {
    fn pop_free(&mut self, slab: &Slab, class: usize) -> Option<Block> {
        let unit = self.classes[class].free;
        if unit == 0 {
            return None;
        }
        let next = slab.words(unit)[0].load(Ordering::Relaxed);
        self.classes[class].free = next as u32;
        let class = class as u8;
        Some(Block { unit, class })
    }

    fn carve(&mut self, class: usize) -> Option<Block> {
        let state = &mut self.classes[class];
        state.run_blocks = state.run_blocks.checked_sub(1)?;
        let unit = state.run_unit;
        state.run_unit = unit.wrapping_add(class_units(class) as u32);
        let class = class as u8;
        Some(Block { unit, class })
    }

    /// Takes memory for a run and carves its first block. The old run is used up.
    fn take_run(&mut self, slab: &Slab, class: usize) -> Result<Block, OutOfMemory> {
        let state = &mut self.classes[class];
        let share = if state.was_freed { 1 } else { GROWING_SHARE };
        let units_wanted =
            ((state.taken_units / share) as usize).clamp(RUN_UNITS_MIN, RUN_UNITS_MAX);
        let blocks = (units_wanted / class_units(class)).max(1);
        let units = (blocks * class_units(class)).next_multiple_of(LINE_UNITS);
        state.run_unit = slab.take_units(units)? as u32;
        state.run_blocks = blocks as u32;
        state.taken_units += units as u64;
        Ok(self.carve(class).expect("a run has a block"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_for_and_waste_little() {
        assert_eq!(class_units(LINE_CLASS) * UNIT_BYTES, LINE_BYTES);
        for bytes in (1..300_000).chain([1 << 20]) {
            let class = class_of(bytes);
            let held = class_units(class) * UNIT_BYTES;
            assert!(held >= bytes && held - bytes < UNIT_BYTES.max(held / 8 + 1));
            assert!(class == 0 || class_units(class - 1) * UNIT_BYTES < bytes);
        }
    }

    #[test]
    fn blocks_do_not_overlap_and_are_used_again() {
        let slab = Slab::new(None);
        let sizes = (0..3000).map(|number: usize| 1 + number * 37 % 5000);
        let blocks: Vec<_> = (0..)
            .zip(sizes)
            .map(|(arena, bytes)| (arena, slab.allocate(arena, bytes).unwrap()))
            .collect();
        let mut ranges: Vec<_> = blocks
            .iter()
            .map(|(_, block)| {
                let first = block.unit as usize;
                (first, first + class_units(block.class.into()))
            })
            .collect();
        ranges.sort_unstable();
        assert!(ranges.is_sorted_by(|before, after| before.1 <= after.0));

        let used_bytes = slab.memory.used_bytes();
        for (arena, block) in &blocks {
            slab.free(*arena, *block);
        }
        // From any arena, as it lies there and elsewhere.
        for (_, block) in &blocks {
            let bytes = class_units(block.class.into()) * UNIT_BYTES;
            slab.allocate(3, bytes).unwrap();
        }
        assert_eq!(slab.memory.used_bytes(), used_bytes);
    }
}
