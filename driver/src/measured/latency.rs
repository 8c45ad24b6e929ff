//! Latencies of operations, and of the parts of their way.
//!
//! ```text
//! generated ---- fill ----> batch ready ---- queue ----> frame written ---- service ----> answer decoded
//!     +------------------------------------ total --------------------------------------------+
//! service = server (from the frame's reading to its answers' finishing, told with each frame of answers)
//!         + network (all else, both ways)
//! ```
//!
//! A batch is ready when it is full, or when its oldest operation has waited long enough. What joins a ready
//! batch, while that waits for room, has no fill, and its queue begins with itself.
//!
//! An open loop's operations are generated when they were to arrive, so their total is the response time
//! and their service the service time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// Longest latency that is told apart from longer ones, in nanoseconds: ten minutes.
const LATENCY_NANOS_MAX: u64 = 600_000_000_000;

/// A part of an operation's latency, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LatencyPart {
    /// From its generation to its answer's decoding.
    Total,
    /// Until its batch was ready: full, or its oldest operation had waited long enough.
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

    /// A histogram brought to our own bounds, so that those of other bounds can be added and compared; what
    /// lies beyond the greatest bucket counts there.
    pub(crate) fn of_our_bounds(self, read: &Histogram<u64>) -> Histogram<u64> {
        let mut histogram = self.histogram();
        for bucket in read.iter_recorded() {
            histogram.saturating_record_n(bucket.value_iterated_to(), bucket.count_at_value());
        }
        histogram
    }

    /// An empty one.
    pub(crate) fn histogram(self) -> Histogram<u64> {
        Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, self.significant_digits())
            .expect("the bounds and digits are among the allowed ones")
    }
}

/// The instants that the operations of a frame share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// The batch was full, or its oldest operation had waited long enough.
    pub(crate) ready: Instant,
    pub(crate) written: Instant,
    pub(crate) answered: Instant,
}

impl Way {
    /// Fill, queue and service of an operation that was generated at `start`; their sum is its total.
    pub(crate) fn parts(&self, start: Instant) -> [Duration; 3] {
        [
            self.ready.saturating_duration_since(start),
            self.written
                .saturating_duration_since(self.ready.max(start)),
            self.answered.saturating_duration_since(self.written),
        ]
    }
}

/// Latencies of operations and their parts, in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Latencies([Histogram<u64>; LatencyPart::ALL.len()]);

/// Latencies in a few kilobytes, which take 428 kB to be recorded in: what is kept of each second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PackedLatencies([Vec<u8>; LatencyPart::ALL.len()]);

impl PackedLatencies {
    /// Whether nothing was recorded of a part.
    pub(crate) fn is_empty(&self, part: LatencyPart) -> bool {
        self.0[part as usize].is_empty()
    }

    /// Bytes that they take.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// A part's histogram as it was recorded.
    pub(crate) fn histogram(&self, part: LatencyPart) -> Histogram<u64> {
        let mut bytes = self.0[part as usize].as_slice();
        if bytes.is_empty() {
            return part.histogram();
        }
        let read = Deserializer::new().deserialize(&mut bytes);
        part.of_our_bounds(&read.expect("what was packed can be unpacked"))
    }

    pub(crate) fn unpack(&self) -> Latencies {
        Latencies(LatencyPart::ALL.map(|part| self.histogram(part)))
    }
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(LatencyPart::ALL.map(LatencyPart::histogram))
    }

    /// Takes hardly any room, and no latencies: for what is kept without them.
    pub(crate) fn nothing() -> Self {
        let smallest = || Histogram::new_with_bounds(1, 2, 1);
        Self([(); LatencyPart::ALL.len()].map(|()| smallest().expect("these are the least bounds")))
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

    pub(crate) fn pack(&self) -> PackedLatencies {
        let mut serializer = V2Serializer::new();
        let pack = |histogram: &Histogram<u64>| {
            let mut bytes = Vec::new();
            if !histogram.is_empty() {
                let written = serializer.serialize(histogram, &mut bytes);
                written
                    .expect("counts of operations fit the format, and a vector takes everything");
            }
            bytes
        };
        PackedLatencies(self.0.each_ref().map(pack))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_second_is_the_same_and_small() {
        let mut latencies = Latencies::new();
        for k in 0..2_000_u64 {
            for part in [LatencyPart::Total, LatencyPart::Fill, LatencyPart::Service] {
                latencies.record(part, Duration::from_nanos(50_000 + 997 * k), 40 + k % 7);
            }
        }
        latencies.record(LatencyPart::Total, Duration::from_secs(3_600), 1);
        let packed = latencies.pack();
        assert_eq!(packed.unpack(), latencies);
        assert!(packed.is_empty(LatencyPart::Server));
        assert!(packed.bytes() < 16 << 10, "{}", packed.bytes());
        assert_eq!(Latencies::new().pack().bytes(), 0);
    }

    /// Arrivals every millisecond, batches of four, linger 10 ms; the window has room again after 6 ms.
    #[test]
    fn the_parts_of_a_given_schedule() {
        let begin = Instant::now();
        let millis = |ms: u64| begin + Duration::from_millis(ms);
        let parts = |way: &Way, at: u64| way.parts(millis(at)).map(|part| part.as_millis());
        // Full with the arrival at 3, sent at 6, answered at 8.
        let full = Way {
            ready: millis(3),
            written: millis(6),
            answered: millis(8),
        };
        assert_eq!(parts(&full, 0), [3, 3, 2]);
        assert_eq!(parts(&full, 3), [0, 3, 2]);
        // Overdue at 10 with what arrived at 0; room at 16, and what arrived at 12 went along.
        let overdue = Way {
            ready: millis(10),
            written: millis(16),
            answered: millis(17),
        };
        assert_eq!(parts(&overdue, 0), [10, 6, 1]);
        assert_eq!(parts(&overdue, 12), [0, 4, 1]);
    }
}
