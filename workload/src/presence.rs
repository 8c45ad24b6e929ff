//! Whether a get that found nothing can be right where records are deleted: for all workers of one client
//! together, if no other client deletes.
//!
//! A get may find nothing if a delete can be the last that happened to its record. Deletes are numbered as
//! they are sent. A put that is sent when all deletes sent so far are acknowledged, and that is acknowledged
//! itself, is behind all of them: a get that is sent later finds something, unless another delete was sent by
//! the time of its answer. What is not certain is not judged: that misses alarms, and never makes false ones.

use std::sync::atomic::{AtomicU32, Ordering};

/// Most records that are watched: twelve bytes each.
pub const RECORDS_MAX: u64 = 1 << 22;

/// What is known of each record.
#[derive(Debug)]
pub struct Presence {
    records: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    deletes_sent: AtomicU32,
    deletes_acknowledged: AtomicU32,
    /// One more than the number of deletes that a put is certainly behind; 0 = it may never have been there.
    behind: AtomicU32,
}

/// What was known when a get or a put was sent: one more than a number of deletes, or 0 for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Certainty(u32);

impl Presence {
    /// Nothing deleted yet of so many records, which are `loaded` or not. `None` for more than [`RECORDS_MAX`].
    pub fn new(records: u64, loaded: bool) -> Option<Self> {
        let known = |_| Known {
            deletes_sent: AtomicU32::new(0),
            deletes_acknowledged: AtomicU32::new(0),
            behind: AtomicU32::new(loaded.into()),
        };
        (records <= RECORDS_MAX).then(|| Self {
            records: (0..records).map(known).collect(),
        })
    }

    fn known(&self, record: u64) -> Option<&Known> {
        self.records.get(record as usize)
    }

    /// A delete is about to be sent.
    pub fn delete_sent(&self, record: u64) {
        if let Some(known) = self.known(record) {
            known.deletes_sent.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The delete was acknowledged. One that never is keeps its record from being judged.
    pub fn delete_acknowledged(&self, record: u64) {
        if let Some(known) = self.known(record) {
            known.deletes_acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A put is about to be sent; the result is to be kept until its answer.
    pub fn put_sent(&self, record: u64) -> Certainty {
        let Some(known) = self.known(record) else {
            return Certainty(0);
        };
        // In this order: acknowledged ones never exceed those sent, so that if both are equal, nothing was
        // under way at the second look.
        let acknowledged = known.deletes_acknowledged.load(Ordering::SeqCst);
        let sent = known.deletes_sent.load(Ordering::SeqCst);
        Certainty(if acknowledged == sent { sent + 1 } else { 0 })
    }

    /// The put was acknowledged.
    pub fn put_acknowledged(&self, record: u64, at: Certainty) {
        if let Some(known) = self.known(record) {
            known.behind.fetch_max(at.0, Ordering::SeqCst);
        }
    }

    /// A get is about to be sent; the result is to be kept until its answer.
    pub fn get_sent(&self, record: u64) -> Certainty {
        let behind = self
            .known(record)
            .map(|known| known.behind.load(Ordering::SeqCst));
        Certainty(behind.unwrap_or(0))
    }

    /// Whether it is wrong that the get found nothing.
    pub fn is_lost(&self, record: u64, at: Certainty) -> bool {
        self.known(record).is_some_and(|known| {
            let sent = known.deletes_sent.load(Ordering::SeqCst);
            at.0 > 0 && sent < at.0
        })
    }
}
