//! Where in the engine a partition's records are.

use std::sync::atomic::{AtomicU32, Ordering};

/// Each partition has two places in an engine of twice as many: the one that is read and written, and one that
/// a copy from another member is received into.
///
/// Whoever reads a partition asks for its place before and after: where that has changed in between, what was read
/// is to be dropped, and read again.
#[derive(Debug)]
pub struct Slots {
    slots: Box<[AtomicU32]>,
}

impl Slots {
    /// All partitions at their first place.
    #[must_use]
    pub fn new(partitions: u32) -> Self {
        Self {
            slots: (0..partitions).map(AtomicU32::new).collect(),
        }
    }

    /// How many partitions an engine must be made for.
    #[must_use]
    pub fn engine_partitions(&self) -> u32 {
        2 * self.slots.len() as u32
    }

    /// The place of `partition`, as a partition of the engine.
    #[inline]
    #[must_use]
    pub fn of(&self, partition: u32) -> u32 {
        self.slots[partition as usize].load(Ordering::Acquire)
    }

    /// The place where nobody reads `partition`.
    pub(super) fn spare(&self, partition: u32) -> u32 {
        let second = partition + self.slots.len() as u32;
        if self.of(partition) == partition {
            second
        } else {
            partition
        }
    }

    /// From now on the partition is at its spare place; gives the one that it was at.
    pub(super) fn swap(&self, partition: u32) -> u32 {
        let spare = self.spare(partition);
        self.slots[partition as usize].swap(spare, Ordering::AcqRel)
    }
}
