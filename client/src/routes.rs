//! What a client knows of who owns which partition and where servers are: taught by hellos, by maps that
//! servers push, and by groups that were refused.

use crate::router::Plan;
use batchkv_protocol::{LiveMap, MapFrame, Ownership, PartitionMap};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// Shared by a client and all its connections. Of a partition's owners that it hears of, the one with the
/// highest epoch is taken.
#[derive(Debug)]
pub struct Routes {
    live: LiveMap,
    known: Mutex<Known>,
    /// Rises with all that is learnt, behind it.
    news: watch::Sender<u64>,
}

#[derive(Debug)]
struct Known {
    /// The newest of the maps that were pushed.
    version: u64,
    /// Where each server is, by its number.
    addresses: BTreeMap<u32, String>,
    /// The plan, and the changes of the map that it was made behind.
    plan: (u64, Arc<Plan>),
}

impl Routes {
    /// Begins as `map` is; where servers are is still to be said.
    #[must_use]
    pub fn new(map: &PartitionMap) -> Self {
        Self {
            live: LiveMap::new(map),
            known: Mutex::new(Known {
                version: 0,
                addresses: BTreeMap::new(),
                plan: (0, Arc::new(Plan::new(map.clone()))),
            }),
            news: watch::Sender::new(0),
        }
    }

    /// Who owns which partition.
    #[must_use]
    pub fn live(&self) -> &LiveMap {
        &self.live
    }

    /// Takes note of a map that a server pushed. Addresses come from the newest map alone.
    pub fn learn(&self, map: &MapFrame) {
        let mut known = self.known();
        if map.version >= known.version {
            known.version = map.version;
            let servers = map.servers.iter();
            known.addresses = servers
                .map(|server| (server.id, server.address.clone()))
                .collect();
        }
        drop(known);
        self.hear(&map.partitions);
    }

    /// Takes note of owners, one a partition, in their order.
    pub(crate) fn hear(&self, partitions: &[Ownership]) {
        self.live.offer_all(partitions);
        self.tell();
    }

    /// Takes note of an owner that a server named when it refused a group.
    pub(crate) fn offer(&self, partition: u32, heard: Ownership) {
        if self.live.offer(partition, heard) {
            self.tell();
        }
    }

    /// Where `server` is; waits until somebody says.
    pub(crate) async fn address(&self, server: u32) -> String {
        loop {
            let news = self.news();
            if let Some(address) = self.known().addresses.get(&server) {
                return address.clone();
            }
            self.more_than(news).await;
        }
    }

    /// How batches are split now.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        let changes = self.live.changes();
        let mut known = self.known();
        if known.plan.0 != changes {
            known.plan = (changes, Arc::new(Plan::new(self.live.snapshot())));
        }
        Arc::clone(&known.plan.1)
    }

    /// How much was learnt so far: read before what may have changed.
    pub(crate) fn news(&self) -> u64 {
        *self.news.borrow()
    }

    /// Waits until more is learnt than `news`.
    pub(crate) async fn more_than(&self, news: u64) {
        // The sender lives as long as `self`.
        let _ = self.news.subscribe().wait_for(|now| *now > news).await;
    }

    fn tell(&self) {
        self.news.send_modify(|news| *news += 1);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchkv_protocol::ServerAddress;

    fn owned(owner: u32, epoch: u64) -> Ownership {
        Ownership { owner, epoch }
    }

    fn map(version: u64, address: &str, partitions: [Ownership; 2]) -> MapFrame {
        MapFrame {
            version,
            servers: vec![ServerAddress {
                id: 1,
                address: address.into(),
            }],
            partitions: partitions.into(),
        }
    }

    #[tokio::test]
    async fn the_highest_epoch_wins_and_addresses_are_of_the_newest_map() {
        let routes = Routes::new(&PartitionMap::fixed(2, 2).unwrap());
        let before = routes.plan();
        assert!(Arc::ptr_eq(&before, &routes.plan()));
        routes.learn(&map(2, "new:1", [owned(1, 3), owned(1, 1)]));
        routes.more_than(0).await;
        routes.learn(&map(1, "old:1", [owned(0, 2), owned(0, 2)]));
        assert_eq!(routes.address(1).await, "new:1");
        let partitions = [owned(1, 3), owned(0, 2)];
        assert_eq!(routes.live().snapshot().partitions(), partitions);
        assert!(!Arc::ptr_eq(&before, &routes.plan()));
        routes.offer(0, owned(0, 3));
        assert_eq!(routes.live().ownership(0), Some(owned(1, 3)));
    }
}
