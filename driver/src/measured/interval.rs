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

/// What became of an open loop's arrivals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ArrivalCounts {
    /// All of them; each is among the latencies.
    pub(crate) arrived: u64,
    /// Answered behind the window's end.
    pub(crate) late: u64,
    /// Sent, and not answered as long as was waited.
    pub(crate) unanswered: u64,
    /// Never sent, because there was no room as long as was waited.
    pub(crate) dropped: u64,
    /// How long batches that were ready waited for room in the window, times their operations.
    pub(crate) blocked_micros: u64,
    /// How long batches that were ready and had room waited for the client itself, times their operations.
    pub(crate) tardy_micros: u64,
}

impl ArrivalCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.arrived += other.arrived;
        self.late += other.late;
        self.unanswered += other.unanswered;
        self.dropped += other.dropped;
        self.blocked_micros += other.blocked_micros;
        self.tardy_micros += other.tardy_micros;
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
    /// An open loop's arrivals of the window.
    pub(crate) arrivals: ArrivalCounts,
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
            arrivals: ArrivalCounts::default(),
            volume: Volume::default(),
        }
    }
}
