//! Stands in for `system` under `--cfg loom`.
//!
//! `OnceLock` stays the standard library's, which loom does not see: a model makes its chunks and
//! segments before it starts threads, or hands them over by what it does check.

pub(crate) use loom::hint::spin_loop;
pub(crate) use loom::sync::Mutex;
pub(crate) use loom::sync::atomic::{AtomicU64, fence};
pub(crate) use loom::thread::yield_now;

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::ops::Deref;

/// Each of loom's words is dear, and models need few: more than these do not exist.
const WORDS_MAX: usize = 768;

#[derive(Debug)]
pub(crate) struct Words(Box<[AtomicU64]>);

impl Words {
    pub(crate) fn zeroed(count: usize) -> io::Result<Self> {
        let words = (0..count.min(WORDS_MAX)).map(|_| AtomicU64::new(0));
        Ok(Self(words.collect()))
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0
    }
}

pub(crate) fn prefetch(_words: &[AtomicU64], _bytes: usize) {}

/// Seeds that are the same in every execution: 1, 0 and 1 for the numbers 0 to 2, with which a key of one
/// byte is its own hash.
pub(crate) struct RandomState;

impl RandomState {
    pub(crate) fn new() -> Self {
        Self
    }
}

impl BuildHasher for RandomState {
    type Hasher = Even;

    fn build_hasher(&self) -> Even {
        Even(true)
    }
}

/// 1 for an even number, 0 for an odd one.
pub(crate) struct Even(bool);

impl Hasher for Even {
    fn write(&mut self, little_endian: &[u8]) {
        self.0 = little_endian.first().is_some_and(|byte| byte % 2 == 0);
    }

    fn finish(&self) -> u64 {
        self.0.into()
    }
}
