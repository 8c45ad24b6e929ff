//! What is read from a run's `summary.json`. A new metric is one line of [`METRICS`].

use serde_json::Value;

/// A figure of a run.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// Reads it from a summary; none where the summary has it not.
    pub(crate) of: fn(&Value) -> Option<f64>,
    /// Whether INVALID runs count too: a rate of failures without them would always be 0.
    pub(crate) of_invalid: bool,
}

/// Every metric. Times are microseconds unless the name says otherwise.
pub(crate) const METRICS: &[Metric] = &[
    metric("throughput", |run| at(run, "/ops_per_sec")),
    metric("latency_mean_us", |run| at(run, "/latency_us/mean")),
    metric("latency_p50_us", |run| at(run, "/latency_us/p50")),
    metric("latency_p95_us", |run| at(run, "/latency_us/p95")),
    metric("latency_p99_us", |run| at(run, "/latency_us/p99")),
    metric("latency_p999_us", |run| at(run, "/latency_us/p999")),
    metric("hit_rate", |run| at(run, "/hit_rate")),
    metric("hottest_server_share", |run| greatest(run, "/share")),
    metric("hottest_server_expected_share", |run| {
        greatest(run, "/expected_share")
    }),
    metric("bytes_per_op", bytes_per_op),
    metric("cpu_ns_per_op", cpu_ns_per_op),
    Metric {
        of_invalid: true,
        ..metric("failure_rate", failure_rate)
    },
];

const fn metric(name: &'static str, of: fn(&Value) -> Option<f64>) -> Metric {
    Metric {
        name,
        of,
        of_invalid: false,
    }
}

fn at(run: &Value, pointer: &str) -> Option<f64> {
    run.pointer(pointer)?.as_f64()
}

/// The greatest of the servers' shares of all operations, 0 to 1.
fn greatest(run: &Value, share: &str) -> Option<f64> {
    let servers = run.get("per_server")?.as_array()?;
    let shares = servers.iter().filter_map(|server| at(server, share));
    shares.reduce(f64::max)
}

/// Bytes of both directions for an operation, from the first to the last request.
fn bytes_per_op(run: &Value) -> Option<f64> {
    let bytes = at(run, "/bytes_sent")? + at(run, "/bytes_received")?;
    ratio(bytes, answered(run)?)
}

/// CPU time of all programs for an operation of the measured window.
fn cpu_ns_per_op(run: &Value) -> Option<f64> {
    let nodes = run.get("nodes")?.as_array()?;
    let secs: Option<f64> = nodes
        .iter()
        .map(|node| at(node, "/usage/process_cpu_secs"))
        .sum();
    let ops = at(run, "/ops_per_sec")? * at(run, "/measured_secs")?;
    ratio(secs? * 1e9, ops).filter(|_| !nodes.is_empty())
}

/// Operations that were refused, lost or answered wrongly, of all from the first to the last request.
fn failure_rate(run: &Value) -> Option<f64> {
    let lost = at(run, "/errors")? + at(run, "/unknown_ops")?;
    let wrong = at(run, "/verify_failures")?;
    ratio(lost + wrong, lost + answered(run)?)
}

/// Operations that the servers answered, from the first to the last request.
fn answered(run: &Value) -> Option<f64> {
    let servers = run.get("per_server")?.as_array()?;
    let kinds = servers.iter().flat_map(|server| {
        ["/answered/gets", "/answered/puts", "/answered/deletes"].map(|kind| at(server, kind))
    });
    kinds.sum()
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A summary with this throughput, as the client writes it.
    pub(crate) fn summary(verdict: &str, ops_per_sec: f64) -> Value {
        let server = |share: f64| json!({"share": share, "expected_share": share / 2.0, "answered": {"gets": 40, "hits": 40, "puts": 9, "deletes": 0}});
        json!({
            "verdict": verdict, "reasons": ["why"], "ops_per_sec": ops_per_sec, "hit_rate": null,
            "latency_us": {"mean": 2.0, "p50": 1.0, "p95": 3.0, "p99": 4.0, "p999": 5.0},
            "per_server": [server(0.25), server(0.75)], "commit": "abc",
            "errors": 1, "unknown_ops": 1, "verify_failures": 3,
            "measured_secs": 2.0, "nodes": [
                {"usage": {"process_cpu_secs": 0.5}}, {"usage": {"process_cpu_secs": 1.5}},
            ],
            "bytes_sent": 980, "bytes_received": 980,
        })
    }

    fn read(name: &str) -> Option<f64> {
        let metric = METRICS.iter().find(|metric| metric.name == name).unwrap();
        (metric.of)(&summary("VALID", 1e6))
    }

    #[test]
    fn figures_are_found_or_left_out() {
        assert_eq!(read("throughput"), Some(1e6));
        assert_eq!(read("latency_p95_us"), Some(3.0));
        assert_eq!(read("hottest_server_share"), Some(0.75));
        assert_eq!(read("hottest_server_expected_share"), Some(0.375));
        assert_eq!(read("bytes_per_op"), Some(20.0));
        assert_eq!(read("failure_rate"), Some(0.05));
        assert_eq!(read("hit_rate"), None);
        assert_eq!(read("cpu_ns_per_op"), Some(1000.0));
        assert_eq!((METRICS[0].of)(&json!({})), None);
        assert_eq!(
            cpu_ns_per_op(&json!({"nodes": [], "ops_per_sec": 1.0})),
            None
        );
    }
}
