//! What an engine promises, and what its users hand to it.

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

/// An engine whose partitions can be moved and saved while they serve.
pub trait Movable: Engine {
    /// Hands records of `partition` to `sink`, key and value, in an order of the engine's that never
    /// changes, from `cursor` on: as many as have `limit_bytes` together, and at least one if it comes
    /// upon one. Gives where to go on, `None` behind the last.
    ///
    /// Writes go on meanwhile, and nothing is locked while `sink` works. A record that is there from
    /// the export's begin to its end is handed over exactly once, with a value that it had in between.
    /// So what is exported, and then the writes since the export's begin in their order, make up the
    /// partition's content. A call's work is bounded: it may end before it has come upon a record.
    fn export(
        &self,
        partition: u32,
        cursor: &ExportCursor,
        limit_bytes: usize,
        sink: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<ExportCursor>;

    /// Puts one record, as an operation would, and without an answer or a count.
    ///
    /// # Errors
    /// When the memory limit does not allow it; what was there under the key stays.
    fn import(&self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), OutOfMemory>;

    /// Removes all records of `partition` that are there when it is called; what is written meanwhile is
    /// removed or stays. Their memory is kept for other records.
    fn clear(&self, partition: u32);
}

/// Where an export goes on; the default is the begin. Means something only to the engine that gave it, and
/// for as long as that lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportCursor(pub(crate) u64);

/// The put would need more memory than there may be, or than the system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store's memory limit is reached")]
pub struct OutOfMemory;

/// Applies a put through `store`, if its answer fits; `false` when it does not.
#[inline]
pub(crate) fn answer_put(
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
pub(crate) fn answer_delete(
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
