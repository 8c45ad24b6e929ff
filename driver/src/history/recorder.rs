//! What happened to the listed records, operation by operation, as one worker saw it.
//!
//! An operation's two instants are its batch's queueing and its frame's reading, so nothing but a note
//! is taken an operation. Memory is bounded: what comes later is counted and left out, and the first
//! such moment is kept, because a write that is not in a history must not be missed in it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use batchkv_workload::{Stamp, WatchList};
use serde::{Deserialize, Serialize};

/// Operations that the workers of a client record together.
pub(crate) const EVENTS_MAX: usize = 1 << 20;

/// Sequences of a writer have 48 bits.
const SEQUENCE_BITS: u32 = 48;

/// The parts of a run that are recorded, each judged by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Section {
    /// Warm-up and measured window.
    Window,
    /// Small batches on the hottest records, behind the window.
    Closing,
}

/// What an operation did to its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It read this value; `None`: there was none.
    Read(Option<ValueId>),
    Write(ValueId),
    Delete,
}

/// Names a write of the run: its writer and, below, 48 bits of sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ValueId(pub(crate) u64);

impl ValueId {
    pub(crate) fn new(writer: u16, sequence: u64) -> Self {
        Self(u64::from(writer) << SEQUENCE_BITS | sequence)
    }

    pub(crate) fn writer(self) -> u16 {
        (self.0 >> SEQUENCE_BITS) as u16
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0 & ((1 << SEQUENCE_BITS) - 1)
    }
}

impl From<Stamp> for ValueId {
    fn from(stamp: Stamp) -> Self {
        Self::new(stamp.writer, stamp.sequence)
    }
}

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequence() {
            0 => f.write_str("the loaded value"),
            sequence => write!(f, "write {sequence} of writer {}", self.writer()),
        }
    }
}

/// A batch as its operations' records name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    /// Counts the worker's batches.
    pub(crate) batch: u32,
    pub(crate) queued: Instant,
}

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) part: Section,
    pub(crate) record: u64,
    pub(crate) deed: Deed,
    pub(crate) batch: u32,
    /// Its index in the batch.
    pub(crate) position: u32,
    pub(crate) queued: Instant,
    /// When its answer's frame had been read; `None`: nobody knows its outcome.
    pub(crate) answered: Option<Instant>,
}

/// One worker's records.
#[derive(Debug)]
pub(crate) struct Recorder {
    list: Arc<WatchList>,
    part: Section,
    /// Nothing is recorded between the parts.
    paused: bool,
    events_max: usize,
    /// Those from `open` on wait for their frame's end.
    events: Vec<Recorded>,
    open: usize,
    deleted: BTreeSet<u64>,
    left_out: u64,
    cut: Option<Instant>,
}

/// What a worker recorded.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) events: Vec<Recorded>,
    /// Operations on listed records for which there was no room.
    pub(crate) left_out: u64,
    /// When the first of them was queued.
    pub(crate) cut: Option<Instant>,
}

impl Recorder {
    /// Records what is done to the records of `list`.
    pub(crate) fn new(list: Arc<WatchList>, events_max: usize) -> Self {
        Self {
            list,
            part: Section::Window,
            paused: false,
            events_max,
            events: Vec::new(),
            open: 0,
            deleted: BTreeSet::new(),
            left_out: 0,
            cut: None,
        }
    }

    /// The records that the closing part is about.
    pub(crate) fn hottest(&self) -> Vec<u64> {
        self.list.hottest().to_vec()
    }

    /// What follows belongs to the closing part.
    pub(crate) fn begin_closing(&mut self) {
        self.part = Section::Closing;
        self.paused = false;
    }

    /// The window is over, and the closing part has not begun, or only for other clients.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Whether an operation on this record is recorded now.
    #[inline]
    pub(crate) fn is_recorded(&self, record: u64) -> bool {
        if self.paused {
            return false;
        }
        // No other operations are asked for in the closing part.
        self.part == Section::Closing || self.list.contains(record)
    }

    /// An operation was answered; its frame's end gives the time.
    pub(crate) fn answered(&mut self, record: u64, deed: Deed, position: usize, sending: Sending) {
        self.push(record, deed, position, sending);
    }

    /// Nobody knows what became of a write. It is of a frame that will never end.
    pub(crate) fn unknown(&mut self, record: u64, deed: Deed, position: usize, sending: Sending) {
        self.push(record, deed, position, sending);
        self.open = self.events.len();
    }

    fn push(&mut self, record: u64, deed: Deed, position: usize, sending: Sending) {
        if !self.is_recorded(record) {
            return;
        }
        let Sending { batch, queued } = sending;
        // The closing part is as long as its batches, which are few.
        if self.part == Section::Window && self.events.len() >= self.events_max {
            self.left_out += 1;
            self.cut = Some(self.cut.map_or(queued, |cut| cut.min(queued)));
            return;
        }
        self.events.push(Recorded {
            part: self.part,
            record,
            deed,
            batch,
            position: position as u32,
            queued,
            answered: None,
        });
    }

    /// The frame of the last answers had been read at `now`.
    pub(crate) fn frame(&mut self, now: Instant) {
        for event in &mut self.events[self.open..] {
            event.answered = Some(now);
        }
        self.open = self.events.len();
    }

    /// A delete is about to be sent: nothing of the record can be judged.
    pub(crate) fn deleted(&mut self, record: u64, position: usize, sending: Sending) {
        if self.is_recorded(record) && self.deleted.insert(record) {
            self.unknown(record, Deed::Delete, position, sending);
        }
    }

    pub(crate) fn finish(&mut self) -> Recording {
        Recording {
            events: std::mem::take(&mut self.events),
            left_out: self.left_out,
            cut: self.cut,
        }
    }
}
