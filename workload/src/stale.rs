//! The stale-read rule: a valid value is not yet a right one. A server that drops every put would
//! answer with nothing but valid values.
//!
//! A worker remembers its own writes, one word a record. *Before* means: the one's answer had come when the
//! other was sent; what overlaps has no order. The rule, for one record and one worker ("I"):
//!
//! 1. A read that is sent after a write or delete of mine was acknowledged never returns the loaded value,
//!    nor another run's.
//! 2. Let F be a write or delete of mine that was acknowledged when a read is sent. The read never returns a
//!    write of mine that was acknowledged before F was sent.
//!
//! It is sound for every linearizable store, whatever others write meanwhile: F took effect before the
//! read and after all that was acknowledged before F was sent, and an overwritten value, being unique,
//! cannot return. A delete writes nothing, and counts with a sequence of its own.
//!
//! Writes are numbered by their sequence, which grows with each sending, so no clock is needed. What was
//! acknowledged when F was sent is known as a mark: all writes of mine up to it, of whatever record, were. It
//! stands below the oldest request that has not ended, so the rule sees what is a round trip old; a request that
//! never ends, or has a write that was refused, holds it back for ever. That misses alarms, and never makes
//! false ones.

use std::collections::VecDeque;

use crate::hash;
use crate::values::Stamp;

/// Records below this have a word each, so that every one is watched.
const EACH_WATCHED_MAX: u64 = 1 << 24;
/// Of more records so many are watched, those that were written last.
const PLACES: usize = 1 << 23;
/// Of these so many are remembered by their number as well, chosen by their hash.
const SOME_MAX: usize = 1 << 16;
const SOME_ONE_IN: u64 = 64;

/// What a read that is sent now may not return: 0 = nothing is known; else loaded values, and my own of
/// lower sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor(u32);

impl Floor {
    /// Whether a write or delete of mine had been acknowledged.
    #[inline]
    pub fn is_known(self) -> bool {
        self.0 > 0
    }

    /// Whether the floor of a read, known when it was sent, forbids a value of this stamp, if `writer` in `run` is me.
    #[inline]
    pub fn forbids(self, run: u16, writer: u16, stamp: Stamp) -> bool {
        let mine = stamp.writer == writer && stamp.sequence < u64::from(self.0);
        self.is_known() && (stamp.run != run || stamp.sequence == 0 || mine)
    }
}

/// A request of mine that has writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// One worker's memory of its writes.
///
/// Invariants:
/// 1. `under_way` has the requests that have begun, from the oldest one that has not ended; request `ended + k`
///    has place k, with its first write's sequence and whether it has ended.
/// 2. All writes below the first sequence of the front were acknowledged, and all writes if there is none.
#[derive(Clone, Debug)]
pub struct Witness {
    words: Words,
    under_way: VecDeque<(u64, bool)>,
    ended: u64,
}

/// A floor for each watched record.
#[derive(Clone, Debug)]
enum Words {
    /// By record; those beyond are 0.
    Each(Vec<u32>),
    /// By hash: the upper half names the record, the lower is its floor; and some of the records.
    Places(Vec<u64>, Vec<u64>),
}

impl Witness {
    /// Nothing written yet, of about so many records.
    pub fn new(records: u64) -> Self {
        let words = match records {
            0..EACH_WATCHED_MAX => Words::Each(vec![0; records as usize]),
            _ => Words::Places(vec![0; PLACES], Vec::new()),
        };
        Self {
            words,
            under_way: VecDeque::new(),
            ended: 0,
        }
    }

    /// A request is about to send its first write or delete, which has this `sequence` (1 or more, growing).
    pub fn begin(&mut self, sequence: u64) -> Ticket {
        self.under_way.push_back((sequence, false));
        Ticket(self.ended + self.under_way.len() as u64 - 1)
    }

    /// All writes of the request were acknowledged.
    pub fn end(&mut self, ticket: Ticket) {
        let place = ticket.0.checked_sub(self.ended);
        if let Some(request) = place.and_then(|place| self.under_way.get_mut(place as usize)) {
            request.1 = true;
        }
        while let Some((_, true)) = self.under_way.front() {
            self.under_way.pop_front();
            self.ended += 1;
        }
    }

    /// A write or delete of a request that has [begun](Self::begin) is about to be sent with this `sequence`;
    /// the result is to be kept until its answer.
    #[inline]
    pub fn write_sent(&self, sequence: u64) -> Floor {
        let first = self.under_way.front().map_or(sequence, |(first, _)| *first);
        Floor(u32::try_from(first).unwrap_or(u32::MAX))
    }

    /// The write or delete was acknowledged.
    #[inline]
    pub fn write_acknowledged(&mut self, record: u64, floor: Floor) {
        match &mut self.words {
            Words::Each(words) => {
                let place = record as usize;
                if place >= words.len() {
                    if record >= EACH_WATCHED_MAX {
                        return;
                    }
                    words.resize((place + 1).next_power_of_two(), 0);
                }
                words[place] = words[place].max(floor.0);
            }
            Words::Places(places, some) => {
                let (place, name) = place_of(record);
                if name % SOME_ONE_IN == 0 && some.len() < SOME_MAX && places[place] >> 32 != name {
                    some.push(record);
                }
                let before = match places[place] {
                    word if word >> 32 == name => word as u32,
                    _ => 0,
                };
                places[place] = name << 32 | u64::from(before.max(floor.0));
            }
        }
    }

    /// Gets of these records are about to be sent; what is added to `floors` is to be kept until their answers.
    #[inline]
    pub fn reads_sent(&self, records: impl Iterator<Item = u64>, floors: &mut Vec<Floor>) {
        match &self.words {
            Words::Each(words) => floors.extend(records.map(|record| {
                let word = words.get(record as usize);
                Floor(word.copied().unwrap_or(0))
            })),
            Words::Places(places, _) => floors.extend(records.map(|record| {
                let (place, name) = place_of(record);
                let word = places[place];
                Floor(if word >> 32 == name { word as u32 } else { 0 })
            })),
        }
    }

    /// The records that I wrote, as far as they are known; at most `most`, evenly chosen.
    pub fn written(&self, most: usize) -> (u64, Vec<u64>) {
        let words = match &self.words {
            Words::Each(words) => words,
            Words::Places(places, some) => {
                let count = places.iter().filter(|word| **word as u32 > 0).count();
                return (count as u64, some.iter().take(most).copied().collect());
            }
        };
        let written = || (0..).zip(words).filter(|(_, floor)| **floor > 0);
        let count = written().count();
        let step = count.div_ceil(most.max(1)).max(1);
        let chosen = written().map(|(record, _)| record).step_by(step);
        (count as u64, chosen.collect())
    }
}

/// A record's place among the hashed ones, and 32 bits that name it there.
#[inline]
fn place_of(record: u64) -> (usize, u64) {
    let hash = hash::mix(record ^ hash::GOLDEN);
    (hash as usize % PLACES, hash >> 32)
}
