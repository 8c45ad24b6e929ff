//! The public hash that places keys: fixed, so that every client and server agrees for ever.
//!
//! Version 1, over a key of `n >= 1` bytes, all integers 64-bit little-endian and wrapping:
//!
//! ```text
//! fold(x, y) = low64(x * y) xor high64(x * y)          the product taken at 128 bits
//! h = P0 xor n
//! while more than 16 bytes are left: h = fold(word(first 8) xor P1, word(next 8) xor h); drop these 16
//! (a, b) of the m = 1..=16 bytes that are left:
//!     m >= 8: a = word(first 8),            b = word(last 8)        they overlap when m < 16
//!     m >= 4: a = word32(first 4),          b = word32(last 4)
//!     m <  4: a = first | middle<<8 | last<<16 (middle = byte m/2),  b = 0
//! h = fold(a xor P1, b xor h)
//! placement = fold(h xor P2, P3)
//! ```
//!
//! P0 to P3 are the first 256 bits of pi's fraction. A key belongs to the partition
//! `placement mod partitions`. The test vectors in this module are part of the definition; folded
//! multiplication is the idea behind wyhash (Wang Yi), this definition is our own.
//!
//! The hash is public, so anybody can craft keys that meet in one partition. Tables therefore never
//! address by it: the server's store has a keyed hash of its own.

const P0: u64 = 0x243F_6A88_85A3_08D3;
const P1: u64 = 0x1319_8A2E_0370_7344;
const P2: u64 = 0xA409_3822_299F_31D0;
const P3: u64 = 0x082E_FA98_EC4E_6C89;

/// The 64-bit placement hash of `key`, which must not be empty (an empty key hashes to a fixed
/// value, but the protocol refuses it).
///
/// ```
/// assert_eq!(batchkv_protocol::placement(b"1"), 0x0);
/// ```
#[inline]
#[must_use]
pub fn placement(key: &[u8]) -> u64 {
    let mut h = P0 ^ key.len() as u64;
    let mut rest = key;
    while rest.len() > 16 {
        let (block, tail) = rest.split_at(16);
        h = fold(word(&block[..8]) ^ P1, word(&block[8..]) ^ h);
        rest = tail;
    }
    let (a, b) = last_words(rest);
    fold(fold(a ^ P1, b ^ h) ^ P2, P3)
}

/// The last 1 to 16 bytes of a key as two words; both zero for none.
#[inline]
fn last_words(bytes: &[u8]) -> (u64, u64) {
    let n = bytes.len();
    if n >= 8 {
        (word(&bytes[..8]), word(&bytes[n - 8..]))
    } else if n >= 4 {
        (word32(&bytes[..4]), word32(&bytes[n - 4..]))
    } else if n > 0 {
        let (first, middle, last) = (bytes[0], bytes[n / 2], bytes[n - 1]);
        (
            u64::from(first) | u64::from(middle) << 8 | u64::from(last) << 16,
            0,
        )
    } else {
        (0, 0)
    }
}

#[inline]
fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

#[inline]
fn word32(bytes: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
}
