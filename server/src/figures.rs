//! The server's counters as Prometheus takes them.

use std::time::Duration;

use batchkv_server::stats::{Closed, SERVICE_BUCKETS, ServiceTimes, Snapshot};
use batchkv_telemetry::metrics::{Durations, Metric, Value};
use batchkv_telemetry::sample::process_memory_bytes;

/// All figures of a moment.
pub(crate) fn figures(now: &Snapshot) -> Vec<Metric> {
    let mut figures = of_operations(now);
    figures.extend(of_connections(now));
    figures.extend(of_the_store(now));
    figures
}

fn metric(name: &'static str, help: &'static str, value: Value) -> Metric {
    Metric { name, help, value }
}

/// What became of operations.
fn of_operations(now: &Snapshot) -> Vec<Metric> {
    let counters = now.counters;
    let operations = vec![
        ("get", counters.gets),
        ("put", counters.puts),
        ("delete", counters.deletes),
    ];
    let refused = vec![
        ("out_of_memory", now.out_of_memory()),
        ("unknown_flag", now.unknown_flags),
        ("wrong_owner", counters.wrong_owner),
    ];
    vec![
        metric(
            "batchkv_server_operations",
            "Executed operations",
            Value::Counters("kind", operations),
        ),
        metric(
            "batchkv_server_hits",
            "Gets that found a value",
            Value::Counter(counters.hits),
        ),
        metric(
            "batchkv_server_refusals",
            "Operations that were not executed",
            Value::Counters("reason", refused),
        ),
    ]
}

/// The connections, and what moved over them.
fn of_connections(now: &Snapshot) -> Vec<Metric> {
    let bytes = vec![("received", now.bytes_received), ("sent", now.bytes_sent)];
    let closed = Closed::ALL.map(Closed::word).into_iter();
    let closed = closed.zip(now.closed).collect();
    vec![
        metric(
            "batchkv_server_frames",
            "Complete frames that were used: requests, hellos and questions",
            Value::Counter(now.frames),
        ),
        metric(
            "batchkv_server_bytes",
            "Bytes over all connections",
            Value::Counters("direction", bytes),
        ),
        metric(
            "batchkv_server_dropped_connections",
            "Connections that ended with answers unsent or a frame unfinished, and were not told why",
            Value::Counter(now.dropped),
        ),
        metric(
            "batchkv_server_closed_connections",
            "Connections that were closed and told why",
            Value::Counters("reason", closed),
        ),
        metric(
            "batchkv_server_connections",
            "Connections open",
            Value::Gauge(now.connections),
        ),
        metric(
            "batchkv_server_clients",
            "Different clients with open connections",
            Value::Gauge(now.clients),
        ),
        metric(
            "batchkv_server_parked_bytes",
            "Memory of groups that are answered later, and of their answers",
            Value::Gauge(now.parked_bytes),
        ),
        metric(
            "batchkv_server_service_seconds",
            "From a frame's reading until its answers were written",
            Value::Durations(durations(&now.service)),
        ),
    ]
}

/// What is kept.
fn of_the_store(now: &Snapshot) -> Vec<Metric> {
    vec![
        metric(
            "batchkv_server_records",
            "Records stored",
            Value::Gauge(now.usage.records),
        ),
        metric(
            "batchkv_server_store_bytes",
            "Memory of slabs and tables",
            Value::Gauge(now.usage.memory_bytes),
        ),
        metric(
            "batchkv_server_resident_bytes",
            "Memory of the process",
            Value::Gauge(process_memory_bytes().unwrap_or(0)),
        ),
    ]
}

fn durations(service: &ServiceTimes) -> Durations {
    let last = SERVICE_BUCKETS - 1;
    let bucket = |k: usize| (ServiceTimes::bound(k), service.buckets[k]);
    Durations {
        buckets: (0..last).map(bucket).collect(),
        above: service.buckets[last],
        sum: Duration::from_nanos(service.nanos),
    }
}
