//! Exactly once: what a partition remembers of the groups that may be sent again.
//!
//! A client that does not know whether its group took effect sends it again, with the same number of the
//! same stream. The table below is part of the partition's state, equal on every replica, and says what
//! to do with it:
//!
//! ```text
//!        answered, the client has it          remembered, or to be applied         refused
//!  numbers ---------------------------+-------------------------------------+-------------->
//!                                   floor                       floor + NUMBERS_AHEAD_MAX
//! ```
//!
//! 1. A stream is opened by a proposal of its own, and is named by where that stands in the log; so no
//!    name comes twice. A group of a stream that the table does not know is refused.
//! 2. Each group tells the stream's lowest unanswered number. The highest one that was told is the
//!    stream's floor. Below it nothing is ever applied, and nothing is remembered.
//! 3. From the floor on, a number is applied at most once; afterwards its outcomes are repeated.
//! 4. What was promised is kept: when the table is full the newcomer is refused, and nothing that may
//!    be asked for again is dropped. The one exception are values that gets found, which no
//!    count of groups bounds: one that has no room is [`Outcome::Forgotten`].
//! 5. A stream ends when no group of it came for [`STREAM_IDLE_MAX`] of log time. All of this depends on
//!    nothing but what was applied, in its order.
//!
//! # As bytes
//!
//! Format 1: log time in milliseconds, then the list of streams by rising name, each with its name,
//! floor, time of last use, and its list of remembered groups by rising number, each with its number and
//! the list of its outcomes.

use crate::codec::{self, Malformed, within};
use crate::limits::{
    NUMBERS_AHEAD_MAX, STREAM_BYTES_MAX, STREAM_IDLE_MAX, STREAMS_BYTES_MAX, STREAMS_MAX,
};
use crate::outcome::{Outcome, Outcomes, Refused};
use batchkv_protocol::Sequence;
use std::collections::{BTreeMap, BTreeSet};
use wincode::{SchemaRead, SchemaWrite};

const FORMAT: u8 = 1;
/// What a remembered group takes beside its outcomes, in bytes: its place in the map, the list's
/// counters, and what the allocator adds.
const GROUP_BYTES: usize = 64;

/// What is to be done with a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It comes for the first time: apply it, then [`remember`](Streams::remember).
    Apply,
    /// It was applied before, and this came of it.
    Repeat(Outcomes),
    /// Do not apply it.
    Refuse(Refused),
}

/// The table of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streams {
    now_millis: u64,
    streams: BTreeMap<u64, Stream>,
    /// (last use, name) of each stream: who ends next stands in front.
    by_use: BTreeSet<(u64, u64)>,
    /// Sum over the streams.
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stream {
    floor: u64,
    used_millis: u64,
    remembered: BTreeMap<u64, Outcomes>,
    /// Sum over what is remembered.
    bytes: usize,
}

impl Streams {
    /// Goes on to `time_millis` of log time, unless the table is there already, and drops the streams whose time has
    /// passed. To be called for each entry, before anything of it.
    pub fn advance(&mut self, time_millis: u64) {
        self.now_millis = self.now_millis.max(time_millis);
        let idle_max = STREAM_IDLE_MAX.as_millis() as u64;
        while let Some(&(used_millis, name)) = self.by_use.first() {
            if self.now_millis - used_millis <= idle_max {
                break;
            }
            self.by_use.pop_first();
            if let Some(stream) = self.streams.remove(&name) {
                self.bytes -= stream.bytes;
            }
        }
    }

    /// Opens the stream `name`, which no other ever had.
    ///
    /// # Errors
    /// [`Refused::Full`] when there are [`STREAMS_MAX`] already.
    pub fn open(&mut self, name: u64) -> Result<(), Refused> {
        if self.streams.len() >= STREAMS_MAX {
            return Err(Refused::Full);
        }
        self.insert(name, Stream::new(self.now_millis));
        Ok(())
    }

    /// Says what is to be done with a group, and takes note of its floor.
    pub fn admit(&mut self, sequence: Sequence) -> Admission {
        let Some(stream) = self.streams.get_mut(&sequence.stream) else {
            return Admission::Refuse(Refused::StreamExpired);
        };
        self.by_use.remove(&(stream.used_millis, sequence.stream));
        self.by_use.insert((self.now_millis, sequence.stream));
        stream.used_millis = self.now_millis;
        self.bytes -= stream.raise_floor(sequence.floor.min(sequence.number));
        stream.admit(sequence.number, self.bytes >= STREAMS_BYTES_MAX)
    }

    /// Keeps what came of a group that was admitted with [`Admission::Apply`].
    pub fn remember(&mut self, sequence: Sequence, outcomes: &Outcomes) {
        if let Some(stream) = self.streams.get_mut(&sequence.stream) {
            self.bytes += stream.remember(sequence.number, outcomes);
        }
    }

