//! Values that prove what they are: incompressible, different for every key and every write, and with
//! a checksum that a damaged, exchanged or cut value fails.
//!
//! ```text
//! value (16 bytes or more, little-endian):
//!   run: u16 | writer: u16 | sequence: u48 | checksum: u48 | payload
//! short value (1 to 15 bytes):
//!   payload | checksum, cut to half the value (rounded up), at most 6 bytes
//! ```
//!
//! A short value has no stamp, so nobody can tell who wrote it or whether it is stale.
//!
//! The checksum covers the key, the value's length, the header before it and the payload. It is no
//! cryptography: it finds accidents, one in 2^48 excepted. With `fold(a, b)` = the halves of the
//! 128-bit product xor-ed, two lanes start from the key's hash and the header, take 16 bytes each in
//! turn (`lane = fold(lane ^ word 0, constant ^ word 1)`), which keeps two multiplications under way
//! at a time, and are folded into one.
//!
//! The payload's 16-byte blocks i = 1, 2, ... are made of both halves of the product s (s xor constant)
//! with s = seed + constant * i (after wyrand), where the seed follows from key and stamp.

use thiserror::Error;

use crate::hash::{self, GOLDEN, fold};

/// The header of values that are long enough for it, in bytes.
pub const HEADER_BYTES: usize = 16;
/// The checksum in the header.
const CHECKSUM_BYTES: usize = 6;
/// The part of the header that the checksum covers.
const STAMP_BYTES: usize = HEADER_BYTES - CHECKSUM_BYTES;
/// Sequences have 48 bits.
const SEQUENCE_MASK: u64 = (1 << 48) - 1;

/// Constants of the checksum's lanes and of the payload: random words with 32 bits set.
const LANE_A: u64 = 0xA076_1D64_78BD_642F;
const LANE_B: u64 = 0xE703_7ED1_A0B4_28DB;
const START_A: u64 = 0x8EBC_6AF0_9C88_C6E3;
const START_B: u64 = 0x5899_65CC_7537_4CC3;
const PAYLOAD: u64 = 0x1D8E_4E27_C47D_124F;

/// Who wrote a value, and which of its writes it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run; another run's values are told by it.
    pub run: u16,
    /// The writing worker ([`crate::Share::writer`]).
    pub writer: u16,
    /// 0 = written by the load; a worker's own writes count from 1. Below 2^48.
    pub sequence: u64,
}

/// Makes the stamps of one worker.
#[derive(Clone, Debug)]
pub struct Writer {
    last: Stamp,
}

impl Writer {
    /// A worker that has not written yet.
    pub fn new(run: u16, writer: u16) -> Self {
        Self {
            last: Stamp {
                run,
                writer,
                sequence: 0,
            },
        }
    }

    /// The stamp of every record that this worker loads.
    pub fn loaded(&self) -> Stamp {
        Stamp {
            sequence: 0,
            ..self.last
        }
    }

