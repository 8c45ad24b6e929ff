//! Several clients' seconds, histograms and summaries added up.

use crate::clock::Offset;
use crate::measured::counts::{Counts, Kinds, Offered};
use crate::measured::latency::Latencies;
use crate::measured::statistics::median;
use crate::observation::snapshots::Told;
use crate::results::gather::Client;
use crate::results::latency_log::LatencyLog;
use crate::results::series::{Row, Series};
use crate::results::summary::{Framing, Hottest, ServerFigures, Summary};

pub(super) fn merge_series(clients: &[Client], secs: usize) -> Series {
    let all = || clients.iter().map(|client| &client.results.series);
    let rows = (0..secs).map(|second| {
        let mut sum = Row::default();
        for series in all() {
            sum.add(&series.rows[second]);
        }
        // Client 0's clock speaks for all.
        sum.unix_time = clients[0].results.series.rows[second].unix_time;
        sum
    });
    Series {
        servers: all().map(|series| series.servers).max().unwrap_or(0),
        rows: rows.collect(),
    }
}

pub(super) fn merge_latency(clients: &[Client], secs: usize) -> LatencyLog {
    let intervals = (0..secs).map(|second| {
        let mut sum = Latencies::new();
        for client in clients {
            sum.add(&client.results.latency.intervals[second].unpack());
        }
        sum.pack()
    });
    LatencyLog {
        start_unix_time: clients[0].results.latency.start_unix_time,
        intervals: intervals.collect(),
    }
}

/// Sums and rates; verdict and findings are still the first client's.
pub(super) fn merge_summaries(
    clients: &[Client],
    series: &Series,
    latency: &LatencyLog,
) -> Summary {
    let summaries: Vec<&Summary> = clients.iter().map(|c| &c.results.summary).collect();
    let sum = |field: fn(&Summary) -> u64| summaries.iter().map(|s| field(s)).sum::<u64>();
    let mut counts = Counts::default();
    for summary in &summaries {
        counts.add(&summary.counts);
    }
    let mut workload = summaries[0].workload.clone();
    let fingerprints = summaries
        .iter()
        .filter_map(|s| s.workload.get("fingerprint"));
    let fingerprints: Vec<&str> = fingerprints.map(String::as_str).collect();
    workload.insert("fingerprint".into(), fingerprints.join(" "));
    let total = |count: fn(&Row) -> u64| series.rows.iter().map(count).sum::<u64>();
    let rate = |count: u64| count as f64 / (series.secs() as f64).max(1.0);
    let per_server = merge_servers(&summaries, series);
    let most =
        |figure: fn(&Summary) -> f64| summaries.iter().map(|s| figure(s)).fold(0.0, f64::max);
    let mut merged = Summary {
        ops_per_sec: rate(total(Row::ops)),
        reads_per_sec: rate(total(|row| row.reads)),
        writes_per_sec: rate(total(|row| row.writes)),
        hit_rate: counts.hit_rate(),
        verified: sum(|s| s.verified),
        verify_failures: sum(|s| s.verify_failures),
        errors: sum(|s| s.errors),
        unknown_ops: sum(|s| s.unknown_ops),
        measured_secs: series.secs() as f64,
        offered: merge_offered(&summaries),
        in_progress_mean: summaries.iter().map(|s| s.in_progress_mean).sum(),
        hottest_server: Hottest::of(&per_server),
        per_server,
        framing_bytes: merge_framing(&summaries, &counts),
        bytes_sent: sum(|s| s.bytes_sent),
        bytes_received: sum(|s| s.bytes_received),
        reference_answers: summaries.iter().map(|s| s.reference_answers).sum(),
        counts,
        nodes: Vec::new(),
        facts: None,
        busiest_worker: most(|s| s.busiest_worker),
        clock: Offset {
            bound_secs: most(|s| s.clock.bound_secs),
            ..Offset::default()
        },
        clients: summaries.len() as u32,
        workload,
        ..summaries[0].clone()
    };
    merged.take_latencies(&latency.total());
    merged
}

/// What the clients' schedules came to; `None` for closed loops.
fn merge_offered(summaries: &[&Summary]) -> Option<Offered> {
    let offered = summaries.iter().filter_map(|summary| summary.offered);
    offered.reduce(|mut sum, offered| {
        sum.add(&offered);
        sum
    })
}

/// The clients' framing, weighted by what each has asked.
fn merge_framing(summaries: &[&Summary], counts: &Counts) -> Option<Framing> {
    let bytes = |per: fn(&Framing) -> f64| {
        let of = |s: &&Summary| s.framing_bytes.as_ref().map_or(0.0, per) * s.counts.asked() as f64;
        summaries.iter().map(of).sum::<f64>().round() as u64
    };
    Framing::new(bytes(|f| f.per_operation), bytes(|f| f.per_answer), counts)
}

fn merge_servers(summaries: &[&Summary], series: &Series) -> Vec<ServerFigures> {
    let mut parts = server_parts(
        summaries[0]
            .per_server
            .iter()
            .map(|part| part.address.clone()),
        series,
    );
    for summary in summaries {
        for (sum, part) in parts.iter_mut().zip(&summary.per_server) {
            sum.answered.add(&part.answered);
            sum.unknown.add(&part.unknown);
            sum.told = both_told(sum.told, part.told);
            // All clients have the same workload.
            sum.expected_share = part.expected_share;
        }
    }
    parts
}

/// What two clients were told by one server: the clock as the first compared it.
fn both_told(first: Option<Told>, second: Option<Told>) -> Option<Told> {
    let (Some(first), Some(second)) = (first, second) else {
        return first.or(second);
    };
    let busiest = first
        .busiest_thread
        .into_iter()
        .chain(second.busiest_thread);
    Some(Told {
        on_client_machine: first.on_client_machine.max(second.on_client_machine),
        busiest_thread: busiest.reduce(f64::max),
        clock: first.clock,
        clock_rate: first.clock_rate,
    })
}

/// Each server's rates by the series; what it answered is not filled in.
pub(crate) fn server_parts(
    addresses: impl Iterator<Item = String>,
    series: &Series,
) -> Vec<ServerFigures> {
    let secs = (series.secs() as f64).max(1.0);
    let all: u64 = series.rows.iter().map(Row::ops).sum();
    let part = |(k, address): (usize, String)| {
        let ops = || series.rows.iter().map(|row| row.server_ops.get(k).copied());
        let sum: u64 = ops().flatten().sum();
        ServerFigures {
            address,
            ops_per_sec: sum as f64 / secs,
            median_ops_per_sec: median(ops().flatten()),
            share: sum as f64 / (all as f64).max(1.0),
            expected_share: None,
            answered: Kinds::default(),
            unknown: Kinds::default(),
            told: None,
        }
    };
    addresses.enumerate().map(part).collect()
}

/// Each server's address, and what it answered in each second.
pub(crate) fn server_seconds(summary: &Summary, series: &Series) -> Vec<(String, Vec<u64>)> {
    let ops = |server: usize| {
        let rows = series.rows.iter();
        rows.filter_map(|row| row.server_ops.get(server).copied())
            .collect()
    };
    let servers = summary.per_server.iter().enumerate();
    servers
        .map(|(server, part)| (part.address.clone(), ops(server)))
        .collect()
}
