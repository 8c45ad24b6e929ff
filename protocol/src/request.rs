//! Requests: operations in groups, one partition a group.
//!
//! ```text
//! Request   := tag 5 | request id | last: 0 or 1 | groups: 2 bytes | group ...
//! group     := partition | epoch | flags: 1 byte | operations: 2 bytes | length: 3 bytes | operation ...
//! operation := 0 key            get
//!            | 1 key value      put
//!            | 2 key            delete
//! ```
//!
//! Integers without a width are variable-length, keys and values byte strings (see `wire`); widths
//! are little-endian. `length` counts the bytes of the group's operations, so that a group can be
//! skipped, logged or forwarded as it is. A request is one or more frames with the same id, the
//! last of them marked; group `g` of a request is the g-th over all its frames, from 0. No flag has
//! a meaning yet: a group with one set is refused, operation by operation.
//!
//! Rows, not columns: bench/RESULTS.md has the measurement.

use crate::buffer::SendBuffer;
use crate::frame::{LENGTH_BYTES, Malformed, TAG_REQUEST, within};
use crate::key::Key;
use crate::limits::{
    KEY_BYTES_MAX, OPERATIONS_PER_GROUP_MAX, REQUEST_FRAME_BYTES, VALUE_BYTES_MAX,
};
use crate::map::Partitioning;
use crate::wire::{Reader, VARINT_BYTES_MAX, varint_bytes};

const TAG_GET: u8 = 0;
const TAG_PUT: u8 = 1;
const TAG_DELETE: u8 = 2;

/// A key of one byte, its length and the tag.
const OPERATION_BYTES_MIN: usize = 3;
const GROUP_HEADER_BYTES_MAX: usize = 5 + VARINT_BYTES_MAX + 1 + 2 + 3;

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
}

/// What stands in front of a group's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// The partition of every key in the group.
    pub partition: u32,
    /// The epoch of that partition, as the sender knows it.
    pub epoch: u64,
    /// Reserved; no bit has a meaning yet.
    pub flags: u8,
    /// Number of operations.
    pub operations: u16,
}

/// One frame of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestFrame<'a> {
    /// The sender's number for the request, unique among the connection's unanswered ones.
    pub id: u64,
    /// Whether this is the request's last frame.
    pub last: bool,
    body: &'a [u8],
    cursor: RequestCursor,
}

/// Number of groups and operations in a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameContent {
    /// Groups in the frame, at least 1.
    pub groups: usize,
    /// Operations in the frame, at least 1.
    pub operations: usize,
}

impl<'a> RequestFrame<'a> {
    /// Reads the frame's header.
    ///
    /// # Errors
    /// When the body is no request or ends inside its header.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { bytes: body, at: 0 };
        let (id, last, groups_left) = reader.header(TAG_REQUEST, "group count")?;
        let cursor = RequestCursor {
            at: reader.at,
            groups_left,
            group_end: reader.at,
            operations_left: 0,
        };
        Ok(Self {
            id,
            last,
            body,
            cursor,
        })
    }

    /// A cursor before the first group.
    #[must_use]
    pub fn cursor(&self) -> RequestCursor {
        self.cursor
    }

    /// Checks the whole frame before anything of it is applied: structure, limits, and that every
    /// key belongs to its group's partition. Groups with unknown flags are only measured.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self, partitioning: Partitioning) -> Result<FrameContent, Malformed> {
        let mut cursor = self.cursor;
        let mut content = FrameContent::default();
        while let Some(group) = cursor.next_group(self.body)? {
            content.groups += 1;
            content.operations += usize::from(group.operations);
            if group.flags != 0 {
                cursor.skip_group();
                continue;
            }
            while let Some(operation) = cursor.next_operation(self.body)? {
                let actual = partitioning.of(operation.key());
                if actual != group.partition {
                    return Err(Malformed::WrongPartition {
                        claimed: group.partition,
                        actual,
                    });
                }
            }
        }
        if self.body.len() + LENGTH_BYTES > REQUEST_FRAME_BYTES {
            within(
                "number of operations in an oversize frame",
                content.operations,
                1,
                1,
            )?;
        }
        Ok(content)
    }
}

/// A place in a request frame: plain numbers, so that a session can stop in the middle of a frame
/// and go on later. It is only good for the body that it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCursor {
    at: usize,
    groups_left: u16,
    group_end: usize,
    operations_left: u16,
}

