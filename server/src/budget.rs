//! What connections may use, so that all of them together stay within bounds.
//!
//! A peer that stops reading leaves a request frame, an answer frame and what its socket holds of both
//! directions. Few connections get all that makes them fast; from some hundred on, each gets less.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use batchkv_protocol::limits::{FRAME_BYTES, REQUEST_FRAME_BYTES, SOCKET_RECEIVE_BYTES};
use tokio::sync::Notify;

/// With more stalled peers than this, answers go out in small frames.
const STALLED_PEERS_MAX: usize = 128;
/// With more connections than this, sockets of further ones keep less of what was not read.
const ROOMY_CONNECTIONS_MAX: u64 = 64;

/// What a socket of one more connection than `connections` may keep of unread bytes. It has to be set before
/// the socket is connected: what it has once allowed its peer to send will come.
pub(crate) fn socket_receive_bytes(connections: u64) -> usize {
    if connections < ROOMY_CONNECTIONS_MAX {
        SOCKET_RECEIVE_BYTES
    } else {
        REQUEST_FRAME_BYTES
    }
}

/// The part of all bytes that parked groups may take: one of so many.
const PARKED_SHARE: u64 = 4;

/// Bytes that connections hold, against the most that they may, and how many of their peers are stalled.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
    /// Bytes of parked groups and their answers, which are part of `bytes`.
    parked_bytes: AtomicU64,
    /// Wakes who waits for others' groups to be answered.
    unparked: Notify,
    stalled_peers: AtomicUsize,
}

/// A peer that must read before it is served on.
#[derive(Debug)]
pub(crate) struct Stalled<'a>(&'a Budget);

/// One connection's part of a [`Budget`], given back when it goes.
#[derive(Debug)]
pub(crate) struct Charge<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of `bytes_max` bytes, of which parked groups may take a quarter.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: AtomicU64::new(0),
            parked_bytes: AtomicU64::new(0),
            unparked: Notify::new(),
            stalled_peers: AtomicUsize::new(0),
        }
    }

    /// Bytes of parked groups and of answers to them.
    #[must_use]
    pub fn parked_bytes(&self) -> u64 {
        self.parked_bytes.load(Ordering::Relaxed)
    }

    /// Whether so many bytes more may be parked: always when none are.
    pub(crate) fn may_park(&self, bytes: u64) -> bool {
        let parked = self.parked_bytes();
        parked == 0 || parked + bytes <= self.bytes_max / PARKED_SHARE
    }

    pub(crate) fn park(&self, bytes: u64) {
        self.parked_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn unpark(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.parked_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.unparked.notify_waiters();
    }

    /// Ready when parked bytes have gone since the call.
    pub(crate) fn unparked(&self) -> impl Future<Output = ()> {
        self.unparked.notified()
    }

    /// Counts a peer as stalled.
    pub(crate) fn stalled(&self) -> Stalled<'_> {
        self.stalled_peers.fetch_add(1, Ordering::Relaxed);
        Stalled(self)
    }

    /// Longest frame of several answers at present. A peer that stops reading leaves one behind.
    pub(crate) fn answer_frame_bytes(&self) -> usize {
        if self.stalled_peers.load(Ordering::Relaxed) <= STALLED_PEERS_MAX {
            FRAME_BYTES
        } else {
            REQUEST_FRAME_BYTES
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

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        self.0.stalled_peers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut_small_while_many_peers_are_stalled() {
        let budget = Budget::new(0);
        let mut stalled: Vec<Stalled<'_>> =
            (0..STALLED_PEERS_MAX).map(|_| budget.stalled()).collect();
        assert_eq!(budget.answer_frame_bytes(), FRAME_BYTES);
        stalled.push(budget.stalled());
        assert_eq!(budget.answer_frame_bytes(), REQUEST_FRAME_BYTES);
        stalled.pop();
        assert_eq!(budget.answer_frame_bytes(), FRAME_BYTES);
    }
}
