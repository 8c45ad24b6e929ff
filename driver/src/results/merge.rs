//! `batchkv-client merge DIR`: a run's files from those of its clients and servers.
//!
//! Reads `DIR/client-*/`, `DIR/server-*.csv` and `DIR/resources-*.csv`. Histograms are added bucket by
//! bucket and rows second by second: the seconds of all clients are the same, by the clock of client 0, and
//! the servers' samples are moved onto that clock. What is missing, cut off or does not fit makes the run
//! INVALID, with a reason, and the rest is merged all the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use batchkv_telemetry::{Series as Samples, Usage};

use crate::clock::Offset;
use crate::history::check::{Linearizability, Testimony};
use crate::measured::counts::{Account, Counts, Kinds, Offered};
use crate::measured::latency::Latencies;
use crate::measured::statistics::median;
use crate::observation::snapshots::Told;
use crate::results::Results;
use crate::results::files::{ReadError, parse};
use crate::results::fits;
use crate::results::latency_log::LatencyLog;
use crate::results::nodes::{NodeSeries, Role};
use crate::results::series::{Row, Series};
use crate::results::summary::{Framing, Hottest, ServerFigures, Summary};
use crate::verdict::{
    Checked, Finding, Judgement, Node, Rule, RunFacts, Window, counts_do_not_fit, gaps, judge,
    judge_node, judge_run,
};

/// A server's samples are in a file of this name, behind it the node's.
const RESOURCES_PREFIX: &str = "resources-";

/// One client's directory, and what is in it.
struct Client {
    /// The directory's name, `client-node1`.
    name: String,
    results: Results,
}

/// The last row of a server's statistics.
#[derive(Debug, PartialEq)]
struct Served {
    /// The file's name, `server-node0.csv`.
    name: String,
    kinds: Kinds,
}

/// Merges the files in `dir`; nothing is written.
///
/// # Errors
/// When the directory cannot be read, or no client's results can.
pub(crate) fn merge(dir: &Path) -> Result<Results, MergeError> {
    let mut faults = Vec::new();
    let clients = read_clients(dir, &mut faults)?;
    let servers = read_servers(dir, &mut faults)?;
    let [first, ..] = clients.as_slice() else {
        return Err(MergeError::NoClient(dir.into(), faults.join(" ")));
    };
    faults.extend(missing_clients(&clients, &first.results.summary));
    let secs = common_secs(&clients, &mut faults);
    let series = merge_series(&clients, secs);
    let latency = merge_latency(&clients, secs);
    let mut summary = merge_summaries(&clients, &series, &latency);
    let nodes = read_nodes(dir, &clients, &summary, &mut faults)?;
    let start = latency.start_unix_time;
    for (node, ops) in &nodes {
        summary.nodes.extend(node.part(start, series.secs(), *ops));
    }
    let mut judgement = of_the_clients(&clients);
    judgement.findings.extend(faults.into_iter().map(failed));
    judgement
        .findings
        .extend(disagreements(&clients).map(|reason| Finding {
            rule: Rule::FilesDoNotFit,
            reason,
        }));
    let misfits = servers_do_not_fit(&summary.per_server, &servers);
    judgement.findings.extend(misfits);
    judgement.add(of_the_servers(&summary));
    let windows = clients.iter().map(window).collect();
    summary.linearizability = linearizability(&clients);
    judgement.add(judge_run(&run_facts(&series, &summary, windows)));
    summary.judge(judgement);
    Ok(Results {
        summary,
        series,
        latency,
        resources: None,
        history: None,
        stamps: Vec::new(),
        nodes: nodes.into_iter().map(|(node, _)| node).collect(),
    })
}

/// Why there is nothing to merge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error("{0} cannot be read: {1}")]
    Directory(PathBuf, io::Error),
    #[error(
        "no client's results can be read in {0}: expected are client-*/summary.json, throughput.csv and latency.hlog. {1}"
    )]
    NoClient(PathBuf, String),
}

fn failed(reason: String) -> Finding {
    let rule = Rule::Failed;
    Finding { rule, reason }
}

