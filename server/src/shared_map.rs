//! The map that all threads of a server share, and what clients are told of its changes.

use std::sync::{Mutex, PoisonError};

use batchkv_protocol::{
    Control, LiveMap, MapFrame, Ownership, PartitionMap, SendBuffer, ServerAddress,
};
use tokio::sync::watch;

/// Who owns which partition, as this server knows it. Where servers' addresses are known, every change is sent
/// to the clients that understand it ([`FEATURE_MAP`](batchkv_protocol::control::FEATURE_MAP)).
#[derive(Debug)]
pub struct SharedMap {
    live: LiveMap,
    servers: Mutex<Vec<ServerAddress>>,
    /// Rises with every change; a version is published when what it stands for can be read.
    version: watch::Sender<u64>,
    tells_clients: bool,
}

impl SharedMap {
    /// Begins as `map` is. Without `servers` no client is ever told of a change.
    #[must_use]
    pub fn new(map: &PartitionMap, servers: Vec<ServerAddress>) -> Self {
        Self {
            live: LiveMap::new(map),
            tells_clients: !servers.is_empty(),
            servers: Mutex::new(servers),
            version: watch::Sender::new(1),
        }
    }

    /// The table of owners and epochs. It is changed through [`offer`](Self::offer), so that clients hear of it.
    #[must_use]
    pub fn live(&self) -> &LiveMap {
        &self.live
    }

    /// Takes note of owners whose epochs are higher than the known ones, all of them before a client is
    /// told; how many were taken.
    pub fn offer(&self, heard: impl IntoIterator<Item = (u32, Ownership)>) -> usize {
        let heard = heard.into_iter();
        let taken = heard
            .filter(|&(partition, heard)| self.live.offer(partition, heard))
            .count();
        if taken > 0 {
            self.version.send_modify(|version| *version += 1);
        }
        taken
    }

    /// Replaces the servers' addresses, as far as clients are told of them at all.
    pub fn set_servers(&self, servers: Vec<ServerAddress>) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers;
        self.version.send_modify(|version| *version += 1);
    }

    /// Whether clients are told of changes.
    #[must_use]
    pub fn tells_clients(&self) -> bool {
        self.tells_clients
    }

    /// The present version, from 1.
    #[must_use]
    pub(crate) fn version(&self) -> u64 {
        *self.version.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Appends the whole map to `out` and gives its version. What is sent may be newer than its version says,
    /// and never older.
    pub(crate) fn write(&self, out: &mut SendBuffer) -> u64 {
        let version = self.version();
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        Control::Map(MapFrame {
            version,
            servers: servers.clone(),
            partitions: self.live.snapshot().partitions().to_vec(),
        })
        .write(out);
        version
    }
}
