//! The records that one worker inserts, and how far they are acknowledged.
//!
//! Insert j of worker w of W in client i of N is the record `records + i + N * (w + W * j)`: no two
//! workers insert the same record, and nobody needs to ask.

use std::collections::VecDeque;

use crate::share::Share;

/// One worker's inserts; all streams of the worker draw from the same.
///
/// Invariants:
/// 1. Inserts `0..acknowledged` are all acknowledged; insert `acknowledged` is not.
/// 2. `early[k]` tells whether insert `acknowledged + k` is; inserts beyond are not.
#[derive(Clone, Debug)]
pub struct Inserts {
    records: u64,
    first: u64,
    stride: u64,
    sent: u64,
    acknowledged: u64,
    early: VecDeque<bool>,
}

impl Inserts {
    /// No inserts yet, beside a load of `records` records.
    pub fn new(records: u64, share: Share) -> Self {
        let clients = u64::from(share.clients);
        Self {
            records,
            first: records + u64::from(share.client) + clients * u64::from(share.worker),
            stride: clients * u64::from(share.workers),
            sent: 0,
            acknowledged: 0,
            early: VecDeque::new(),
        }
    }

    /// The next record to insert.
    #[inline]
    pub fn next_record(&mut self) -> u64 {
        let number = self.sent;
        self.sent += 1;
        self.record(number)
    }

    /// Takes note that the insert of `record` was answered; any order. A record that this worker did
    /// not insert is ignored. An insert that is never acknowledged keeps `latest` from going beyond
    /// it, and costs a byte for each later one.
    pub fn acknowledged(&mut self, record: u64) {
        let Some(distance) = record.checked_sub(self.first) else {
            return;
        };
        let number = distance / self.stride;
        if distance % self.stride != 0 || number >= self.sent || number < self.acknowledged {
            return;
        }
        let place = (number - self.acknowledged) as usize;
        if self.early.len() <= place {
            self.early.resize(place + 1, false);
        }
        self.early[place] = true;
        while self.early.front() == Some(&true) {
            self.early.pop_front();
            self.acknowledged += 1;
        }
    }

    /// The record that `distance` others are newer than, among the load (newest = last) and this
    /// worker's acknowledged inserts without gap. `distance` is below the load's record count.
    #[inline]
    pub fn newest(&self, distance: u64) -> u64 {
        if distance < self.acknowledged {
            self.record(self.acknowledged - 1 - distance)
        } else {
            self.records - 1 - (distance - self.acknowledged)
        }
    }

    #[inline]
    fn record(&self, number: u64) -> u64 {
        self.first + self.stride * number
    }
}
