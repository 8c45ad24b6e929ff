//! Memory as shared words: zeroed by the system, aligned to cache lines, copied word by word.
//!
//! The crate's only unsafe code: seeing zeroed pages as words, and prefetching.
#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words of a cache line.
pub(super) const LINE_WORDS: usize = 8;
pub(super) const WORD_BYTES: usize = size_of::<AtomicU64>();
pub(super) const LINE_BYTES: usize = LINE_WORDS * WORD_BYTES;

/// A cache line of words.
pub(super) type Line = [AtomicU64; LINE_WORDS];

/// Consecutive cache lines, zero at first; they cost memory once written.
#[derive(Debug)]
pub(super) struct Lines {
    memory: MmapMut,
}

impl Lines {
    /// # Panics
    /// When the system has no address space left.
    pub(super) fn zeroed(lines: usize) -> Self {
        let memory = MmapMut::map_anon(lines * LINE_BYTES).expect("address space for a chunk");
        // Huge pages save most of the page walks; without them it is slower, not wrong.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(Advice::HugePage);
        Self { memory }
    }

    /// The words from number `word` on.
    #[inline]
    pub(super) fn from(&self, word: usize) -> &[AtomicU64] {
        let count = self.memory.len() / WORD_BYTES;
        // SAFETY: a mapping begins at a page's border, so it is aligned for words; `count` of them lie
        // in it, they live as long as `self`, any bytes are a valid AtomicU64, and nobody else sees the
        // memory: `memory` is private and never lent as bytes.
        let words = unsafe { slice::from_raw_parts(self.memory.as_ptr().cast(), count) };
        &words[word..]
    }
}

/// Asks for the cache line of the first word, if there is one.
#[inline]
pub(super) fn prefetch(words: &[AtomicU64]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(word) = words.first() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86_64; the address is a live word's, and a prefetch changes
        // nothing that a program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(word).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = words;
}

/// Copies the first words into `bytes`, as far as there are words.
#[inline]
pub(super) fn copy_out(words: &[AtomicU64], bytes: &mut [u8]) {
    let (chunks, tail) = bytes.as_chunks_mut::<WORD_BYTES>();
    let full = chunks.len();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.load(Relaxed).to_le_bytes();
    }
    if let (false, Some(word)) = (tail.is_empty(), words.get(full)) {
        tail.copy_from_slice(&word.load(Relaxed).to_le_bytes()[..tail.len()]);
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
