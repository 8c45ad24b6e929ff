//! Where the values of one frame of answers stand, so that a repeated one is sent once.

/// A power of two, twice the 128-byte values that a frame holds.
const SLOTS: usize = 1024;
/// 2^64 divided by the golden ratio: spreads records that differ in few bits over the slots.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
/// The part of a slot that is an offset; a frame of several answers has no greater ones.
const OFFSET_MASK: u32 = 0xFFFF;

/// Remembers, for a record, where in the frame its value stands. A record may push out another, which
/// then is sent again, or be taken for another: what is remembered is a hint, and values are compared
/// before one refers to the other.
#[derive(Debug)]
pub struct Seen {
    /// 16 bits of the record's hash, then the offset of the value's answer from the frame's first byte;
    /// offset 0 = none.
    slots: Box<[u32; SLOTS]>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            slots: Box::new([0; SLOTS]),
        }
    }
}

impl Seen {
    /// Forgets everything: a frame begins.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(0);
    }

    /// Offset of the answer with the record's value, as far as one is known.
    #[inline]
    pub(crate) fn find(&self, record: u64) -> Option<usize> {
        let (slot, mark) = place(record);
        let known = self.slots[slot];
        let offset = known & OFFSET_MASK;
        (offset != 0 && known ^ mark == offset).then_some(offset as usize)
    }

    /// Remembers the offset; one that a frame of several answers cannot have is not.
    #[inline]
    pub(crate) fn set(&mut self, record: u64, offset: usize) {
        let (slot, mark) = place(record);
        if offset <= OFFSET_MASK as usize {
            self.slots[slot] = mark | offset as u32;
        }
    }
}

/// The record's slot, and the bits that tell it from most others there.
fn place(record: u64) -> (usize, u32) {
    let hash = record.wrapping_mul(SPREAD);
    let slot = hash >> (u64::BITS - SLOTS.ilog2());
    (slot as usize, (hash >> 16) as u32 & !OFFSET_MASK)
}
