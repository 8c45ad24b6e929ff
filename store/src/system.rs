//! What the stores take from the language and the system: shared words and their memory, locks,
//! waiting, random seeds.
//!
//! With `--cfg loom` the module `system_loom` stands in this one's place, which gives the stores loom's.
//!
//! The crate's only unsafe code: seeing zeroed pages as words, and prefetching.
#![allow(unsafe_code)]

pub(crate) use std::hash::RandomState;
pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicU64, fence};
pub(crate) use std::thread::yield_now;

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;
use std::io;
use std::ops::Deref;
use std::slice;

#[cfg(target_arch = "x86_64")]
const CACHE_LINE_BYTES: usize = 64;

/// Words that are zero at first and begin at a cache line; pages cost memory once they are written.
#[derive(Debug)]
pub(crate) struct Words(MmapMut);

impl Words {
    /// # Errors
    /// When the system has no address space left.
    pub(crate) fn zeroed(count: usize) -> io::Result<Self> {
        let bytes = count * size_of::<AtomicU64>();
        let memory = MmapMut::map_anon(bytes)?;
        // Huge pages save most of the page walks; without them it is slower, not wrong.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(Advice::HugePage);
        Ok(Self(memory))
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

/// Asks for a cache line for each 64 of the first `bytes`. There may be fewer words.
#[inline]
pub(crate) fn prefetch(words: &[AtomicU64], bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..bytes.div_ceil(CACHE_LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = words.as_ptr().cast::<i8>();
        // SAFETY: SSE is part of x86_64; a prefetch changes nothing that a program can see, whatever
        // the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(line * CACHE_LINE_BYTES)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (words, bytes);
}
