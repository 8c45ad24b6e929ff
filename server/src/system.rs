//! What the stores take from the language and the system: shared words and their memory, locks,
//! waiting, random seeds.
//!
//! The crate `models` compiles the stores with a module of its own in this one's place, which gives
//! them loom's.
//!
//! The crate's only unsafe code: seeing zeroed pages as words, and prefetching.
#![allow(unsafe_code)]

pub(crate) use std::hash::RandomState;
pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicU64, fence};
pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use std::thread::yield_now;

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;
use std::ops::Deref;
use std::slice;

/// Words that are zero at first and begin at a cache line; pages cost memory once they are written.
#[derive(Debug)]
pub(crate) struct Words(MmapMut);

impl Words {
    /// # Panics
    /// When the system has no address space left.
    pub(crate) fn zeroed(count: usize) -> Self {
        let bytes = count * size_of::<AtomicU64>();
        let memory = MmapMut::map_anon(bytes).expect("address space for a chunk");
        // Huge pages save most of the page walks; without them it is slower, not wrong.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(Advice::HugePage);
        Self(memory)
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        let count = self.0.len() / size_of::<AtomicU64>();
        // SAFETY: a mapping begins at a page's border, so it is aligned for words; `count` of them lie
        // in it, they live as long as `self`, any bytes are a valid AtomicU64, and nobody sees the
        // memory in another way: it is private, and never lent as bytes.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), count) }
    }
}

/// Asks for the cache line of the first word, if there is one.
#[inline]
pub(crate) fn prefetch(words: &[AtomicU64]) {
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