/// What the clients' data say, each client's by itself. What all of them say is said once.
fn of_the_clients(clients: &[Client]) -> Judgement {
    let judged: Vec<Judgement> = clients.iter().map(of_a_client).collect();
    let mut whole = Judgement::default();
    for (client, judgement) in clients.iter().zip(&judged) {
        for finding in &judgement.findings {
            let mut finding = finding.clone();
            if !judged.iter().all(|other| other.findings.contains(&finding)) {
                finding.reason = format!("{}: {}", client.name, finding.reason);
            }
            if !whole.findings.contains(&finding) {
                whole.findings.push(finding);
            }
        }
        let same = |judged: &Judgement| judged.checked == judgement.checked;
        match judged.iter().all(same) {
            true => whole.checked.clone_from(&judgement.checked),
            false => whole
                .checked
                .extend(judgement.checked.iter().map(|checked| Checked {
                    on: format!("{}: {}", client.name, checked.on),
                    ..checked.clone()
                })),
        }
    }
    whole
}

fn of_a_client(client: &Client) -> Judgement {
    let summary = &client.results.summary;
    let Some(facts) = &summary.facts else {
        let reason = format!(
            "The facts of {} are missing in its summary.json; measure again.",
            client.name
        );
        return Judgement {
            findings: vec![failed(reason)],
            checked: Vec::new(),
        };
    };
    let mut facts = facts.clone();
    facts.stalls.gaps = gaps(&server_seconds(summary, &client.results.series));
    let mut judgement = judge(&facts);
    for misfit in fits::misfits(&client.results, &judgement.findings) {
        judgement.findings.push(Finding {
            rule: Rule::FilesDoNotFit,
            reason: format!(
                "A client's files must be of one run and give the same counts, but of {}, {misfit}; somebody changed \
                 or mixed them.",
                client.name
            ),
        });
    }
    let shared = facts
        .servers
        .iter()
        .any(|server| server.on_client_machine == Some(true));
    judgement.add(judge_node(&Node::new(
        "the client's machine",
        own_usage(client),
        shared,
    )));
    judgement
}

/// What the client's machine used in its window.
fn own_usage(client: &Client) -> Option<Usage> {
    let start = client.results.latency.start_unix_time;
    let secs = client.results.series.secs();
    let samples = client.results.resources.as_ref()?;
    samples.usage(start, start + secs as f64)
}

/// What the servers' samples say; a client's machine has been judged with the client.
pub(crate) fn of_the_servers(summary: &Summary) -> Judgement {
    let mut nodes = summary
        .nodes
        .iter()
        .filter(|node| node.role == Role::Server);
    let mut judgement = Judgement::default();
    for part in &summary.per_server {
        let node = nodes.next();
        if part.told.and_then(|told| told.on_client_machine) != Some(true) {
            let name = node.map_or_else(
                || format!("the machine of {}", part.address),
                |node| node.name.clone(),
            );
            judgement.add(judge_node(&Node::new(
                &name,
                node.map(|node| node.usage),
                false,
            )));
        }
    }
    judgement
}

/// When a client measured, by the clock of client 0.
fn window(client: &Client) -> Window {
    let results = &client.results;
    Window {
        client: client.name.clone(),
        start_secs: results.latency.start_unix_time,
        bound_secs: results.summary.clock.bound_secs,
    }
}

/// What the run's seconds are judged by.
pub(crate) fn run_facts(series: &Series, summary: &Summary, windows: Vec<Window>) -> RunFacts {
    let share = |part: &ServerFigures| (part.address.clone(), part.share);
    RunFacts {
        ops: series.rows.iter().map(Row::ops).collect(),
        windows,
        littles_law_ratio: summary.littles_law_ratio,
        shares: summary.per_server.iter().map(share).collect(),
        histories: summary
            .linearizability
            .as_ref()
            .map(Linearizability::operations),
        violation: summary
            .linearizability
            .as_ref()
            .and_then(Linearizability::violation),
    }
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

/// Checks all clients' histories together, if they recorded some.
fn linearizability(clients: &[Client]) -> Option<Linearizability> {
    let parts = || {
        clients
            .iter()
            .filter_map(|client| client.results.summary.linearizability.as_ref())
    };
    let mut checked = Linearizability {
        share: parts().next()?.share,
        left_out: parts().map(|part| part.left_out).sum(),
        cut_nanos: parts().filter_map(|part| part.cut_nanos).min(),
        ..Linearizability::default()
    };
    // Without one client's writes nobody knows what the others could read.
    if missing_clients(clients, &clients[0].results.summary).is_none() {
        let testimonies: Vec<_> = clients.iter().filter_map(testimony).collect();
        checked.check(&testimonies);
    }
    Some(checked)
}

fn testimony(client: &Client) -> Option<Testimony<'_>> {
    let Results {
        summary, history, ..
    } = &client.results;
    Some(Testimony {
        client: &client.name,
        rows: history.as_ref()?,
        bound_nanos: (summary.clock.bound_secs * 1e9).ceil() as u64,
        cut_nanos: summary.linearizability.as_ref()?.cut_nanos,
    })
}

