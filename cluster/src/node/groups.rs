//! The groups of partitions that run on a server, for all threads.

use crate::host::{Parked, PartitionMachine, PartitionWatch};
use batchkv_consensus::{GroupHandle, Status};
use batchkv_store::Movable;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// A partition's group on this server.
pub struct Running<E: Movable, P: Parked> {
    /// What proposals and reads go through.
    pub handle: GroupHandle<PartitionMachine<E, P>>,
    /// What looks at the replica.
    pub replica: PartitionWatch<E>,
}

/// Which groups run here, by partition. Each has a lock of its own, that nothing is awaited under.
pub struct Groups<E: Movable, P: Parked>(Box<[Slot<E, P>]>);

type Slot<E, P> = RwLock<Option<Running<E, P>>>;

impl<E: Movable, P: Parked> Groups<E, P> {
    pub(super) fn new(partitions: usize) -> Self {
        Self((0..partitions).map(|_| RwLock::default()).collect())
    }

    /// The group of `partition`, if it runs here.
    #[must_use]
    pub fn of(&self, partition: u32) -> Option<GroupHandle<PartitionMachine<E, P>>> {
        let slot = self.0.get(partition as usize)?;
        let running = slot.read().unwrap_or_else(PoisonError::into_inner);
        Some(running.as_ref()?.handle.clone())
    }

    /// Does something with the group of `partition`, if it runs here. It must not wait.
    pub fn with<T>(&self, partition: u32, act: impl FnOnce(&Running<E, P>) -> T) -> Option<T> {
        let slot = self.0.get(partition as usize)?;
        let running = slot.read().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(act)
    }

    /// The status of each group that runs here.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<u32, Status> {
        let status = |partition| {
            let status = self.with(partition, |running| running.handle.status());
            Some((partition, status?))
        };
        (0..self.0.len() as u32).filter_map(status).collect()
    }

    pub(super) fn set(&self, partition: u32, running: Option<Running<E, P>>) {
        if let Some(slot) = self.0.get(partition as usize) {
            *slot.write().unwrap_or_else(PoisonError::into_inner) = running;
        }
    }
}

impl<E: Movable, P: Parked> std::fmt::Debug for Groups<E, P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "groups of {} partitions", self.0.len())
    }
}
