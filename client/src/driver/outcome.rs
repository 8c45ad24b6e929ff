//! From what was counted to the results of a client.

use batchkv_telemetry::Series as Samples;
use batchkv_workload::{SkewSample, fingerprint};

use super::board::Board;
use super::clock::Offset;
use super::config::Config;
use super::control::Outcome;
use super::host::Host;
use super::look::{Looks, server_facts};
use super::merge::{run_facts, server_parts};
use super::results::Results;
use super::results::latency::micros;
use super::results::nodes::{NodeSeries, Role};
use super::results::series::Series;
use super::results::summary::{FORMAT_VERSION, ServerPart, Summary};
use super::verdict::{Account, Checks, Facts, Node, Verdict, judge, judge_node, judge_run};

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// One a worker that could still speak.
    pub(crate) outcomes: Vec<Outcome>,
    /// What failed, in sentences.
    pub(crate) failures: Vec<String>,
    /// Ended by hand.
    pub(crate) interrupted: bool,
    /// The window's start, in seconds since 1970 by the clock of client 0.
    pub(crate) start_unix_time: f64,
    /// This client's clock against that one.
    pub(crate) clock: Offset,
    pub(crate) looks: Looks,
    /// What this machine used; `None` where the kernel does not count.
    pub(crate) samples: Option<Samples>,
}

/// The results of a client's run.
///
/// # Errors
/// When the client's place is none, which the configuration excludes.
pub(crate) fn results(config: &Config, board: &Board, ending: Ending) -> anyhow::Result<Results> {
    let (series, latency) = board.files(ending.start_unix_time);
    let mut checks = Checks::default();
    let mut examples = Vec::new();
    let mut accounts: Vec<(usize, Account)> = Vec::new();
    for outcome in ending.outcomes {
        checks.add(&outcome.checks);
        examples.extend(outcome.examples);
        accounts.extend(outcome.accounts);
    }
    let mut per_server = per_server(config, &series, &accounts);
    for (server, part) in per_server.iter_mut().enumerate() {
        part.told = ending.looks.told(server, ending.clock);
    }
    let counts = board.counts();
    let place = &config.place;
    let (tasks, seed) = (config.tasks, config.seed);
    let servers = per_server
        .iter()
        .map(|part| server_facts(&part.address, part.told));
    let facts = Facts {
        counts,
        mix: *config.spec.mix(),
        skew: SkewSample::draw(&config.spec, seed, place.client, tasks, counts.ops()),
        loaded: config.load,
        verify: config.verify,
        short_values: config.spec.has_short_values(),
        checks,
        examples,
        accounts: accounts.into_iter().map(|(_, account)| account).collect(),
        failures: ending.failures,
        interrupted: ending.interrupted,
        offered: None,
        repeated_answers: false,
        busiest_worker: ending.looks.busiest_worker(),
        servers: servers.collect(),
    };
    let resources = ending.samples.map(|mut samples| {
        samples.shift(ending.clock.secs);
        samples
    });
    let own = resources.clone().map(|samples| NodeSeries {
        name: format!("client {}", place.client),
        role: Role::Client,
        samples,
    });
    let nodes: Vec<NodeSeries> = own.into_iter().collect();
    let part = |node: &NodeSeries| node.part(ending.start_unix_time, series.secs(), counts.ops());
    let rate = |count: u64| count as f64 / (series.secs() as f64).max(1.0);
    let traffic = board.traffic();
    let mut summary = Summary {
        format_version: FORMAT_VERSION,
        verdict: Verdict::Valid,
        reasons: Vec::new(),
        findings: Vec::new(),
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
        per_server,
        bytes_sent: traffic.bytes_sent,
        bytes_received: traffic.bytes_received,
        counts,
        nodes: nodes.iter().filter_map(part).collect(),
        busiest_worker: facts.busiest_worker,
        clock: ending.clock,
        clients: 1,
        workload: workload(config)?,
        flags: named(config.flags()),
        host: Host::here(),
        commit: env!("BATCHKV_COMMIT").into(),
    };
    let mut findings = judge(&facts);
    for part in &summary.nodes {
        findings.extend(judge_node(&Node::new("the client's machine", &part.usage)));
    }
    // Several clients' seconds are judged together, when they are merged.
    if place.clients == 1 {
        findings.extend(judge_run(&run_facts(
            &series,
            &summary.per_server,
            Vec::new(),
        )));
    }
    summary.judge(findings);
    Ok(Results {
        summary,
        series,
        latency,
        resources,
        nodes,
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
