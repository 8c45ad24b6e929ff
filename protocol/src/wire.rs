//! bincode's integers and byte strings, read and written in place.
//!
//! `standard()` writes an unsigned integer below 251 as one byte; else a marker 251, 252 or 253 and
//! the value as u16, u32 or u64 LE. A byte string is its length as such an integer, then the bytes.
//! A fixed-size array is its bytes alone: counts and lengths that are patched after streaming are
//! arrays of 2 or 3 bytes, little-endian.

use crate::frame::{Malformed, within};
use crate::key::Key;

/// Longest variable-length integer, in bytes.
pub(crate) const VARINT_BYTES_MAX: usize = 9;

/// The bytes that [`put_varint`] writes for `value`.
#[inline]
pub(crate) fn varint_bytes(value: u64) -> usize {
    if value < 251 {
        1
    } else {
        wide_varint_bytes(value)
    }
}

fn wide_varint_bytes(value: u64) -> usize {
    match value {
        ..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// Writes `value` at `bytes[at..]` and gives the offset behind it. The caller has made room.
#[inline]
pub(crate) fn put_varint(bytes: &mut [u8], at: usize, value: u64) -> usize {
    if value < 251 {
        bytes[at] = value as u8;
        return at + 1;
    }
    put_wide_varint(bytes, at, value)
}

fn put_wide_varint(bytes: &mut [u8], at: usize, value: u64) -> usize {
    let width = varint_bytes(value) - 1;
    bytes[at] = match width {
        2 => 251,
        4 => 252,
        _ => 253,
    };
    bytes[at + 1..at + 1 + width].copy_from_slice(&value.to_le_bytes()[..width]);
    at + 1 + width
}

/// Reads a body from front to back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline(always)]
    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed::Truncated(what))?;
        self.at += 1;
        Ok(byte)
    }

    #[inline(always)]
    pub(crate) fn slice(
        &mut self,
        count: usize,
        what: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        let slice = self.bytes[self.at..]
            .get(..count)
            .ok_or(Malformed::Truncated(what))?;
        self.at += count;
        Ok(slice)
    }

    #[inline(always)]
    pub(crate) fn key(&mut self, key_bytes: usize) -> Result<Key<'a>, Malformed> {
        let key = Key::within(self.bytes, self.at, key_bytes).ok_or(Malformed::Truncated("key"))?;
        self.at += key_bytes;
        Ok(key)
    }

    /// A byte and a short key behind it, where a whole word can be read from the key's start on: a
    /// single look at what most operations begin with.
    #[inline(always)]
    pub(crate) fn short_key(&mut self) -> Option<(u8, Key<'a>)> {
        let start = self.bytes[self.at..].first_chunk::<10>()?;
        let [byte, key_bytes, buffer @ ..] = start;
        let key = Key::short(buffer, usize::from(*key_bytes))?;
        self.at += 2 + key.len();
        Some((*byte, key))
    }

    #[inline(always)]
    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], Malformed> {
        let (array, _) = self.bytes[self.at..]
            .split_first_chunk()
            .ok_or(Malformed::Truncated(what))?;
        self.at += N;
        Ok(*array)
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        match self.byte(what)? {
            byte @ 0..251 => Ok(u64::from(byte)),
            marker => self.wide_varint(marker, what),
        }
    }

    #[cold]
    fn wide_varint(&mut self, marker: u8, what: &'static str) -> Result<u64, Malformed> {
        match marker {
            251 => Ok(u64::from(u16::from_le_bytes(self.array(what)?))),
            252 => Ok(u64::from(u32::from_le_bytes(self.array(what)?))),
            253 => Ok(u64::from_le_bytes(self.array(what)?)),
            _ => Err(Malformed::Unknown {
                what: "integer marker",
                value: u64::from(marker),
            }),
        }
    }

    /// An integer of 8 bytes.
    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A variable-length integer of at most `max`.
    #[inline(always)]
    pub(crate) fn count(&mut self, max: usize, what: &'static str) -> Result<usize, Malformed> {
        let value = self.varint(what)?;
        let value = usize::try_from(value).unwrap_or(usize::MAX);
        within(what, value, 0, max)?;
        Ok(value)
    }

    #[inline(always)]
    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Malformed::Unknown {
                what,
                value: u64::from(value),
            }),
        }
    }

    /// What requests and answers begin with: the tag, the request id, the last mark, and how many
    /// parts follow, of which there is at least one.
    pub(crate) fn header(
        &mut self,
        tag: u8,
        parts: &'static str,
    ) -> Result<(u64, bool, u16), Malformed> {
        let found = self.byte("tag")?;
        if found != tag {
            return Err(Malformed::Unknown {
                what: "frame tag",
                value: u64::from(found),
            });
        }
        let id = self.varint("request id")?;
        let last = self.flag("last mark")?;
        let count = u16::from_le_bytes(self.array(parts)?);
        within(parts, count.into(), 1, u16::MAX.into())?;
        Ok((id, last, count))
    }

    /// Refuses bytes behind the content.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        match self.left() {
            0 => Ok(()),
            left => Err(Malformed::Trailing(left)),
        }
    }
}
