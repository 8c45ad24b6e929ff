//! What a server is told: validated, nothing optional left that it would have to decide.

use std::time::Duration;

use batchkv_protocol::{PartitionMap, ServerAddress};

/// Which store keeps the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// batchkv's own tables.
    Partitioned,
    /// DashMap with ahash: the straightforward sharded map, as a baseline.
    Dashmap,
}

/// A server's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// This server's index among the owners of `map`.
    pub server_index: u32,
    /// Who owns which partition, at first.
    pub map: PartitionMap,
    /// Where the owners are. If it is not empty, clients that understand it are told of these, and of
    /// every change of owner; if it is, the map is taken to stay as it is.
    pub addresses: Vec<ServerAddress>,
    /// Which store keeps the records.
    pub engine: EngineKind,
    /// Threads that serve connections, at least 1.
    pub threads: usize,
    /// Most bytes of slabs and tables; puts that need more are refused.
    pub max_memory_bytes: Option<u64>,
    /// Most bytes in the buffers of all connections; one that needs more is closed.
    pub buffer_bytes_max: u64,
    /// Most connections open at a time; more get an error and are closed.
    pub max_connections: u64,
    /// Time for a hello to come, for a frame to become complete, and for a peer to take some of its
    /// answers.
    pub idle_timeout: Duration,
}
