//! The server's counters as Prometheus takes them.

use std::time::Duration;

use batchkv_server::stats::{SERVICE_BUCKETS, ServiceTimes, Snapshot};
use batchkv_telemetry::metrics::{Durations, Metric, Value};
use batchkv_telemetry::sample::process_memory_bytes;

/// All figures of a moment.
pub(crate) fn figures(now: &Snapshot) -> Vec<Metric> {
    let metric = |name, help, value| Metric { name, help, value };
    let counters = now.counters;
    let operations = vec![
        ("get", counters.gets),
        ("put", counters.puts),
        ("delete", counters.deletes),
    ];
    let refused = vec![
        ("refused", counters.refused),
        ("wrong_owner", counters.wrong_owner),
    ];
    let bytes = vec![("received", now.bytes_received), ("sent", now.bytes_sent)];
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
        metric(
            "batchkv_server_batches",
            "Frames that were read and used",
            Value::Counter(now.frames),
        ),
        metric(
            "batchkv_server_bytes",
            "Bytes over all connections",
            Value::Counters("direction", bytes),
        ),
        metric(
            "batchkv_server_dropped_connections",
            "Connections that ended with answers unsent or a frame unfinished",
            Value::Counter(now.dropped),
        ),
        metric(
            "batchkv_server_connections",
            "Connections open",
            Value::Gauge(now.connections),
        ),
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
        metric(
            "batchkv_server_service_seconds",
            "From a frame's reading until its answers were written",
            Value::Durations(durations(&now.service)),
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