/// All nodes' samples by the clock of client 0, with the operations of each. Servers whose clock is not
/// known stay on their own.
fn read_nodes(
    dir: &Path,
    clients: &[Client],
    summary: &Summary,
    faults: &mut Vec<String>,
) -> Result<Vec<(NodeSeries, u64)>, MergeError> {
    let mut nodes = Vec::new();
    let names = entries(dir, RESOURCES_PREFIX, ".csv")?;
    // Without all of them nobody knows which is whose.
    let whole = names.len() == summary.per_server.len();
    for (name, part) in names.iter().zip(&summary.per_server).filter(|_| whole) {
        match parse(dir, name, Samples::from_csv) {
            Ok(mut samples) => {
                samples.shift(part.told.map_or(0.0, |told| told.clock.secs));
                let node = NodeSeries {
                    name: name[RESOURCES_PREFIX.len()..]
                        .trim_end_matches(".csv")
                        .into(),
                    role: Role::Server,
                    samples,
                };
                nodes.push((node, (part.share * summary.counts.ops() as f64) as u64));
            }
            Err(error) => faults.push(unreadable(name, &error)),
        }
    }
    for client in clients {
        let samples = client.results.resources.clone();
        nodes.extend(samples.map(|samples| {
            let node = NodeSeries {
                name: client.name.trim_start_matches("client-").into(),
                role: Role::Client,
                samples,
            };
            (node, client.results.summary.counts.ops())
        }));
    }
    Ok(nodes)
}

fn read_clients(dir: &Path, faults: &mut Vec<String>) -> Result<Vec<Client>, MergeError> {
    let mut clients = Vec::new();
    for name in entries(dir, "client-", "")? {
        match Results::read(&dir.join(&name)) {
            Ok(results) => clients.push(Client { name, results }),
            Err(error) => faults.push(unreadable(&name, &error)),
        }
    }
    Ok(clients)
}

fn read_servers(dir: &Path, faults: &mut Vec<String>) -> Result<Vec<Option<Served>>, MergeError> {
    let mut servers = Vec::new();
    for name in entries(dir, "server-", ".csv")? {
        let kinds = parse(dir, &name, served);
        if let Err(error) = &kinds {
            faults.push(unreadable(&name, error));
        }
        servers.push(kinds.ok().map(|kinds| Served { name, kinds }));
    }
    Ok(servers)
}

fn unreadable(name: &str, error: &ReadError) -> String {
    format!("The results of {name} are needed, but {error}; look at its log.")
}

/// Names in `dir` between prefix and suffix, in the order of their numbers.
fn entries(dir: &Path, prefix: &str, suffix: &str) -> Result<Vec<String>, MergeError> {
    let failed = |error| MergeError::Directory(dir.into(), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(suffix) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (number_in(name), name.clone()));
    Ok(names)
}

/// The digits of a name as a number, so that node10 comes behind node9.
fn number_in(name: &str) -> u64 {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(u64::MAX)
}

