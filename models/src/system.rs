//! Stands in for the server's `system`.
//!
//! `OnceLock` stays the standard library's, which loom does not see: a model makes its chunks and
//! segments before it starts threads, or hands them over by what it does check.

pub(crate) use loom::hint::spin_loop;
pub(crate) use loom::sync::atomic::{AtomicU64, fence};
pub(crate) use loom::sync::{Mutex, MutexGuard};
pub(crate) use loom::thread::yield_now;

use std::hash::{BuildHasher, Hasher};
use std::ops::Deref;

/// Each of loom's words is dear, and models need few: more than these do not exist.
const WORDS_MAX: usize = 768;

#[derive(Debug)]
pub(crate) struct Words(Box<[AtomicU64]>);

impl Words {
    pub(crate) fn zeroed(count: usize) -> Self {
        Self(
            (0..count.min(WORDS_MAX))
                .map(|_| AtomicU64::new(0))
                .collect(),
        )
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0
    }
}

pub(crate) fn prefetch(_words: &[AtomicU64]) {}

/// Seeds that are 0, since every execution must be the same: a key of one byte is its own hash.
pub(crate) struct RandomState;

impl RandomState {
    pub(crate) fn new() -> Self {
        Self
    }
}

impl BuildHasher for RandomState {
    type Hasher = Zero;

    fn build_hasher(&self) -> Zero {
        Zero
    }
}

pub(crate) struct Zero;

impl Hasher for Zero {
    fn write(&mut self, _bytes: &[u8]) {}

    fn finish(&self) -> u64 {
        0
    }
}
