//! What a group asks for beside its operations: its flags, and what stands in front of its operations for them.
//!
//! ```text
//! flags   := sum of   1 sequence   2 any   4 all   8 leader   16 versions   32 opens
//! options := [stream number floor]  where there is a sequence
//!            [entry]                where it is any
//! ```
//!
//! The options are counted in the group's `length`, so whoever knows no flag skips them with the operations.
//! They are for servers with the feature [`FEATURE_CLUSTER`](crate::control::FEATURE_CLUSTER); others refuse the
//! group.
//!
//! - *sequence*: the group may be sent again, with the same number and the same operations, until its
//!   answer has come. It takes effect once.
//! - *any*: a group that only reads may be answered by any replica that has applied `entry`. Answers come in
//!   frames that tell [how fresh](crate::answer::Freshness) they are, those of a group that writes too.
//! - *all* or *leader*, not both: how many members must have the group's writes before it is answered, see
//!   [`Ack`].
//! - *versions*: a get's value has the record's version behind it, as 8 bytes; a put is answered with the
//!   version that it made. A put's value has 8 bytes behind it, which are not stored: the version that the
//!   record must have, 0 = absent, [`ANY_VERSION`] = whatever it has. Versions are little-endian.
//! - *opens*, alone: the group opens a stream, whose name is its one answer. In place of an operation stand
//!   the 3 bytes `3 0 0`.

use crate::frame::{Malformed, within};
use crate::limits::OPENING_BYTES;
use crate::wire::{Reader, VARINT_BYTES_MAX, put_varint};
use wincode::{SchemaRead, SchemaWrite};

/// Flag: the group may be sent again.
pub const SEQUENCE: u8 = 1;
const ANY: u8 = 2;
const ALL: u8 = 4;
const LEADER: u8 = 8;
/// Flag: values come with versions.
pub const VERSIONS: u8 = 16;
/// Flag: the group opens a stream.
pub const OPENS: u8 = 32;
const KNOWN: u8 = SEQUENCE | ANY | ALL | LEADER | VERSIONS | OPENS;

/// Bytes of a version behind a value.
pub const VERSION_BYTES: usize = size_of::<u64>();
/// In place of the version that a put's record must have: whatever it has.
pub const ANY_VERSION: u64 = u64::MAX;

/// What stands in place of an operation in a group that opens a stream.
pub(crate) const OPENING: [u8; OPENING_BYTES] = [3, 0, 0];
/// Longest options: three integers of a sequence, and an entry.
pub(crate) const OPTIONS_BYTES_MAX: usize = 4 * VARINT_BYTES_MAX;

/// Which group of which stream this is, and what its client still waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Sequence {
    /// The stream, as its opening was answered.
    pub stream: u64,
    /// The group's number among the stream's groups of this partition, rising from 0.
    pub number: u64,
    /// The lowest number that the client has no answer of, at most `number`.
    pub floor: u64,
}

/// How many members must have a group's writes before it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Ack {
    /// A majority: nothing acknowledged is lost while a majority lives.
    #[default]
    Quorum,
    /// All voters.
    All,
    /// The leader alone: may be lost when it dies. Holds for groups whose writes are unconditional puts; others are
    /// answered as with `Quorum`.
    Leader,
}

/// What a group asks for beside its operations; the default is what a group without flags asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupOptions {
    /// Makes it safe to send the group again.
    pub sequence: Option<Sequence>,
    /// The group may be read at any replica that has applied this entry, the newest of the partition that the
    /// client has seen; 0 = none.
    pub any: Option<u64>,
    /// When the group is answered.
    pub ack: Ack,
    /// Values are answered with versions, and puts are conditional.
    pub versions: bool,
    /// The group opens a stream; nothing else is asked for.
    pub opens: bool,
}

/// Whether `flags` have a meaning; others may have one for a later version of the protocol.
#[must_use]
pub fn are_known(flags: u8) -> bool {
    flags & !KNOWN == 0
}

impl GroupOptions {
    /// What a group asks for that opens a stream.
    pub const OPENING: Self = Self {
        sequence: None,
        any: None,
        ack: Ack::Quorum,
        versions: false,
        opens: true,
    };

    /// The group's flags.
    #[must_use]
    pub fn flags(&self) -> u8 {
        let ack = match self.ack {
            Ack::Quorum => 0,
            Ack::All => ALL,
            Ack::Leader => LEADER,
        };
        let flag = |is_set: bool, flag| u8::from(is_set) * flag;
        flag(self.sequence.is_some(), SEQUENCE)
            | flag(self.any.is_some(), ANY)
            | ack
            | flag(self.versions, VERSIONS)
            | flag(self.opens, OPENS)
    }

    /// Reads the options that a group's body begins with, and how many bytes they take: its operations stand behind
    /// them. A group that opens a stream has none.
    ///
    /// # Errors
    /// When a flag has no meaning, or not together with the others; when the body ends inside the options; when a
    /// sequence's floor is above its number.
    pub fn read(flags: u8, body: &[u8]) -> Result<(Self, usize), Malformed> {
        let ack = match flags & (ALL | LEADER) {
            0 => Ack::Quorum,
            ALL => Ack::All,
            LEADER => Ack::Leader,
            _ => return Err(unknown(flags)),
        };
        let opens = flags & OPENS != 0;
        if !are_known(flags) || (opens && flags != OPENS) {
            return Err(unknown(flags));
        }
        let mut reader = Reader { bytes: body, at: 0 };
        let sequence = match flags & SEQUENCE {
            0 => None,
            _ => Some(read_sequence(&mut reader)?),
        };
        let any = match flags & ANY {
            0 => None,
            _ => Some(reader.varint("entry")?),
        };
        let options = Self {
            sequence,
            any,
            ack,
            versions: flags & VERSIONS != 0,
            opens,
        };
        Ok((options, reader.at))
    }

    /// Writes the options at `bytes[at..]`, and gives the offset behind them. The caller has made room.
    pub(crate) fn put(&self, bytes: &mut [u8], mut at: usize) -> usize {
        if let Some(sequence) = self.sequence {
            at = put_varint(bytes, at, sequence.stream);
            at = put_varint(bytes, at, sequence.number);
            at = put_varint(bytes, at, sequence.floor);
        }
        match self.any {
            Some(entry) => put_varint(bytes, at, entry),
            None => at,
        }
    }
}

fn read_sequence(reader: &mut Reader<'_>) -> Result<Sequence, Malformed> {
    let stream = reader.varint("stream")?;
    let number = reader.varint("number")?;
    let floor = reader.varint("floor")?;
    if floor > number {
        return Err(Malformed::OutOfRange {
            what: "floor",
            value: floor,
            min: 0,
            max: number,
        });
    }
    Ok(Sequence {
        stream,
        number,
        floor,
    })
}

/// Checks what stands in place of the operations of a group that opens a stream.
pub(crate) fn check_opening(operations: u16, body: &[u8]) -> Result<(), Malformed> {
    within("number of streams to open", operations.into(), 1, 1)?;
    match body == OPENING {
        true => Ok(()),
        false => Err(Malformed::Unknown {
            what: "opening of a stream, of length",
            value: body.len() as u64,
        }),
    }
}

fn unknown(flags: u8) -> Malformed {
    Malformed::Unknown {
        what: "group flags",
        value: flags.into(),
    }
}
