//! Asking for memory before it is needed: the crate's only unsafe code.
//!
//! A worker's words of a million records lie outside its core's caches, and each get reads one.
#![allow(unsafe_code)]

/// Asks for the cache line in which `word` begins, and waits for nothing.
#[inline(always)]
pub(crate) fn prefetch<T>(word: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86_64; a prefetch changes nothing that a program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(word).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}
