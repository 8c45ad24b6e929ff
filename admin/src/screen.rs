//! A status for people.

use batchkv_protocol::ClusterStatus;
use batchkv_protocol::operator::{
    GroupStatus, MemberRole, MemberStatus, PartitionStatus, ServerState, ServerStatus,
};

/// From which silence on a server's is told.
const SILENCE_MILLIS: u64 = 1000;

/// The status as lines.
pub(crate) fn status(status: &ClusterStatus) -> String {
    let servers = status.servers.iter().map(server);
    let partitions = (0..).zip(&status.partitions).map(partition);
    let directory = &status.directory;
    let (leader, members) = (leader(directory), members(directory));
    [
        format!(
            "cluster {}: {} of each of {}, {}",
            cluster_id(status.cluster),
            counted(status.replicas.into(), "replica"),
            counted(status.partitions.len() as u64, "partition"),
            missing(status),
        ),
        format!(
            "directory: leader {leader}, term {}, members {members}",
            directory.term
        ),
        table(SERVER_HEAD, servers.collect()),
        table(PARTITION_HEAD, partitions.collect()),
    ]
    .join("\n\n")
}

const SERVER_HEAD: [&str; 9] = [
    "server", "address", "state", "heard", "ops/s", "records", "MiB", "leads", "holds",
];
const PARTITION_HEAD: [&str; 4] = ["partition", "leader", "term", "members (entries behind)"];

/// The cluster's id in the one form in which it is shown.
pub(crate) fn cluster_id(id: u128) -> String {
    format!("{id:032x}")
}

/// A server's state in a word.
pub(crate) fn state(state: ServerState) -> &'static str {
    match state {
        ServerState::Joining => "joining",
        ServerState::Up => "up",
        ServerState::Draining => "draining",
        ServerState::Gone => "gone",
    }
}

fn missing(status: &ClusterStatus) -> String {
    let leaderless = status.partitions.iter();
    let leaderless = leaderless.filter(|partition| partition.group.leader.is_none());
    let mut faults = Vec::new();
    if status.missing > 0 {
        faults.push(format!(
            "{} missing",
            counted(status.missing.into(), "replica")
        ));
    }
    match leaderless.count() {
        0 => {}
        count => faults.push(format!(
            "{} without a leader",
            counted(count as u64, "partition")
        )),
    }
    match faults.is_empty() {
        true => "nothing is missing".into(),
        false => faults.join(", "),
    }
}

fn server(server: &ServerStatus) -> [String; 9] {
    let heard = match server.heard_millis {
        None => "never".into(),
        Some(millis) if millis < SILENCE_MILLIS => "now".into(),
        Some(millis) => format!("{:.1} s ago", millis as f64 / 1000.0),
    };
    [
        server.id.to_string(),
        server.address.clone(),
        state(server.state).into(),
        heard,
        server.ops_per_sec.to_string(),
        server.records.to_string(),
        format!("{:.1}", server.bytes as f64 / f64::from(1 << 20)),
        server.leads.to_string(),
        server.holds.to_string(),
    ]
}

fn partition((number, partition): (u32, &PartitionStatus)) -> [String; 4] {
    let group = &partition.group;
    [
        number.to_string(),
        leader(group),
        group.term.to_string(),
        members(group),
    ]
}

fn leader(group: &GroupStatus) -> String {
    group.leader.map_or("none".into(), |id| id.to_string())
}

fn members(group: &GroupStatus) -> String {
    match group.members.is_empty() {
        true => "not known".into(),
        false => group
            .members
            .iter()
            .map(member)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn member(member: &MemberStatus) -> String {
    let role = match member.role {
        MemberRole::Voter => "",
        MemberRole::Learner => " learner",
    };
    let behind = match member.behind {
        None | Some(0) => String::new(),
        Some(entries) => format!(" ({entries})"),
    };
    format!("{}{role}{behind}", member.id)
}

fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Rows under a head, in columns as wide as their widest cell; numbers stand right.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let head = head.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let is_number = |column: usize| {
        let cells = rows.iter().skip(1).map(|row| row[column].as_str());
        cells.map(str::parse::<f64>).all(|cell| cell.is_ok())
    };
    let columns: Vec<_> = (0..N)
        .map(|column| (width(column), is_number(column)))
        .collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&columns);
        let cells = cells.map(|(cell, &(width, is_number))| match is_number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
