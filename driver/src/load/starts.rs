//! When the operations of a batch began, without a time for each.

use std::time::{Duration, Instant};

/// Most slots of a batch.
const SLOTS_MAX: usize = 8;

/// The operations' starts, in their order. Up to [`SLOTS_MAX`] are kept one by one; of more, each slot
/// keeps the mean of equally many neighbours, so that the mean of all stays exact.
#[derive(Debug, Clone)]
pub(crate) struct Starts {
    /// The first start.
    first: Option<Instant>,
    slots: [Slot; SLOTS_MAX],
    used: usize,
    /// Operations of a full slot; all but the last used are full.
    slot_operations: u32,
    /// Operations that were not taken.
    left: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    operations: u32,
    left: u32,
    /// Sum of the starts since the first.
    sum_nanos: u64,
}

impl Default for Starts {
    fn default() -> Self {
        Self {
            first: None,
            slots: [Slot::default(); SLOTS_MAX],
            used: 0,
            slot_operations: 1,
            left: 0,
        }
    }
}

impl Starts {
    /// The first start; `None` without operations.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first
    }

    /// Adds so many operations that began evenly spread between two instants, behind all before.
    pub(crate) fn add(&mut self, from: Instant, to: Instant, operations: usize) {
        if operations == 0 {
            return;
        }
        let first = *self.first.get_or_insert(from);
        let offset_nanos = from.saturating_duration_since(first).as_nanos() as f64;
        let gap_nanos = to.saturating_duration_since(from).as_nanos() as f64 / operations as f64;
        self.left += operations as u64;
        while self.left > SLOTS_MAX as u64 * u64::from(self.slot_operations) {
            self.coarsen();
        }
        let mut done = 0;
        while done < operations {
            if self.used == 0 || self.slots[self.used - 1].operations == self.slot_operations {
                self.used += 1;
            }
            let slot = &mut self.slots[self.used - 1];
            let room = (self.slot_operations - slot.operations) as usize;
            let count = room.min(operations - done);
            let middle = done as f64 + count as f64 / 2.0;
            slot.operations += count as u32;
            slot.left += count as u32;
            slot.sum_nanos += ((offset_nanos + gap_nanos * middle) * count as f64) as u64;
            done += count;
        }
    }

    /// Joins neighbours.
    fn coarsen(&mut self) {
        self.used = self.used.div_ceil(2);
        for slot in 0..SLOTS_MAX {
            let joined = |at: usize| self.slots.get(at).copied().unwrap_or_default();
            let (one, other) = (joined(2 * slot), joined(2 * slot + 1));
            self.slots[slot] = Slot {
                operations: one.operations + other.operations,
                left: one.left + other.left,
                sum_nanos: one.sum_nanos + other.sum_nanos,
            };
        }
        self.slot_operations *= 2;
    }

    /// Takes so many of the operations, from all slots alike, because answers come in the order of
    /// partitions; `each` gets a start and how many have it.
    pub(crate) fn take(&mut self, operations: u64, mut each: impl FnMut(Instant, u64)) {
        let (Some(first), mut left) = (self.first, self.left) else {
            return;
        };
        let mut wanted = operations.min(left);
        self.left -= wanted;
        for slot in self.slots[..self.used]
            .iter_mut()
            .filter(|slot| slot.left > 0)
        {
            // Never more than the slot has, and never so few that the others could not give the rest.
            let taken = u64::from(slot.left) * wanted / left;
            left -= u64::from(slot.left);
            wanted -= taken;
            slot.left -= taken as u32;
            if taken > 0 {
                let mean_nanos = slot.sum_nanos / u64::from(slot.operations);
                each(first + Duration::from_nanos(mean_nanos), taken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// Takes operations and gives their starts since `first`.
    fn taken(starts: &mut Starts, first: Instant, operations: u64) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        starts.take(operations, |start, count| {
            all.push(((start - first).as_nanos() as u64, count));
        });
        all
    }

    #[test]
    fn few_operations_keep_their_own_starts() {
        let first = Instant::now();
        let mut starts = Starts::default();
        for k in 0..SLOTS_MAX as u32 {
            starts.add(first + MICRO * k * k, first + MICRO * k * k, 1);
        }
        let expected: Vec<_> = (0..SLOTS_MAX as u64).map(|k| (1000 * k * k, 1)).collect();
        assert_eq!(taken(&mut starts, first, 8), expected);
        assert_eq!(taken(&mut starts, first, 8), []);
    }

    #[test]
    fn an_even_fill_gives_even_slots() {
        let first = Instant::now();
        let mut starts = Starts::default();
        starts.add(first, first + MICRO * 8, 8192);
        let expected: Vec<_> = (0..8).map(|k| (500 + 1000 * k, 1024)).collect();
        assert_eq!(taken(&mut starts, first, 8192), expected);
    }

    proptest! {
        #[test]
        fn all_are_taken_once_and_the_mean_is_exact(
            fills in prop::collection::vec((0..1000_u32, 0..1000_u32, 0..3000_usize), 1..20),
            frame in 1..700_u64,
        ) {
            let begin = Instant::now();
            let (mut starts, mut now) = (Starts::default(), begin);
            let (mut count, mut sum) = (0, 0.0);
            for (pause, length, operations) in fills {
                let (from, to) = (now + MICRO * pause, now + MICRO * (pause + length));
                starts.add(from, to, operations);
                let middle = (from - begin + (to - begin)).as_nanos() as f64 / 2.0;
                sum += middle * operations as f64;
                count += operations as u64;
                now = to;
            }
            let (mut all, mut all_sum) = (0, 0.0);
            while all < count {
                let frame = frame.min(count - all);
                let parts = taken(&mut starts, begin, frame);
                prop_assert_eq!(parts.iter().map(|(_, n)| n).sum::<u64>(), frame);
                all += frame;
                all_sum += parts.iter().map(|(at, n)| *at as f64 * *n as f64).sum::<f64>();
            }
            // Whole nanoseconds are kept.
            prop_assert!((all_sum - sum).abs() <= 2.0 * count as f64, "{all_sum} {sum}");
        }
    }
}
