//! What one second came to.

use std::time::{Duration, Instant};

use batchkv_client::connection::Traffic;

use super::counts::{Counts, Offered};
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

/// A batch that waits longer for its last answer is counted and named.
pub(crate) const LONG_WAIT: Duration = Duration::from_secs(1);

/// What stood still, as one worker saw it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standstill {
    /// Batches of the window.
    pub(crate) batches: u64,
    /// Those that waited longer than [`LONG_WAIT`] from their queueing to their last answer.
    pub(crate) long_waits: u64,
    /// The longest of these.
    pub(crate) longest: Option<LongWait>,
    /// How late the worker itself noticed that a second was over, at most, and when.
    pub(crate) late: Option<(Duration, Instant)>,
}

/// A batch that waited long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongWait {
    pub(crate) waited: Duration,
    pub(crate) ended: Instant,
    /// The server's index.
    pub(crate) server: usize,
}

impl Standstill {
    /// A batch to `server` that was queued at `queued` has ended.
    pub(crate) fn batch(&mut self, server: usize, queued: Instant, ended: Instant) {
        self.batches += 1;
        let waited = ended.saturating_duration_since(queued);
        if waited <= LONG_WAIT {
            return;
        }
        self.long_waits += 1;
        if self.longest.is_none_or(|longest| longest.waited < waited) {
            self.longest = Some(LongWait {
                waited,
                ended,
                server,
            });
        }
    }

    /// A second that was over at `boundary` was noticed at `now`.
    pub(crate) fn second(&mut self, boundary: Instant, now: Instant) {
        let late = now.saturating_duration_since(boundary);
        if self.late.is_none_or(|(longest, _)| longest < late) {
            self.late = Some((late, now));
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.long_waits += other.long_waits;
        let longest = [self.longest, other.longest].into_iter().flatten();
        self.longest = longest.max_by_key(|longest| longest.waited);
        self.late = [self.late, other.late].into_iter().flatten().max();
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
    pub(crate) arrivals: Offered,
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
            arrivals: Offered::default(),
            volume: Volume::default(),
        }
    }
}
