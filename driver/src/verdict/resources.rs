//! Rules about what a figure is the limit of: threads, machines, links, the most loaded server.

use batchkv_telemetry::Usage;

use super::check::Extent;
use super::facts::{Facts, Node, RunFacts, ServerFacts};
use crate::screen::grouped;

/// A worker's thread that is busy for this part of the time hardly waits for servers.
const WORKER_BUSY: f64 = 0.9;
/// A server's thread up to here has time left.
const SERVER_BUSY: f64 = 0.8;
/// Part of a machine's cores that other programs may use while less than [`IDLE_MIN`] is idle.
const OTHERS_MAX: f64 = 0.1;
/// A part of the cores that is left is there for whoever needs it.
const IDLE_MIN: f64 = 0.05;
/// Part of a machine's CPU time that a hypervisor may take.
const STEAL_MAX: f64 = 0.01;
/// Part of the TCP segments that may be sent again: each holds its connection up for a round trip, or
/// for 200 ms.
const RETRANSMISSIONS_MAX: f64 = 0.001;
/// Fewer than this say nothing.
const RETRANSMISSIONS_MIN: f64 = 10.0;
const LINK_USE_MAX: f64 = 0.9;
/// A server's share may be so many times the mean.
const SHARE_MAX: f64 = 1.1;

/// The threads that were looked at.
pub(super) fn threads(facts: &Facts) -> Extent {
    let silent = |server: &&ServerFacts| server.busiest_thread.is_none();
    match facts.servers.iter().find(silent) {
        None => Extent::On(format!(
            "the client's workers and the threads of {} servers",
            facts.servers.len()
        )),
        Some(server) => Extent::Missing(format!(
            "Server {} did not tell at both ends of the window how busy its threads were; look at its log.",
            server.address
        )),
    }
}

pub(super) fn clients_limit(facts: &Facts) -> Option<String> {
    let busiest = facts.servers.iter().map(|server| server.busiest_thread);
    let busiest = busiest
        .collect::<Option<Vec<f64>>>()?
        .into_iter()
        .fold(0.0, f64::max);
    let limit = facts.busiest_worker > WORKER_BUSY && busiest <= SERVER_BUSY;
    limit.then(|| {
        format!(
            "The servers should be the limit, but the client's busiest worker thread was busy {:.0} % of \
             the window and no server's thread more than {:.0} %, so the servers can do more than this \
             figure says; use more worker threads (--threads) or more clients.",
            100.0 * facts.busiest_worker,
            100.0 * busiest
        )
    })
}

/// The machines that are known.
pub(super) fn machines(facts: &Facts) -> Extent {
    let silent = |server: &&ServerFacts| server.on_client_machine.is_none();
    match facts.servers.iter().find(silent) {
        None => Extent::On(format!("the machines of {} servers", facts.servers.len())),
        Some(server) => Extent::Missing(format!(
            "Server {} did not tell which machine it runs on, so it may be the client's; look at its log.",
            server.address
        )),
    }
}

pub(super) fn shared_machine(facts: &Facts) -> Option<String> {
    let servers = facts
        .servers
        .iter()
        .filter(|server| server.on_client_machine == Some(true));
    let servers: Vec<&str> = servers.map(|server| server.address.as_str()).collect();
    (!servers.is_empty()).then(|| {
        format!(
            "Clients and servers should have machines of their own, but {} runs on the client's, so the \
             figure is of the pair that shares its cores; compare it with others of this machine only, or \
             use two machines.",
            servers.join(", ")
        )
    })
}

/// The window as the node's samples cover it.
pub(super) fn usage(node: &Node) -> Extent {
    match &node.usage {
        Some(usage) => Extent::On(format!("{:.0} s of {}", usage.secs, node.name)),
        None => Extent::Missing(format!(
            "What {} used is not known over the whole window: its samples (resources.csv, resources-*.csv) \
             are missing or do not reach over it; measure with run-cluster.sh, which brings them together.",
            node.name
        )),
    }
}

pub(super) fn crowded(node: &Node) -> Option<String> {
    let usage = node.usage.as_ref()?;
    let cores = usage.cores.max(1) as f64;
    let own_cores = usage.process_cpu_secs / usage.secs;
    let others_cores = usage.user_cores + usage.system_cores - own_cores;
    let idle = 1.0 - usage.busy_cores() / cores;
    let crowded = others_cores / cores > OTHERS_MAX && idle < IDLE_MIN;
    (crowded && !node.shared).then(|| {
        format!(
            "A machine's cores should be the run's, but on {} other programs used {others_cores:.1} of {cores} \
             and hardly any was idle, so the figure is of what they left; stop them, or use another machine.",
            node.name,
        )
    })
}

pub(super) fn steal(node: &Node) -> Option<String> {
    let usage = node.usage.as_ref()?;
    let stolen = usage.steal_cores / usage.cores.max(1) as f64;
    (stolen > STEAL_MAX).then(|| {
        format!(
            "A machine's cores should be its own, but of {} the hypervisor gave {:.1} % of the CPU time to \
             others; repeat the run, or use a machine that is not shared.",
            node.name,
            100.0 * stolen
        )
    })
}

pub(super) fn retransmissions(node: &Node) -> Option<String> {
    let Usage {
        retransmissions,
        segments_sent,
        ..
    } = node.usage?;
    let part = retransmissions / segments_sent.max(1.0);
    (retransmissions >= RETRANSMISSIONS_MIN && part > RETRANSMISSIONS_MAX).then(|| {
        format!(
            "The network should lose nothing, but {} sent {} of {} TCP segments again of which no receiver said that \
             it had them already; look at cables, switches and other traffic.",
            node.name,
            grouped(retransmissions as u64),
            grouped(segments_sent as u64)
        )
    })
}

pub(super) fn link_full(node: &Node) -> Option<String> {
    let link_use = node.usage?.link_use;
    (link_use > LINK_USE_MAX).then(|| {
        format!(
            "The store should be the limit, but the busiest link of {} moved {:.0} % of its speed in one \
             direction, so the figure is the link's; use shorter values or a faster link.",
            node.name,
            100.0 * link_use
        )
    })
}

/// The servers' shares.
pub(super) fn shares(facts: &RunFacts) -> Extent {
    match facts.shares.len() {
        1 => Extent::NotAsked("there is one server".into()),
        servers => Extent::On(format!("the shares of {servers} servers")),
    }
}

pub(super) fn holds_back(facts: &RunFacts) -> Option<String> {
    let servers = facts.shares.len() as f64;
    let hottest = facts.shares.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let (address, share) = hottest.filter(|(_, share)| share * servers > SHARE_MAX)?;
    Some(format!(
        "The servers should have equal shares, but {address} draws {:.1} % of all operations, {:.2} times \
         the mean, and holds the others back: {servers} servers can do {:.2} times what one can; such is \
         the skew of the keys (--theta), not a fault.",
        100.0 * share,
        share * servers,
        1.0 / share
    ))
}
