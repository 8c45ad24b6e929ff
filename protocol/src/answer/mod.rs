//! Answers: pieces of groups, in any order of groups, in order within a group.
//!
//! ```text
//! Answer := tag 6 | request id | last: 0 or 1 | pieces: 2 bytes | piece ...
//! piece  := group | first | answers: 2 bytes | answer ...
//! answer := 0 value              the get's value
//!         | 1                    missing: the get found nothing
//!         | 2                    stored
//!         | 3 existed: 0 or 1    deleted, with or without effect
//!         | 4 reason: 1 byte     refused; behind reason 9 stands the version found, see [`Refusal`]
//!         | 5 owner epoch        wrong owner, certainly not applied
//!         | 6 distance           the get's value: that of the answer whose first byte is `distance`
//!                                bytes before this one's, in the same frame and with tag 0
//!         | 7 stream             the stream is open under this name
//!         | 8 version            stored, as this version of the record
//! ```
//!
//! Tags 7 and 8 answer groups that [ask](crate::options) to open a stream, and for versions.
//!
//! `group` is the group's number in its request, `first` the first answered operation's in that
//! group, both from 0. `last` stands on the frame that holds a request's last answer to be sent.
//!
//! References back (tag 6) are sent only where the feature
//! [`FEATURE_REFERENCES`](crate::control::FEATURE_REFERENCES) is in force. Each get is executed all the
//! same: a reference says that it read the same bytes as the one that it refers to.
//!
//! Where the feature [`FEATURE_SERVER_TIME`](crate::control::FEATURE_SERVER_TIME) is in force, every
//! answer frame tells how long the server took for it, and nothing else changes:
//!
//! ```text
//! TimedAnswer := tag 9 | request id | last | pieces: 2 bytes | server time: 8 bytes, nanoseconds | piece ...
//! ```
//!
//! The server's time begins when the request frame's last byte was read from the socket, and ends when
//! the answer frame was finished.
//!
//! Answers to a group that asks for the flag *any* come in frames that hold nothing of other groups, and
//! tell how fresh they are:
//!
//! ```text
//! FreshAnswer := tag 13 | request id | last | pieces: 2 bytes | server time: 8 bytes | entry: 8 bytes
//!                       | behind: 8 bytes | heard: 8 bytes | piece ...
//! ```
//!
//! Their server's time is 0 where that feature is not in force; the rest is [`Freshness`].

mod frame;
mod refusal;

pub use frame::{AnswerFrame, Piece, References};
pub use refusal::Refusal;
pub(crate) use refusal::VERSION_MISMATCH;

use crate::buffer::SendBuffer;
use crate::frame::{LENGTH_BYTES, TAG_ANSWER, TAG_FRESH_ANSWER, TAG_TIMED_ANSWER};
use crate::limits::{FRAME_BYTES, OPERATIONS_PER_GROUP_MAX, VALUE_BYTES_MAX};
use crate::map::Ownership;
use crate::seen::Seen;
use crate::wire::{VARINT_BYTES_MAX, varint_bytes};
use std::time::Duration;

const TAG_VALUE: u8 = 0;
const TAG_MISSING: u8 = 1;
const TAG_STORED: u8 = 2;
const TAG_DELETED: u8 = 3;
const TAG_REFUSED: u8 = 4;
const TAG_WRONG_OWNER: u8 = 5;
const TAG_REFERENCE: u8 = 6;
const TAG_OPENED: u8 = 7;
const TAG_STORED_AS: u8 = 8;

const PIECES_BYTES: usize = 2;
const SERVER_TIME_BYTES: usize = 8;
const PIECE_HEADER_BYTES_MAX: usize = 5 + 3 + 2;
/// Longest answer without a value: a wrong owner's.
const STATUS_BYTES_MAX: usize = 1 + 5 + VARINT_BYTES_MAX;
/// Longest reference: a frame of several answers has distances of 16 bits.
const REFERENCE_BYTES_MAX: usize = 1 + 3;

