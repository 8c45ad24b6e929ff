//! A status for programs.

use batchkv_protocol::ClusterStatus;
use batchkv_protocol::operator::{GroupStatus, MemberRole, PartitionStatus, ServerStatus};
use serde_json::{Value, json};

use crate::screen::{cluster_id, state};

/// The status as JSON, indented. Node ids stay numbers; a number that nobody knows is null.
pub(crate) fn status(status: &ClusterStatus) -> String {
    let servers: Vec<_> = status.servers.iter().map(server).collect();
    let partitions = (0_u32..).zip(&status.partitions);
    let partitions: Vec<_> = partitions.map(partition).collect();
    let whole = json!({
        "cluster": cluster_id(status.cluster),
        "replicas": status.replicas,
        "missing_replicas": status.missing,
        "directory": group(&status.directory),
        "servers": servers,
        "partitions": partitions,
    });
    format!("{whole:#}")
}

fn server(server: &ServerStatus) -> Value {
    json!({
        "id": server.id,
        "index": server.index,
        "address": server.address,
        "peer_address": server.peer_address,
        "machine": format!("{:016x}", server.machine),
        "state": state(server.state),
        "heard_millis": server.heard_millis,
        "ops_per_sec": server.ops_per_sec,
        "records": server.records,
        "bytes": server.bytes,
        "leads": server.leads,
        "holds": server.holds,
    })
}

fn partition((number, partition): (u32, &PartitionStatus)) -> Value {
    let mut value = group(&partition.group);
    value["number"] = number.into();
    value["incarnation"] = partition.incarnation.into();
    value
}

fn group(group: &GroupStatus) -> Value {
    let members = group.members.iter();
    let members: Vec<_> = members
        .map(|member| {
            json!({
                "id": member.id,
                "voter": member.role == MemberRole::Voter,
                "behind_entries": member.behind,
            })
        })
        .collect();
    json!({ "leader": group.leader, "term": group.term, "members": members })
}
