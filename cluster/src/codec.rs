//! Values as bytes: one byte that names the format, then the value as bincode 2's `standard()` writes it.
//!
//! That is: integers below 251 as one byte, larger ones as a marker and 2, 4 or 8 bytes, little-endian;
//! lists as their number and their items; enums as their tag and their fields. Bytes behind the value are
//! refused.

use wincode::config::Configuration;
use wincode::int_encoding::{LittleEndian, VarInt};
use wincode::len::BincodeLen;
use wincode::{SchemaRead, SchemaWrite};

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is nothing, or a newer program wrote it.
    #[error("{what}: format {found:?} is not known, only {known}")]
    Format {
        /// What was read.
        what: &'static str,
        /// The first byte, if there is one.
        found: Option<u8>,
        /// The format that is known.
        known: u8,
    },
    /// The bytes are cut, damaged, or followed by others.
    #[error("{what}: does not decode: {reason}")]
    Content {
        /// What was read.
        what: &'static str,
        /// What was wrong.
        reason: String,
    },
    /// A length or count outside what is allowed.
    #[error("{what} is {value}: allowed are {min} to {max}")]
    OutOfRange {
        /// What was read.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
    },
}

/// The most that a forged count may reserve at once, in bytes.
pub(crate) const RESERVE_BYTES_MAX: usize = 4 << 20;

/// bincode's `standard()`.
pub(crate) type Standard = Configuration<true, RESERVE_BYTES_MAX, BincodeLen, LittleEndian, VarInt>;

const STANDARD: Standard = Configuration::default()
    .with_varint_encoding()
    .with_preallocation_size_limit::<RESERVE_BYTES_MAX>();

/// The format's byte and the value.
pub(crate) fn encode<T>(format: u8, value: &T) -> Vec<u8>
where
    T: SchemaWrite<Standard, Src = T>,
{
    let value_bytes = wincode::config::serialized_size(value, STANDARD).unwrap_or(0);
    let mut bytes = Vec::with_capacity(1 + value_bytes as usize);
    bytes.push(format);
    wincode::config::serialize_into(&mut bytes, value, STANDARD)
        .expect("plain values have no encoding that fails");
    bytes
}

/// The value behind the format's byte, which may borrow from `bytes`.
pub(crate) fn decode<'a, T>(what: &'static str, known: u8, bytes: &'a [u8]) -> Result<T, Malformed>
where
    T: SchemaRead<'a, Standard, Dst = T>,
{
    let Some(body) = bytes.strip_prefix(&[known]) else {
        let found = bytes.first().copied();
        return Err(Malformed::Format { what, found, known });
    };
    wincode::config::deserialize_exact(body, STANDARD).map_err(|error| Malformed::Content {
        what,
        reason: error.to_string(),
    })
}

pub(crate) fn within(
    what: &'static str,
    value: usize,
    min: usize,
    max: usize,
) -> Result<(), Malformed> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Malformed::OutOfRange {
        what,
        value: value as u64,
        min: min as u64,
        max: max as u64,
    })
}
