//! The one budget that the buffers of all connections share.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that connections hold, against the most that they may.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
}

/// One connection's part of a [`Budget`], given back when it goes.
#[derive(Debug)]
pub(crate) struct Charge<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn charge(&self) -> Charge<'_> {
        Charge {
            budget: self,
            bytes: 0,
        }
    }
}

impl Charge<'_> {
    /// Takes note that the connection now holds `bytes`; `false` when it grew beyond the budget.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        let (before, now) = (self.bytes, bytes as u64);
        self.bytes = now;
        if now <= before {
            if now < before {
                self.budget.bytes.fetch_sub(before - now, Ordering::Relaxed);
            }
            return true;
        }
        let more = now - before;
        self.budget.bytes.fetch_add(more, Ordering::Relaxed) + more <= self.budget.bytes_max
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}
