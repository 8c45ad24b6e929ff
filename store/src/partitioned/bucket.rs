//! A bucket: a line of three slots, and a chain of overflow lines when they are full.
//!
//! Slots are filled from the front of the chain without holes, and no overflow line is empty, so
//! the first empty slot ends the chain.

use super::super::OutOfMemory;
use super::key::{Key, Locator};
use super::slab::Slab;
use super::words::{LINE_WORDS, Line};
use crate::system::{fence, spin_loop, yield_now};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Slots of a line, two words each: key and locator.
pub(super) const SLOTS: usize = 3;

/// In a bucket's first line: a count of its changes times two, odd while one is under way.
const VERSION: usize = 0;
/// The unit of the next line in the slab, 0 for none.
const OVERFLOW: usize = 1;
const FIRST_SLOT: usize = 2;
const _: () = assert!(FIRST_SLOT + 2 * SLOTS == LINE_WORDS);

/// Rounds of spinning before a waiting thread lets others run.
const SPINS_MAX: u32 = 64;

/// Waits a little for another thread; `rounds` counts how often.
pub(super) fn wait(rounds: &mut u32) {
    *rounds += 1;
    if *rounds < SPINS_MAX {
        spin_loop();
    } else {
        yield_now();
    }
}

/// The bucket's version; odd while somebody changes it.
#[inline]
pub(super) fn version(head: &Line) -> u64 {
    head[VERSION].load(Acquire)
}

/// Whether nothing that was read since [`version`] gave `version` has changed.
#[inline]
pub(super) fn is_unchanged(head: &Line, version: u64) -> bool {
    fence(Acquire);
    head[VERSION].load(Relaxed) == version
}

/// The right to change a bucket; ends, and publishes the change, when dropped.
#[derive(Debug)]
pub(super) struct Guard<'s> {
    head: &'s Line,
    /// Odd.
    pub(super) version: u64,
}

impl<'s> Guard<'s> {
    #[inline]
    pub(super) fn lock(head: &'s Line) -> Self {
        let mut rounds = 0;
        loop {
            let version = head[VERSION].load(Relaxed);
            if version.is_multiple_of(2)
                && head[VERSION]
                    .compare_exchange_weak(version, version + 1, Acquire, Relaxed)
                    .is_ok()
            {
                // Whoever sees a word written from here on sees the odd version too.
                fence(Release);
                let version = version + 1;
                return Self { head, version };
            }
            wait(&mut rounds);
        }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.head[VERSION].store(self.version + 1, Release);
    }
}

/// An occupied slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'s> {
    line: &'s Line,
    slot: usize,
    pub(super) locator: Locator,
}

impl Place<'_> {
    /// Changes the locator. The bucket is locked.
    #[inline]
    pub(super) fn set_locator(&self, locator: Locator) {
        self.line[FIRST_SLOT + 2 * self.slot + 1].store(locator.0, Relaxed);
    }
}

/// What stands in a slot: key word and locator.
pub(super) type Entry = (u64, Locator);

#[inline]
fn entry(line: &Line, slot: usize) -> Entry {
    let at = FIRST_SLOT + 2 * slot;
    (line[at].load(Relaxed), Locator(line[at + 1].load(Relaxed)))
}

#[inline]
fn set_entry(line: &Line, slot: usize, (word, locator): Entry) {
    let at = FIRST_SLOT + 2 * slot;
    line[at].store(word, Relaxed);
    line[at + 1].store(locator.0, Relaxed);
}

/// The unit of the line behind `line`, 0 for none.
#[inline]
pub(super) fn overflow(line: &Line) -> u32 {
    line[OVERFLOW].load(Relaxed) as u32
}

/// The slots of `line` whose word and form are the key's, as bits: its record, if the key is short, else
/// records with the same hash. An empty slot may be among the latter.
#[inline]
fn candidates(line: &Line, key: &Key<'_>) -> u32 {
    let form = key.form();
    // Nobody can predict which slot it is, so all are compared before there is a branch.
    (0..SLOTS).fold(0, |candidates, slot| {
        let (word, locator) = entry(line, slot);
        let matches = (word == key.word) & (locator.form() == form);
        candidates | u32::from(matches) << slot
    })
}

/// The first of the slots that are [`candidates`].
#[inline]
pub(super) fn candidate<'s>(line: &'s Line, key: &Key<'_>) -> Option<Place<'s>> {
    first(line, candidates(line, key))
}

