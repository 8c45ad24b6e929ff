//! From what was counted to the results of a client.

use batchkv_telemetry::Series as Samples;
use batchkv_workload::{Kind, SkewSample, fingerprint, presence};

use crate::clock::{Clock, Offset, Rate};
use crate::command::config::Config;
use crate::command::verify::expected;
use crate::history::check::{Linearizability, Testimony};
use crate::history::row::{HistoryRow, shifted_nanos};
use crate::load::report::WorkerTotals;
use crate::measured::counts::{Account, Checks};
use crate::measured::interval::{Standstill, Volume};
use crate::observation::host::Host;
use crate::observation::snapshots::{Snapshots, Told};
use crate::results::Results;
use crate::results::merge::{of_the_servers, run_facts};
use crate::results::nodes::{NodeSeries, Role};
use crate::results::series::Series;
use crate::results::summary::{FORMAT_VERSION, Framing, Hottest, ServerFigures, Summary};
use crate::results::sums::{server_parts, server_seconds};
use crate::run::board::Board;
use crate::verdict::{
    ClockFacts, Facts, Finding, Judgement, LongestWait, Node, Rule, ServerFacts, Stalls, Verdict,
    gaps, judge, judge_node, judge_run,
};

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Names the run.
    pub(crate) run: u64,
    /// One a worker that could still speak.
    pub(crate) workers: Vec<WorkerTotals>,
    /// What failed, in sentences.
    pub(crate) failures: Vec<String>,
    /// Ended by hand.
    pub(crate) interrupted: bool,
    /// The window's start, in seconds since 1970 by the clock of client 0.
    pub(crate) start_unix_time: f64,
    /// This client's clock against that one.
    pub(crate) clock: Offset,
    /// How fast that one goes against this client's.
    pub(crate) clock_rate: Option<Rate>,
    pub(crate) own_clock: Clock,
    pub(crate) snapshots: Snapshots,
    /// What this machine used; `None` where the kernel does not count.
    pub(crate) samples: Option<Samples>,
}

/// What a client's run has measured, not judged yet: see [`judge_results`].
///
/// # Errors
/// When the client is none of the run's, which the configuration excludes.
pub(crate) fn results(config: &Config, board: &Board, ending: Ending) -> anyhow::Result<Results> {
    let (start, clock) = (ending.start_unix_time, ending.clock);
    let (series, latency) = board.files(start);
    let resources = ending.samples.clone().map(|mut samples| {
        samples.shift(clock.secs);
        samples
    });
    let node = |samples: &Samples| own_node(config, samples);
    let nodes: Vec<NodeSeries> = resources.iter().map(node).collect();
    let per_server = per_server(config, &series, &ending);
    let recorded = recorded(config, &ending);
    let run = ending.run;
    let mut facts = facts(config, board, &per_server, ending);
    let mut summary = summary(config, board, &facts, per_server)?;
    summary.run = format!("{run:016x}");
    let part = |node: &NodeSeries| node.part(start, series.secs(), facts.counts.ops());
    summary.nodes = nodes.iter().filter_map(part).collect();
    summary.clock = clock;
    summary.take_latencies(&latency.total());
    facts.stalls.gaps = gaps(&server_seconds(&summary, &series));
    facts.latency_mean_us = summary.latency_us.map(|latency| latency.mean);
    let (checked, history) = recorded.unzip();
    summary.linearizability = checked;
    summary.facts = Some(facts);
    summary.judge(not_judged());
    Ok(Results {
        history,
        summary,
        series,
        latency,
        resources,
        nodes,
        stamps: Vec::new(),
    })
}

/// The histories that were recorded, and what is known of them here: several clients' are checked
/// together, when they are merged.
fn recorded(config: &Config, ending: &Ending) -> Option<(Linearizability, Vec<HistoryRow>)> {
    let list = config.watch_list.as_ref()?;
    let recordings = || {
        ending
            .workers
            .iter()
            .filter_map(|worker| worker.recording.as_ref())
    };
    let rows = recordings().flat_map(|(worker, recording)| {
        let events = recording.events.iter();
        events.map(move |event| HistoryRow::new(event, *worker, &ending.own_clock, ending.clock))
    });
    let rows: Vec<HistoryRow> = rows.collect();
    let cut = recordings()
        .filter_map(|(_, recording)| recording.cut)
        .min();
    let checked = Linearizability {
        share: list.share(),
        left_out: recordings().map(|(_, recording)| recording.left_out).sum(),
        cut_nanos: cut.map(|cut| shifted_nanos(&ending.own_clock, ending.clock, cut)),
        ..Linearizability::default()
    };
    Some((checked, rows))
}

