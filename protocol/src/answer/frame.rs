//! Frames of answers as they are read.

use super::{
    Answer, Freshness, Position, TAG_DELETED, TAG_MISSING, TAG_OPENED, TAG_REFERENCE, TAG_REFUSED,
    TAG_STORED, TAG_STORED_AS, TAG_VALUE, TAG_WRONG_OWNER, refusal,
};
use crate::frame::{Malformed, TAG_ANSWER, TAG_FRESH_ANSWER, TAG_TIMED_ANSWER, within};
use crate::limits::{
    FRAME_BYTES, GROUPS_PER_REQUEST_MAX, OPERATIONS_PER_GROUP_MAX, VALUE_BYTES_MAX,
};
use crate::map::Ownership;
use crate::wire::Reader;
use std::time::Duration;

/// One frame of answers, read piece by piece and answer by answer.
#[derive(Debug, Clone, Copy)]
pub struct AnswerFrame<'a> {
    /// The request that is answered.
    pub id: u64,
    /// Whether the request's last answer is in this frame.
    pub last: bool,
    /// What was read as references so far.
    pub references: References,
    /// How long the server took, where it tells.
    pub server_time: Option<Duration>,
    /// How fresh the answers are, where the server tells.
    pub freshness: Option<Freshness>,
    pieces_left: u16,
    answers_left: u16,
    reader: Reader<'a>,
}

/// Answers that refer back to a value in their frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct References {
    /// Number of them.
    pub answers: u64,
    /// Bytes of the values that were not sent again.
    pub value_bytes: u64,
}

impl std::ops::AddAssign for References {
    fn add_assign(&mut self, other: Self) {
        self.answers += other.answers;
        self.value_bytes += other.value_bytes;
    }
}

impl std::ops::Sub for References {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            answers: self.answers - earlier.answers,
            value_bytes: self.value_bytes - earlier.value_bytes,
        }
    }
}

/// What stands in front of a piece's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The first answered operation.
    pub first: Position,
    /// Number of answers.
    pub answers: u16,
}

impl<'a> AnswerFrame<'a> {
    /// Reads the frame's header.
    ///
    /// # Errors
    /// When the body is no answer or ends inside its header.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { bytes: body, at: 0 };
        let tag = match body.first() {
            Some(&tag @ (TAG_TIMED_ANSWER | TAG_FRESH_ANSWER)) => tag,
            _ => TAG_ANSWER,
        };
        let (id, last, pieces_left) = reader.header(tag, "piece count")?;
        let server_time = match tag {
            TAG_ANSWER => None,
            _ => Some(Duration::from_nanos(reader.number("server time")?)),
        };
        let freshness = match tag {
            TAG_FRESH_ANSWER => Some(read_freshness(&mut reader)?),
            _ => None,
        };
        Ok(Self {
            id,
            last,
            references: References::default(),
            server_time,
            freshness,
            pieces_left,
            answers_left: 0,
            reader,
        })
    }

    /// The next piece's header, or `None` behind the last. The answers of the piece before must
    /// have been read.
    ///
    /// # Errors
    /// When the header is not allowed, or bytes are left behind the last piece.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, Malformed> {
        debug_assert_eq!(self.answers_left, 0);
        if self.pieces_left == 0 {
            self.reader.end()?;
            return Ok(None);
        }
        let group = self.reader.count(GROUPS_PER_REQUEST_MAX - 1, "group")? as u32;
        let operation = self
            .reader
            .count(OPERATIONS_PER_GROUP_MAX - 1, "first operation")? as u32;
        let answers = u16::from_le_bytes(self.reader.array("answer count")?);
        within(
            "answer count",
            answers.into(),
            1,
            OPERATIONS_PER_GROUP_MAX - operation as usize,
        )?;
        self.pieces_left -= 1;
        self.answers_left = answers;
        Ok(Some(Piece {
            first: Position { group, operation },
            answers,
        }))
    }

    /// The piece's next answer, or `None` behind its last.
    ///
    /// # Errors
    /// When the answer is not allowed.
    #[inline(always)]
    pub fn next_answer(&mut self) -> Result<Option<Answer<'a>>, Malformed> {
        if self.answers_left == 0 {
            return Ok(None);
        }
        self.answers_left -= 1;
        let answer = match self.reader.byte("answer tag")? {
            TAG_VALUE => {
                let value_bytes = self.reader.count(VALUE_BYTES_MAX, "value length")?;
                Answer::Value(self.reader.slice(value_bytes, "value")?)
            }
            TAG_STORED => Answer::Stored,
            tag => self.rarer_answer(tag)?,
        };
        Ok(Some(answer))
    }

    /// Apart, so that values and stored puts are told by a comparison each.
    #[inline(never)]
    fn rarer_answer(&mut self, tag: u8) -> Result<Answer<'a>, Malformed> {
        Ok(match tag {
            TAG_MISSING => Answer::Missing,
            TAG_DELETED => Answer::Deleted {
                existed: self.reader.flag("existed mark")?,
            },
            TAG_REFUSED => Answer::Refused(refusal::read(&mut self.reader)?),
            TAG_WRONG_OWNER => Answer::WrongOwner(Ownership {
                owner: self.reader.count(u32::MAX as usize, "owner")? as u32,
                epoch: self.reader.varint("epoch")?,
            }),
            TAG_REFERENCE => Answer::Value(self.read_reference()?),
            TAG_OPENED => Answer::Opened {
                stream: self.reader.varint("stream")?,
            },
            TAG_STORED_AS => Answer::StoredAs {
                version: self.reader.varint("version")?,
            },
            tag => {
                return Err(Malformed::Unknown {
                    what: "answer tag",
                    value: u64::from(tag),
                });
            }
        })
    }

    /// The value that the reference whose tag was just read leads to.
    #[inline(never)]
    fn read_reference(&mut self) -> Result<&'a [u8], Malformed> {
        let at = self.reader.at - 1;
        let distance = self.reader.count(FRAME_BYTES, "distance")?;
        within("distance", distance, 1, at)?;
        let mut earlier = Reader {
            bytes: &self.reader.bytes[..at],
            at: at - distance,
        };
        let tag = earlier.byte("answer tag")?;
        if tag != TAG_VALUE {
            return Err(Malformed::Unknown {
                what: "tag of an answer that is referred to",
                value: tag.into(),
            });
        }
        let value_bytes = earlier.count(VALUE_BYTES_MAX, "value length")?;
        let value = earlier.slice(value_bytes, "value that is referred to")?;
        self.references += References {
            answers: 1,
            value_bytes: value_bytes as u64,
        };
        Ok(value)
    }
}

#[cold]
fn read_freshness(reader: &mut Reader<'_>) -> Result<Freshness, Malformed> {
    Ok(Freshness {
        entry: reader.number("entry")?,
        behind: reader.number("entries behind")?,
        heard: Duration::from_nanos(reader.number("time since the leader was heard")?),
    })
}
