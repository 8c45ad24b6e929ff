//! What a slot says of a record beside its key's word: where its block is, and what is in it.

use super::key::Key;
use super::slab::{Block, Slab};
use super::words::hold;
use std::sync::atomic::Ordering::Relaxed;

/// Where a record's block is and what is in it, in one word; 0 for an empty slot.
///
/// ```text
/// bit 0..32       32..53           53..60            60..64
/// block, units    value, bytes     block's class     inline key, bytes; 0 = key in the block
/// ```
///
/// An inline key with an empty value has no block: the first two fields and the class are 0. Unit
/// 0 of the slab is never given out, so a record with a long key is not 0 either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Locator(pub(super) u64);

impl Locator {
    pub(super) const EMPTY: Self = Self(0);

    #[inline]
    pub(super) fn new(block: Option<Block>, value_bytes: usize, key: &Key<'_>) -> Self {
        let (unit, class) = block.map_or((0, 0), |block| (block.unit, block.class));
        Self(
            u64::from(unit)
                | (value_bytes as u64) << 32
                | u64::from(class) << 53
                | key.form() << 60,
        )
    }

    #[inline]
    pub(super) fn block(self) -> Option<Block> {
        let unit = self.0 as u32;
        let class = (self.0 >> 53 & 0x7F) as u8;
        (unit != 0).then_some(Block { unit, class })
    }

    #[inline]
    pub(super) fn value_bytes(self) -> usize {
        (self.0 >> 32 & 0x1F_FFFF) as usize
    }

    /// See [`Key::form`].
    #[inline]
    pub(super) fn form(self) -> u64 {
        self.0 >> 60
    }

    /// Whether the record's block holds `key`, a long one, in front of the value.
    pub(super) fn leads_to(self, key: &Key<'_>, slab: &Slab) -> bool {
        let words = self.block().map_or(&[][..], |block| slab.words(block.unit));
        let Some((length, key_words)) = words.split_first() else {
            return false;
        };
        length.load(Relaxed) == key.bytes.len() as u64 && hold(key_words, key.bytes)
    }
}
