//! What one second came to.

use batchkv_client::connection::Traffic;

use super::counts::Counts;
use super::latency::Latencies;

/// What the connections have moved, and how much of it was keys and values: the rest is framing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    /// All bytes.
    pub(crate) traffic: Traffic,
    /// Keys and values. A frame's are counted when it is written or read, which may be up to a frame
    /// before or after its bytes are.
    pub(crate) payload: Traffic,
    /// Requests that were queued.
    pub(crate) batches: u64,
}

impl Volume {
    pub(crate) fn add(&mut self, other: &Self) {
        self.traffic += other.traffic;
        self.payload += other.payload;
        self.batches += other.batches;
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            traffic: self.traffic - before.traffic,
            payload: self.payload - before.payload,
            batches: self.batches - before.batches,
        }
    }
}

/// One second, or what was of it when its stage ended.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) counts: Counts,
    pub(crate) errors: u64,
    /// By server.
    pub(crate) server_ops: Vec<u64>,
    pub(crate) latencies: Latencies,
    /// Operations in progress, times the nanoseconds that they were: generated and not yet answered.
    pub(crate) progress_nanos: u128,
    /// Operations that were generated, which an open loop's are when they arrive.
    pub(crate) arrived: u64,
    /// Operations that arrived when as many as are allowed were in flight.
    pub(crate) dropped: u64,
    /// Moved in this second, over all connections.
    pub(crate) volume: Volume,
}

impl Interval {
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            counts: Counts::default(),
            errors: 0,
            server_ops: vec![0; servers],
            latencies: Latencies::new(),
            progress_nanos: 0,
            arrived: 0,
            dropped: 0,
            volume: Volume::default(),
        }
    }
}
