//! The client's counts as Prometheus takes them: of all stages, up to the last whole second.

use std::sync::Mutex;
use std::time::Duration;

use batchkv_telemetry::metrics::{Durations, Metric, Value};
use batchkv_telemetry::sample::process_memory_bytes;

use crate::measured::counts::Counts;
use crate::measured::interval::{Interval, Volume};
use crate::measured::latency::{Latencies, LatencyPart};

/// Buckets of latencies: bucket k ends at 2^k microseconds, the last at 8 s.
const BUCKETS: usize = 24;

/// What the workers have counted since the run began.
#[derive(Debug)]
pub(crate) struct Exposition {
    pub(crate) connections: u64,
    counts: Counts,
    errors: u64,
    volume: Volume,
    latencies: Latencies,
}

impl Default for Exposition {
    fn default() -> Self {
        Self {
            connections: 0,
            counts: Counts::default(),
            errors: 0,
            volume: Volume::default(),
            latencies: Latencies::new(),
        }
    }
}

impl Exposition {
    /// Adds a worker's second.
    pub(crate) fn add(&mut self, second: &Interval) {
        self.counts.add(&second.counts);
        self.errors += second.errors;
        self.volume.add(&second.volume);
        self.latencies.add(&second.latencies);
    }
}

/// All figures of a moment.
pub(crate) fn figures(exposition: &Mutex<Exposition>) -> Vec<Metric> {
    let exposition = exposition
        .lock()
        .expect("whoever looks at the exposition only reads");
    let metric = |name, help, value| Metric { name, help, value };
    let traffic = exposition.volume.traffic;
    let bytes = vec![
        ("received", traffic.bytes_received),
        ("sent", traffic.bytes_sent),
    ];
    vec![
        metric(
            "batchkv_client_operations",
            "Answered operations, the load's among the updates",
            Value::Counters("kind", operations(&exposition.counts)),
        ),
        metric(
            "batchkv_client_misses",
            "Gets that found nothing",
            Value::Counter(exposition.counts.misses),
        ),
        metric(
            "batchkv_client_refusals",
            "Operations that a server refused",
            Value::Counter(exposition.errors),
        ),
        metric(
            "batchkv_client_batches",
            "Requests that were queued",
            Value::Counter(exposition.volume.batches),
        ),
        metric(
            "batchkv_client_bytes",
            "Bytes over all connections",
            Value::Counters("direction", bytes),
        ),
        metric(
            "batchkv_client_connections",
            "Connections made",
            Value::Gauge(exposition.connections),
        ),
        metric(
            "batchkv_client_resident_bytes",
            "Memory of the process",
            Value::Gauge(process_memory_bytes().unwrap_or(0)),
        ),
        metric(
            "batchkv_client_latency_seconds",
            "From an operation's generation to its answer",
            Value::Durations(durations(&exposition.latencies)),
        ),
    ]
}

fn operations(counts: &Counts) -> Vec<(&'static str, u64)> {
    vec![
        ("read", counts.reads),
        ("update", counts.updates),
        ("insert", counts.inserts),
        ("read_modify_write", counts.read_modify_writes),
        ("delete", counts.deletes),
    ]
}

fn durations(latencies: &Latencies) -> Durations {
    let bound = |k: usize| Duration::from_micros(1 << k);
    let mut durations = Durations {
        buckets: (0..BUCKETS).map(|k| (bound(k), 0)).collect(),
        ..Durations::default()
    };
    for step in latencies.of(LatencyPart::Total).iter_recorded() {
        let (time, count) = (
            Duration::from_nanos(step.value_iterated_to()),
            step.count_at_value(),
        );
        let mut buckets = durations.buckets.iter_mut();
        match buckets.find(|(bound, _)| time <= *bound) {
            Some((_, sum)) => *sum += count,
            None => durations.above += count,
        }
        durations.sum += time.mul_f64(count as f64);
    }
    durations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_counted_below_their_bounds() {
        let mut recorded = Latencies::new();
        recorded.record(LatencyPart::Total, Duration::from_nanos(1_500), 10);
        recorded.record(LatencyPart::Total, Duration::from_secs(60), 2);
        let durations = durations(&recorded);
        let filled = durations.buckets.iter().filter(|(_, count)| *count > 0);
        let filled: Vec<_> = filled.copied().collect();
        assert_eq!(filled, [(Duration::from_micros(2), 10)]);
        assert_eq!(durations.above, 2);
        assert!(
            (durations.sum.as_secs_f64() / 120.0 - 1.0).abs() < 0.01,
            "{durations:?}"
        );
    }
}
