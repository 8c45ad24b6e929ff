//! `summary.json`: the same for a client and for a whole run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::nodes::NodeUsage;
use crate::clock::Offset;
use crate::history::check::Linearizability;
use crate::measured::counts::{Counts, Kinds, Offered};
use crate::measured::latency::{Latencies, LatencyMicros, LatencyPart};
use crate::observation::host::Host;
use crate::observation::snapshots::Told;
use crate::verdict::{Checked, Facts, Finding, Judgement, Verdict, verdict_of};

/// Version of the file; it changes when a key changes its meaning or goes away.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// What a run came to. Rates and counts are of the measured window unless they say otherwise; an
/// operation counts when its answer was decoded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// [`FORMAT_VERSION`].
    pub(crate) format_version: u32,
    /// The run's id, which all its clients and files have; made up anew for each run.
    #[serde(default)]
    pub(crate) run: String,
    pub(crate) verdict: Verdict,
    /// Sentences: what was expected, what was seen, what to do.
    pub(crate) reasons: Vec<String>,
    /// The reasons with the rules that gave them.
    pub(crate) findings: Vec<Finding>,
    /// Every rule: what came of it, on how much it looked.
    #[serde(default)]
    pub(crate) checked: Vec<Checked>,
    pub(crate) ops_per_sec: f64,
    pub(crate) reads_per_sec: f64,
    pub(crate) writes_per_sec: f64,
    /// Gets that found a value, of all gets; null without gets.
    pub(crate) hit_rate: Option<f64>,
    /// Values that were checked, from the first to the last request.
    pub(crate) verified: u64,
    /// Values that were wrong or stale, from the first to the last request.
    pub(crate) verify_failures: u64,
    /// Operations that were refused, from the first to the last request.
    pub(crate) errors: u64,
    /// Operations without answer, from the first to the last request.
    pub(crate) unknown_ops: u64,
    /// Length of the measured window.
    pub(crate) measured_secs: f64,
    /// When operations began, in words: a closed loop and its window, or an open one and its schedule.
    pub(crate) pacing: String,
    /// Per operation, from its generation to its answer's decoding, see [`LatencyPart::Total`]; null when
    /// nothing was measured. In an open loop this is the response time, from the intended start.
    pub(crate) latency_us: Option<LatencyMicros>,
    /// The parts of that; their means add up to its mean.
    pub(crate) latency_parts_us: Option<LatencyParts>,
    /// Operations generated and not yet answered, on average.
    pub(crate) in_progress_mean: f64,
    /// These over throughput times mean latency: 1 by Little's law, but for the window's ends. Null when
    /// nothing was measured.
    pub(crate) littles_law_ratio: Option<f64>,
    /// An open loop's arrivals; null for a closed loop.
    pub(crate) offered: Option<Offered>,
    pub(crate) per_server: Vec<ServerFigures>,
    /// Over all connections, framing included.
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// What of these bytes is neither key nor value; null when nothing was measured.
    pub(crate) framing_bytes: Option<Framing>,
    /// Answers that referred to a value in their frame; null without --dedup-answers.
    #[serde(default)]
    pub(crate) reference_answers: Option<u64>,
    /// What the recorded histories came to; null without --check-linearizability.
    #[serde(default)]
    pub(crate) linearizability: Option<Linearizability>,
    /// Where the load's skew limits the run; null with a single server.
    pub(crate) hottest_server: Option<Hottest>,
    pub(crate) counts: Counts,
    /// What each node used that could be looked at.
    pub(crate) nodes: Vec<NodeUsage>,
    /// The part of the window, 0 to 1, that the busiest worker thread was busy.
    pub(crate) busiest_worker: f64,
    /// The client's clock against that of client 0, whose times are in these files; the bound is the
    /// greatest of all clients.
    pub(crate) clock: Offset,
    /// What one client's run is judged by; null in a whole run's summary, which is judged by its clients'.
    #[serde(default)]
    pub(crate) facts: Option<Facts>,
    /// Clients that are in these figures.
    pub(crate) clients: u32,
    /// Name and value of all that defines the workload, and its fingerprint.
    pub(crate) workload: BTreeMap<String, String>,
    /// What the run was done with, by the names of its flags; the launcher's `command.txt` repeats it.
    pub(crate) flags: BTreeMap<String, String>,
    pub(crate) host: Host,
    /// The source's commit.
    pub(crate) commit: String,
}

/// See [`LatencyPart`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LatencyParts {
    pub(crate) fill: LatencyMicros,
    pub(crate) queue: LatencyMicros,
    pub(crate) service: LatencyMicros,
    /// The servers' share of the service time and the network's; absent without --server-time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<LatencyMicros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<LatencyMicros>,
}

/// Bytes on the wire beside keys and values. A read-modify-write asks twice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Framing {
    /// Sent, for each operation.
    pub(crate) per_operation: f64,
    /// Received, for each answer.
    pub(crate) per_answer: f64,
}

