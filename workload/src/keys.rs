//! How a record number becomes a key. Part of the benchmark's definition: all clients must agree.

use std::fmt;
use std::str::FromStr;

use crate::error::SpecError;
use crate::hash;

/// The longest key, in bytes: "user" and 19 digits, or 20 digits, rounded up to eights.
pub const KEY_BYTES_MAX: usize = 24;

/// How keys look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyStyle {
    /// The record number in decimal: `0`, `17`.
    #[default]
    Decimal,
    /// As YCSB with hashed insert order: `user` and the absolute value of the record number's
    /// FNV hash, `user1820151046732198393`.
    User,
}

impl FromStr for KeyStyle {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "decimal" => Ok(Self::Decimal),
            "user" => Ok(Self::User),
            _ => Err(SpecError::KeyStyle(text.into())),
        }
    }
}

impl fmt::Display for KeyStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decimal => "decimal",
            Self::User => "user",
        })
    }
}

/// The hash of a key by which [`values`](crate::values) name it.
pub fn hash(key: &[u8]) -> u64 {
    hash::key(key)
}

/// One more than the greatest number of eight digits.
const EIGHT_DIGITS: u64 = 100_000_000;

const ASCII_ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// The eight decimal digits of a number below 10^8, the first one in the lowest byte, 0 to 9 each.
/// Without branches or loop, since how many digits a drawn record has cannot be predicted: halves,
/// pairs and digits are split in all lanes at once, dividing by multiplication (exact for numbers as
/// small as these: 10486 / 2^20 for 1/100 below 10^4, 103 / 2^10 for 1/10 below 100).
#[inline]
fn digits(number: u64) -> u64 {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let pairs = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000F_000F_000F_000F;
    tens | ((pairs - 10 * tens) << 8)
}

/// One key, in place; made to be filled again and again.
///
/// A key of up to eight digits is written by one store, which every shorter read of it can be served
/// from. Copying a fresh one is slow, because no single store holds what is copied: keep it where it
/// is, and [`set`](Self::set) it there.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyBuf {
    /// The key is `bytes[..key_bytes]`.
    bytes: [u8; KEY_BYTES_MAX],
    key_bytes: usize,
}

impl KeyBuf {
    /// The key of `record`.
    #[inline]
    pub fn new(style: KeyStyle, record: u64) -> Self {
        let mut key = Self::default();
        key.set(style, record);
        key
    }

    /// Makes this the key of `record`.
    #[inline(always)]
    pub fn set(&mut self, style: KeyStyle, record: u64) {
        self.key_bytes = 0;
        match style {
            KeyStyle::Decimal => self.append(record),
            KeyStyle::User => {
                self.bytes[..4].copy_from_slice(b"user");
                self.key_bytes = 4;
                self.append(hash::ycsb(record));
            }
        }
    }

    /// The key as one word, padded with zeros, if it has at most eight bytes.
    #[inline(always)]
    pub fn short_word(&self) -> Option<u64> {
        let (word, _) = self.bytes.split_first_chunk()?;
        (self.key_bytes <= 8).then_some(u64::from_le_bytes(*word))
    }

    /// Makes this the key that [`short_word`](Self::short_word) gave, sooner than from its record.
    #[inline(always)]
    pub fn set_short(&mut self, word: u64) {
        self.key_bytes = 0;
        self.store(word, 8 - word.leading_zeros() / 8);
    }

    /// The key; 1 to [`KEY_BYTES_MAX`] bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.key_bytes]
    }

    /// The whole buffer, which begins with the key, and the key's length in bytes. A key of less than
    /// eight bytes is followed by zeros up to the eighth.
    #[inline]
    pub fn padded(&self) -> (&[u8; KEY_BYTES_MAX], usize) {
        (&self.bytes, self.key_bytes)
    }

    /// What [`hash`] gives for the key, without a branch on the length of a short one.
    #[inline(always)]
    pub fn hash(&self) -> u64 {
        match self.short_word() {
            Some(word) => hash::short_key(word, self.key_bytes),
            None => hash(self.as_bytes()),
        }
    }

    /// Appends a number in decimal.
    #[inline(always)]
    fn append(&mut self, number: u64) {
        if number < EIGHT_DIGITS {
            let eight = digits(number);
            // The last digit is one even if it is 0.
            let leading_zeros = (eight.trailing_zeros() / 8).min(7);
            self.store(
                (eight + ASCII_ZEROS) >> (8 * leading_zeros),
                8 - leading_zeros,
            );
        } else {
            self.append_long(number);
        }
    }

    #[inline(never)]
    fn append_long(&mut self, number: u64) {
        self.append(number / EIGHT_DIGITS);
        self.store(digits(number % EIGHT_DIGITS) + ASCII_ZEROS, 8);
    }

    /// Appends the low `count` bytes of `word`, of which the others are zero.
    #[inline(always)]
    fn store(&mut self, word: u64, count: u32) {
        let at = self.key_bytes;
        self.bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        self.key_bytes = at + count as usize;
    }
}
