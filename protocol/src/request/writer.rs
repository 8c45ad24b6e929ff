//! Frames of requests as they are written.

use super::{OPERATION_BYTES_MIN, Operation, TAG_DELETE, TAG_GET, TAG_PUT};
use crate::buffer::SendBuffer;
use crate::frame::{LENGTH_BYTES, TAG_REQUEST};
use crate::key::Key;
use crate::limits::{FRAME_OVERHEAD_BYTES_MAX, OPERATIONS_PER_GROUP_MAX, REQUEST_FRAME_BYTES};
use crate::options::{GroupOptions, OPENING, OPTIONS_BYTES_MAX};
use crate::wire::{VARINT_BYTES_MAX, varint_bytes};

const GROUP_HEADER_BYTES_MAX: usize = 5 + VARINT_BYTES_MAX + 1 + 2 + 3;
/// What a frame of requests begins with: length, tag, request id, last mark, groups.
const FRAME_HEADER_BYTES_MAX: usize = LENGTH_BYTES + 1 + VARINT_BYTES_MAX + 1 + 2;

/// Operations of a group with options that fit a frame of their own, in bytes.
pub const GROUP_BYTES_MAX: usize =
    REQUEST_FRAME_BYTES - FRAME_HEADER_BYTES_MAX - GROUP_HEADER_BYTES_MAX - OPTIONS_BYTES_MAX;

const _: () = {
    /// Tag, and the lengths of the longest key and value.
    const OPERATION_HEADER_BYTES_MAX: usize = 1 + 3 + 5;
    assert!(
        FRAME_HEADER_BYTES_MAX
            + GROUP_HEADER_BYTES_MAX
            + OPTIONS_BYTES_MAX
            + OPERATION_HEADER_BYTES_MAX
            <= FRAME_OVERHEAD_BYTES_MAX
    );
    assert!(OPENING.len() == OPERATION_BYTES_MIN);
};

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

    /// Adds a get of `key`, which has 1 to [`KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX) bytes and lies in `partition`.
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
    /// [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX), to be filled in place.
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

    /// Adds an operation of any kind in `partition`.
    #[inline]
    pub fn operation(&mut self, partition: u32, epoch: u64, operation: Operation<'_>) -> bool {
        match operation {
            Operation::Get { key } => self.get(partition, epoch, key),
            Operation::Delete { key } => self.delete(partition, epoch, key),
            Operation::Put { key, value } => self
                .put(partition, epoch, key, value.len())
                .map(|room| room.copy_from_slice(value))
                .is_some(),
        }
    }

    /// Begins a group that asks for `options`, with its first operation; others of its partition join it as
    /// long as none of another partition is added and no other group begun. `false` when the whole group, with
    /// `operations_bytes` of [operations](Operation::bytes), does not fit this frame: nothing is written then. A
    /// frame's first group always fits, if it has a single operation or keeps [`GROUP_BYTES_MAX`].
    pub fn begin_group(
        &mut self,
        (partition, epoch): (u32, u64),
        options: &GroupOptions,
        first: &Operation<'_>,
        operations_bytes: usize,
    ) -> bool {
        if !self.open_flagged((partition, epoch), options, operations_bytes) {
            return false;
        }
        match *first {
            Operation::Get { key } => self.write_key(TAG_GET, key),
            Operation::Delete { key } => self.write_key(TAG_DELETE, key),
            Operation::Put { key, value } => {
                self.write_key(TAG_PUT, key);
                self.out.put_varint(value.len() as u64);
                self.out.put(value);
            }
        }
        true
    }

    /// Adds a group that opens a stream in `partition`; `false` when it does not fit.
    pub fn open_stream(&mut self, partition: u32, epoch: u64) -> bool {
        let fits = self.open_flagged((partition, epoch), &GroupOptions::OPENING, OPENING.len());
        if fits {
            self.out.put(&OPENING);
            self.close_group();
        }
        fits
    }

    /// Opens a group with flags, for one operation that the caller writes.
    fn open_flagged(
        &mut self,
        (partition, epoch): (u32, u64),
        options: &GroupOptions,
        operations_bytes: usize,
    ) -> bool {
        if !self.open_group(partition, epoch, OPTIONS_BYTES_MAX + operations_bytes) {
            return false;
        }
        let Some(group) = self.open else {
            return false;
        };
        self.out.patch(group.counts_at - 1, &[options.flags()]);
        self.out.filled = options.put(&mut self.out.bytes, self.out.filled);
        true
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
