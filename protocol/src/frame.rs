//! How a stream of bytes is cut into frames, and what a frame may be.
//!
//! ```text
//! frame := length: u32 LE, bytes of the body | body
//! body  := one value of this enum, in bincode's format (the tag is a variable-length integer):
//!     0 ClientHello   1 ServerHello   2 CountersRequest   3 Counters   4 Error      see `control`
//!     5 Request                                                                     see `request`
//!     6 Answer                                                                      see `answer`
//!     7 StatusRequest   8 Status                                                    see `control`
//!     9 TimedAnswer                                                                 see `answer`
//!    10 PeerHello   11 OperatorHello   12 Map                                       see `hello`, `control`
//!    13 FreshAnswer                                                                 see `answer`
//!    14 OperatorRequest   15 OperatorAnswer                                         see `operator`
//!    20 JoinRequest   21 JoinAnswer                                                see `join`
//! ```
//!
//! A body that is not used up to its last byte is malformed. A frame longer than
//! [`REQUEST_FRAME_BYTES`](crate::limits::REQUEST_FRAME_BYTES) must hold exactly one operation, one
//! longer than [`FRAME_BYTES`](crate::limits::FRAME_BYTES) exactly one answer, or a map, or an answer to an
//! operator.

use crate::limits::FRAME_BYTES_MAX;

/// Bytes of the length in front of each body.
pub const LENGTH_BYTES: usize = 4;

pub(crate) const TAG_REQUEST: u8 = 5;
pub(crate) const TAG_ANSWER: u8 = 6;
const TAG_STATUS_REQUEST: u8 = 7;
const TAG_STATUS: u8 = 8;
pub(crate) const TAG_TIMED_ANSWER: u8 = 9;
const TAG_PEER_HELLO: u8 = 10;
const TAG_MAP: u8 = 12;
pub(crate) const TAG_FRESH_ANSWER: u8 = 13;
pub(crate) const TAG_OPERATOR_REQUEST: u8 = 14;
const TAG_OPERATOR_ANSWER: u8 = 15;
const TAG_JOIN_REQUEST: u8 = 20;
const TAG_JOIN_ANSWER: u8 = 21;

/// What a body is, by its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Hello, counters, status, map, error, or what an operator asks and is told: decode with [`Control::decode`](crate::Control::decode).
    Control,
    /// Operations: parse with [`RequestFrame::parse`](crate::RequestFrame::parse).
    Request,
    /// Answers: parse with [`AnswerFrame::parse`](crate::AnswerFrame::parse).
    Answer,
}

/// Why bytes from a peer are not what the protocol allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside the named part.
    #[error("the frame ends inside its {0}")]
    Truncated(&'static str),
    /// Bytes are left behind the body's last part.
    #[error("{0} bytes are left behind the end of the frame's content")]
    Trailing(usize),
    /// A tag or flag that has no meaning here.
    #[error("unknown {what} {value}")]
    Unknown {
        /// What was read.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A length or count outside what is allowed.
    #[error("{what} is {value}: allowed are {min} to {max}")]
    OutOfRange {
        /// What was read.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
    },
    /// A key that does not belong to the partition of its group.
    #[error("a key of partition {actual} stands in a group of partition {claimed}")]
    WrongPartition {
        /// The group's partition.
        claimed: u32,
        /// Where the key's hash places it.
        actual: u32,
    },
    /// A control frame that does not decode.
    #[error("a control frame does not decode")]
    Control,
}

/// What the body is, from its first byte.
///
/// # Errors
/// When the body is empty or its tag has no meaning.
#[inline]
pub fn kind(body: &[u8]) -> Result<Kind, Malformed> {
    match body.first() {
        None => Err(Malformed::Truncated("tag")),
        Some(
            0..TAG_REQUEST
            | TAG_STATUS_REQUEST..=TAG_STATUS
            | TAG_PEER_HELLO..=TAG_MAP
            | TAG_OPERATOR_REQUEST..=TAG_OPERATOR_ANSWER
            | TAG_JOIN_REQUEST..=TAG_JOIN_ANSWER,
        ) => Ok(Kind::Control),
        Some(&TAG_REQUEST) => Ok(Kind::Request),
        Some(&(TAG_ANSWER | TAG_TIMED_ANSWER | TAG_FRESH_ANSWER)) => Ok(Kind::Answer),
        Some(&tag) => Err(Malformed::Unknown {
            what: "frame tag",
            value: u64::from(tag),
        }),
    }
}

/// The length of the frame that `bytes` begin with, prefix included, or `None` while fewer than
/// [`LENGTH_BYTES`] are there.
///
/// # Errors
/// When the length is zero or makes the frame longer than [`FRAME_BYTES_MAX`].
#[inline]
pub fn frame_bytes(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some((prefix, _)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let body_bytes = u32::from_le_bytes(*prefix) as usize;
    within(
        "frame length",
        body_bytes,
        1,
        FRAME_BYTES_MAX - LENGTH_BYTES,
    )?;
    Ok(Some(LENGTH_BYTES + body_bytes))
}

#[inline]
pub(crate) fn within(
    what: &'static str,
    value: usize,
    min: usize,
    max: usize,
) -> Result<(), Malformed> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Malformed::OutOfRange {
        what,
        value: value as u64,
        min: min as u64,
        max: max as u64,
    })
}
