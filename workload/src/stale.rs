//! The stale-read rule: a valid value is not yet a right one. A server that drops every put would
//! answer with nothing but valid values.
//!
//! For one key in 64, a worker remembers its own writes. *Before* means: the one's answer had come
//! when the other was sent; what overlaps has no order. The rule, for one key and one worker ("I"):
//!
//! 1. A read that is sent after a write of mine was acknowledged never returns the loaded value.
//! 2. Let F be the newest of my writes that are acknowledged when a read is sent. The read never
//!    returns a write of mine whose acknowledgement came before the sending of F.
//! 3. My delete, and a write of mine with unknown or refused outcome, make me forget: of what was sent
//!    up to then nothing is judged any more, until a later write is acknowledged.
//!
//! It is sound for every linearizable store, whatever others write meanwhile: F took effect before the
//! read and after all that was acknowledged before F was sent, and an overwritten value, being unique,
//! cannot return. A write's position is its sequence number, which grows with each sending, so no clock
//! is needed: write b was acknowledged before write f was sent if and only if, when b's answer came,
//! the newest sequence sent on the key was still below f's.
//!
//! Memory: of each watched key, only writes above the threshold T are kept, where T is the greatest
//! sequence such that all my writes up to it were acknowledged before F was sent. What a read is
//! compared with is (forgotten, T], taken when it was sent. A late answer to one write can therefore
//! hide later ones for a while; that misses alarms, and never makes false ones.

use std::collections::{HashMap, VecDeque};

use thiserror::Error;

use crate::hash;
use crate::values::Stamp;

/// One key in so many is watched.
pub const SAMPLE_ONE_IN: u64 = 64;
/// Keys that one worker watches at most; further ones are not watched.
const WATCHED_MAX: usize = 1 << 20;
/// Selects the sample; shares nothing with the hash that places keys on servers, else all watched
/// keys could lie on one server.
const SAMPLE: u64 = 0x9B05_688C_2B3E_6C1F;

/// What a read that is sent now may not return. The default forbids nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// Own writes up to here are not judged.
    forgotten: u64,
    /// Own writes from there up to here are stale, and so is the loaded value; `None` forbids nothing.
    threshold: Option<u64>,
}

/// A read returned what it could not return from a store that keeps its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "stale read of record {record}: it returned write {sequence} of this worker (0 = the load) \
     although a later one had been acknowledged before it was sent"
)]
pub struct StaleRead {
    /// The record that was read.
    pub record: u64,
    /// The sequence of the value that came; 0 is the loaded value.
    pub sequence: u64,
}

/// A write above the threshold.
#[derive(Clone, Copy, Debug)]
struct OwnWrite {
    sequence: u64,
    /// The newest sequence sent on this key when the answer came; `None` until then.
    acknowledged_at: Option<u64>,
}

/// One watched key.
///
/// Invariants:
/// 1. `recent` is ordered by sequence and holds all writes above `floor.threshold` and
///    `floor.forgotten`.
/// 2. `floor.threshold` is `None` exactly if no write above `floor.forgotten` was acknowledged.
#[derive(Clone, Debug, Default)]
struct Watched {
    floor: Floor,
    newest_sent: u64,
    newest_acknowledged: u64,
    recent: VecDeque<OwnWrite>,
}

impl Watched {
    fn sent(&mut self, sequence: u64) {
        self.newest_sent = sequence;
        self.recent.push_back(OwnWrite {
            sequence,
            acknowledged_at: None,
        });
    }

    fn acknowledged(&mut self, sequence: u64) {
        let Ok(place) = self
            .recent
            .binary_search_by_key(&sequence, |write| write.sequence)
        else {
            return; // forgotten since it was sent
        };
        self.recent[place].acknowledged_at = Some(self.newest_sent);
        self.newest_acknowledged = self.newest_acknowledged.max(sequence);
        let mut threshold = self.floor.threshold.unwrap_or(self.floor.forgotten);
        while let Some(&OwnWrite {
            sequence,
            acknowledged_at: Some(at),
        }) = self.recent.front()
            && at < self.newest_acknowledged
        {
            threshold = sequence;
            self.recent.pop_front();
        }
        self.floor.threshold = Some(threshold);
    }

    fn forget(&mut self) {
        self.recent.clear();
        self.floor = Floor {
            forgotten: self.newest_sent,
            threshold: None,
        };
    }
}

/// One worker's memory of its writes to the watched keys.
#[derive(Clone, Debug)]
pub struct Witness {
    run: u16,
    writer: u16,
    watched: HashMap<u64, Watched>,
}

impl Witness {
    /// Nothing written yet by `writer` in `run`.
    pub fn new(run: u16, writer: u16) -> Self {
        Self {
            run,
            writer,
            watched: HashMap::new(),
        }
    }

    /// Whether a record is watched. Only for those need the other functions be called.
    #[inline]
    pub fn is_sampled(record: u64) -> bool {
        hash::fold(record ^ SAMPLE, hash::GOLDEN) < u64::MAX / SAMPLE_ONE_IN
    }

    /// A put of `record` with this `sequence` (1 or more, growing) is about to be sent.
    pub fn write_sent(&mut self, record: u64, sequence: u64) {
        if self.watched.len() >= WATCHED_MAX && !self.watched.contains_key(&record) {
            return;
        }
        let fresh = || Watched {
            floor: Floor {
                forgotten: sequence - 1,
                threshold: None,
            },
            ..Watched::default()
        };
        self.watched
            .entry(record)
            .or_insert_with(fresh)
            .sent(sequence);
    }

    /// The put was answered: stored.
    pub fn write_acknowledged(&mut self, record: u64, sequence: u64) {
        if let Some(watched) = self.watched.get_mut(&record) {
            watched.acknowledged(sequence);
        }
    }

    /// A delete of `record` is about to be sent, or a put of it was refused or got no answer.
    pub fn forget(&mut self, record: u64) {
        if let Some(watched) = self.watched.get_mut(&record) {
            watched.forget();
        }
    }

    /// A get of `record` is about to be sent; the result is to be kept until its answer.
    pub fn read_sent(&self, record: u64) -> Floor {
        self.watched
            .get(&record)
            .map_or_else(Floor::default, |watched| watched.floor)
    }

    /// The get was answered with a value of this stamp (`None`: no value, or one too short for a
    /// stamp). Another run's value is not judged here.
    ///
    /// # Errors
    /// When `floor` forbids it.
    pub fn read_answered(
        &self,
        record: u64,
        floor: Floor,
        stamp: Option<Stamp>,
    ) -> Result<(), StaleRead> {
        let (Some(stamp), Some(threshold)) = (stamp, floor.threshold) else {
            return Ok(());
        };
        let loaded = stamp.sequence == 0;
        let own = stamp.writer == self.writer;
        let judged = floor.forgotten < stamp.sequence && stamp.sequence <= threshold;
        if stamp.run == self.run && (loaded || own && judged) {
            return Err(StaleRead {
                record,
                sequence: stamp.sequence,
            });
        }
        Ok(())
    }
}