fn own_node(config: &Config, samples: &Samples) -> NodeSeries {
    NodeSeries {
        name: format!("client {}", config.member.client),
        role: Role::Client,
        samples: samples.clone(),
    }
}

fn per_server(config: &Config, series: &Series, ending: &Ending) -> Vec<ServerFigures> {
    let mut parts = server_parts(config.hosts.iter().cloned(), series);
    let accounts = ending.workers.iter().flat_map(|worker| &worker.accounts);
    for (server, account) in accounts {
        parts[*server].answered.add(&account.answered);
        parts[*server].unknown.add(&account.unknown);
    }
    for (server, part) in parts.iter_mut().enumerate() {
        part.told = ending.snapshots.told(server, ending.clock);
    }
    if let ([worker, ..], 2..) = (ending.workers.as_slice(), parts.len()) {
        let expected = expected(&config.spec, &worker.map, parts.len());
        for (part, share) in parts.iter_mut().zip(expected.into_iter().flatten()) {
            part.expected_share = Some(share);
        }
    }
    parts
}

/// What the verdict looks at in this client.
fn facts(config: &Config, board: &Board, servers: &[ServerFigures], ending: Ending) -> Facts {
    let mut checks = Checks::default();
    let mut examples = Vec::new();
    let mut accounts: Vec<Account> = Vec::new();
    let written = ending.workers.iter().map(|worker| worker.written).sum();
    let deletes = config.spec.mix().share(Kind::Delete) > 0.0;
    for worker in &ending.workers {
        checks.add(&worker.checks);
        examples.extend(worker.examples.iter().cloned());
        accounts.extend(worker.accounts.iter().map(|(_, account)| account.clone()));
    }
    let (counts, spec) = (board.counts(), &config.spec);
    let (client, tasks) = (config.member.client, config.tasks);
    let server = |part: &ServerFigures| server_facts(&part.address, part.told);
    Facts {
        counts,
        mix: *spec.mix(),
        skew: SkewSample::draw(spec, config.seed, client, tasks, counts.ops()),
        loaded: config.load,
        verify: config.verify,
        short_values: spec.has_short_values(),
        misses_judged: !deletes
            || config.member.clients == 1 && spec.records() <= presence::RECORDS_MAX,
        written,
        checks,
        examples,
        accounts,
        wall_strayed_secs: ending.own_clock.wall_strayed_secs(),
        stalls: stalls(config, &ending),
        clocks: clocks(config, servers, &ending),
        failures: ending.failures,
        interrupted: ending.interrupted,
        offered: config.offer.map(|offer| board.offered(&offer)),
        latency_mean_us: None,
        repeated_answers: config.dedup_answers,
        busiest_worker: ending.snapshots.busiest_worker(),
        servers: servers.iter().map(server).collect(),
    }
}

/// What stood still, as the workers saw it.
fn stalls(config: &Config, ending: &Ending) -> Stalls {
    let mut standstill = Standstill::default();
    for worker in &ending.workers {
        standstill.add(&worker.standstill);
    }
    let second =
        |instant| ending.own_clock.at(instant) + ending.clock.secs - ending.start_unix_time;
    let late = standstill.late;
    Stalls {
        gaps: Vec::new(),
        batches: standstill.batches,
        long_waits: standstill.long_waits,
        longest: standstill.longest.map(|longest| LongestWait {
            secs: longest.waited.as_secs_f64(),
            server: config.hosts[longest.server].clone(),
            ended_secs: second(longest.ended),
        }),
        client_late_secs: late.map_or(0.0, |(late, _)| late.as_secs_f64()),
        client_late_at_secs: late.map_or(0.0, |(_, at)| second(at)),
    }
}

/// What is known of other clocks: the servers' and client 0's.
fn clocks(config: &Config, servers: &[ServerFigures], ending: &Ending) -> Vec<ClockFacts> {
    let told = |server: &ServerFigures| ClockFacts {
        name: server.address.clone(),
        bound_secs: server.told.map(|told| told.clock.bound_secs),
        rate: server.told.and_then(|told| told.clock_rate),
    };
    let client_0 = ClockFacts {
        name: "client 0".into(),
        bound_secs: Some(ending.clock.bound_secs),
        rate: ending.clock_rate,
    };
    let other = (config.member.client > 0).then_some(client_0);
    servers.iter().map(told).chain(other).collect()
}

/// What the verdict looks at.
fn server_facts(address: &str, told: Option<Told>) -> ServerFacts {
    ServerFacts {
        address: address.into(),
        on_client_machine: told.and_then(|told| told.on_client_machine),
        busiest_thread: told.and_then(|told| told.busiest_thread),
    }
}

