//! What a request remembers from its sending to its answers.

use std::time::Instant;

use batchkv_workload::Floor;

use crate::load::starts::Starts;
use crate::load::step::Step;

/// What is remembered of a step on a watched record, from its sending to its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted {
    pub(crate) index: u32,
    pub(crate) note: Note,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Note {
    /// What the read may not return.
    Read(Floor),
    /// The write's sequence.
    Write(u64),
}

/// A frame that was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Steps up to its end.
    pub(crate) end: usize,
    pub(crate) written: Instant,
}

/// The memory of a request, used again and again: an ended one leaves it to the next.
#[derive(Debug, Default)]
pub(crate) struct RequestMemory {
    /// In send order: those of one partition stand together, in the order in which they were asked.
    pub(crate) steps: Vec<Step>,
    /// Ordered by index.
    pub(crate) notes: Vec<Noted>,
    pub(crate) frames: Vec<Frame>,
    /// A closed loop's: when the steps' operations began.
    pub(crate) starts: Starts,
    /// An open loop's: when each step was to arrive, in nanoseconds since the schedule's zero, or [`TAKEN`].
    pub(crate) intended: Vec<u64>,
    /// An open loop's: steps whose answers came since the last frame's end.
    pub(crate) fresh: Vec<u32>,
}

/// In the place of a step's time once its latency was noted.
pub(crate) const TAKEN: u64 = u64::MAX;

impl RequestMemory {
    /// Empties it, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.notes.clear();
        self.frames.clear();
        self.starts.clear();
        self.intended.clear();
        self.fresh.clear();
    }
}
