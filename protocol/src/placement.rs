//! The public hash that places keys: fixed, so that every client and server agrees for ever.
//!
//! Version 1, over a key of `n >= 1` bytes, all integers 64-bit little-endian and wrapping:
//!
//! ```text
//! fold(x, y) = low64(x * y) xor high64(x * y)          the product taken at 128 bits
//! h = P0 xor n
//! while more than 16 bytes are left: h = fold(word(first 8) xor P1, word(next 8) xor h); drop these 16
//! (a, b) of the m = 1..=16 bytes that are left:
//!     m >  8: a = word(first 8),                      b = word(last 8), they overlap when m < 16
//!     m <= 8: a = the m bytes, padded with zeros,     b = 0
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

use crate::key::{Key, padded};

const P0: u64 = 0x243F_6A88_85A3_08D3;
const P1: u64 = 0x1319_8A2E_0370_7344;
const P2: u64 = 0xA409_3822_299F_31D0;
const P3: u64 = 0x082E_FA98_EC4E_6C89;

/// The 64-bit placement hash of `key`, which must not be empty (an empty key hashes to a fixed
/// value, but the protocol refuses it).
///
/// ```
/// assert_eq!(batchkv_protocol::placement(b"1"), 0xFFBC_078D_9C5B_7389);
/// ```
#[inline]
#[must_use]
pub fn placement<'a>(key: impl Into<Key<'a>>) -> u64 {
    let key = key.into();
    let start = P0 ^ key.len() as u64;
    let last = match key.short_word() {
        Some(word) => fold(word ^ P1, start),
        None => fold_long(start, key.bytes()),
    };
    fold(last ^ P2, P3)
}

/// Folds all of a key of more than 8 bytes into `start`.
fn fold_long(start: u64, bytes: &[u8]) -> u64 {
    let (mut h, mut rest) = (start, bytes);
    while rest.len() > 16 {
        let (block, tail) = rest.split_at(16);
        h = fold(word(&block[..8]) ^ P1, word(&block[8..]) ^ h);
        rest = tail;
    }
    let (a, b) = match rest.len() {
        ..=8 => (padded(rest), 0),
        n => (word(&rest[..8]), word(&rest[n - 8..])),
    };
    fold(a ^ P1, b ^ h)
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

#[cfg(test)]
mod tests {
    use super::placement;

    /// Calculated by a second implementation, in another language, from the definition above.
    const VECTORS: [(&[u8], u64); 14] = [
        (b"0", 0x1DA6_594D_A13F_CEBD),
        (b"1", 0xFFBC_078D_9C5B_7389),
        (b"42", 0x836B_84DC_EA1F_D7C9),
        (b"999", 0x8604_5499_CEB4_29D9),
        (b"1234", 0x1B84_B0FE_F6C0_00EC),
        (b"99999", 0x370C_5DF0_02CC_477D),
        (b"1234567", 0x7290_0019_0FD7_BBF8),
        (b"12345678", 0xA13E_4281_95E1_8238),
        (b"123456789012345", 0x0E8F_DD90_F26D_2E5F),
        (b"1234567890123456", 0x5195_F6D6_0372_2BEE),
        (b"12345678901234567", 0xCC83_6632_B3F8_7B99),
        (b"user6284781860667377211", 0x2ADE_BD1C_D27D_AF86),
        (b"\x00", 0x6A9D_80B2_6DAA_6F7F),
        (b"\x00\x00", 0x3001_D578_0507_37A4),
    ];

    #[test]
    fn test_vectors() {
        for (key, expected) in VECTORS {
            assert_eq!(placement(key), expected, "{key:?}");
        }
        let long: Vec<u8> = (0..33).collect();
        assert_eq!(placement(&long[..32]), 0x102B_F1AF_C095_E0FC);
        assert_eq!(placement(long.as_slice()), 0x6856_D638_83F2_F65A);
        assert_eq!(placement(&[0xFF; 64]), 0xD1F7_8B87_86B2_4A52);
    }

    #[test]
    fn decimal_keys_spread_evenly() {
        const PARTITIONS: usize = 256;
        const KEYS: usize = 200_000;
        let mut counts = [0_usize; PARTITIONS];
        for record in 0..KEYS {
            counts[placement(record.to_string().as_bytes()) as usize % PARTITIONS] += 1;
        }
        // Binomial: mean 781, deviation 28; fixed keys, so the outcome is fixed as well.
        assert!(
            counts.iter().all(|count| (600..960).contains(count)),
            "{counts:?}"
        );
    }
}
