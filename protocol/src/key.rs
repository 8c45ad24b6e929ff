//! A key together with its first bytes as a word.
//!
//! Keys are short and their lengths hard to predict, so a branch on the length costs more than the rest
//! of hashing or copying one. Where eight bytes can be read from the key's start on, whatever follows it,
//! one load and a mask give the word; everything after works on that.

use std::ops::Deref;

/// Bytes of the word.
const WORD_BYTES: usize = 8;

/// A key, borrowed, and its first eight bytes as a little-endian word, padded with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    bytes: &'a [u8],
    word: u64,
}

impl<'a> Key<'a> {
    /// The key `buffer[at..at + key_bytes]`, of at least 1 byte; `None` when the buffer ends before it.
    /// Quickest when eight bytes of the buffer are left from `at` on.
    #[inline(always)]
    #[must_use]
    pub fn within(buffer: &'a [u8], at: usize, key_bytes: usize) -> Option<Self> {
        let rest = buffer.get(at..)?;
        let bytes = rest.get(..key_bytes)?;
        let word = match rest.first_chunk::<WORD_BYTES>() {
            Some(chunk) => u64::from_le_bytes(*chunk) & mask(key_bytes),
            None => padded(bytes),
        };
        Some(Self { bytes, word })
    }

    /// The first `key_bytes` of `buffer` as a key, whatever follows it; `None` for an empty or a long one.
    #[inline(always)]
    pub(crate) fn short(buffer: &'a [u8; WORD_BYTES], key_bytes: usize) -> Option<Self> {
        if !(1..=WORD_BYTES).contains(&key_bytes) {
            return None;
        }
        Some(Self {
            bytes: &buffer[..key_bytes],
            word: u64::from_le_bytes(*buffer) & mask(key_bytes),
        })
    }

    /// The key's bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first eight bytes; all of a key that has no more. Zeros stand for what is missing.
    #[inline]
    #[must_use]
    pub fn word(&self) -> u64 {
        self.word
    }

    /// The key as its padded word, if it has at most eight bytes.
    #[inline]
    #[must_use]
    pub fn short_word(&self) -> Option<u64> {
        (self.bytes.len() <= WORD_BYTES).then_some(self.word)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Key<'a> {
    #[inline]
    fn from(bytes: &'a T) -> Self {
        let bytes = bytes.as_ref();
        let word = match bytes.first_chunk::<WORD_BYTES>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => padded(bytes),
        };
        Self { bytes, word }
    }
}

impl Deref for Key<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

/// Ones for the first `count` bytes of a word, at most all of them; `count` is at least 1.
#[inline(always)]
fn mask(count: usize) -> u64 {
    u64::MAX >> (8 * WORD_BYTES.saturating_sub(count)).min(63)
}

/// Up to eight bytes as a word, padded with zeros; put together from parts that overlap.
#[inline]
pub(crate) fn padded(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let last = u64::from(u32::from_le_bytes(*last));
        u64::from(u32::from_le_bytes(*first)) | last << (8 * (n - 4))
    } else if n > 0 {
        let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
        byte(0) | byte(n / 2) | byte(n - 1)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_same_wherever_the_key_stands() {
        let buffer: Vec<u8> = (1..=40).collect();
        for at in 0..buffer.len() {
            for key_bytes in 1..=buffer.len() - at {
                let bytes = &buffer[at..at + key_bytes];
                let mut expected = [0; WORD_BYTES];
                let count = key_bytes.min(WORD_BYTES);
                expected[..count].copy_from_slice(&bytes[..count]);
                let key = Key::within(&buffer, at, key_bytes).unwrap();
                assert_eq!(key.word(), u64::from_le_bytes(expected));
                assert_eq!(key, Key::from(bytes));
            }
            assert_eq!(Key::within(&buffer, at, buffer.len() - at + 1), None);
        }
    }
}
