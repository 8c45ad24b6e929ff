//! The two buffers of a connection: what has come and is not yet used, what is to go and not yet
//! taken. Both keep their memory, so a steady connection allocates nothing.

use crate::frame::{self, LENGTH_BYTES, Malformed};
use crate::key::Key;
use crate::limits::FRAME_BYTES;

/// Bytes read from a peer, up to the first frame that is not complete.
///
/// Invariant: `start <= end <= bytes.len()`; `bytes[start..end]` is what came and was not consumed,
/// and it begins at a frame's first byte.
#[derive(Debug, Default)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// Room for the first read of a connection, of which most are small.
const SPARE_BYTES_MIN: usize = 4 << 10;

impl ReceiveBuffer {
    /// Room for the next read, never empty, in a buffer of [`FRAME_BYTES`] if that is enough.
    pub fn spare(&mut self) -> &mut [u8] {
        self.spare_within(FRAME_BYTES)
    }

    /// Room for the next read, never empty. Grows with what has come, not with what a length
    /// promises: to twice what is held, but not across `buffer_bytes` before as much is held.
    pub fn spare_within(&mut self, buffer_bytes: usize) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let more = if self.end < buffer_bytes {
            self.end.min(buffer_bytes - self.end)
        } else {
            self.end
        };
        let wanted = self.end + more.max(SPARE_BYTES_MIN);
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes note that `count` bytes were read into [`spare`](Self::spare)'s room.
    pub fn filled(&mut self, count: usize) {
        assert!(
            count <= self.bytes.len() - self.end,
            "more was filled than there was room"
        );
        self.end += count;
    }

    /// Moves bytes from the front of `bytes`, as many as [`spare`](Self::spare) has room for, where no
    /// socket is read.
    pub fn fill_from(&mut self, bytes: &mut &[u8]) {
        let spare = self.spare();
        let (now, later) = bytes.split_at(bytes.len().min(spare.len()));
        spare[..now.len()].copy_from_slice(now);
        self.filled(now.len());
        *bytes = later;
    }

    /// The body of the first frame when it is complete.
    ///
    /// # Errors
    /// When the frame's length is not allowed.
    #[inline]
    pub fn body(&self) -> Result<Option<&[u8]>, Malformed> {
        let held = &self.bytes[self.start..self.end];
        let frame_bytes = frame::frame_bytes(held)?;
        Ok(frame_bytes.and_then(|bytes| held.get(LENGTH_BYTES..bytes)))
    }

    /// Drops the first frame, which [`body`](Self::body) has shown to be complete.
    pub fn consume(&mut self) {
        let held = &self.bytes[self.start..self.end];
        if let Ok(Some(bytes)) = frame::frame_bytes(held) {
            self.start += bytes.min(held.len());
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Whether nothing is held: the peer is at a frame's border.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives the memory back when nothing is held.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// Bytes that wait for the socket.
///
/// Invariant: `sent <= filled <= bytes.len()`; `bytes[sent..filled]` waits, in order.
#[derive(Debug, Default)]
pub struct SendBuffer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) filled: usize,
    sent: usize,
}

impl SendBuffer {
    /// What waits.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..self.filled]
    }

    /// Takes note that the socket took `count` bytes of [`pending`](Self::pending).
    pub fn sent(&mut self, count: usize) {
        assert!(
            count <= self.filled - self.sent,
            "more was sent than was pending"
        );
        self.sent += count;
        if self.sent == self.filled {
            (self.sent, self.filled) = (0, 0);
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.filled
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives the memory back when nothing waits.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Moves what waits in `other` behind what waits here.
    pub fn append(&mut self, other: &mut Self) {
        let bytes = other.pending();
        self.reserve(bytes.len());
        self.put(bytes);
        other.sent(bytes.len());
    }

    /// Makes room for `count` bytes behind what is filled.
    pub(crate) fn reserve(&mut self, count: usize) {
        if self.bytes.len() < self.filled + count {
            self.bytes.resize(self.filled + count, 0);
        }
    }

    /// Begins a frame with room for `bytes`: its length is patched by [`end_frame`](Self::end_frame).
    pub(crate) fn begin_frame(&mut self, bytes: usize) -> usize {
        self.reserve(bytes);
        let frame_start = self.filled;
        self.filled += LENGTH_BYTES;
        frame_start
    }

    pub(crate) fn end_frame(&mut self, frame_start: usize) {
        let body_bytes = (self.filled - frame_start - LENGTH_BYTES) as u32;
        self.bytes[frame_start..frame_start + LENGTH_BYTES]
            .copy_from_slice(&body_bytes.to_le_bytes());
    }

    pub(crate) fn put_varint(&mut self, value: u64) {
        self.filled = crate::wire::put_varint(&mut self.bytes, self.filled, value);
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Puts a key where room for it was made; a short one by a single store, if there is room for
    /// that. What it writes beyond the key is overwritten by what comes next, or never sent.
    #[inline(always)]
    pub(crate) fn put_key(&mut self, key: Key<'_>) {
        let room = &mut self.bytes[self.filled..];
        match (key.short_word(), room.first_chunk_mut()) {
            (Some(word), Some(place)) => *place = word.to_le_bytes(),
            _ => room[..key.len()].copy_from_slice(&key),
        }
        self.filled += key.len();
    }

    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FRAME_BYTES_MAX;

    #[test]
    fn a_long_frame_comes_in_few_reads() {
        let frame_bytes = FRAME_BYTES_MAX;
        let mut frame = vec![0; frame_bytes];
        let body_bytes = (frame_bytes - LENGTH_BYTES) as u32;
        frame[..LENGTH_BYTES].copy_from_slice(&body_bytes.to_le_bytes());
        let (mut buffer, mut coming, mut reads) = (ReceiveBuffer::default(), &frame[..], 0);
        while !coming.is_empty() {
            buffer.fill_from(&mut coming);
            reads += 1;
            let held = frame_bytes - coming.len();
            assert!(buffer.bytes.len() <= 2 * held.max(SPARE_BYTES_MIN));
        }
        assert!(buffer.body().unwrap().is_some());
        assert!(reads <= 10, "{reads} reads");
    }
}
