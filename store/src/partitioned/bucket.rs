//! A bucket: a line of three slots, and a chain of overflow lines when they are full.
//!
//! Slots are filled from the front of the chain without holes, and no overflow line is empty, so
//! the first empty slot ends the chain.

use super::key::Key;
use super::locator::Locator;
use super::slab::Slab;
use super::words::{LINE_WORDS, Line};
use crate::engine::OutOfMemory;
use crate::system::{fence, spin_loop, yield_now};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread::panicking;

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

/// The version of a bucket whose change was interrupted by a panic: odd, so that nobody reads it, and for ever,
/// so that nobody trusts what stands in it.
const BROKEN: u64 = u64::MAX;

/// The right to change a bucket; ends, and publishes the change, when dropped. While a panic unwinds, the
/// change may be half done: then the bucket is [`BROKEN`].
#[derive(Debug)]
pub(super) struct Guard<'s> {
    head: &'s Line,
    /// Odd.
    pub(super) version: u64,
}

impl<'s> Guard<'s> {
    /// # Panics
    /// When the bucket is broken: its records are lost, and an answer about one would be a guess.
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
            assert!(
                version != BROKEN,
                "a panic interrupted a change of this bucket"
            );
            wait(&mut rounds);
        }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let version = if panicking() {
            BROKEN
        } else {
            self.version + 1
        };
        self.head[VERSION].store(version, Release);
    }
}

/// An occupied slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'s> {
    line: &'s Line,
    number: usize,
    pub(super) locator: Locator,
}

impl Slot<'_> {
    /// Changes the locator. The bucket is locked.
    #[inline]
    pub(super) fn set_locator(&self, locator: Locator) {
        self.line[FIRST_SLOT + 2 * self.number + 1].store(locator.0, Relaxed);
    }
}

/// What stands in a slot: key word and locator.
pub(super) type Content = (u64, Locator);

#[inline]
fn content(line: &Line, slot: usize) -> Content {
    let at = FIRST_SLOT + 2 * slot;
    (line[at].load(Relaxed), Locator(line[at + 1].load(Relaxed)))
}

#[inline]
fn set_content(line: &Line, slot: usize, (word, locator): Content) {
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
        let (word, locator) = content(line, slot);
        let matches = (word == key.word) & (locator.form() == form);
        candidates | u32::from(matches) << slot
    })
}

/// The first of the slots that are [`candidates`].
#[inline]
pub(super) fn candidate<'s>(line: &'s Line, key: &Key<'_>) -> Option<Slot<'s>> {
    first(line, candidates(line, key))
}

/// The first slot of a set of them, given as bits. Its locator is read once more: that it is the one that was
/// compared is known when the version is seen again.
#[inline]
fn first(line: &Line, slots: u32) -> Option<Slot<'_>> {
    if slots == 0 {
        return None;
    }
    let number = slots.trailing_zeros() as usize;
    let (_, locator) = content(line, number);
    Some(Slot {
        line,
        number,
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
) -> Result<Option<Slot<'s>>, Disturbed> {
    let mut line = head;
    loop {
        let mut candidates = candidates(line, key);
        while let Some(slot) = first(line, candidates) {
            candidates &= candidates - 1;
            // Until the version is seen again, an overflow line may be somebody's value.
            if !is_unchanged(head, version) {
                return Err(Disturbed);
            }
            if key.is_inline() || slot.locator.leads_to(key, slab) {
                return Ok(Some(slot));
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

/// Appends what stands in the chain of the bucket at `head` to `contents`, for a reader who has seen `version`.
pub(super) fn read(
    slab: &Slab,
    head: &Line,
    version: u64,
    contents: &mut Vec<Content>,
) -> Result<(), Disturbed> {
    let mut line = head;
    loop {
        contents.extend(occupied(line));
        let next = overflow(line);
        if !is_unchanged(head, version) {
            return Err(Disturbed);
        }
        if next == 0 {
            return Ok(());
        }
        line = slab.line(next).ok_or(Disturbed)?;
    }
}

/// What stands in the slots of a line, up to the first empty one.
fn occupied(line: &Line) -> impl Iterator<Item = Content> {
    let slots = (0..SLOTS).map(|slot| content(line, slot));
    slots.take_while(|(_, locator)| *locator != Locator::EMPTY)
}

/// Fills the first empty slot, of a new line if need be. The bucket is locked.
pub(super) fn push(slab: &Slab, arena: u32, head: &Line, new: Content) -> Result<(), OutOfMemory> {
    let mut line = head;
    while overflow(line) != 0 {
        line = locked_line(slab, overflow(line));
    }
    let empty = |&slot: &usize| content(line, slot).1 == Locator::EMPTY;
    if let Some(slot) = (0..SLOTS).find(empty) {
        set_content(line, slot, new);
        return Ok(());
    }
    let unit = slab.allocate_line(arena)?.unit;
    let next = locked_line(slab, unit);
    next.iter().for_each(|word| word.store(0, Relaxed));
    set_content(next, 0, new);
    line[OVERFLOW].store(unit.into(), Relaxed);
    Ok(())
}

/// Empties `slot`: what stands in the last one moves into it. The bucket is locked.
pub(super) fn remove(slab: &Slab, arena: u32, head: &Line, slot: &Slot<'_>) {
    let (mut line, mut before) = (head, None);
    while overflow(line) != 0 {
        before = Some(line);
        line = locked_line(slab, overflow(line));
    }
    let occupied = |&slot: &usize| content(line, slot).1 != Locator::EMPTY;
    let last = (0..SLOTS)
        .rfind(occupied)
        .expect("no line of a chain is empty");
    set_content(slot.line, slot.number, content(line, last));
    set_content(line, last, (0, Locator::EMPTY));
    if let (0, Some(before)) = (last, before) {
        let unit = overflow(before);
        before[OVERFLOW].store(0, Relaxed);
        slab.free_line(arena, unit);
    }
}

/// Appends the contents of the chain to `contents`, and its overflow lines to `lines`. The bucket is
/// locked.
pub(super) fn collect(slab: &Slab, head: &Line, contents: &mut Vec<Content>, lines: &mut Vec<u32>) {
    let mut line = head;
    loop {
        contents.extend(occupied(line));
        match overflow(line) {
            0 => return,
            next => {
                lines.push(next);
                line = locked_line(slab, next);
            }
        }
    }
}

/// Makes the chain hold exactly `contents`, with overflow lines out of `lines`, of which there are
/// enough. The bucket is locked, and its own overflow lines are in `lines`.
pub(super) fn refill(
    slab: &Slab,
    head: &Line,
    contents: impl Iterator<Item = Content>,
    lines: &mut Vec<u32>,
) {
    let mut line = head;
    let mut filled = 0;
    for content in contents {
        if filled == SLOTS {
            let next = lines.pop().expect("two chains need no more than one did");
            line[OVERFLOW].store(next.into(), Relaxed);
            (line, filled) = (locked_line(slab, next), 0);
        }
        set_content(line, filled, content);
        filled += 1;
    }
    (filled..SLOTS).for_each(|slot| set_content(line, slot, (0, Locator::EMPTY)));
    line[OVERFLOW].store(0, Relaxed);
}

/// A line of a locked bucket's chain: locking it made the line's chunk visible.
fn locked_line(slab: &Slab, unit: u32) -> &Line {
    slab.line(unit).expect("a chain's line is in a chunk")
}
