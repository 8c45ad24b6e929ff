//! How a record number becomes a key. Part of the benchmark's definition: all clients must agree.

use std::fmt;
use std::str::FromStr;

use crate::hash;
use crate::spec::SpecError;

/// The longest key, in bytes: "user" and 19 digits.
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

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// One key, in place; made to be filled again and again.
#[derive(Clone, Copy, Debug)]
pub struct KeyBuf {
    /// The key is `bytes[start..]`: digits are found last first.
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
        let mut start = KEY_BYTES_MAX;
        while rest >= 10 {
            start -= 2;
            let pair = PAIRS[(rest % 100) as usize];
            self.bytes[start] = pair[0];
            self.bytes[start + 1] = pair[1];
            rest /= 100;
        }
        // One digit is left, unless the number had an even count of them; 0 is a digit.
        if rest > 0 || start == KEY_BYTES_MAX {
            start -= 1;
            self.bytes[start] = b'0' + rest as u8;
        }
        self.start = start;
    }
}
