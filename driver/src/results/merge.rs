//! `batchkv-client merge DIR`: a run's files from those of its clients and servers.
//!
//! Reads `DIR/client-*/`, `DIR/server-*.csv` and `DIR/resources-*.csv`. Histograms are added bucket by
//! bucket and rows second by second: the seconds of all clients are the same, by the clock of client 0, and
//! the servers' samples are moved onto that clock. What is missing, cut off or does not fit makes the run
//! INVALID, with a reason, and the rest is merged all the same.

use std::path::Path;

use batchkv_telemetry::Usage;

use crate::history::check::{Linearizability, Testimony};
use crate::measured::counts::Account;
use crate::results::Results;
use crate::results::fits;
use crate::results::gather::{Client, MergeError, Served, read_clients, read_nodes, read_servers};
use crate::results::nodes::Role;
use crate::results::series::{Row, Series};
use crate::results::summary::{ServerFigures, Summary};
use crate::results::sums::{merge_latency, merge_series, merge_summaries, server_seconds};
use crate::verdict::{
    Checked, Finding, Judgement, Node, Rule, RunFacts, Window, counts_do_not_fit, gaps, judge,
    judge_node, judge_run,
};

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
    let foreign = foreign_servers(&summary.run, &servers);
    judgement.findings.extend(foreign);
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

/// Servers that have served another run since, or instead.
fn foreign_servers(run: &str, servers: &[Option<Served>]) -> impl Iterator<Item = Finding> {
    let of_run = u64::from_str_radix(run, 16);
    let foreign = servers.iter().flatten();
    let foreign = foreign.filter(move |served| of_run != Ok(served.run));
    foreign.map(move |served| Finding {
        rule: Rule::FilesDoNotFit,
        reason: format!(
            "A server's statistics must be of the clients' run, but the newest client in {} is of run {:016x} and the \
             clients are of {run}; take the run's own files.",
            served.name, served.run
        ),
    })
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