/// What became of one operation; a value borrows from the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The get's value.
    Value(&'a [u8]),
    /// The get found nothing.
    Missing,
    /// The put took effect.
    Stored,
    /// The delete took effect, or found nothing.
    Deleted {
        /// Whether there was something to delete.
        existed: bool,
    },
    /// Not applied.
    Refused(Refusal),
    /// Not applied: the partition belongs to another server, as this one knows.
    WrongOwner(Ownership),
    /// The stream is open.
    Opened {
        /// The name that its groups give, see [`Sequence`](crate::options::Sequence).
        stream: u64,
    },
    /// The put took effect, in a group that asks for versions.
    StoredAs {
        /// The record's version.
        version: u64,
    },
}

/// As of when a group was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Index of the partition's last entry that the replica had applied.
    pub entry: u64,
    /// Entries that it knew to be agreed on and had not applied.
    pub behind: u64,
    /// Time since it last heard of its leader: that long ago it was as fresh as it knew of; 0 on the leader.
    pub heard: Duration,
}

/// Which operation of its request an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The group's number in the request.
    pub group: u32,
    /// The operation's number in the group.
    pub operation: u32,
}

/// Writes one frame of answers straight into a send buffer.
///
/// An answer that does not fit is refused with `false` or `None`, and nothing of it is written; the
/// first of a frame always fits.
#[derive(Debug)]
pub struct AnswerWriter<'a> {
    out: &'a mut SendBuffer,
    /// Where references may lead; `None` where the client did not ask for them.
    seen: Option<&'a mut Seen>,
    frame_start: usize,
    /// Where the frame must end, unless it holds a single answer.
    frame_end: usize,
    pieces_at: usize,
    state: WriterState,
}

/// All that changes while answers are written, so that one can be taken back.
#[derive(Debug, Clone, Copy)]
struct WriterState {
    filled: usize,
    pieces: u16,
    /// Where the open piece's count stands; 0 when none is open.
    count_at: usize,
    answers: u16,
    next: Position,
    /// Where the last value's answer begins; it ends where nothing more is filled.
    value_at: usize,
}

/// A state of an [`AnswerWriter`] to go back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark(WriterState);

impl<'a> AnswerWriter<'a> {
    /// Begins a frame of answers to request `id` behind what waits in `out`.
    pub fn begin(out: &'a mut SendBuffer, id: u64) -> Self {
        let frame_start = out.begin_frame(FRAME_BYTES);
        out.put(&[TAG_ANSWER]);
        out.put_varint(id);
        out.put(&[0]);
        let pieces_at = out.filled;
        out.put(&[0; PIECES_BYTES]);
        let next = Position {
            group: 0,
            operation: 0,
        };
        let state = WriterState {
            filled: out.filled,
            pieces: 0,
            count_at: 0,
            answers: 0,
            next,
            value_at: 0,
        };
        Self {
            out,
            seen: None,
            frame_start,
            frame_end: frame_start + FRAME_BYTES,
            pieces_at,
            state,
        }
    }

    /// Keeps the frame within `frame_bytes`, where that is less than [`FRAME_BYTES`].
    #[must_use]
    pub fn within(mut self, frame_bytes: usize) -> Self {
        self.frame_end = self.frame_start + frame_bytes.min(FRAME_BYTES);
        self
    }

    /// Lets the frame's repeated values be references, if there is a `seen`.
    #[must_use]
    pub fn referring(mut self, mut seen: Option<&'a mut Seen>) -> Self {
        if let Some(seen) = &mut seen {
            seen.clear();
        }
        self.seen = seen;
        self
    }

    /// Makes the frame one that tells the server's time: to be called before the first answer.
    #[must_use]
    pub fn timed(mut self) -> Self {
        self.begin_as(TAG_TIMED_ANSWER);
        self.out.put(&[0; SERVER_TIME_BYTES]);
        self.state.filled = self.out.filled;
        self
    }