    /// Log time, in milliseconds.
    #[must_use]
    pub fn now_millis(&self) -> u64 {
        self.now_millis
    }

    /// Number of streams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is no stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// What is remembered, in bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn insert(&mut self, name: u64, stream: Stream) {
        self.by_use.insert((stream.used_millis, name));
        self.bytes += stream.bytes;
        self.streams.insert(name, stream);
    }
}

impl Stream {
    fn new(used_millis: u64) -> Self {
        Self {
            floor: 0,
            used_millis,
            remembered: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Forgets what is below `floor`; how many bytes that was.
    fn raise_floor(&mut self, floor: u64) -> usize {
        self.floor = self.floor.max(floor);
        let mut freed = 0;
        while let Some(lowest) = self.remembered.first_entry()
            && *lowest.key() < self.floor
        {
            freed += bytes_of(&lowest.remove());
        }
        self.bytes -= freed;
        freed
    }

    fn admit(&self, number: u64, is_table_full: bool) -> Admission {
        if number < self.floor {
            return Admission::Refuse(Refused::Answered);
        }
        if let Some(outcomes) = self.remembered.get(&number) {
            return Admission::Repeat(outcomes.clone());
        }
        if number - self.floor >= NUMBERS_AHEAD_MAX {
            return Admission::Refuse(Refused::TooFarAhead);
        }
        if is_table_full || self.bytes >= STREAM_BYTES_MAX {
            return Admission::Refuse(Refused::Full);
        }
        Admission::Apply
    }

    /// How many bytes more that takes.
    fn remember(&mut self, number: u64, outcomes: &Outcomes) -> usize {
        let room = STREAM_BYTES_MAX.saturating_sub(self.bytes);
        let kept = if bytes_of(outcomes) <= room {
            outcomes.clone()
        } else {
            without_values(outcomes)
        };
        let bytes = bytes_of(&kept);
        self.remembered.insert(number, kept);
        self.bytes += bytes;
        bytes
    }
}

fn bytes_of(outcomes: &[Outcome]) -> usize {
    GROUP_BYTES + outcomes.iter().map(Outcome::bytes).sum::<usize>()
}

fn without_values(outcomes: &[Outcome]) -> Outcomes {
    let kept = |outcome: &Outcome| match outcome {
        Outcome::Value { .. } => Outcome::Forgotten,
        other => other.clone(),
    };
    outcomes.iter().map(kept).collect()
}

#[derive(SchemaRead, SchemaWrite)]
struct TableImage {
    now_millis: u64,
    streams: Vec<StreamImage>,
}

#[derive(SchemaRead, SchemaWrite)]
struct StreamImage {
    name: u64,
    floor: u64,
    used_millis: u64,
    remembered: Vec<(u64, Vec<Outcome>)>,
}

impl Streams {
    /// The table as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let image = |(name, stream): (&u64, &Stream)| StreamImage {
            name: *name,
            floor: stream.floor,
            used_millis: stream.used_millis,
            remembered: stream
                .remembered
                .iter()
                .map(|(number, outcomes)| (*number, outcomes.to_vec()))
                .collect(),
        };
        let table = TableImage {
            now_millis: self.now_millis,
            streams: self.streams.iter().map(image).collect(),
        };
        codec::encode(FORMAT, &table)
    }

    /// The table that was [encoded](Self::encode).
    ///
    /// # Errors
    /// When the bytes are of another format, cut, damaged, followed by others, or tell what no table holds.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let image: TableImage = codec::decode("table of streams", FORMAT, bytes)?;
        within("number of streams", image.streams.len(), 0, STREAMS_MAX)?;
        let mut table = Self {
            now_millis: image.now_millis,
            ..Self::default()
        };
        for stream in image.streams {
            let name = stream.name;
            let is_rising = table
                .streams
                .last_key_value()
                .is_none_or(|(last, _)| *last < name);
            if !is_rising || stream.used_millis > table.now_millis {
                return Err(not_a_table("streams are out of order, or of the future"));
            }
            table.insert(name, stream.restore()?);
        }
        Ok(table)
    }
}

impl StreamImage {
    fn restore(self) -> Result<Stream, Malformed> {
        let mut stream = Stream::new(self.used_millis);
        stream.floor = self.floor;
        for (number, outcomes) in self.remembered {
            let last = stream.remembered.last_key_value();
            let is_rising = last.is_none_or(|(last, _)| *last < number);
            if !is_rising || number < self.floor || number - self.floor >= NUMBERS_AHEAD_MAX {
                return Err(not_a_table("numbers are out of order, or out of reach"));
            }
            stream.bytes += bytes_of(&outcomes);
            stream.remembered.insert(number, outcomes.into());
        }
        Ok(stream)
    }
}

fn not_a_table(reason: &str) -> Malformed {
    Malformed::Content {
        what: "table of streams",
        reason: reason.to_owned(),
    }
}
