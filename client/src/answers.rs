//! What became of a batch's operations.

use crate::batch::Batch;
use crate::error::ConnectionError;
use batchkv_protocol::map::Ownership;
use batchkv_protocol::{Answer, Freshness, Refusal};
use std::sync::Arc;

/// What became of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The get's value.
    Value(&'a [u8]),
    /// The get found nothing.
    Missing,
    /// The value of a [get with its version](crate::Batch::get_with_version).
    Versioned {
        /// The value.
        value: &'a [u8],
        /// The record's version.
        version: u64,
    },
    /// The put took effect.
    Stored,
    /// The [put on condition](crate::Batch::put_if) took effect.
    StoredAs {
        /// The record's version.
        version: u64,
    },
    /// The delete took effect, or found nothing.
    Deleted {
        /// Whether there was something to delete.
        existed: bool,
    },
    /// Certainly not applied, for this reason.
    Refused(Refusal),
    /// Certainly not applied: the server says that the key's partition belongs to another.
    WrongOwner(Ownership),
    /// The connection was lost before an answer came: it may have taken effect, once, or not.
    Unknown,
    /// The connection was lost before the operation was sent: certainly not applied.
    NotSent,
}

/// The outcomes of a batch, in its order.
#[derive(Debug, Default)]
pub struct Answers {
    /// Where each operation's outcome is.
    spots: Vec<Spot>,
    replies: Vec<Reply>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    reply: u32,
    index: u32,
}

/// The outcomes of one request, in send order.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    kept: Vec<Kept>,
    values: Vec<u8>,
    lost: Option<Arc<ConnectionError>>,
    /// How fresh the answers are, where the server has told.
    pub(crate) freshness: Option<Freshness>,
}

/// An outcome that owns what it says, except for a value's bytes.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Value {
        at: usize,
        bytes: u32,
    },
    /// A value with its version behind it, which `bytes` does not count.
    Versioned {
        at: usize,
        bytes: u32,
    },
    Missing,
    Stored,
    StoredAs(u64),
    Deleted {
        existed: bool,
    },
    Refused(Refusal),
    WrongOwner(Ownership),
    Unknown,
    NotSent,
}

impl Answers {
    pub(crate) fn with_operations(operations: usize) -> Self {
        Self {
            spots: vec![Spot::default(); operations],
            replies: Vec::new(),
        }
    }

    /// A batch that was not sent, for this reason.
    pub(crate) fn refused(batch: &Batch, reason: Refusal) -> Self {
        let operations: Vec<u32> = (0..batch.len() as u32).collect();
        let mut answers = Self::with_operations(batch.len());
        answers.add(&operations, Reply::refused(batch.len(), reason));
        answers
    }

    /// Adds the outcomes of a request that held these operations of the batch, in send order.
    pub(crate) fn add(&mut self, operations: &[u32], reply: Reply) {
        let number = self.replies.len() as u32;
        for (index, &operation) in (0..).zip(operations) {
            let reply = number;
            self.spots[operation as usize] = Spot { reply, index };
        }
        self.replies.push(reply);
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spots.len()
    }

    /// Whether the batch was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spots.is_empty()
    }

    /// The outcome of operation `index` of the batch, or `None` when it has no such operation.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Outcome<'_>> {
        let spot = self.spots.get(index)?;
        Some(self.replies[spot.reply as usize].outcome(spot.index as usize))
    }

    /// The operations that were sent to a server which does not own their partition, and the owner that it
    /// named.
    pub(crate) fn wrong_owners(&self) -> impl Iterator<Item = (u32, Ownership)> {
        let outcomes = (0..).zip(self.iter());
        outcomes.filter_map(|(index, outcome)| match outcome {
            Outcome::WrongOwner(known) => Some((index, known)),
            _ => None,
        })
    }

    /// All outcomes, in the batch's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Outcome<'_>> {
        self.spots
            .iter()
            .map(|spot| self.replies[spot.reply as usize].outcome(spot.index as usize))
    }

    /// How fresh the outcome of operation `index` is, where the server has told: with
    /// [`Reads::Any`](crate::Reads::Any).
    #[must_use]
    pub fn freshness(&self, index: usize) -> Option<Freshness> {
        let spot = self.spots.get(index)?;
        self.replies[spot.reply as usize].freshness
    }

    /// Why some outcomes are [`Unknown`](Outcome::Unknown) or [`NotSent`](Outcome::NotSent): the
    /// first lost connection, or `None` when every operation was answered.
    #[must_use]
    pub fn lost(&self) -> Option<&Arc<ConnectionError>> {
        self.replies.iter().find_map(Reply::lost)
    }
}

