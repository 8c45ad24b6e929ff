//! From what was counted to the results of a client.

use std::time::Duration;

use batchkv_workload::fingerprint;

use super::board::Board;
use super::config::Config;
use super::control::Outcome;
use super::host::Host;
use super::merge::server_parts;
use super::results::Results;
use super::results::latency::micros;
use super::results::series::Series;
use super::results::summary::{FORMAT_VERSION, Framing, Hottest, ServerPart, Summary};
use super::tally::Volume;
use super::verdict::{Account, Checks, Facts, judge};

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// One a worker that could still speak.
    pub(crate) outcomes: Vec<Outcome>,
    /// What failed, in sentences.
    pub(crate) failures: Vec<String>,
    /// Ended by hand.
    pub(crate) interrupted: bool,
    /// The window's start, since 1970.
    pub(crate) start: Duration,
}

/// The results of a client's run.
///
/// # Errors
/// When the client's place is none, which the configuration excludes.
pub(crate) fn results(config: &Config, board: &Board, ending: Ending) -> anyhow::Result<Results> {
    let (series, latency) = board.files(ending.start);
    let mut checks = Checks::default();
    let mut examples = Vec::new();
    let mut accounts: Vec<(usize, Account)> = Vec::new();
    for outcome in ending.outcomes {
        checks.add(&outcome.checks);
        examples.extend(outcome.examples);
        accounts.extend(outcome.accounts);
    }
    let per_server = per_server(config, &series, &accounts);
    let facts = Facts {
        counts: board.counts(),
        mix: *config.spec.mix(),
        loaded: config.load,
        verify: config.verify,
        checks,
        examples,
        accounts: accounts.into_iter().map(|(_, account)| account).collect(),
        failures: ending.failures,
        interrupted: ending.interrupted,
    };
    let judgement = judge(&facts);
    let rate = |count: u64| count as f64 / (series.secs() as f64).max(1.0);
    let counts = facts.counts;
    let Volume { traffic, payload } = board.volume();
    // A window that ends inside a frame may have its payload but not yet its bytes.
    let framing_sent = traffic.bytes_sent.saturating_sub(payload.bytes_sent);
    let framing_received = traffic
        .bytes_received
        .saturating_sub(payload.bytes_received);
    let summary = Summary {
        format_version: FORMAT_VERSION,
        verdict: judgement.verdict,
        reasons: judgement.reasons,
        ops_per_sec: rate(counts.ops()),
        reads_per_sec: rate(counts.reads),
        writes_per_sec: rate(counts.writes()),
        hit_rate: counts.hit_rate(),
        verified: checks.verified,
        verify_failures: checks.failures(config.load),
        errors: checks.errors,
        unknown_ops: facts.accounts.iter().map(|a| a.unknown.total()).sum(),
        measured_secs: series.secs() as f64,
        latency_us: micros(&latency.total()),
        hottest_server: Hottest::of(&per_server),
        per_server,
        framing_bytes: Framing::new(framing_sent, framing_received, &counts),
        bytes_sent: traffic.bytes_sent,
        bytes_received: traffic.bytes_received,
        counts,
        clients: 1,
        workload: workload(config)?,
        flags: named(config.flags()),
        host: Host::here(),
        commit: env!("BATCHKV_COMMIT").into(),
    };
    Ok(Results {
        summary,
        series,
        latency,
    })
}

fn per_server(config: &Config, series: &Series, accounts: &[(usize, Account)]) -> Vec<ServerPart> {
    let mut parts = server_parts(config.hosts.iter().cloned(), series);
    for (server, account) in accounts {
        parts[*server].answered.add(&account.answered);
        parts[*server].unknown.add(&account.unknown);
    }
    parts
}

/// Names and values that define the workload, one line that says it all, and the fingerprint.
fn workload(config: &Config) -> anyhow::Result<std::collections::BTreeMap<String, String>> {
    let mut workload = named(config.spec.description());
    workload.insert("line".into(), config.spec.to_string());
    let place = &config.place;
    let fingerprint = fingerprint(
        &config.spec,
        config.seed,
        place.client,
        place.clients,
        config.tasks,
    )?;
    workload.insert("fingerprint".into(), format!("{fingerprint:016x}"));
    Ok(workload)
}

fn named(pairs: Vec<(&'static str, String)>) -> std::collections::BTreeMap<String, String> {
    let owned = |(name, value): (&str, String)| (name.to_owned(), value);
    pairs.into_iter().map(owned).collect()
}
