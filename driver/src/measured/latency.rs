//! Latencies of operations, and of the parts of their way.
//!
//! ```text
//! generated ---- fill ----> batch closed ---- queue ----> frame written ---- service ----> answer decoded
//!     +------------------------------------ total --------------------------------------------+
//! service = server (from the frame's reading to its answers' finishing, told with each frame of answers)
//!         + network (all else, both ways)
//! ```
//!
//! An open loop's operations are generated when they were to arrive, so their total is the response time
//! and their service the service time.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is told apart from longer ones, in nanoseconds: ten minutes.
const LATENCY_NANOS_MAX: u64 = 600_000_000_000;

/// A part of an operation's latency, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LatencyPart {
    /// From its generation to its answer's decoding.
    Total,
    /// Until its batch was closed: full, or waited long enough.
    Fill,
    /// From there until its frame was written, room in the window and a connection included.
    Queue,
    /// From there to its answer's decoding: network and server.
    Service,
    /// The server's share of that, where it tells.
    Server,
    /// What is left of it.
    Network,
}

impl LatencyPart {
    pub(crate) const ALL: [Self; 6] = [
        Self::Total,
        Self::Fill,
        Self::Queue,
        Self::Service,
        Self::Server,
        Self::Network,
    ];

    /// Whether it is known only where the servers tell their time.
    pub(crate) fn is_told(self) -> bool {
        matches!(self, Self::Server | Self::Network)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Fill => "fill",
            Self::Queue => "queue",
            Self::Service => "service",
            Self::Server => "server",
            Self::Network => "network",
        }
    }

    /// The total is 0.1 % exact; of its parts 1 % will do, in an eighth of the memory.
    fn significant_digits(self) -> u8 {
        match self {
            Self::Total => 3,
            _ => 2,
        }
    }

    /// An empty one.
    pub(crate) fn histogram(self) -> Histogram<u64> {
        Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, self.significant_digits())
            .expect("the bounds and digits are among the allowed ones")
    }
}

/// Latencies of operations and their parts, in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Latencies([Histogram<u64>; LatencyPart::ALL.len()]);

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(LatencyPart::ALL.map(LatencyPart::histogram))
    }

    pub(crate) fn of(&self, part: LatencyPart) -> &Histogram<u64> {
        &self.0[part as usize]
    }

    /// Puts a part's histogram in the place of what was recorded.
    pub(crate) fn set(&mut self, part: LatencyPart, histogram: Histogram<u64>) {
        self.0[part as usize] = histogram;
    }

    /// Notes that a part took so long for so many operations.
    #[inline]
    pub(crate) fn record(&mut self, part: LatencyPart, took: Duration, operations: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0[part as usize].saturating_record_n(nanos, operations);
    }

    /// Adds bucket by bucket.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, other) in self.0.iter_mut().zip(&other.0) {
            *sum += other;
        }
    }

    /// Mean and percentiles of a part in microseconds, or `None` when nothing was recorded.
    pub(crate) fn micros(&self, part: LatencyPart) -> Option<LatencyMicros> {
        let histogram = self.of(part);
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        (!histogram.is_empty()).then(|| LatencyMicros {
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        })
    }
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LatencyMicros {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}