/// What a server executed, from the last row of its statistics.
fn served(csv: &str) -> Result<Kinds, String> {
    let whole = csv.strip_suffix('\n').ok_or("its last line is cut off")?;
    let mut lines = whole.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let last: Vec<&str> = lines.last().ok_or("it has no row")?.split(',').collect();
    let column = |name: &str| {
        let at = header.iter().position(|column| *column == name);
        let field = last.get(at.ok_or_else(|| format!("it has no column {name}"))?);
        field
            .and_then(|field| field.parse().ok())
            .ok_or_else(|| format!("its last row has no number in column {name}"))
    };
    Ok(Kinds {
        gets: column("gets")?,
        hits: column("hits")?,
        puts: column("puts")?,
        deletes: column("deletes")?,
    })
}

/// Clients that the run had, by the flag `client`, and that left no results.
fn missing_clients(clients: &[Client], first: &Summary) -> Option<String> {
    let place = |summary: &Summary| {
        let (client, of) = summary.flags.get("client")?.split_once('/')?;
        Some((client.parse::<u32>().ok()?, of.parse::<u32>().ok()?))
    };
    let (_, expected) = place(first)?;
    let here: Vec<u32> = clients
        .iter()
        .filter_map(|client| place(&client.results.summary))
        .map(|(client, _)| client)
        .collect();
    let missing: Vec<String> = (0..expected)
        .filter(|client| !here.contains(client))
        .map(|client| client.to_string())
        .collect();
    let complete = missing.is_empty() && here.len() == expected as usize;
    (!complete).then(|| {
        format!(
            "The run had {expected} clients, but there are results of {} (missing: client {}); look \
             at their logs.",
            clients.len(),
            missing.join(", "),
        )
    })
}

/// Clients that did not do the same as the first.
fn disagreements(clients: &[Client]) -> Option<String> {
    let (first, others) = clients.split_first()?;
    let differs = |other: &Client| {
        let difference = fits::difference(&first.results.summary, &other.results.summary)?;
        Some(format!(
            "All clients must be of one run and do the same, but {} and {} differ ({difference}); compare their \
             summary.json.",
            first.name, other.name
        ))
    };
    others.iter().find_map(differs)
}

/// Seconds that all clients have measured.
fn common_secs(clients: &[Client], faults: &mut Vec<String>) -> usize {
    let secs = |client: &Client| {
        let results = &client.results;
        results
            .series
            .rows
            .len()
            .min(results.latency.intervals.len())
    };
    let common = clients.iter().map(secs).min().unwrap_or(0);
    let longest = clients.iter().map(secs).max().unwrap_or(0);
    let by_hand = |client: &Client| {
        let facts = client.results.summary.facts.as_ref();
        facts.is_some_and(|facts| facts.interrupted)
    };
    if clients.iter().any(by_hand) {
        // The word passes from one to the other, who may see one more second.
        return common;
    }
    if let Some(short) = clients.iter().find(|client| secs(client) < longest) {
        faults.push(format!(
            "All clients must measure the same seconds, but {} has {common} of {longest}; look at \
             its log. The figures are of the first {common}.",
            short.name
        ));
    }
    common
}

fn merge_series(clients: &[Client], secs: usize) -> Series {
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

fn merge_latency(clients: &[Client], secs: usize) -> LatencyLog {
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
fn merge_summaries(clients: &[Client], series: &Series, latency: &LatencyLog) -> Summary {
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

/// Servers whose totals do not fit what all clients together counted.
fn servers_do_not_fit(parts: &[ServerFigures], servers: &[Option<Served>]) -> Vec<Finding> {
    if parts.len() != servers.len() {
        return vec![failed(format!(
            "The run had {} servers, but there are statistics of {} (server-*.csv); look at the \
             servers' logs.",
            parts.len(),
            servers.len()
        ))];
    }
    let mut findings = Vec::new();
    for (part, served) in parts.iter().zip(servers) {
        let Some(served) = served else { continue };
        if part.unknown.total() > 0 {
            // A server that died wrote its last row up to a second before, and operations whose
            // fate is unknown are a reason already.
            continue;
        }
        let reason = counts_do_not_fit(&Account {
            name: format!("{} ({})", part.address, served.name),
            answered: part.answered,
            unknown: part.unknown,
            served: Some(served.kinds),
        });
        let rule = Rule::CountsDoNotFit;
        findings.extend(reason.map(|reason| Finding { rule, reason }));
    }
    findings
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
