//! The load: every record once, in a fixed pseudo-random order, divided among all workers.
//!
//! The order is the same in every mode and for every seed, and differs from `--scatter`'s, so that
//! records which are hot together do not lie side by side in any store.

use std::ops::Range;

use crate::permutation::Permutation;
use crate::share::Share;

/// Selects the order.
const ORDER: u64 = 0x510E_527F_ADE6_82D1;

/// The records that one worker loads, as an iterator.
#[derive(Clone, Debug)]
pub struct LoadOrder {
    order: Permutation,
    rest: Range<u64>,
}

impl LoadOrder {
    /// The worker's share of `0..records` (1 to 2^40): contiguous in the order, so that the shares
    /// of all workers cover every record exactly once and differ by two records at most.
    pub fn new(records: u64, share: Share) -> Self {
        let client = slice(0..records, share.client, share.clients);
        Self {
            order: Permutation::new(records, ORDER),
            rest: slice(client, share.worker, share.workers),
        }
    }
}

/// Part `index` of `parts` of a range.
fn slice(range: Range<u64>, index: u32, parts: u32) -> Range<u64> {
    let length = u128::from(range.end - range.start);
    let border = |i: u32| range.start + (length * u128::from(i) / u128::from(parts)) as u64;
    border(index)..border(index + 1)
}

impl Iterator for LoadOrder {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        self.rest.next().map(|index| self.order.apply(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl ExactSizeIterator for LoadOrder {
    fn len(&self) -> usize {
        (self.rest.end - self.rest.start) as usize
    }
}