/// The first slot of a set of them, given as bits. Its locator is read once more: that it is the one that was
/// compared is known when the version is seen again.
#[inline]
fn first(line: &Line, slots: u32) -> Option<Place<'_>> {
    if slots == 0 {
        return None;
    }
    let slot = slots.trailing_zeros() as usize;
    let (_, locator) = entry(line, slot);
    Some(Place {
        line,
        slot,
        locator,
    })
}

/// The bucket changed while it was searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disturbed;

/// Searches the chain of the bucket at `head`, whose version is `version`: even for a reader, the
/// guard's for its owner, who cannot be disturbed.
pub(super) fn find<'s>(
    slab: &'s Slab,
    head: &'s Line,
    version: u64,
    key: &Key<'_>,
) -> Result<Option<Place<'s>>, Disturbed> {
    let mut line = head;
    loop {
        let mut candidates = candidates(line, key);
        while let Some(place) = first(line, candidates) {
            candidates &= candidates - 1;
            // Until the version is seen again, an overflow line may be somebody's value.
            if !is_unchanged(head, version) {
                return Err(Disturbed);
            }
            if key.is_inline() || slab.holds_key(place.locator, key) {
                return Ok(Some(place));
            }
        }
        let next = overflow(line);
        if !is_unchanged(head, version) {
            return Err(Disturbed);
        }
        if next == 0 {
            return Ok(None);
        }
        line = slab.line(next).ok_or(Disturbed)?;
    }
}

/// Adds an entry behind the last. The bucket is locked.
pub(super) fn push(slab: &Slab, arena: u32, head: &Line, new: Entry) -> Result<(), OutOfMemory> {
    let mut line = head;
    while overflow(line) != 0 {
        line = locked_line(slab, overflow(line));
    }
    let empty = |&slot: &usize| entry(line, slot).1 == Locator::EMPTY;
    if let Some(slot) = (0..SLOTS).find(empty) {
        set_entry(line, slot, new);
        return Ok(());
    }
    let unit = slab.allocate_line(arena)?.unit;
    let next = locked_line(slab, unit);
    next.iter().for_each(|word| word.store(0, Relaxed));
    set_entry(next, 0, new);
    line[OVERFLOW].store(unit.into(), Relaxed);
    Ok(())
}

/// Removes the entry at `place`: the last one takes its slot. The bucket is locked.
pub(super) fn remove(slab: &Slab, arena: u32, head: &Line, place: &Place<'_>) {
    let (mut line, mut before) = (head, None);
    while overflow(line) != 0 {
        before = Some(line);
        line = locked_line(slab, overflow(line));
    }
    let occupied = |&slot: &usize| entry(line, slot).1 != Locator::EMPTY;
    let last = (0..SLOTS)
        .rfind(occupied)
        .expect("no line of a chain is empty");
    set_entry(place.line, place.slot, entry(line, last));
    set_entry(line, last, (0, Locator::EMPTY));
    if let (0, Some(before)) = (last, before) {
        let unit = overflow(before);
        before[OVERFLOW].store(0, Relaxed);
        slab.free_line(arena, unit);
    }
}

/// Appends the entries of the chain to `entries`, and its overflow lines to `lines`. The bucket is
/// locked.
pub(super) fn collect(slab: &Slab, head: &Line, entries: &mut Vec<Entry>, lines: &mut Vec<u32>) {
    let mut line = head;
    loop {
        let slots = (0..SLOTS).map(|slot| entry(line, slot));
        entries.extend(slots.take_while(|(_, locator)| *locator != Locator::EMPTY));
        match overflow(line) {
            0 => return,
            next => {
                lines.push(next);
                line = locked_line(slab, next);
            }
        }
    }
}

/// Makes the chain hold exactly `entries`, with overflow lines out of `lines`, of which there are
/// enough. The bucket is locked, and its own overflow lines are in `lines`.
pub(super) fn refill(
    slab: &Slab,
    head: &Line,
    entries: impl Iterator<Item = Entry>,
    lines: &mut Vec<u32>,
) {
    let mut line = head;
    let mut filled = 0;
    for entry in entries {
        if filled == SLOTS {
            let next = lines.pop().expect("two chains need no more than one did");
            line[OVERFLOW].store(next.into(), Relaxed);
            (line, filled) = (locked_line(slab, next), 0);
        }
        set_entry(line, filled, entry);
        filled += 1;
    }
    (filled..SLOTS).for_each(|slot| set_entry(line, slot, (0, Locator::EMPTY)));
    line[OVERFLOW].store(0, Relaxed);
}

/// A line of a locked bucket's chain: locking it made the line's chunk visible.
fn locked_line(slab: &Slab, unit: u32) -> &Line {
    slab.line(unit).expect("a chain's line is in a chunk")
}
