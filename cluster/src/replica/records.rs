//! The bytes of an image: what a replica is, as one stream, cut into chunks anywhere.
//!
//! ```text
//! image  := "bkvi" | format: 1 byte, 1 | record .. record | end
//! record := 1 | key: 2 bytes | stored: 4 bytes | key | stored value      the key has this value
//!         | 2 | key: 2 bytes | key                                       the key is absent
//! end    := 3 | applied: 8 bytes | version: 8 bytes | table: 4 bytes | table of streams
//! ```
//!
//! Widths are little-endian. Of records with the same key the last one holds. Bytes behind the end are
//! refused.

use crate::codec::{Malformed, within};
use crate::limits::{KEY_BYTES_MAX, TABLE_IMAGE_BYTES_MAX, VALUE_BYTES_MAX, VERSION_BYTES};

const MAGIC: &[u8; 4] = b"bkvi";
const FORMAT: u8 = 1;
const WHAT: &str = "image of a partition";

const STORED: u8 = 1;
const REMOVED: u8 = 2;
const END: u8 = 3;

pub(super) fn write_begin(out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.push(FORMAT);
}

/// Lengths are within the limits: keys and values came by proposals.
pub(super) fn write_stored(out: &mut Vec<u8>, key: &[u8], stored: &[u8]) {
    out.push(STORED);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(stored);
}

pub(super) fn write_removed(out: &mut Vec<u8>, key: &[u8]) {
    out.push(REMOVED);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(key);
}

pub(super) fn write_end(out: &mut Vec<u8>, applied: u64, version: u64, table: &[u8]) {
    out.push(END);
    out.extend_from_slice(&applied.to_le_bytes());
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&(table.len() as u32).to_le_bytes());
    out.extend_from_slice(table);
}

/// One part of an image, borrowing from the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Begin,
    Stored {
        key: &'a [u8],
        stored: &'a [u8],
    },
    Removed {
        key: &'a [u8],
    },
    End {
        applied: u64,
        version: u64,
        table: &'a [u8],
    },
}

/// What the image begins with and what it is left at, for whoever reads part by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Begin,
    Record,
    Nothing,
}

/// The next part and its length, or `None` while its last byte is not there.
pub(super) fn read<'a>(
    expected: Expected,
    bytes: &'a [u8],
) -> Result<Option<(Part<'a>, usize)>, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    let part = match expected {
        Expected::Begin => reader.begin()?,
        Expected::Record => reader.record()?,
        Expected::Nothing if bytes.is_empty() => None,
        Expected::Nothing => return Err(content("bytes behind its end")),
    };
    Ok(part.map(|part| (part, reader.at)))
}

fn content(reason: &str) -> Malformed {
    Malformed::Content {
        what: WHAT,
        reason: reason.to_owned(),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn slice(&mut self, count: usize) -> Option<&'a [u8]> {
        let slice = self.bytes[self.at..].get(..count)?;
        self.at += count;
        Some(slice)
    }

    fn integer(&mut self, width: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.slice(width)?);
        Some(u64::from_le_bytes(bytes))
    }

    fn begin(&mut self) -> Result<Option<Part<'a>>, Malformed> {
        let Some(magic) = self.slice(MAGIC.len()) else {
            return Ok(None);
        };
        if magic != MAGIC {
            return Err(content("it does not begin like one"));
        }
        match self.slice(1) {
            None => Ok(None),
            Some([FORMAT]) => Ok(Some(Part::Begin)),
            Some(found) => Err(Malformed::Format {
                what: WHAT,
                found: found.first().copied(),
                known: FORMAT,
            }),
        }
    }

    fn record(&mut self) -> Result<Option<Part<'a>>, Malformed> {
        match self.slice(1) {
            None => Ok(None),
            Some([STORED]) => self.stored(),
            Some([REMOVED]) => self.removed(),
            Some([END]) => self.end(),
            Some(_) => Err(content("unknown kind of record")),
        }
    }

    fn stored(&mut self) -> Result<Option<Part<'a>>, Malformed> {
        let (Some(key_bytes), Some(stored_bytes)) = (self.integer(2), self.integer(4)) else {
            return Ok(None);
        };
        let (key_bytes, stored_bytes) = (key_bytes as usize, stored_bytes as usize);
        within("key length", key_bytes, 1, KEY_BYTES_MAX)?;
        let stored_bytes_max = VALUE_BYTES_MAX + VERSION_BYTES;
        within(
            "stored length",
            stored_bytes,
            VERSION_BYTES,
            stored_bytes_max,
        )?;
        let (key, stored) = (self.slice(key_bytes), self.slice(stored_bytes));
        Ok(key
            .zip(stored)
            .map(|(key, stored)| Part::Stored { key, stored }))
    }

    fn removed(&mut self) -> Result<Option<Part<'a>>, Malformed> {
        let Some(key_bytes) = self.integer(2) else {
            return Ok(None);
        };
        within("key length", key_bytes as usize, 1, KEY_BYTES_MAX)?;
        let key = self.slice(key_bytes as usize);
        Ok(key.map(|key| Part::Removed { key }))
    }

    fn end(&mut self) -> Result<Option<Part<'a>>, Malformed> {
        let numbers = (self.integer(8), self.integer(8), self.integer(4));
        let (Some(applied), Some(version), Some(table_bytes)) = numbers else {
            return Ok(None);
        };
        let table_bytes = table_bytes as usize;
        within("length of the table", table_bytes, 0, TABLE_IMAGE_BYTES_MAX)?;
        let table = self.slice(table_bytes);
        Ok(table.map(|table| Part::End {
            applied,
            version,
            table,
        }))
    }
}