impl RequestCursor {
    /// The next group's header, or `None` behind the last. The operations of the group before must
    /// have been read or skipped.
    ///
    /// # Errors
    /// When the header is not allowed, or bytes are left behind the last group.
    pub fn next_group(&mut self, body: &[u8]) -> Result<Option<GroupHeader>, Malformed> {
        let mut reader = Reader {
            bytes: body,
            at: self.at,
        };
        if self.groups_left == 0 {
            reader.end()?;
            return Ok(None);
        }
        let partition = reader.count(u32::MAX as usize, "partition")? as u32;
        let epoch = reader.varint("epoch")?;
        let flags = reader.byte("flags")?;
        let operations = u16::from_le_bytes(reader.array("operation count")?);
        let [b0, b1, b2] = reader.array("group length")?;
        let bytes = u32::from_le_bytes([b0, b1, b2, 0]) as usize;
        if bytes > reader.left() {
            return Err(Malformed::Truncated("group"));
        }
        within(
            "operation count",
            operations.into(),
            1,
            OPERATIONS_PER_GROUP_MAX.min(bytes / OPERATION_BYTES_MIN),
        )?;
        self.at = reader.at;
        self.groups_left -= 1;
        self.group_end = reader.at + bytes;
        self.operations_left = operations;
        Ok(Some(GroupHeader {
            partition,
            epoch,
            flags,
            operations,
        }))
    }

    /// The group's next operation, or `None` behind its last.
    ///
    /// # Errors
    /// When the operation is not allowed, or bytes of the group are left behind its last.
    #[inline(always)]
    pub fn next_operation<'a>(
        &mut self,
        body: &'a [u8],
    ) -> Result<Option<Operation<'a>>, Malformed> {
        let mut reader = Reader {
            bytes: body,
            at: self.at,
        };
        if self.operations_left == 0 {
            return match self.group_end - self.at {
                0 => Ok(None),
                left => Err(Malformed::Trailing(left)),
            };
        }
        let (tag, key) = match reader.short_key() {
            Some(tag_and_key) => tag_and_key,
            None => (reader.byte("operation tag")?, read_key(&mut reader)?),
        };
        let operation = match tag {
            TAG_GET => Operation::Get { key },
            TAG_PUT => Operation::Put {
                key,
                value: read_value(&mut reader)?,
            },
            TAG_DELETE => Operation::Delete { key },
            tag => {
                return Err(Malformed::Unknown {
                    what: "operation tag",
                    value: u64::from(tag),
                });
            }
        };
        if reader.at > self.group_end {
            return Err(Malformed::Truncated("group"));
        }
        self.at = reader.at;
        self.operations_left -= 1;
        Ok(Some(operation))
    }

    /// A cursor before the first of `operations` operations that fill a body of `bytes` bytes: a group that was
    /// taken out of its frame, see [`group_body`](Self::group_body).
    #[must_use]
    pub fn of_group(operations: u16, bytes: usize) -> Self {
        Self {
            at: 0,
            groups_left: 0,
            group_end: bytes,
            operations_left: operations,
        }
    }

    /// The bytes of the present group's operations that were not read yet.
    #[must_use]
    pub fn group_body<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        &body[self.at..self.group_end]
    }

    /// Operations of the present group that were not read yet.
    #[must_use]
    pub fn operations_left(&self) -> u16 {
        self.operations_left
    }

    /// Goes behind the group's last operation without reading any.
    pub fn skip_group(&mut self) {
        self.at = self.group_end;
        self.operations_left = 0;
    }
}

#[inline(always)]
fn read_key<'a>(reader: &mut Reader<'a>) -> Result<Key<'a>, Malformed> {
    let key_bytes = reader.count(KEY_BYTES_MAX, "key length")?;
    within("key length", key_bytes, 1, KEY_BYTES_MAX)?;
    reader.key(key_bytes)
}

#[inline]
fn read_value<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let value_bytes = reader.count(VALUE_BYTES_MAX, "value length")?;
    reader.slice(value_bytes, "value")
}

/// Writes one frame of a request straight into a send buffer.
///
/// An operation that does not fit is refused with `false` or `None`, and nothing of it is written;
/// the first operation of a frame always fits, if its key and value keep the limits.
#[derive(Debug)]
pub struct RequestWriter<'a> {
    out: &'a mut SendBuffer,
    frame_start: usize,
    groups_at: usize,
    groups: u16,
    open: Option<OpenGroup>,
}

#[derive(Debug, Clone, Copy)]
struct OpenGroup {
    partition: u32,
    /// Where the two patched fields stand; the operations follow them.
    counts_at: usize,
    operations: u16,
}

