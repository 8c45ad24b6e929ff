//! What became of the writes of one group, as plain data.

use std::sync::Arc;
use wincode::{SchemaRead, SchemaWrite};

/// What became of one write, or of a get that a later write of its group makes unrepeatable.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Outcome {
    /// The put took effect, and its record has this version.
    Stored {
        /// The record's version.
        version: u64,
    },
    /// The delete was executed.
    Deleted {
        /// Whether there was something to delete.
        existed: bool,
    },
    /// The conditional put found another version than it asked for, and changed nothing.
    Mismatch {
        /// The version found; 0 = absent.
        found: u64,
    },
    /// The get's value.
    Value {
        /// The record's version.
        version: u64,
        /// The record's value.
        value: Box<[u8]>,
    },
    /// The get found nothing.
    Missing,
    /// The get was answered once with a value that was too long to remember; its group's writes
    /// have taken effect.
    Forgotten,
}

impl Outcome {
    /// What it takes in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let value_bytes = match self {
            Self::Value { value, .. } => value.len(),
            _ => 0,
        };
        size_of::<Self>() + value_bytes
    }
}

/// The outcomes of a group's writes, in their order.
pub type Outcomes = Arc<[Outcome]>;

/// Why a group, or the opening of a stream, changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream was not opened in this partition, or nothing came of it for
    /// [`STREAM_IDLE_MAX`](crate::limits::STREAM_IDLE_MAX). Whether the group took effect before, when it
    /// was sent for the first time, is unknown.
    #[error("the partition does not know the stream")]
    StreamExpired,
    /// The number is below the lowest unanswered one: the client has had its answer.
    #[error("the group was answered before, as its stream says")]
    Answered,
    /// The number is [`NUMBERS_AHEAD_MAX`](crate::limits::NUMBERS_AHEAD_MAX) or more above the lowest
    /// unanswered one. Certainly not applied.
    #[error("the group is too far ahead of the stream's lowest unanswered one")]
    TooFarAhead,
    /// What must be remembered is at its bound: of the stream, or of the partition. Certainly not applied.
    #[error("the partition remembers as much as it may: try again when groups have been answered")]
    Full,
}
