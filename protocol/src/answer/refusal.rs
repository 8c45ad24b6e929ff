//! Why operations are refused.

use crate::frame::Malformed;
use crate::wire::Reader;

/// The reason behind which a version stands.
pub(crate) const VERSION_MISMATCH: u8 = 9;

/// Why an operation was refused. But for [`Unsettled`](Self::Unsettled) it was certainly not applied, this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The put needs more memory than the server may use.
    #[error("the server's memory limit is reached")]
    OutOfMemory,
    /// The group has a flag set that this server does not know.
    #[error("the group has a flag that the server does not know")]
    UnknownFlag,
    /// The group asks for what only a cluster has.
    #[error("the server is in no cluster: it has no streams, no levels and no versions")]
    NoCluster,
    /// Nobody leads the partition at the moment.
    #[error("the partition has no leader at the moment")]
    NoLeader,
    /// What waits, or must be remembered, is at its bound.
    #[error("the partition is busy: try again when groups have been answered")]
    Busy,
    /// Whether the group takes effect is not decided, since its leader has changed. With a sequence it can be sent
    /// again; without one nobody can tell.
    #[error(
        "the partition's leader has changed before the group was agreed on: it may take effect, or not"
    )]
    Unsettled,
    /// The stream was not opened in this partition, or nothing came of it for long. Whether the group took effect
    /// when it was sent before is unknown.
    #[error("the partition does not know the stream")]
    StreamExpired,
    /// The number is below the lowest that the stream's client waits for.
    #[error("the group was answered before, as its stream says")]
    Answered,
    /// The number is too far above the lowest that the stream's client waits for.
    #[error("the group is too far ahead of the stream's lowest unanswered one")]
    TooFarAhead,
    /// The record has another version than the put asks for.
    #[error("the record has version {found}")]
    VersionMismatch {
        /// The version found; 0 = there is no record.
        found: u64,
    },
    /// The get was answered once, with a value too long to be remembered for groups that are sent again; the writes
    /// of its group have taken effect.
    #[error("the get was answered before, and its value was too long to be remembered")]
    Forgotten,
    /// The put's value leaves no room for its version.
    #[error("the value is too long for a record with a version")]
    ValueTooLong,
}

impl Refusal {
    /// How the reason is called on the wire.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::OutOfMemory => 0,
            Self::UnknownFlag => 1,
            Self::NoCluster => 2,
            Self::NoLeader => 3,
            Self::Busy => 4,
            Self::Unsettled => 5,
            Self::StreamExpired => 6,
            Self::Answered => 7,
            Self::TooFarAhead => 8,
            Self::VersionMismatch { .. } => VERSION_MISMATCH,
            Self::Forgotten => 10,
            Self::ValueTooLong => 11,
        }
    }

    /// The reason that is called so, with the version that it tells, if it does.
    pub(crate) fn of(code: u8, found: u64) -> Option<Self> {
        Some(match code {
            0 => Self::OutOfMemory,
            1 => Self::UnknownFlag,
            2 => Self::NoCluster,
            3 => Self::NoLeader,
            4 => Self::Busy,
            5 => Self::Unsettled,
            6 => Self::StreamExpired,
            7 => Self::Answered,
            8 => Self::TooFarAhead,
            VERSION_MISMATCH => Self::VersionMismatch { found },
            10 => Self::Forgotten,
            11 => Self::ValueTooLong,
            _ => return None,
        })
    }

    /// Whether the same group may be taken later.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(
            self,
            Self::NoLeader | Self::Busy | Self::Unsettled | Self::TooFarAhead
        )
    }
}

/// Reads a reason, and what stands behind it.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Refusal, Malformed> {
    let code = reader.byte("refusal reason")?;
    let found = match code {
        VERSION_MISMATCH => reader.varint("version found")?,
        _ => 0,
    };
    Refusal::of(code, found).ok_or(Malformed::Unknown {
        what: "refusal reason",
        value: code.into(),
    })
}
