//! The hashes of this crate. None of them places keys on servers: that one is the protocol's, and
//! shares neither function nor constants with these.

/// SplitMix64's increment: 2^64 divided by the golden ratio, odd.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection of 64 bits.
#[inline]
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The hash of a list of words; the order counts.
pub(crate) fn words(list: &[u64]) -> u64 {
    list.iter().fold(
        GOLDEN,
        |state, &word| mix(state.wrapping_add(GOLDEN) ^ word),
    )
}

/// The 128-bit product of two words, its halves xor-ed.
#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// `random * n / 2^64` and what is left over: a number in `0..n`, and a fraction of 2^64 that is
/// close to independent of it (in steps of `n`).
#[inline]
pub(crate) fn scale(random: u64, n: u64) -> (u64, u64) {
    let product = u128::from(random) * u128::from(n);
    ((product >> 64) as u64, product as u64)
}

/// YCSB's `Utils.FNVhash64`: the eight octets, low byte first, xor before multiply; then Java's
/// `Math.abs` of the signed result.
#[inline]
pub(crate) fn ycsb(number: u64) -> u64 {
    let hash = number
        .to_le_bytes()
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, &octet| {
            (hash ^ u64::from(octet)).wrapping_mul(1_099_511_628_211)
        });
    (hash as i64).unsigned_abs()
}

/// Up to 16 bytes as two words that hold every byte at least once. Bytes beyond the 16th are not
/// read; the length is the caller's to mix in.
#[inline]
pub(crate) fn short(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (
            u64::from(u32::from_le_bytes(*first)),
            u64::from(u32::from_le_bytes(*last)),
        )
    } else if let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) {
        let middle = bytes[bytes.len() / 2];
        (u64::from(first) | u64::from(middle) << 8, u64::from(last))
    } else {
        (0, 0)
    }
}

/// The hash of a key of at most eight bytes, given as a word that is padded with zeros.
#[inline]
pub(crate) fn short_key(word: u64, key_bytes: usize) -> u64 {
    fold(word ^ KEY_START ^ key_bytes as u64, KEY_STEP)
}

/// The hash of a key: up to eight bytes by [`short_key`]; longer ones 16 bytes a step, the last ones by
/// [`short`], with the length.
#[inline]
pub(crate) fn key(key: &[u8]) -> u64 {
    if key.len() <= 8 {
        let mut word = [0; 8];
        word[..key.len()].copy_from_slice(key);
        return short_key(u64::from_le_bytes(word), key.len());
    }
    let mut state = KEY_START ^ key.len() as u64;
    let mut rest = key;
    while rest.len() > 16 {
        let (low, high) = short(&rest[..16]);
        state = fold(low ^ state, high ^ 0x8BB8_4B93_962E_ACC9);
        rest = &rest[16..];
    }
    let (low, high) = short(rest);
    fold(low ^ state, high ^ KEY_STEP)
}

/// Constants of the key's hash: random words with 32 bits set.
const KEY_START: u64 = 0x2D35_8DCC_AA6C_78A5;
const KEY_STEP: u64 = 0x4B33_A62E_D433_D4A3;
