//! A key as the tables see it: its word and its keyed hash.

use super::words::WORD_BYTES;
use crate::system::RandomState;
use std::hash::BuildHasher;

/// Longest key that stands in its slot, in bytes.
const INLINE_KEY_BYTES_MAX: usize = WORD_BYTES;

/// What addresses the tables of one store: random, so that nobody can choose keys that collide.
#[derive(Debug)]
pub(super) struct Secrets([u64; 3]);

impl Secrets {
    /// From the source that also seeds the standard library's maps.
    pub(super) fn random() -> Self {
        Self([0, 1, 2].map(|number: u64| RandomState::new().hash_one(number)))
    }

    /// The hash of a key of `key_bytes` bytes that is `word`, padded. With one product instead of two,
    /// one secret in a hundred spreads decimal keys badly.
    #[inline]
    fn inline_hash(&self, word: u64, key_bytes: usize) -> u64 {
        let [s0, s1, s2] = self.0;
        let (low, high) = multiply(word ^ s0, s1 ^ key_bytes as u64);
        fold(low ^ s2, high ^ s0)
    }

    /// The hash of a key of more than 8 bytes; folded multiplication as in wyhash.
    fn long_hash(&self, key: &[u8]) -> u64 {
        let [s0, s1, s2] = self.0;
        let mut hash = s2 ^ key.len() as u64;
        let mut rest = key;
        while rest.len() > 2 * WORD_BYTES {
            let (block, tail) = rest.split_at(2 * WORD_BYTES);
            hash = fold(word_at_start(block) ^ s0, word_at_end(block) ^ hash);
            rest = tail;
        }
        // The last word may overlap what was hashed before; a rest may be shorter than a word.
        let first = word_at_start(&key[key.len() - rest.len().max(WORD_BYTES)..]);
        fold(fold(first ^ s1, word_at_end(key) ^ hash) ^ s0, s1)
    }

    /// The hash of the key with this word and [`form`](Key::form).
    #[inline]
    pub(super) fn hash(&self, word: u64, form: u64) -> u64 {
        match form {
            0 => word,
            key_bytes => self.inline_hash(word, key_bytes as usize),
        }
    }
}

#[inline]
fn multiply(x: u64, y: u64) -> (u64, u64) {
    let product = u128::from(x) * u128::from(y);
    (product as u64, (product >> 64) as u64)
}

#[inline]
fn fold(x: u64, y: u64) -> u64 {
    let (low, high) = multiply(x, y);
    low ^ high
}

#[inline]
fn word_at_start(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("a word"))
}

#[inline]
fn word_at_end(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.last_chunk().expect("a word"))
}

/// A key with all that a lookup needs of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'k> {
    pub(super) bytes: &'k [u8],
    /// What stands in its slot: the padded key when it is short, else the hash.
    pub(super) word: u64,
    pub(super) hash: u64,
}

impl<'k> Key<'k> {
    #[inline]
    pub(super) fn new(key: batchkv_protocol::Key<'k>, secrets: &Secrets) -> Self {
        let bytes = key.bytes();
        debug_assert!(!bytes.is_empty(), "an empty key would be an empty slot's");
        if let Some(word) = key.short_word() {
            let hash = secrets.inline_hash(word, bytes.len());
            return Self { bytes, word, hash };
        }
        let hash = secrets.long_hash(bytes);
        Self {
            bytes,
            word: hash,
            hash,
        }
    }

    /// Whether the key stands in its slot, not in front of its value.
    #[inline]
    pub(super) fn is_inline(&self) -> bool {
        self.bytes.len() <= INLINE_KEY_BYTES_MAX
    }

    /// Its length, if it is inline, else 0. Where forms and words are equal, the keys are, or the
    /// hashes of long ones.
    #[inline]
    pub(super) fn form(&self) -> u64 {
        if self.is_inline() {
            self.bytes.len() as u64
        } else {
            0
        }
    }

    /// Words of a block in front of the value: a long key's length and bytes.
    #[inline]
    pub(super) fn block_words(&self) -> usize {
        if self.is_inline() {
            0
        } else {
            long_key_words(self.bytes.len())
        }
    }

    /// Bytes of a block that holds the key, if it is long, and a value.
    #[inline]
    pub(super) fn block_bytes(&self, value_bytes: usize) -> usize {
        self.block_words() * WORD_BYTES + value_bytes
    }
}

/// Words of a block in front of the value of a record with a long key of `key_bytes`.
#[inline]
pub(super) fn long_key_words(key_bytes: usize) -> usize {
    1 + key_bytes.div_ceil(WORD_BYTES)
}
