//! What a request remembers from its sending to its answers.

use std::time::Instant;

use batchkv_workload::{Certainty, Floor};

use crate::load::starts::Starts;
use crate::load::step::Step;

/// A write of a listed record, whose history is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted {
    pub(crate) index: u32,
    pub(crate) sequence: u64,
}

/// A frame that was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Steps up to its end.
    pub(crate) end: usize,
    pub(crate) written: Instant,
    /// What is kept of its writes until they are acknowledged.
    pub(crate) write_floor: Floor,
}

/// The memory of a request, used again and again: an ended one leaves it to the next.
#[derive(Debug, Default)]
pub(crate) struct RequestMemory {
    /// In send order: those of one partition stand together, in the order in which they were asked.
    pub(crate) steps: Vec<Step>,
    /// Where the request's gets are watched, of each step that was sent what a get of its record may not return.
    pub(crate) floors: Vec<Floor>,
    /// Records whose writes were acknowledged since the last frame's end, and their floors.
    pub(crate) acknowledged: Vec<(u64, Floor)>,
    /// Where records are deleted, of each step that was sent whether its record is there.
    pub(crate) certainties: Vec<Certainty>,
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
        self.floors.clear();
        self.acknowledged.clear();
        self.certainties.clear();
        self.notes.clear();
        self.frames.clear();
        self.starts.clear();
        self.intended.clear();
        self.fresh.clear();
    }
}