impl Framing {
    /// From all bytes of framing, sent and received, and what they framed.
    pub(crate) fn new(sent: u64, received: u64, counts: &Counts) -> Option<Self> {
        let asked = counts.asked();
        (asked > 0).then(|| Self {
            per_operation: sent as f64 / asked as f64,
            per_answer: received as f64 / asked as f64,
        })
    }
}

/// The server that most operations went to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hottest {
    /// Its index.
    pub(crate) server: usize,
    /// Of all operations, 0 to 1.
    pub(crate) share: f64,
    /// Throughput when this server is at its limit, over that of an evenly spread load: at most 1.
    pub(crate) ceiling: f64,
}

impl Hottest {
    /// Of the servers of a run; `None` when it had one, or no operations.
    pub(crate) fn of(parts: &[ServerFigures]) -> Option<Self> {
        let by_share = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1);
        let shares = parts.iter().map(|part| part.share).enumerate();
        let (server, share) = shares.max_by(by_share)?;
        (parts.len() > 1 && share > 0.0).then(|| Self {
            server,
            share,
            ceiling: 1.0 / (share * parts.len() as f64),
        })
    }
}

/// One server's part in the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerFigures {
    pub(crate) address: String,
    pub(crate) ops_per_sec: f64,
    /// Median over the window's seconds.
    pub(crate) median_ops_per_sec: f64,
    /// Of all operations, 0 to 1.
    pub(crate) share: f64,
    /// What the chooser's probabilities and the partitions' owners make of it; null with a
    /// single server, and where it changes during the run.
    #[serde(default)]
    pub(crate) expected_share: Option<f64>,
    /// What the server answered, from the first to the last request.
    pub(crate) answered: Kinds,
    /// What it was sent and did not answer, from the first to the last request.
    pub(crate) unknown: Kinds,
    /// What the server told of itself; null when it does not answer such questions.
    pub(crate) told: Option<Told>,
}

impl Summary {
    /// Names run and client, or `all`, in every file.
    pub(crate) fn stamp(&self) -> String {
        let client = self
            .flags
            .get("client")
            .and_then(|client| client.split('/').next());
        let client = client.filter(|_| self.facts.is_some()).unwrap_or("all");
        format!("{}.{client}", self.run)
    }

    /// Takes what was found and on how much: verdict, reasons, rules.
    pub(crate) fn judge(&mut self, judgement: Judgement) {
        let Judgement {
            mut findings,
            mut checked,
        } = judgement;
        checked.sort_by_key(|checked| checked.rule);
        self.checked = checked;
        findings.sort_by_key(|finding| finding.rule);
        self.verdict = verdict_of(&findings);
        self.reasons = findings
            .iter()
            .map(|finding| finding.reason.clone())
            .collect();
        self.findings = findings;
    }

    /// Takes the window's latencies; throughput and operations in progress must be there.
    pub(crate) fn take_latencies(&mut self, latencies: &Latencies) {
        self.latency_us = latencies.micros(LatencyPart::Total);
        let parts = [LatencyPart::Fill, LatencyPart::Queue, LatencyPart::Service];
        let parts = parts.map(|part| latencies.micros(part));
        self.latency_parts_us = match parts {
            [Some(fill), Some(queue), Some(service)] => Some(LatencyParts {
                fill,
                queue,
                service,
                server: latencies.micros(LatencyPart::Server),
                network: latencies.micros(LatencyPart::Network),
            }),
            _ => None,
        };
        self.littles_law_ratio = self.latency_us.map(|latency| {
            // An open loop's latencies are of what arrived in the window, whenever it was answered.
            let operations = latencies.of(LatencyPart::Total).len() as f64;
            let expected = operations / self.measured_secs.max(1.0) * latency.mean / 1e6;
            // As many digits as such a figure is worth.
            (self.in_progress_mean / expected * 1e4).round() / 1e4
        });
    }

