//! `nodes.csv`: what each node used in each second of the measured window, all on the clock of client 0.
//!
//! ```text
//! second,unix_time,node,role,cores,user_cores,...,run
//! ```
//!
//! `second` and `unix_time` are those of `throughput.csv`. Cores are busy ones on average over the second,
//! of `cores`; bytes, packets, segments sent again and context switches are counts of the second.

use batchkv_telemetry::{Series, Usage, table};
use serde::{Deserialize, Serialize};

const COLUMNS: [&str; 20] = [
    "second",
    "unix_time",
    "node",
    "role",
    "cores",
    "user_cores",
    "system_cores",
    "softirq_cores",
    "steal_cores",
    "busiest_core",
    "memory_used_bytes",
    "process_memory_bytes",
    "received_bytes",
    "sent_bytes",
    "received_packets",
    "sent_packets",
    "retransmissions",
    "context_switches",
    "link_use",
    "run",
];

/// What a node does in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Client,
    Server,
}

/// A node's samples, by the clock of client 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeSeries {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) samples: Series,
}

/// What a node used over the whole window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeUsage {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// CPU time of the program for each operation that it answered or got answered.
    pub(crate) cpu_ns_per_op: f64,
    /// Bytes of all interfaces, both ways, for each such operation.
    pub(crate) bytes_per_op: f64,
    pub(crate) usage: Usage,
}

impl NodeSeries {
    /// What the node used in `secs` seconds from `start`, for `ops` operations; `None` when the samples do
    /// not reach over them.
    pub(crate) fn part(&self, start_unix_time: f64, secs: u64, ops: u64) -> Option<NodeUsage> {
        let usage = self
            .samples
            .usage(start_unix_time, start_unix_time + secs as f64)?;
        let each = |sum: f64| sum / (ops as f64).max(1.0);
        (secs > 0).then(|| NodeUsage {
            name: self.name.clone(),
            role: self.role,
            cpu_ns_per_op: each(usage.process_cpu_secs * 1e9),
            bytes_per_op: each(usage.received_bytes + usage.sent_bytes),
            usage,
        })
    }
}

/// The table of all nodes; seconds that a node's samples do not reach are left out.
pub(crate) fn to_csv(nodes: &[NodeSeries], start_unix_time: f64, secs: u64, stamp: &str) -> String {
    let mut text = table::line(COLUMNS);
    for node in nodes {
        for second in 1..=secs {
            let end = start_unix_time + second as f64;
            if let Some(usage) = node.samples.usage(end - 1.0, end) {
                text += &table::line(fields((second, end), node, &usage, stamp));
            }
        }
    }
    text
}

fn fields(
    (second, end): (u64, f64),
    node: &NodeSeries,
    usage: &Usage,
    stamp: &str,
) -> impl Iterator<Item = String> {
    let role = match node.role {
        Role::Client => "client",
        Role::Server => "server",
    };
    let cores = [
        usage.user_cores,
        usage.system_cores,
        usage.softirq_cores,
        usage.steal_cores,
        usage.busiest_core,
    ];
    let counts = [
        usage.memory_used_bytes,
        usage.process_memory_bytes,
        usage.received_bytes,
        usage.sent_bytes,
        usage.received_packets,
        usage.sent_packets,
        usage.retransmissions,
        usage.context_switches,
    ];
    let front = [second.to_string(), format!("{end:.3}"), node.name.clone()];
    let back = [format!("{:.3}", usage.link_use), stamp.to_owned()];
    front
        .into_iter()
        .chain([role.to_owned(), usage.cores.to_string()])
        .chain(cores.map(|cores| format!("{cores:.3}")))
        .chain(counts.map(|count| format!("{count:.0}")))
        .chain(back)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write;

    use super::*;

    /// A node of two cores, one of them busy in user mode, with samples every second from 0 to `secs`
    /// behind `start`; it moves 1,000 bytes each way a second.
    pub(crate) fn samples(start: f64, secs: u64) -> Series {
        let mut text = String::from(
            "unix_time,user_secs,system_secs,softirq_secs,steal_secs,memory_used_bytes,\
             process_memory_bytes,process_cpu_secs,received_bytes,sent_bytes,received_packets,\
             sent_packets,segments_sent,retransmissions,context_switches,link_busy_secs,\
             core_0_user_secs,core_0_system_secs,core_0_softirq_secs,core_0_steal_secs,\
             core_1_user_secs,core_1_system_secs,core_1_softirq_secs,core_1_steal_secs\n",
        );
        for t in 0..=secs {
            let (time, bytes) = (start + t as f64, 1000 * t);
            let _ = writeln!(
                text,
                "{time},{t},0,0,0,5e9,1e6,{t},{bytes},{bytes},{t},{t},{bytes},0,7,0,{t},0,0,0,0,0,0,0"
            );
        }
        Series::from_csv(&text).unwrap()
    }

    #[test]
    fn seconds_between_samples_are_on_the_windows_axis() {
        let node = NodeSeries {
            name: "node3".into(),
            role: Role::Server,
            samples: samples(99.5, 4),
        };
        let csv = to_csv(std::slice::from_ref(&node), 100.0, 5, "5e.all");
        let rows: Vec<&str> = csv.lines().skip(1).collect();
        // The samples end within the fourth second.
        assert_eq!(rows.len(), 3, "{csv}");
        assert_eq!(
            rows[0],
            "1,101.000,node3,server,2,1.000,0.000,0.000,0.000,1.000,5000000000,1000000,1000,1000,1,1,0,0,0.000,5e.all"
        );
        assert_eq!(csv.lines().next().unwrap().split(',').count(), 20);
        let part = node.part(100.0, 3, 300).unwrap();
        assert_eq!((part.cpu_ns_per_op, part.bytes_per_op), (1e7, 20.0));
        assert!(node.part(100.0, 4, 300).is_none() && node.part(99.5, 0, 0).is_none());
    }
}
