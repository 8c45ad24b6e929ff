//! Where records live: a small trait, and two engines that keep its promises.
//!
//! [`Partitioned`] is the engine; [`Dashmap`] is the straightforward map that it is compared with.
//! The conformance suite (`tests/engine/conformance.rs`) runs on both.

mod dashmap;
mod partitioned;
#[cfg_attr(loom, path = "system_loom.rs")]
mod system;

pub use self::dashmap::Dashmap;
pub use self::partitioned::Partitioned;

use batchkv_protocol::{Answer, Answers, Counters, Operation, Position, Refusal};

/// Most operations of a window: enough for their cache misses to overlap.
pub const WINDOW_OPERATIONS: usize = 64;

/// One operation of a window and where it stands in its request.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Where its answer belongs.
    pub position: Position,
    /// The key's partition, as the group's header says and validation has checked.
    pub partition: u32,
    /// What to do.
    pub operation: Operation<'a>,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records present.
    pub records: u64,
    /// Bytes of the slabs and tables that are in use or kept for reuse.
    pub memory_bytes: u64,
}

/// A concurrent map from keys to values that is driven by windows of operations.
///
/// Each operation is atomic and linearizable per key, and takes effect within the call that applies
/// it. Operations of one window on the same key take effect in order; a window as a whole is not
/// atomic. Any number of threads may apply windows at the same time, to the same partitions too.
pub trait Engine: Send + Sync + 'static {
    /// Applies `window` in order, giving each answer to `answers`; stops before the first operation
    /// whose answer has no room there (that one is not applied) and returns how many were applied.
    /// Counts what was executed and what was refused in `counters`.
    ///
    /// Keys and values keep the protocol's limits, and every `partition` is below the number of
    /// partitions that the engine was made for.
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize
    where
        Self: Sized;

    /// Counts the records and the memory; exact while nothing is applied.
    fn usage(&self) -> Usage;
}

/// The put would need more memory than `--max-memory` grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OutOfMemory;

/// Applies a put through `store`, if its answer fits; `false` when it does not.
#[inline]
fn answer_put(
    position: Position,
    answers: &mut impl Answers,
    counters: &mut Counters,
    store: impl FnOnce() -> Result<(), OutOfMemory>,
) -> bool {
    let mark = answers.mark();
    if !answers.answer(position, Answer::Stored) {
        return false;
    }
    if store().is_ok() {
        counters.puts += 1;
    } else {
        counters.refused += 1;
        // It fits where the other did: answers without a value ask for the same room.
        answers.rewind(mark);
        answers.answer(position, Answer::Refused(Refusal::OutOfMemory));
    }
    true
}

/// Applies a delete through `remove`, which says whether there was something to delete, if its
/// answer fits; `false` when it does not.
#[inline]
fn answer_delete(
    position: Position,
    answers: &mut impl Answers,
    counters: &mut Counters,
    remove: impl FnOnce() -> bool,
) -> bool {
    let mark = answers.mark();
    if !answers.answer(position, Answer::Deleted { existed: true }) {
        return false;
    }
    counters.deletes += 1;
    if !remove() {
        answers.rewind(mark);
        answers.answer(position, Answer::Deleted { existed: false });
    }
    true
}
