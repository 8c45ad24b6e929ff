//! How a record number becomes a key. Part of the benchmark's definition: all clients must agree.

use std::fmt;
use std::str::FromStr;

use crate::hash;
use crate::spec::SpecError;

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

/// One more than the greatest number of eight digits.
const EIGHT_DIGITS: u64 = 100_000_000;

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
#[derive(Clone, Copy, Debug)]
pub struct KeyBuf {
    /// The key is `bytes[start..]`.
    bytes: [u8; KEY_BYTES_MAX],
    start: usize,
}

impl KeyBuf {
    /// The key of `record`.
    #[inline]
    pub fn new(style: KeyStyle, record: u64) -> Self {
        let mut key = Self {
            bytes: [0; KEY_BYTES_MAX],
            start: KEY_BYTES_MAX,
        };
        key.set(style, record);
        key
    }

    /// Makes this the key of `record`.
    #[inline]
    pub fn set(&mut self, style: KeyStyle, record: u64) {
        match style {
            KeyStyle::Decimal => self.set_decimal(record),
            KeyStyle::User => {
                self.set_decimal(hash::ycsb(record));
                let digits = self.start;
                self.start -= 4;
                self.bytes[self.start..digits].copy_from_slice(b"user");
            }
        }
    }

    /// The key; 1 to [`KEY_BYTES_MAX`] bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    #[inline]
    fn set_decimal(&mut self, number: u64) {
        let mut rest = number;
        let mut end = KEY_BYTES_MAX;
        loop {
            let eight = digits(rest % EIGHT_DIGITS);
            let ascii = eight + u64::from_le_bytes([b'0'; 8]);
            self.bytes[end - 8..end].copy_from_slice(&ascii.to_le_bytes());
            rest /= EIGHT_DIGITS;
            if rest == 0 {
                // The last digit is one even if it is 0.
                let leading_zeros = (eight.trailing_zeros() as usize / 8).min(7);
                self.start = end - 8 + leading_zeros;
                return;
            }
            end -= 8;
        }
    }
}