    /// Makes the frame one that tells the server's time, and how fresh its answers are, which are all of one
    /// group: to be called before the first answer, in place of [`timed`](Self::timed).
    #[must_use]
    pub fn fresh(mut self, freshness: Freshness) -> Self {
        self.begin_as(TAG_FRESH_ANSWER);
        self.out.put(&[0; SERVER_TIME_BYTES]);
        self.out.put(&freshness.entry.to_le_bytes());
        self.out.put(&freshness.behind.to_le_bytes());
        self.out.put(&nanos(freshness.heard).to_le_bytes());
        self.state.filled = self.out.filled;
        self
    }

    fn begin_as(&mut self, tag: u8) {
        debug_assert!(
            self.is_empty() && self.out.bytes[self.frame_start + LENGTH_BYTES] == TAG_ANSWER
        );
        self.out.patch(self.frame_start + LENGTH_BYTES, &[tag]);
    }

    /// Tells how long the server took, in a frame that is [`timed`](Self::timed) or [`fresh`](Self::fresh).
    pub fn took(&mut self, server_time: Duration) {
        debug_assert_ne!(self.out.bytes[self.frame_start + LENGTH_BYTES], TAG_ANSWER);
        let time_at = self.pieces_at + PIECES_BYTES;
        self.out.patch(time_at, &nanos(server_time).to_le_bytes());
    }

