//! What the stores take from the language and the system: shared words and their memory, locks,
//! waiting, random seeds.
//!
//! The crate `models` compiles the stores with a module of its own in this one's place, which gives
//! them loom's.
//!
//! The crate's only unsafe code: taking zeroed memory without touching it, and prefetching.
#![allow(unsafe_code)]

pub(crate) use std::hash::RandomState;
pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicU64, fence};
pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use std::thread::yield_now;

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ptr::slice_from_raw_parts_mut;

/// Zeroed words, and the number of the first that lies at a multiple of `align_bytes`; `count` words
/// are left from there. Pages that nobody has written yet cost no memory.
pub(crate) fn zeroed_words(count: usize, align_bytes: usize) -> (Box<[AtomicU64]>, usize) {
    let count = count + align_bytes / size_of::<AtomicU64>();
    assert!(count > 0);
    let layout = Layout::array::<AtomicU64>(count).expect("fits the address space");
    // SAFETY: the layout's size is not zero.
    let start = unsafe { alloc_zeroed(layout) }.cast::<AtomicU64>();
    if start.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: `start` was just allocated by the global allocator with the layout of this slice,
    // nobody else has it, and zero bytes are a valid AtomicU64.
    let words = unsafe { Box::from_raw(slice_from_raw_parts_mut(start, count)) };
    (words, start.align_offset(align_bytes))
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
