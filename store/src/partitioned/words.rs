//! Memory as shared words, copied word by word.

use crate::system::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Words of a cache line.
pub(super) const LINE_WORDS: usize = 8;
pub(super) const WORD_BYTES: usize = size_of::<u64>();
pub(super) const LINE_BYTES: usize = LINE_WORDS * WORD_BYTES;

/// A cache line of words.
pub(super) type Line = [AtomicU64; LINE_WORDS];

/// Copies the first words into `bytes`. Where there are too few, some bytes stay as they are.
#[inline]
pub(super) fn copy_out(words: &[AtomicU64], bytes: &mut [u8]) {
    // Whole lines are most of it, and need no branch within.
    let (lines, rest) = bytes.as_chunks_mut::<LINE_BYTES>();
    let (line_words, words) = words.split_at(words.len().min(lines.len() * LINE_WORDS));
    for (line, words) in lines.iter_mut().zip(line_words.as_chunks::<LINE_WORDS>().0) {
        copy_words(words, line.as_chunks_mut().0);
    }
    let (chunks, tail) = rest.as_chunks_mut();
    copy_words(words, chunks);
    if let (false, Some(word)) = (tail.is_empty(), words.get(chunks.len())) {
        tail.copy_from_slice(&word.load(Relaxed).to_le_bytes()[..tail.len()]);
    }
}

#[inline]
fn copy_words(words: &[AtomicU64], chunks: &mut [[u8; WORD_BYTES]]) {
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.load(Relaxed).to_le_bytes();
    }
}

/// Copies `bytes` into the first words, the last one padded with zeros.
#[inline]
pub(super) fn copy_in(bytes: &[u8], words: &[AtomicU64]) {
    let (chunks, tail) = bytes.as_chunks::<WORD_BYTES>();
    for (chunk, word) in chunks.iter().zip(words) {
        word.store(u64::from_le_bytes(*chunk), Relaxed);
    }
    if !tail.is_empty() {
        words[chunks.len()].store(padded(tail), Relaxed);
    }
}

/// Whether the first words hold `bytes`, as [`copy_in`] writes them.
#[inline]
pub(super) fn hold(words: &[AtomicU64], bytes: &[u8]) -> bool {
    let (chunks, tail) = bytes.as_chunks::<WORD_BYTES>();
    let Some(words) = words.get(..bytes.len().div_ceil(WORD_BYTES)) else {
        return false;
    };
    let equal = |(chunk, word): (&[u8; WORD_BYTES], &AtomicU64)| {
        word.load(Relaxed) == u64::from_le_bytes(*chunk)
    };
    chunks.iter().zip(words).all(equal)
        && (tail.is_empty() || words[chunks.len()].load(Relaxed) == padded(tail))
}

/// 1 to 8 bytes as one little-endian word, padded with zeros.
#[inline]
fn padded(bytes: &[u8]) -> u64 {
    batchkv_protocol::Key::from(bytes).word()
}