    /// Whether no answer has been written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.pieces == 0
    }

    /// Where the writer stands now; see [`rewind`](Self::rewind).
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.state)
    }

    /// Takes back every answer written since `mark`.
    #[inline]
    pub fn rewind(&mut self, mark: Mark) {
        self.state = mark.0;
    }

    /// Answers a get with a value of `value_bytes`, whose room is given to be filled in place.
    #[inline(always)]
    pub fn value(&mut self, position: Position, value_bytes: usize) -> Option<&mut [u8]> {
        debug_assert!(value_bytes <= VALUE_BYTES_MAX);
        let header_bytes = 1 + varint_bytes(value_bytes as u64);
        if !self.make_room(position, header_bytes + value_bytes) {
            return None;
        }
        let at = self.state.filled;
        self.out.bytes[at] = TAG_VALUE;
        let value_at = crate::wire::put_varint(&mut self.out.bytes, at + 1, value_bytes as u64);
        self.state.filled = value_at + value_bytes;
        self.state.value_at = at;
        Some(&mut self.out.bytes[value_at..value_at + value_bytes])
    }

    /// Makes the value that was just written a reference, if references are allowed and the frame
    /// holds the same bytes already. `record` tells where to look: any number that is the same for
    /// the same record, and seldom for others.
    #[inline]
    pub fn refer(&mut self, record: u64) {
        if self.seen.is_some() {
            self.refer_back(record);
        }
    }

    fn refer_back(&mut self, record: u64) {
        let Some(seen) = self.seen.as_deref_mut() else {
            return;
        };
        let (at, filled) = (self.state.value_at, self.state.filled);
        if filled - at <= REFERENCE_BYTES_MAX {
            return;
        }
        if let Some(offset) = seen.find(record) {
            let earlier = self.frame_start + offset;
            let (before, answer) = self.out.bytes[..filled].split_at(at);
            // What was remembered may have been taken back since.
            let known = before.get(earlier..).unwrap_or(&[]);
            if known.starts_with(answer) {
                let (bytes, distance) = (&mut self.out.bytes, at - earlier);
                bytes[at] = TAG_REFERENCE;
                self.state.filled = crate::wire::put_varint(bytes, at + 1, distance as u64);
                return;
            }
        }
        seen.set(record, at - self.frame_start);
    }

    /// Answers with anything; a value is copied.
    #[inline]
    pub fn answer(&mut self, position: Position, answer: Answer<'_>) -> bool {
        if let Answer::Value(value) = answer {
            let room = self.value(position, value.len());
            return room.map(|room| room.copy_from_slice(value)).is_some();
        }
        if !self.make_room(position, STATUS_BYTES_MAX) {
            return false;
        }
        let at = self.state.filled;
        let bytes = &mut self.out.bytes;
        self.state.filled = match answer {
            Answer::Value(_) | Answer::Missing => put2(bytes, at, TAG_MISSING, None),
            Answer::Stored => put2(bytes, at, TAG_STORED, None),
            Answer::Deleted { existed } => put2(bytes, at, TAG_DELETED, Some(existed.into())),
            Answer::Refused(reason) => {
                let at = put2(bytes, at, TAG_REFUSED, Some(reason.code()));
                match reason {
                    Refusal::VersionMismatch { found } => crate::wire::put_varint(bytes, at, found),
                    _ => at,
                }
            }
            Answer::Opened { stream: number } => put_number(bytes, at, TAG_OPENED, number),
            Answer::StoredAs { version: number } => put_number(bytes, at, TAG_STORED_AS, number),
            Answer::WrongOwner(known) => {
                let at = put2(bytes, at, TAG_WRONG_OWNER, None);
                let at = crate::wire::put_varint(bytes, at, known.owner.into());
                crate::wire::put_varint(bytes, at, known.epoch)
            }
        };
        true
    }

    /// Takes the whole frame back.
    pub fn discard(self) {
        self.out.filled = self.frame_start;
    }

    /// Ends the frame; `last` marks the frame with the request's last
    /// answer.
    pub fn finish(mut self, last: bool) {
        self.close_piece();
        self.out.filled = self.state.filled;
        self.out.patch(self.pieces_at - 1, &[u8::from(last)]);
        self.out
            .patch(self.pieces_at, &self.state.pieces.to_le_bytes());
        self.out.end_frame(self.frame_start);
    }

    #[inline]
    fn make_room(&mut self, position: Position, answer_bytes: usize) -> bool {
        let state = &mut self.state;
        let continues = state.count_at != 0 && state.next == position;
        if !continues || usize::from(state.answers) == OPERATIONS_PER_GROUP_MAX {
            return self.open_piece(position, answer_bytes);
        }
        let fits = state.filled + answer_bytes <= self.frame_end;
        state.answers += u16::from(fits);
        state.next.operation += u32::from(fits);
        fits
    }

    fn open_piece(&mut self, position: Position, answer_bytes: usize) -> bool {
        let needed = PIECE_HEADER_BYTES_MAX + answer_bytes;
        let full = self.state.filled + needed > self.frame_end || self.state.pieces == u16::MAX;
        if full && !self.is_empty() {
            return false;
        }
        self.close_piece();
        self.out.filled = self.state.filled;
        self.out.reserve(needed);
        self.out.put_varint(position.group.into());
        self.out.put_varint(position.operation.into());
        self.state.count_at = self.out.filled;
        self.out.put(&[0; 2]);
        self.state.filled = self.out.filled;
        self.state.pieces += 1;
        self.state.answers = 1;
        self.state.next = Position {
            group: position.group,
            operation: position.operation + 1,
        };
        true
    }

    fn close_piece(&mut self) {
        if self.state.count_at != 0 {
            self.out
                .patch(self.state.count_at, &self.state.answers.to_le_bytes());
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cold]
fn put_number(bytes: &mut [u8], at: usize, tag: u8, number: u64) -> usize {
    bytes[at] = tag;
    crate::wire::put_varint(bytes, at + 1, number)
}

/// Writes a tag and at most one byte more.
#[inline]
fn put2(bytes: &mut [u8], at: usize, tag: u8, detail: Option<u8>) -> usize {
    bytes[at] = tag;
    match detail {
        None => at + 1,
        Some(detail) => {
            bytes[at + 1] = detail;
            at + 2
        }
    }
}
