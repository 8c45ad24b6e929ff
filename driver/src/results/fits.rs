//! Whether a client's files belong together, and the clients of a run to each other.

use std::collections::BTreeMap;

use crate::measured::latency::LatencyPart;
use crate::results::Results;
use crate::results::series::Row;
use crate::results::summary::Summary;
use crate::verdict::{Finding, Rule, is_of_a_client, verdict_of};

/// What clients of a run may differ in.
const OWN_FLAGS: [&str; 3] = ["client", "threads", "connections"];

/// What does not fit in one client's files, the findings of whose own facts are `judged`.
pub(super) fn misfits(results: &Results, judged: &[Finding]) -> Vec<String> {
    let checks = [
        foreign_file(results),
        seconds(results),
        counts(results),
        latencies(results),
        totals(results),
        findings(&results.summary, judged),
    ];
    checks.into_iter().flatten().collect()
}

/// A file of another run or client.
fn foreign_file(results: &Results) -> Option<String> {
    let stamp = results.summary.stamp();
    let other = |(_, found): &&(&str, Option<String>)| found.as_ref() != Some(&stamp);
    let (name, found) = results.stamps.iter().find(other)?;
    let found = found.as_deref().unwrap_or("nobody");
    Some(format!(
        "{name} is of run and client {found}, but summary.json of {stamp}"
    ))
}

fn seconds(results: &Results) -> Option<String> {
    let (rows, intervals) = (results.series.rows.len(), results.latency.intervals.len());
    let secs = results.summary.measured_secs;
    (rows != intervals || rows as f64 != secs).then(|| {
        format!("throughput.csv has {rows} s, latency.hlog {intervals} and summary.json {secs}")
    })
}

/// Rows against the summary's counts.
fn counts(results: &Results) -> Option<String> {
    let (rows, counts) = (&results.series.rows, &results.summary.counts);
    let sum = |count: fn(&Row) -> u64| rows.iter().map(count).sum::<u64>();
    let servers = |row: &&Row| row.server_ops.iter().sum::<u64>() != row.ops();
    let pairs = [
        ("reads", sum(|row| row.reads), counts.reads),
        ("writes", sum(|row| row.writes), counts.writes()),
        ("misses", sum(|row| row.misses), counts.misses),
    ];
    let unequal = pairs.into_iter().find(|(_, rows, counts)| rows != counts);
    let unequal = unequal.map(|(what, rows, counts)| {
        format!("throughput.csv has {rows} {what}, and summary.json {counts}")
    });
    let odd = rows.iter().position(|row| servers(&row));
    unequal.or_else(|| {
        Some(format!(
            "the servers' operations of second {} are not all in throughput.csv",
            odd? + 1
        ))
    })
}

/// Histograms against rows, second by second, and in an open loop against what arrived.
fn latencies(results: &Results) -> Option<String> {
    let timed = |second: usize| {
        results.latency.intervals[second]
            .histogram(LatencyPart::Total)
            .len()
    };
    let seconds = results
        .latency
        .intervals
        .len()
        .min(results.series.rows.len());
    if let Some(offered) = results.summary.offered {
        let all: u64 = (0..results.latency.intervals.len()).map(timed).sum();
        return (all != offered.arrived).then(|| {
            format!(
                "latency.hlog has {all} operations, and summary.json {} arrivals",
                offered.arrived
            )
        });
    }
    let rows = &results.series.rows;
    let second = (0..seconds).find(|&second| timed(second) != rows[second].ops())?;
    Some(format!(
        "second {} has {} operations in throughput.csv and {} in latency.hlog",
        second + 1,
        rows[second].ops(),
        timed(second)
    ))
}

/// The summary's totals against those that the facts give, and the window's against the run's.
fn totals(results: &Results) -> Option<String> {
    let summary = &results.summary;
    let facts = summary.facts.as_ref()?;
    let accounts: u64 = facts.accounts.iter().map(|a| a.answered.total()).sum();
    let servers: u64 = summary
        .per_server
        .iter()
        .map(|part| part.answered.total())
        .sum();
    let verify = summary
        .flags
        .get("verify")
        .is_none_or(|verify| verify == "true");
    let load = summary.flags.get("load").is_none_or(|load| load == "true");
    let fit = [
        ("counts", facts.counts == summary.counts),
        ("verified", facts.checks.verified == summary.verified),
        (
            "verify_failures",
            facts.checks.failures(facts.loaded) == summary.verify_failures,
        ),
        ("errors", facts.checks.errors == summary.errors),
        (
            "answered",
            accounts == servers && summary.counts.asked() <= accounts,
        ),
        ("offered", facts.offered == summary.offered),
        ("verify", facts.verify == verify),
        ("load", facts.loaded == load),
        ("ops_per_sec", rate_fits(summary)),
    ];
    let (what, _) = fit.into_iter().find(|(_, fits)| !fits)?;
    Some(format!(
        "{what} in summary.json is not what its own facts give"
    ))
}

fn rate_fits(summary: &Summary) -> bool {
    let expected = summary.counts.ops() as f64 / summary.measured_secs.max(1.0);
    (summary.ops_per_sec - expected).abs() <= 1e-6 * expected.max(1.0)
}

/// What a file says of itself against what its data say.
fn findings(summary: &Summary, judged: &[Finding]) -> Option<String> {
    let rules = |findings: &[Finding]| -> Vec<Rule> {
        let own = findings.iter().map(|finding| finding.rule);
        let mut own: Vec<Rule> = own.filter(|rule| is_of_a_client(*rule)).collect();
        own.sort_unstable();
        own.dedup();
        own
    };
    let (said, known) = (rules(&summary.findings), rules(judged));
    let names = |rules: &[Rule]| {
        let names: Vec<String> = rules.iter().map(Rule::to_string).collect();
        names.join(", ")
    };
    let fits = said == known && summary.verdict == verdict_of(&summary.findings);
    (!fits).then(|| {
        format!(
            "its findings are [{}] and its verdict {}, but its data give [{}]",
            names(&said),
            summary.verdict,
            names(&known)
        )
    })
}

/// What tells two clients of one run apart that should be the same.
pub(super) fn difference(one: &Summary, other: &Summary) -> Option<String> {
    if one.run != other.run {
        return Some(format!("run: {} and {}", one.run, other.run));
    }
    if one.commit != other.commit {
        return Some(format!("commit: {} and {}", one.commit, other.commit));
    }
    // Each client has a fingerprint of its own.
    let own = |name: &str| name == "fingerprint" || OWN_FLAGS.contains(&name);
    let maps = [(&one.workload, &other.workload), (&one.flags, &other.flags)];
    maps.into_iter().find_map(|(one, other)| {
        let mut names = one.keys().chain(other.keys()).filter(|name| !own(name));
        let name = names.find(|name| one.get(*name) != other.get(*name))?;
        let value =
            |map: &BTreeMap<String, String>| map.get(name).cloned().unwrap_or("nothing".into());
        Some(format!("{name}: {} and {}", value(one), value(other)))
    })
}