impl<'a> RequestWriter<'a> {
    /// Begins a frame of request `id` behind what waits in `out`.
    pub fn begin(out: &'a mut SendBuffer, id: u64) -> Self {
        let frame_start = out.begin_frame(REQUEST_FRAME_BYTES);
        out.put(&[TAG_REQUEST]);
        out.put_varint(id);
        out.put(&[0]);
        let groups_at = out.filled;
        out.put(&[0; 2]);
        Self {
            out,
            frame_start,
            groups_at,
            groups: 0,
            open: None,
        }
    }

    /// Number of groups in the frame so far: operations with the same partition, one after the
    /// other, share a group.
    #[inline]
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.into()
    }

    /// Adds a get of `key`, which has 1 to [`KEY_BYTES_MAX`] bytes and lies in `partition`.
    #[inline]
    pub fn get<'k>(&mut self, partition: u32, epoch: u64, key: impl Into<Key<'k>>) -> bool {
        self.key_only(TAG_GET, partition, epoch, key.into())
    }

    /// Adds a delete of `key`.
    #[inline]
    pub fn delete<'k>(&mut self, partition: u32, epoch: u64, key: impl Into<Key<'k>>) -> bool {
        self.key_only(TAG_DELETE, partition, epoch, key.into())
    }

    /// Adds a put of `key` and gives the room of its value, of `value_bytes` up to
    /// [`VALUE_BYTES_MAX`], to be filled in place.
    #[inline]
    pub fn put<'k>(
        &mut self,
        partition: u32,
        epoch: u64,
        key: impl Into<Key<'k>>,
        value_bytes: usize,
    ) -> Option<&mut [u8]> {
        let key = key.into();
        let length_bytes = varint_bytes(value_bytes as u64);
        if !self.make_room(partition, epoch, key.len(), length_bytes + value_bytes) {
            return None;
        }
        self.write_key(TAG_PUT, key);
        self.out.put_varint(value_bytes as u64);
        let value_at = self.out.filled;
        self.out.filled += value_bytes;
        Some(&mut self.out.bytes[value_at..value_at + value_bytes])
    }

    /// Ends the frame; `last` marks the request's last one.
    pub fn finish(mut self, last: bool) {
        self.close_group();
        self.out.patch(self.groups_at - 1, &[u8::from(last)]);
        self.out.patch(self.groups_at, &self.groups.to_le_bytes());
        self.out.end_frame(self.frame_start);
    }

    #[inline]
    fn key_only(&mut self, tag: u8, partition: u32, epoch: u64, key: Key<'_>) -> bool {
        let fits = self.make_room(partition, epoch, key.len(), 0);
        if fits {
            self.write_key(tag, key);
        }
        fits
    }

    #[inline]
    fn write_key(&mut self, tag: u8, key: Key<'_>) {
        self.out.bytes[self.out.filled] = tag;
        self.out.filled += 1;
        self.out.put_varint(key.len() as u64);
        self.out.put_key(key);
    }

    /// Sees to it that an operation with a key of `key_bytes` and `value_field_bytes` more fits, in an open group
    /// of its partition.
    #[inline]
    fn make_room(
        &mut self,
        partition: u32,
        epoch: u64,
        key_bytes: usize,
        value_field_bytes: usize,
    ) -> bool {
        let operation_bytes = 1 + varint_bytes(key_bytes as u64) + key_bytes + value_field_bytes;
        match &mut self.open {
            Some(group)
                if group.partition == partition
                    && usize::from(group.operations) < OPERATIONS_PER_GROUP_MAX =>
            {
                let fits =
                    self.out.filled + operation_bytes <= self.frame_start + REQUEST_FRAME_BYTES;
                group.operations += u16::from(fits);
                fits
            }
            _ => self.open_group(partition, epoch, operation_bytes),
        }
    }

    fn open_group(&mut self, partition: u32, epoch: u64, operation_bytes: usize) -> bool {
        let needed = GROUP_HEADER_BYTES_MAX + operation_bytes;
        let full = self.out.filled + needed > self.frame_start + REQUEST_FRAME_BYTES
            || self.groups == u16::MAX;
        if full && self.groups > 0 {
            return false;
        }
        self.close_group();
        self.out.reserve(needed);
        self.out.put_varint(partition.into());
        self.out.put_varint(epoch);
        self.out.put(&[0]);
        self.open = Some(OpenGroup {
            partition,
            counts_at: self.out.filled,
            operations: 1,
        });
        self.out.put(&[0; 5]);
        self.groups += 1;
        true
    }

    fn close_group(&mut self) {
        if let Some(group) = self.open.take() {
            let bytes = (self.out.filled - group.counts_at - 5) as u32;
            self.out
                .patch(group.counts_at, &group.operations.to_le_bytes());
            self.out
                .patch(group.counts_at + 2, &bytes.to_le_bytes()[..3]);
        }
    }
}
