//! What is replicated: the writes of a group, copied out of it; or the opening of a stream.
//!
//! A proposer takes of a group what changes the partition, and parks the rest, its gets, with their
//! positions. When the proposal is applied here, the writes' [outcomes](crate::Outcome) are there, and the gets
//! are executed: they are linearizable, since all that came before the group is applied. Only a get
//! whose key is written later in its group goes along, since nobody could execute it afterwards.
//!
//! # As bytes
//!
//! ```text
//! proposal := format 1 | 0                                          opens a stream
//!           | format 1 | 1 | sequence | number of writes | write .. writes of a group
//! sequence := 0 | 1 stream number floor
//! write    := 0 key value            put
//!           | 1 key                  delete
//!           | 2 key value version    put, if the key's version is this one; 0 = absent
//!           | 3 key                  get
//! ```
//!
//! Integers are variable-length as in the frames of clients; keys and values are their length and their
//! bytes. Bytes behind the last write are refused.

use crate::codec::{self, Malformed, RESERVE_BYTES_MAX, within};
use crate::limits::{KEY_BYTES_MAX, OPERATIONS_PER_GROUP_MAX, PROPOSAL_BYTES_MAX, VALUE_BYTES_MAX};
use ahash::HashSet;
use batchkv_protocol::{Key, Operation, Sequence};
use wincode::{SchemaRead, SchemaWrite};

const FORMAT: u8 = 1;

const _: () = assert!(OPERATIONS_PER_GROUP_MAX * size_of::<Write<'_>>() <= RESERVE_BYTES_MAX);

/// What is proposed to a partition's group, borrowing keys and values.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Proposal<'a> {
    /// Opens a stream, whose name is where this stands in the log.
    OpenStream,
    /// The writes of a group.
    Writes {
        /// Which group it is, where its client may send it again.
        sequence: Option<Sequence>,
        /// What it writes, in its order.
        writes: Vec<Write<'a>>,
    },
}

/// One write, or a get that cannot be executed afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Write<'a> {
    /// Store the value under the key.
    Put {
        /// The key.
        key: &'a [u8],
        /// The whole value.
        value: &'a [u8],
    },
    /// Remove the key.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Store the value if the key's version is the one named.
    PutIf {
        /// The key.
        key: &'a [u8],
        /// The whole value.
        value: &'a [u8],
        /// The version that the record must have; 0 = the key must be absent.
        version: u64,
    },
    /// Read the key's value, which a later write of the group changes.
    Get {
        /// The key.
        key: &'a [u8],
    },
}

impl<'a> Write<'a> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::PutIf { key, .. }
            | Self::Get { key } => key,
        }
    }

    fn check(&self) -> Result<(), Malformed> {
        within("key length", self.key().len(), 1, KEY_BYTES_MAX)?;
        match self {
            Self::Put { value, .. } | Self::PutIf { value, .. } => {
                within("value length", value.len(), 0, VALUE_BYTES_MAX)
            }
            Self::Delete { .. } | Self::Get { .. } => Ok(()),
        }
    }
}

impl<'a> Proposal<'a> {
    /// The proposal as bytes.
    ///
    /// # Errors
    /// When it has no write or too many, or is longer than [`PROPOSAL_BYTES_MAX`]; when a key or a value is too long,
    /// or a key empty.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        self.check()?;
        let bytes = codec::encode(FORMAT, self);
        check_length(&bytes)?;
        Ok(bytes)
    }

    /// The proposal that was [encoded](Self::encode).
    ///
    /// # Errors
    /// When the bytes are of another format, cut, damaged, followed by others, or beyond a limit.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        check_length(bytes)?;
        let proposal: Self = codec::decode("proposal", FORMAT, bytes)?;
        proposal.check()?;
        Ok(proposal)
    }

    fn check(&self) -> Result<(), Malformed> {
        let Self::Writes { writes, .. } = self else {
            return Ok(());
        };
        within(
            "number of writes",
            writes.len(),
            1,
            OPERATIONS_PER_GROUP_MAX,
        )?;
        writes.iter().try_for_each(Write::check)
    }
}

fn check_length(bytes: &[u8]) -> Result<(), Malformed> {
    within("length of a proposal", bytes.len(), 0, PROPOSAL_BYTES_MAX)
}

/// What of a group is proposed, and where in the group it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteSet<'a> {
    /// The writes, in the group's order.
    pub writes: Vec<Write<'a>>,
    /// The position of each in its group, rising.
    pub positions: Vec<u16>,
}

impl<'a> WriteSet<'a> {
    /// Copies out what of a group, of at most [`OPERATIONS_PER_GROUP_MAX`] operations, must be proposed:
    /// nothing when it only reads. The same group always gives the same set.
    #[must_use]
    pub fn of(operations: &[Operation<'a>]) -> Self {
        let mut set = Self::default();
        // From the back: a get is unrepeatable when its key was met among the writes.
        let mut written = Keys::default();
        for (position, operation) in operations.iter().enumerate().rev() {
            let key = operation.key();
            let write = match *operation {
                Operation::Get { .. } if !written.contains(key) => continue,
                Operation::Get { .. } => Write::Get { key: key.bytes() },
                Operation::Put { value, .. } => {
                    written.insert(key);
                    Write::Put {
                        key: key.bytes(),
                        value,
                    }
                }
                Operation::Delete { .. } => {
                    written.insert(key);
                    Write::Delete { key: key.bytes() }
                }
            };
            set.writes.push(write);
            set.positions.push(position as u16);
        }
        set.writes.reverse();
        set.positions.reverse();
        set
    }
}

/// A few keys that most others are not among, which one look at a word tells.
#[derive(Debug, Default)]
struct Keys<'a> {
    keys: HashSet<&'a [u8]>,
    /// A bit for each key's first bytes.
    filter: u64,
}

impl<'a> Keys<'a> {
    fn insert(&mut self, key: Key<'a>) {
        self.filter |= Self::bit(key);
        self.keys.insert(key.bytes());
    }

    #[inline]
    fn contains(&self, key: Key<'a>) -> bool {
        self.filter & Self::bit(key) != 0 && self.keys.contains(key.bytes())
    }

    /// The top bits of a product with the golden ratio's fraction depend on all bits of the word.
    #[inline]
    fn bit(key: Key<'_>) -> u64 {
        1 << (key.word().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58)
    }
}
