//! Who owns which partition, while that changes.
//!
//! One table is shared by all that route to or serve partitions: one atomic word a partition, read once a
//! window or group and never once an operation's answer.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::key::Key;
use crate::limits::{EPOCH_MAX, SERVERS_MAX};
use crate::map::{Ownership, PartitionMap, Partitioning};

/// Bits of a word that are the owner; the epoch stands above them, so that a higher epoch is a higher word.
const OWNER_BITS: u32 = SERVERS_MAX.ilog2();

const _: () = assert!(SERVERS_MAX.is_power_of_two() && EPOCH_MAX == u64::MAX >> OWNER_BITS);

/// Owner and epoch of each of a fixed number of partitions, changed and read by any number of threads.
///
/// Epochs of a partition only rise. Who reads an ownership sees all that was written before it was
/// [offered](Self::offer): a partition's records before its new owner.
#[derive(Debug)]
pub struct LiveMap {
    words: Box<[AtomicU64]>,
    partitioning: Partitioning,
    changes: AtomicU64,
}

fn pack(ownership: Ownership) -> u64 {
    ownership.epoch << OWNER_BITS | u64::from(ownership.owner)
}

fn unpack(word: u64) -> Ownership {
    Ownership {
        owner: word as u32 & (SERVERS_MAX - 1),
        epoch: word >> OWNER_BITS,
    }
}

impl LiveMap {
    /// A table that begins as `map` is.
    #[must_use]
    pub fn new(map: &PartitionMap) -> Self {
        let words = map.partitions().iter().copied().map(pack);
        Self {
            words: words.map(AtomicU64::new).collect(),
            partitioning: map.partitioning(),
            changes: AtomicU64::new(0),
        }
    }

    /// How keys are split into partitions, which never changes.
    #[inline]
    #[must_use]
    pub fn partitioning(&self) -> Partitioning {
        self.partitioning
    }

    /// The partition of `key`.
    #[inline]
    #[must_use]
    pub fn partition_of<'a>(&self, key: impl Into<Key<'a>>) -> u32 {
        self.partitioning.of(key)
    }

    /// Owner and epoch of `partition` now, or `None` when there is no such partition.
    #[inline]
    #[must_use]
    pub fn ownership(&self, partition: u32) -> Option<Ownership> {
        let word = self.words.get(partition as usize)?;
        Some(unpack(word.load(Ordering::Acquire)))
    }

    /// Takes note of an ownership that was heard of, if its epoch is higher than the one known; whether it
    /// was taken. One with an owner or epoch out of range, or of no partition, is not.
    pub fn offer(&self, partition: u32, heard: Ownership) -> bool {
        let is_allowed = heard.owner < SERVERS_MAX && heard.epoch <= EPOCH_MAX;
        let Some(word) = self.words.get(partition as usize).filter(|_| is_allowed) else {
            return false;
        };
        let newer = |known: u64| (unpack(known).epoch < heard.epoch).then(|| pack(heard));
        let taken = word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, newer)
            .is_ok();
        if taken {
            self.changes.fetch_add(1, Ordering::Release);
        }
        taken
    }

    /// [Offers](Self::offer) one ownership a partition, in their order; how many were taken.
    pub fn offer_all(&self, heard: &[Ownership]) -> usize {
        let taken = |&(partition, heard): &(u32, &Ownership)| self.offer(partition, *heard);
        (0..).zip(heard).filter(taken).count()
    }

    /// How many offers were taken so far: whoever keeps something that follows from the table makes it anew
    /// when this has risen. It is read before the table, so that a change in between is seen next time.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Owner and epoch of every partition, each as it is when it is read.
    #[must_use]
    pub fn snapshot(&self) -> PartitionMap {
        let read = |word: &AtomicU64| unpack(word.load(Ordering::Acquire));
        PartitionMap::new(self.words.iter().map(read).collect())
            .expect("owners and epochs were in range when they came in")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(owner: u32, epoch: u64) -> Ownership {
        Ownership { owner, epoch }
    }

    #[test]
    fn only_higher_epochs_are_taken() {
        let live = LiveMap::new(&PartitionMap::fixed(4, 2).unwrap());
        assert_eq!(live.snapshot(), PartitionMap::fixed(4, 2).unwrap());
        for (partition, heard, taken) in [
            (1, owned(0, 1), false),
            (1, owned(0, 3), true),
            (1, owned(1, 2), false),
            (1, owned(1, 3), false),
            (1, owned(SERVERS_MAX - 1, EPOCH_MAX), true),
            (1, owned(0, EPOCH_MAX), false),
            (2, owned(SERVERS_MAX, 9), false),
            (2, owned(0, EPOCH_MAX + 1), false),
            (4, owned(0, 9), false),
        ] {
            assert_eq!(live.offer(partition, heard), taken, "{partition} {heard:?}");
        }
        assert_eq!(live.ownership(1), Some(owned(SERVERS_MAX - 1, EPOCH_MAX)));
        assert_eq!(live.ownership(2), Some(owned(0, 1)));
        assert_eq!(live.ownership(4), None);
        assert_eq!(live.changes(), 2);
    }

    #[test]
    fn the_highest_epoch_wins_whoever_offers_first() {
        const EPOCHS: u64 = 20_000;
        let live = LiveMap::new(&PartitionMap::fixed(1, 1).unwrap());
        std::thread::scope(|threads| {
            for owner in 0..4 {
                let live = &live;
                threads.spawn(move || {
                    let mut before = 0;
                    for epoch in (2..EPOCHS).filter(|epoch| epoch % 4 == u64::from(owner)) {
                        live.offer(0, owned(owner, epoch));
                        let known = live.ownership(0).unwrap();
                        assert!(known.epoch >= epoch.max(before));
                        // A word is never half of one offer and half of another.
                        assert_eq!(known.epoch % 4, u64::from(known.owner));
                        before = known.epoch;
                    }
                });
            }
        });
        assert_eq!(live.ownership(0), Some(owned(3, EPOCHS - 1)));
    }
}
