//! Requests: operations in groups, one partition a group.
//!
//! ```text
//! Request   := tag 5 | request id | last: 0 or 1 | groups: 2 bytes | group ...
//! group     := partition | epoch | flags: 1 byte | operations: 2 bytes | length: 3 bytes | [options] operation ...
//! operation := 0 key            get
//!            | 1 key value      put
//!            | 2 key            delete
//! ```
//!
//! Integers without a width are variable-length, keys and values byte strings (see `wire`); widths
//! are little-endian. `length` counts the bytes of the group's operations and of what stands in front of
//! them, so that a group can be skipped, logged or forwarded as it is. A request is one or more frames with the
//! same id, the last of them marked; group `g` of a request is the g-th over all its frames, from 0. Flags, and the
//! options that stand in front of the operations for them, are those of [`options`](crate::options): a group with a
//! flag that its server does not know is refused, operation by operation.
//!
//! Rows, not columns: bench/RESULTS.md has the measurement.

mod frame;
mod writer;

pub use frame::{FrameContent, RequestCursor, RequestFrame};
pub use writer::{GROUP_BYTES_MAX, RequestWriter};

use crate::key::Key;
use crate::wire::varint_bytes;

const TAG_GET: u8 = 0;
const TAG_PUT: u8 = 1;
const TAG_DELETE: u8 = 2;

/// A key of one byte, its length and the tag.
const OPERATION_BYTES_MIN: usize = 3;

/// One operation, borrowing its key and value from the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Read the key's value.
    Get {
        /// The key.
        key: Key<'a>,
    },
    /// Store the value under the key, replacing what is there.
    Put {
        /// The key.
        key: Key<'a>,
        /// The whole value.
        value: &'a [u8],
    },
    /// Remove the key.
    Delete {
        /// The key.
        key: Key<'a>,
    },
}

impl<'a> Operation<'a> {
    /// The operation's key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Key<'a> {
        match self {
            Self::Get { key } | Self::Put { key, .. } | Self::Delete { key } => *key,
        }
    }

    /// What it takes in a group, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let field_bytes = |bytes: usize| varint_bytes(bytes as u64) + bytes;
        let value_bytes = match self {
            Self::Put { value, .. } => field_bytes(value.len()),
            Self::Get { .. } | Self::Delete { .. } => 0,
        };
        1 + field_bytes(self.key().len()) + value_bytes
    }
}

/// What stands in front of a group's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// The partition of every key in the group.
    pub partition: u32,
    /// The epoch of that partition, as the sender knows it.
    pub epoch: u64,
    /// What the group asks for, see [`GroupOptions`](crate::options::GroupOptions).
    pub flags: u8,
    /// Number of operations.
    pub operations: u16,
}