impl Reply {
    /// A request of so many operations, none of them sent.
    pub(crate) fn with_operations(operations: usize) -> Self {
        Self {
            kept: vec![Kept::NotSent; operations],
            values: Vec::new(),
            lost: None,
            freshness: None,
        }
    }

    /// Why answers are missing, if some are.
    pub(crate) fn lost(&self) -> Option<&Arc<ConnectionError>> {
        self.lost.as_ref()
    }

    /// A request of so many operations, all refused for the same reason.
    pub(crate) fn refused(operations: usize, reason: Refusal) -> Self {
        Self {
            kept: vec![Kept::Refused(reason); operations],
            ..Self::default()
        }
    }

    /// A request that found no connection.
    pub(crate) fn not_sent(operations: usize, cause: Arc<ConnectionError>) -> Self {
        Self {
            lost: Some(cause),
            ..Self::with_operations(operations)
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, index: usize, answer: Answer<'_>) {
        self.kept[index] = match answer {
            Answer::Value(value) => {
                let at = self.values.len();
                self.values.extend_from_slice(value);
                let bytes = value.len() as u32;
                Kept::Value { at, bytes }
            }
            Answer::Missing => Kept::Missing,
            Answer::Stored => Kept::Stored,
            Answer::StoredAs { version } => Kept::StoredAs(version),
            Answer::Deleted { existed } => Kept::Deleted { existed },
            Answer::Refused(reason) => Kept::Refused(reason),
            Answer::WrongOwner(known) => Kept::WrongOwner(known),
            // No operation is answered so.
            Answer::Opened { .. } => return,
        };
    }

    /// Takes a value with its version, of 8 bytes as they came.
    pub(crate) fn take_version(&mut self, index: usize, value: &[u8], version: &[u8]) {
        let at = self.values.len();
        self.values.extend_from_slice(value);
        self.values.extend_from_slice(version);
        let bytes = value.len() as u32;
        self.kept[index] = Kept::Versioned { at, bytes };
    }

    /// Ends the request without the answers that are still missing; the first `sent` operations may
    /// have reached the server.
    pub(crate) fn lose(&mut self, sent: usize, cause: Arc<ConnectionError>) {
        for kept in &mut self.kept[..sent] {
            if matches!(kept, Kept::NotSent) {
                *kept = Kept::Unknown;
            }
        }
        self.lost = Some(cause);
    }

    /// All outcomes, in send order.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = Outcome<'_>> {
        (0..self.kept.len()).map(|index| self.outcome(index))
    }

    fn outcome(&self, index: usize) -> Outcome<'_> {
        match self.kept[index] {
            Kept::Value { at, bytes } => Outcome::Value(&self.values[at..at + bytes as usize]),
            Kept::Versioned { at, bytes } => {
                let (value, rest) = self.values[at..].split_at(bytes as usize);
                let version = rest.first_chunk().copied().unwrap_or_default();
                Outcome::Versioned {
                    value,
                    version: u64::from_le_bytes(version),
                }
            }
            Kept::Missing => Outcome::Missing,
            Kept::Stored => Outcome::Stored,
            Kept::StoredAs(version) => Outcome::StoredAs { version },
            Kept::Deleted { existed } => Outcome::Deleted { existed },
            Kept::Refused(reason) => Outcome::Refused(reason),
            Kept::WrongOwner(known) => Outcome::WrongOwner(known),
            Kept::Unknown => Outcome::Unknown,
            Kept::NotSent => Outcome::NotSent,
        }
    }
}