/// The summary, without what the nodes used and what is to be thought of it.
fn summary(
    config: &Config,
    board: &Board,
    facts: &Facts,
    per_server: Vec<ServerFigures>,
) -> anyhow::Result<Summary> {
    let (counts, checks) = (facts.counts, &facts.checks);
    let Volume {
        traffic, payload, ..
    } = board.volume();
    // A window that ends inside a frame may have its payload but not yet its bytes.
    let framing_sent = traffic.bytes_sent.saturating_sub(payload.bytes_sent);
    let values_received = payload
        .bytes_received
        .saturating_sub(traffic.references.value_bytes);
    let framing_received = traffic.bytes_received.saturating_sub(values_received);
    let secs = board.window().len() as f64;
    let rate = |count: u64| count as f64 / secs.max(1.0);
    Ok(Summary {
        format_version: FORMAT_VERSION,
        run: String::new(),
        verdict: Verdict::Valid,
        reasons: Vec::new(),
        findings: Vec::new(),
        checked: Vec::new(),
        ops_per_sec: rate(counts.ops()),
        reads_per_sec: rate(counts.reads),
        writes_per_sec: rate(counts.writes()),
        hit_rate: counts.hit_rate(),
        verified: checks.verified,
        verify_failures: checks.failures(config.load),
        errors: checks.errors,
        unknown_ops: facts.accounts.iter().map(|a| a.unknown.total()).sum(),
        measured_secs: secs,
        pacing: config.pacing(),
        latency_us: None,
        latency_parts_us: None,
        in_progress_mean: board.in_progress_mean(),
        littles_law_ratio: None,
        offered: facts.offered,
        hottest_server: Hottest::of(&per_server),
        per_server,
        framing_bytes: Framing::new(framing_sent, framing_received, &counts),
        linearizability: None,
        bytes_sent: traffic.bytes_sent,
        bytes_received: traffic.bytes_received,
        reference_answers: config.dedup_answers.then_some(traffic.references.answers),
        counts,
        nodes: Vec::new(),
        busiest_worker: facts.busiest_worker,
        clock: Offset::default(),
        facts: None,
        clients: 1,
        workload: workload(config)?,
        flags: named(config.flags()),
        host: Host::here(),
        commit: env!("BATCHKV_COMMIT").into(),
    })
}

/// What is to be thought of results that no rule has looked at.
fn not_judged() -> Judgement {
    let reason = "The rules must judge a run, but the program ended before they did; the measurements are whole, the \
                  verdict is missing; please report it."
        .into();
    Judgement {
        findings: vec![Finding {
            rule: Rule::Failed,
            reason,
        }],
        checked: Vec::new(),
    }
}

/// Judges what a client has measured, once it is written: whatever a rule does, the measurements are kept.
/// Several clients' seconds and histories are judged together, when they are merged.
pub(crate) fn judge_results(alone: bool, results: &mut Results) {
    let summary = &mut results.summary;
    if let (Some(checked), Some(rows), true) =
        (&mut summary.linearizability, &results.history, alone)
    {
        checked.check(&[Testimony {
            client: "the client",
            rows,
            bound_nanos: 0,
            cut_nanos: checked.cut_nanos,
        }]);
    }
    if let Some(facts) = &summary.facts {
        let judgement = judgement(alone, facts, summary, &results.series);
        summary.judge(judgement);
    }
}

/// All rules that can be applied here.
fn judgement(alone: bool, facts: &Facts, summary: &Summary, series: &Series) -> Judgement {
    let mut judgement = judge(facts);
    let here = |server: &ServerFacts| server.on_client_machine == Some(true);
    let usage = summary.nodes.first().map(|node| node.usage);
    let shared = facts.servers.iter().any(here);
    judgement.add(judge_node(&Node::new(
        "the client's machine",
        usage,
        shared,
    )));
    if alone {
        judgement.add(of_the_servers(summary));
        judgement.add(judge_run(&run_facts(series, summary, Vec::new())));
    }
    judgement
}

/// Names and values that define the workload, one line that says it all, and the fingerprint.
fn workload(config: &Config) -> anyhow::Result<std::collections::BTreeMap<String, String>> {
    let mut workload = named(config.spec.description());
    workload.insert("line".into(), config.spec.to_string());
    let member = &config.member;
    let fingerprint = fingerprint(
        &config.spec,
        config.seed,
        member.client,
        member.clients,
        config.tasks,
    )?;
    workload.insert("fingerprint".into(), format!("{fingerprint:016x}"));
    Ok(workload)
}

fn named(pairs: Vec<(&'static str, String)>) -> std::collections::BTreeMap<String, String> {
    let owned = |(name, value): (&str, String)| (name.to_owned(), value);
    pairs.into_iter().map(owned).collect()
}
