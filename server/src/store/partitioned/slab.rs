//! Blocks of memory in size classes, from chunks that never move and are never given back.
//!
//! A block is named by its first unit of 16 bytes, counted over all chunks. Every arena has, for
//! each class, a list of free blocks and a run that new blocks are carved from. What one arena
//! needs and another has free is taken from there before memory grows.
//!
//! A freed block's first word is its link in the free list, guarded by the arena's lock. Lookups
//! that are under way may still read the block; see the invariants in the module above.

use super::super::OutOfMemory;
use super::key::{Key, Locator};
use super::words::{LINE_BYTES, LINE_WORDS, Line, Lines, WORD_BYTES, hold};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const UNIT_BYTES: usize = 16;
const UNIT_WORDS: usize = UNIT_BYTES / WORD_BYTES;
const LINE_UNITS: usize = LINE_BYTES / UNIT_BYTES;

/// A chunk is address space; the system gives memory to what has been written.
const CHUNK_UNITS: usize = 1 << 20;
/// As many as 32 bits of units can name: 64 GiB.
const CHUNKS: usize = (1 << 32) / CHUNK_UNITS;

/// Enough for the longest key and value, see [`class_of`].
const CLASSES: usize = 113;
/// A block may be this many classes larger than needed, if a free one saves taking memory.
const CLASS_SLACK: usize = 2;
const LINE_CLASS: usize = class_of(LINE_BYTES);

/// Arenas, each with its own lock.
const ARENAS: usize = 16;
/// A run is an eighth of what its class has in its arena, within these bounds.
const RUN_UNITS_MIN: usize = (4 << 10) / UNIT_BYTES;
const RUN_UNITS_MAX: usize = (64 << 10) / UNIT_BYTES;

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
pub(super) struct Budget {
    used_bytes: AtomicU64,
    max_bytes: u64,
}

impl Budget {
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Adds bytes that are in use whatever the limit says.
    pub(super) fn add(&self, bytes: usize) {
        self.used_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds bytes if the limit allows it.
    pub(super) fn take(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let bytes = bytes as u64;
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        if used + bytes > self.max_bytes {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(OutOfMemory);
        }
        Ok(())
    }
}

/// The store's blocks.
#[derive(Debug)]
pub(super) struct Slab {
    chunks: Box<[OnceLock<Lines>]>,
    /// The first unit that no run has; guards the making of chunks.
    next_unit: Mutex<usize>,
    arenas: Box<[Mutex<Arena>]>,
    pub(super) budget: Budget,
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
}

impl Slab {
    pub(super) fn new(memory_bytes_max: Option<u64>) -> Self {
        let arena = || {
            Mutex::new(Arena {
                classes: [Class::default(); CLASSES],
            })
        };
        Self {
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            next_unit: Mutex::new(LINE_UNITS),
            arenas: (0..ARENAS).map(|_| arena()).collect(),
            budget: Budget {
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
            Some(chunk) => chunk.from(unit % CHUNK_UNITS * UNIT_WORDS),
            None => &[],
        }
    }

    /// The line that begins at `unit`; none as in [`words`](Self::words).
    #[inline]
    pub(super) fn line(&self, unit: u32) -> Option<&Line> {
        self.words(unit).first_chunk()
    }

    /// Whether the block of `locator`'s record holds `key` in front of the value.
    pub(super) fn holds_key(&self, locator: Locator, key: &Key<'_>) -> bool {
        let words = locator
            .block()
            .map_or(&[][..], |block| self.words(block.unit));
        let Some((length, key_words)) = words.split_first() else {
            return false;
        };
        length.load(Ordering::Relaxed) == key.bytes.len() as u64 && hold(key_words, key.bytes)
    }

    /// A block for `bytes` >= 1, with arbitrary content.
    pub(super) fn allocate(&self, arena: u32, bytes: usize) -> Result<Block, OutOfMemory> {
        self.allocate_class(arena, class_of(bytes), CLASS_SLACK)
    }

    /// A block that is exactly one cache line, with arbitrary content.
    pub(super) fn allocate_line(&self, arena: u32) -> Result<Block, OutOfMemory> {
        self.allocate_class(arena, LINE_CLASS, 0)
    }

    /// Gives a block back that no slot names any more.
    pub(super) fn free(&self, arena: u32, block: Block) {
        let mut arena = self.arena(arena);
        let class = &mut arena.classes[usize::from(block.class)];
        // Orders the change that took the block out of its slot before the link.
        fence(Ordering::Release);
        self.words(block.unit)[0].store(class.free.into(), Ordering::Relaxed);
        class.free = block.unit;
    }

    pub(super) fn free_line(&self, arena: u32, unit: u32) {
        let class = LINE_CLASS as u8;
        self.free(arena, Block { unit, class });
    }

    fn allocate_class(&self, arena: u32, class: usize, slack: usize) -> Result<Block, OutOfMemory> {
        let mut own = self.arena(arena);
        let classes = class..=(class + slack).min(CLASSES - 1);
        let block = own
            .pop_free(self, class)
            .or_else(|| own.carve(class))
            .or_else(|| classes.clone().find_map(|class| own.pop_free(self, class)))
            .or_else(|| self.pop_free_elsewhere(classes));
        let block = match block {
            Some(block) => block,
            None => own.take_run(self, class)?,
        };
        // Orders the change that once freed the block before whatever is written into it.
        fence(Ordering::Release);
        Ok(block)
    }

    /// A free block of any arena that nobody is busy with.
    fn pop_free_elsewhere(&self, classes: impl Iterator<Item = usize> + Clone) -> Option<Block> {
        self.arenas.iter().find_map(|arena| {
            let mut arena = arena.try_lock().ok()?;
            classes
                .clone()
                .find_map(|class| arena.pop_free(self, class))
        })
    }

    fn arena(&self, arena: u32) -> MutexGuard<'_, Arena> {
        let arena = &self.arenas[arena as usize % ARENAS];
        arena.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Consecutive units of one chunk that begin a line.
    fn take_units(&self, units: usize) -> Result<usize, OutOfMemory> {
        let mut next_unit = self
            .next_unit
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let left = CHUNK_UNITS - *next_unit % CHUNK_UNITS;
        let first = if units <= left {
            *next_unit
        } else {
            *next_unit + left
        };
        let chunk = self.chunks.get(first / CHUNK_UNITS).ok_or(OutOfMemory)?;
        self.budget.take(units * UNIT_BYTES)?;
        chunk.get_or_init(|| Lines::zeroed(CHUNK_UNITS / LINE_UNITS));
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
        let units_wanted = (state.taken_units as usize / 8).clamp(RUN_UNITS_MIN, RUN_UNITS_MAX);
        let blocks = (units_wanted / class_units(class)).max(1);
        let units = (blocks * class_units(class)).next_multiple_of(LINE_UNITS);
        state.run_unit = slab.take_units(units)? as u32;
        state.run_blocks = blocks as u32;
        state.taken_units += units as u64;
        Ok(self.carve(class).expect("a run has a block"))
    }
}