    pub(crate) fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("maps with text keys and plain values have no encoding that fails") + "\n"
    }

    /// Reads [`to_json`](Self::to_json)'s text.
    ///
    /// # Errors
    /// When the text is no summary of this version.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        let summary: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if summary.format_version != FORMAT_VERSION {
            let version = summary.format_version;
            return Err(format!(
                "its format_version is {version} instead of {FORMAT_VERSION}"
            ));
        }
        Ok(summary)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::Results;
    use super::super::latency_log::LatencyLog;
    use super::super::nodes::tests::samples;
    use super::super::series::{Row, Series};
    use super::*;
    use crate::measured::counts::{Account, Kinds};
    use crate::measured::statistics::median;
    use crate::verdict::tests::good;
    use std::time::Duration;

    /// A valid client's results: `secs` seconds with 950 reads and 50 writes each, over `servers`
    /// servers with all operations on the first.
    pub(crate) fn example(servers: usize, secs: u64) -> Results {
        let row = |second: u64| Row {
            unix_time: 1_790_000_000.0 + second as f64,
            reads: 950,
            writes: 50,
            misses: 0,
            errors: 0,
            server_ops: (0..servers)
                .map(|k| if k == 0 { 1000 } else { 0 })
                .collect(),
        };
        let series = Series {
            servers,
            rows: (1..=secs).map(row).collect(),
        };
        let mut interval = Latencies::new();
        for (part, micros) in [
            (LatencyPart::Total, 250),
            (LatencyPart::Fill, 20),
            (LatencyPart::Queue, 30),
            (LatencyPart::Service, 200),
        ] {
            interval.record(part, Duration::from_micros(micros), 1000);
        }
        let latency = LatencyLog {
            start_unix_time: 1_790_000_000.0,
            intervals: vec![interval.pack(); secs as usize],
        };
        let kinds = Kinds {
            gets: 950 * secs,
            hits: 950 * secs,
            puts: 50 * secs,
            ..Kinds::default()
        };
        let part = |k: usize| ServerFigures {
            address: format!("10.10.1.{}:8080", k + 1),
            ops_per_sec: if k == 0 { 1000.0 } else { 0.0 },
            median_ops_per_sec: median(series.rows.iter().map(|row| row.server_ops[k])),
            share: if k == 0 { 1.0 } else { 0.0 },
            expected_share: Some(1.0 / servers as f64),
            answered: if k == 0 { kinds } else { Kinds::default() },
            unknown: Kinds::default(),
            told: None,
        };
        let mut summary = Summary {
            format_version: FORMAT_VERSION,
            run: "5e".into(),
            verdict: Verdict::Valid,
            reasons: Vec::new(),
            findings: Vec::new(),
            checked: Vec::new(),
            ops_per_sec: 1000.0,
            reads_per_sec: 950.0,
            writes_per_sec: 50.0,
            hit_rate: Some(1.0),
            verified: 950 * secs,
            verify_failures: 0,
            errors: 0,
            unknown_ops: 0,
            measured_secs: secs as f64,
            pacing: "closed loop, window 1".into(),
            latency_us: None,
            latency_parts_us: None,
            in_progress_mean: 0.25,
            littles_law_ratio: None,
            offered: Some(Offered {
                intended: 1010 * secs,
                arrived: 1000 * secs,
                late: 0,
                unanswered: 0,
                dropped: 0,
                blocked_micros: 2000 * secs,
                tardy_micros: 1000 * secs,
            }),
            per_server: (0..servers).map(part).collect(),
            bytes_sent: 1,
            bytes_received: 2,
            framing_bytes: Some(Framing {
                per_operation: 2.5,
                per_answer: 2.25,
            }),
            reference_answers: Some(380 * secs),
            linearizability: None,
            hottest_server: None,
            counts: Counts {
                reads: 950 * secs,
                updates: 50 * secs,
                hits: 950 * secs,
                ..Counts::default()
            },
            nodes: Vec::new(),
            busiest_worker: 0.5,
            clock: Offset::default(),
            facts: Some(good()),
            clients: 1,
            workload: BTreeMap::from([("fingerprint".into(), "00".into())]),
            flags: BTreeMap::from([("client".into(), "0/1".into()), ("seed".into(), "1".into())]),
            host: Host::default(),
            commit: "unknown".into(),
        };
        let facts = summary.facts.as_mut().unwrap();
        facts.counts = summary.counts;
        facts.checks.verified = summary.verified;
        facts.offered = summary.offered;
        for part in &summary.per_server {
            facts.accounts.push(Account {
                name: part.address.clone(),
                answered: part.answered,
                unknown: Kinds::default(),
                served: Some(part.answered),
            });
        }
        facts.accounts.remove(0);
        summary.take_latencies(&latency.total());
        Results {
            summary,
            series,
            latency,
            resources: Some(samples(1_790_000_000.0, secs)),
            history: None,
            nodes: Vec::new(),
            stamps: Vec::new(),
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut summary = example(1, 1).summary;
        summary.format_version = 3;
        let reason = Summary::from_json(&summary.to_json()).unwrap_err();
        assert_eq!(reason, "its format_version is 3 instead of 2");
    }

    #[test]
    fn the_hottest_server_sets_the_ceiling() {
        let mut parts = example(4, 1).summary.per_server;
        for (part, share) in parts.iter_mut().zip([0.2, 0.25, 0.3125, 0.2375]) {
            part.share = share;
        }
        let expected = Hottest {
            server: 2,
            share: 0.3125,
            ceiling: 0.8,
        };
        assert_eq!(Hottest::of(&parts), Some(expected));
        assert_eq!(Hottest::of(&parts[..1]), None);
    }

    #[test]
    fn verdicts_are_written_in_capitals() {
        assert!(
            example(1, 1)
                .summary
                .to_json()
                .contains("\"verdict\": \"VALID\"")
        );
    }
}