    /// The stamp of the worker's next write, of whatever record.
    #[inline]
    pub fn next_stamp(&mut self) -> Stamp {
        self.last.sequence += 1;
        self.last
    }
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ValueFault {
    /// No workload writes empty values.
    #[error("the value is empty")]
    Empty,
    /// Damaged, cut, or another key's value.
    #[error("the value's checksum does not fit its key and contents")]
    Checksum,
}

/// Fills `value` (1 byte or more) with what `stamp` writes under the key with the hash `key_hash`
/// ([`keys::hash`](crate::keys::hash)).
#[inline]
pub fn write(key_hash: u64, stamp: Stamp, value: &mut [u8]) {
    let marks = u64::from(stamp.run) | u64::from(stamp.writer) << 16;
    let seed = fold(key_hash ^ marks, stamp.sequence ^ PAYLOAD);
    let value_bytes = value.len();
    if let Some((header, payload)) = value.split_first_chunk_mut::<HEADER_BYTES>() {
        fill(seed, payload);
        let sum = checksum(key_hash, marks, stamp.sequence, value_bytes, payload);
        let packed = u128::from(marks)
            | u128::from(stamp.sequence & SEQUENCE_MASK) << 32
            | u128::from(sum) << (8 * STAMP_BYTES);
        *header = packed.to_le_bytes();
    } else {
        let (payload, mark) = value.split_at_mut(short_payload_bytes(value_bytes));
        fill(seed, payload);
        let sum = checksum(key_hash, 0, 0, value_bytes, payload);
        mark.copy_from_slice(&sum.to_le_bytes()[..mark.len()]);
    }
}

/// Checks a value that was read under the key with the hash `key_hash`
/// ([`keys::hash`](crate::keys::hash)). Values of 16 bytes or more give their stamp.
///
/// # Errors
/// When no writer of this crate wrote it under that key.
#[inline]
pub fn check(key_hash: u64, value: &[u8]) -> Result<Option<Stamp>, ValueFault> {
    if let Some((header, payload)) = value.split_first_chunk::<HEADER_BYTES>() {
        let packed = u128::from_le_bytes(*header);
        let marks = packed as u32;
        let sequence = (packed >> 32) as u64 & SEQUENCE_MASK;
        let sum = checksum(key_hash, u64::from(marks), sequence, value.len(), payload);
        if sum != (packed >> (8 * STAMP_BYTES)) as u64 {
            return Err(ValueFault::Checksum);
        }
        Ok(Some(Stamp {
            run: marks as u16,
            writer: (marks >> 16) as u16,
            sequence,
        }))
    } else if value.is_empty() {
        Err(ValueFault::Empty)
    } else {
        let (payload, mark) = value.split_at(short_payload_bytes(value.len()));
        let sum = checksum(key_hash, 0, 0, value.len(), payload);
        if mark != &sum.to_le_bytes()[..mark.len()] {
            return Err(ValueFault::Checksum);
        }
        Ok(None)
    }
}

/// How many bytes of a short value are payload.
fn short_payload_bytes(value_bytes: usize) -> usize {
    value_bytes - value_bytes.div_ceil(2).min(CHECKSUM_BYTES)
}

/// Writes the payload of `seed`.
#[inline]
fn fill(seed: u64, payload: &mut [u8]) {
    let mut counter = seed;
    let mut block = || {
        counter = counter.wrapping_add(GOLDEN);
        let product = u128::from(counter) * u128::from(counter ^ PAYLOAD);
        let (low, high) = (product as u64, (product >> 64) as u64);
        let second = high.wrapping_add(low.rotate_left(32));
        (u128::from(low ^ high) | u128::from(second) << 64).to_le_bytes()
    };
    let (blocks, rest) = payload.as_chunks_mut::<16>();
    for place in blocks {
        *place = block();
    }
    if !rest.is_empty() {
        rest.copy_from_slice(&block()[..rest.len()]);
    }
}

/// The checksum, 48 bits.
#[inline]
fn checksum(key_hash: u64, marks: u64, sequence: u64, value_bytes: usize, payload: &[u8]) -> u64 {
    let mut lane_a = fold(key_hash ^ START_A, marks ^ LANE_B);
    let mut lane_b = fold(key_hash ^ START_B, sequence ^ LANE_A);
    let (pairs, rest) = payload.as_chunks::<32>();
    for pair in pairs {
        let (words, _) = pair.as_chunks::<8>();
        let word = |i: usize| u64::from_le_bytes(words[i]);
        lane_a = fold(lane_a ^ word(0), word(1) ^ LANE_A);
        lane_b = fold(lane_b ^ word(2), word(3) ^ LANE_B);
    }
    let (low, high) = hash::short(&rest[..rest.len().min(16)]);
    lane_a = fold(lane_a ^ low, high ^ LANE_A);
    if rest.len() > 16 {
        let (low, high) = hash::short(&rest[16..]);
        lane_b = fold(lane_b ^ low, high ^ LANE_B);
    }
    fold(lane_a ^ value_bytes as u64, lane_b ^ GOLDEN) & SEQUENCE_MASK
}
