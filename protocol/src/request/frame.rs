//! Frames of requests as they are read.

use super::{GroupHeader, OPERATION_BYTES_MIN, Operation, TAG_DELETE, TAG_GET, TAG_PUT};
use crate::frame::{LENGTH_BYTES, Malformed, TAG_REQUEST, within};
use crate::key::Key;
use crate::limits::{
    KEY_BYTES_MAX, OPERATIONS_PER_GROUP_MAX, REQUEST_FRAME_BYTES, VALUE_BYTES_MAX,
};
use crate::map::Partitioning;
use crate::options::{self, GroupOptions, VERSION_BYTES};
use crate::wire::Reader;

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
    /// key belongs to its group's partition. Groups with flags that have no meaning are only measured.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self, partitioning: Partitioning) -> Result<FrameContent, Malformed> {
        let mut cursor = self.cursor;
        let mut content = FrameContent::default();
        while let Some(group) = cursor.next_group(self.body)? {
            content.groups += 1;
            content.operations += usize::from(group.operations);
            if group.flags != 0 && !enter_flagged(&mut cursor, &group, self.body)? {
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

/// Goes behind the options of a group with flags and checks what they promise; `false` when there are no operations
/// to be checked.
#[cold]
fn enter_flagged(
    cursor: &mut RequestCursor,
    group: &GroupHeader,
    body: &[u8],
) -> Result<bool, Malformed> {
    if !options::are_known(group.flags) {
        return Ok(false);
    }
    let options = cursor.read_options(group.flags, body)?;
    if options.opens {
        options::check_opening(group.operations, cursor.group_body(body))?;
        return Ok(false);
    }
    let mut ahead = *cursor;
    while options.versions
        && let Some(operation) = ahead.next_operation(body)?
    {
        if let Operation::Put { value, .. } = operation {
            let value_bytes = value.len();
            within(
                "length of a value with a version",
                value_bytes,
                VERSION_BYTES,
                VALUE_BYTES_MAX,
            )?;
        }
    }
    Ok(true)
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

    /// Reads the options of the present group, whose `flags` are not 0 and of which nothing was read yet, and goes
    /// behind them. What a group that opens a stream has there is no operation: it is to be skipped.
    ///
    /// # Errors
    /// As [`GroupOptions::read`].
    pub fn read_options(&mut self, flags: u8, body: &[u8]) -> Result<GroupOptions, Malformed> {
        let (options, bytes) = GroupOptions::read(flags, self.group_body(body))?;
        self.at += bytes;
        Ok(options)
    }

    /// The bytes of the present group that were not read yet: its options, where it has flags, and its operations.
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
