//! What a client knows of who owns which partition and where servers are: taught by hellos, by maps that
//! servers push, and by groups that were refused.

use crate::router::Plan;
use batchkv_protocol::{LiveMap, MapFrame, Ownership, PartitionMap};
use std::cmp::Reverse;
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
    /// What each server's newest map says of where servers are, by the number of who says it.
    told: BTreeMap<u32, Told>,
    /// The plan, and the changes of the map that it was made behind.
    plan: (u64, Arc<Plan>),
}

/// Where servers are, by their numbers, as one server says.
#[derive(Debug)]
struct Told {
    /// When it was said, by the count of what was learnt.
    learnt: u64,
    addresses: BTreeMap<u32, String>,
}

impl Routes {
    /// Begins as `map` is; where servers are is still to be said.
    #[must_use]
    pub fn new(map: &PartitionMap) -> Self {
        Self {
            live: LiveMap::new(map),
            known: Mutex::new(Known {
                told: BTreeMap::new(),
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

    /// Takes note of a map that server `from` pushed. Versions are a server's own, and each of its connections is
    /// sent its newest map last, so what it said last stands, whatever other servers say.
    pub fn learn(&self, from: u32, map: &MapFrame) {
        let servers = map.servers.iter();
        let addresses = servers.map(|server| (server.id, server.address.clone()));
        let told = Told {
            learnt: self.news(),
            addresses: addresses.collect(),
        };
        self.known().told.insert(from, told);
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

    /// Where `server` may be, each address once: what it says itself, then what others say, the latest first.
    pub(crate) fn addresses(&self, server: u32) -> Vec<String> {
        let known = self.known();
        let mut told: Vec<_> = known.told.iter().collect();
        told.sort_by_key(|(from, told)| (**from != server, Reverse(told.learnt)));
        let mut addresses: Vec<String> = Vec::new();
        for address in told
            .iter()
            .filter_map(|(_, told)| told.addresses.get(&server))
        {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    /// Where `server` is most likely; waits until somebody says.
    pub(crate) async fn address(&self, server: u32) -> String {
        loop {
            let news = self.news();
            if let Some(address) = self.addresses(server).into_iter().next() {
                return address;
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
    async fn the_highest_epoch_wins_whoever_tells_it() {
        let routes = Routes::new(&PartitionMap::fixed(2, 2).unwrap());
        let before = routes.plan();
        assert!(Arc::ptr_eq(&before, &routes.plan()));
        routes.learn(0, &map(2, "a:1", [owned(1, 3), owned(1, 1)]));
        routes.more_than(0).await;
        routes.learn(1, &map(1, "b:1", [owned(0, 2), owned(0, 2)]));
        let partitions = [owned(1, 3), owned(0, 2)];
        assert_eq!(routes.live().snapshot().partitions(), partitions);
        assert!(!Arc::ptr_eq(&before, &routes.plan()));
        routes.offer(0, owned(0, 3));
        assert_eq!(routes.live().ownership(0), Some(owned(1, 3)));
    }

    #[tokio::test]
    async fn versions_of_several_servers_are_not_compared() {
        let routes = Routes::new(&PartitionMap::fixed(2, 2).unwrap());
        let partitions = [owned(0, 1), owned(1, 1)];
        // Server 0 has sent many maps, 2 few, and its word is the later one.
        routes.learn(0, &map(900, "old:1", partitions));
        assert_eq!(routes.address(1).await, "old:1");
        routes.learn(2, &map(3, "new:1", partitions));
        assert_eq!(routes.addresses(1), ["new:1", "old:1"]);
        // What a server says of itself goes first, and one that began anew counts from 1 again.
        routes.learn(1, &map(50, "own:1", partitions));
        routes.learn(1, &map(1, "moved:1", partitions));
        routes.learn(0, &map(901, "old:1", partitions));
        assert_eq!(routes.addresses(1), ["moved:1", "old:1", "new:1"]);
        assert!(routes.addresses(0).is_empty());
    }
}
