use std::fs;
use std::path::PathBuf;

use super::*;
use crate::clock::Offset;
use crate::measured::latency::Latencies;
use crate::measured::latency::LatencyPart;
use crate::observation::snapshots::Told;
use crate::results::files::{LATENCY_FILE, RESOURCES_FILE, SERIES_FILE, SUMMARY_FILE};
use crate::results::gather::number_in;
use crate::results::nodes::tests::samples;
use crate::results::summary::tests::example;
use crate::verdict::Verdict;
use std::time::Duration;

/// What the runs here are in any case: three seconds, with all operations on one of two servers.
const ALWAYS: [Rule; 2] = [Rule::TooShort, Rule::HoldsBack];

/// A run's directory of its own, removed at the end.
struct Run(PathBuf);

impl Run {
    /// Two clients and two servers of 3 seconds, all in order.
    fn new(test: &str) -> Self {
        let run =
            Self(std::env::temp_dir().join(format!("batchkv-merge-{}-{test}", std::process::id())));
        fs::create_dir_all(&run.0).unwrap();
        for client in 0..2 {
            let mut results = example(2, 3);
            let place = format!("{client}/2");
            results.summary.flags.insert("client".into(), place);
            let fingerprint = format!("f{client}");
            results
                .summary
                .workload
                .insert("fingerprint".into(), fingerprint);
            run.write_client(client, &results);
        }
        run.write_server(0, "2,5700,5700,300,0,0\n");
        run.write_server(1, "2,0,0,0,0,0\n");
        for server in 0..2 {
            run.write_samples(server, 0.0);
        }
        run
    }

    fn write_client(&self, client: usize, results: &Results) {
        results.write(&self.client(client)).unwrap();
    }

    fn client(&self, client: usize) -> PathBuf {
        self.0.join(format!("client-node{}", client + 2))
    }

    /// A server's statistics: its last row, without the client that came last.
    fn write_server(&self, server: usize, row: &str) {
        self.write_server_of("5e", server, row);
    }

    fn write_server_of(&self, run: &str, server: usize, row: &str) {
        let row = row.replace('\n', &format!(",{run:0>16}{:016x}\n", 1));
        let csv =
            format!("unix_time,gets,hits,puts,deletes,refused,newest_client\n1,0,0,0,0,0,0\n{row}");
        fs::write(self.0.join(format!("server-node{server}.csv")), csv).unwrap();
    }

    /// Samples of a server whose clock is so far ahead.
    fn write_samples(&self, server: usize, ahead_secs: f64) {
        let samples = samples(1_790_000_000.0 + ahead_secs, 5);
        let file = self.0.join(format!("resources-node{server}.csv"));
        fs::write(file, samples.to_csv()).unwrap();
    }

    fn merge(&self) -> Results {
        merge(&self.0).unwrap()
    }

    /// Merges to INVALID with a grave reason that names all `words`.
    fn expect_invalid(&self, words: &[&str]) -> Results {
        let merged = self.merge();
        let findings = &merged.summary.findings;
        assert_eq!(merged.summary.verdict, Verdict::Invalid);
        let grave = |finding: &&Finding| finding.rule.verdict() == Verdict::Invalid;
        let names_all = |finding: &Finding| words.iter().all(|word| finding.reason.contains(word));
        let named = findings.iter().filter(grave).any(names_all);
        assert!(named, "{words:?}: {findings:?}");
        merged
    }

    fn cut(&self, client: usize, file: &str) {
        let path = self.client(client).join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    }
}

fn fail(results: &mut Results, reason: &str) {
    let facts = results.summary.facts.as_mut().unwrap();
    facts.failures.push(reason.into());
}

/// Client 1's results, changed, in a run of two.
fn changed(test: &str, change: impl FnOnce(&mut Results)) -> Run {
    let run = Run::new(test);
    let mut results = example(2, 3);
    results.summary.flags.insert("client".into(), "1/2".into());
    change(&mut results);
    run.write_client(1, &results);
    run
}

#[test]
fn what_was_changed_or_mixed_is_named() {
    type Change = fn(&mut Results);
    let changes: [(&str, Change, &str); 9] = [
        ("rows-doubled", |r| r.series.rows[1].reads *= 2, "reads"),
        ("counts-doubled", |r| r.summary.counts.reads *= 2, "reads"),
        ("verified", |r| r.summary.verified += 1, "verified"),
        ("rate", |r| r.summary.ops_per_sec *= 2.0, "ops_per_sec"),
        (
            "cut-log",
            |r| drop(r.latency.intervals.pop()),
            "latency.hlog 2",
        ),
        (
            "servers",
            |r| r.series.rows[0].server_ops[0] += 1,
            "of second 1",
        ),
        (
            "verdict",
            |r| r.summary.verdict = Verdict::Qualified,
            "its verdict QUALIFIED",
        ),
        (
            "findings",
            |r| r.summary.facts.as_mut().unwrap().verify = false,
            "not-verified",
        ),
        ("open", |r| r.summary.offered = None, "offered"),
    ];
    for (name, change, words) in changes {
        let run = changed(name, change);
        let merged = run.merge().summary;
        let said = merged
            .findings
            .iter()
            .filter(|f| f.rule == Rule::FilesDoNotFit);
        let said: Vec<&str> = said.map(|f| f.reason.as_str()).collect();
        assert!(
            said.iter().any(|reason| reason.contains(words)),
            "{name}: {merged:?}"
        );
    }
}

#[test]
fn files_of_another_run_or_client_are_named() {
    for file in [SERIES_FILE, LATENCY_FILE, RESOURCES_FILE] {
        // Another run's, and another client's of the same run.
        let other = Run::new(&format!("other-{file}"));
        let mut results = example(2, 3);
        results.summary.run = "77".into();
        other.write_client(0, &results);
        for (from, words) in [(other.client(0), "77.0"), (other.client(1), "5e.1")] {
            let run = Run::new(&format!("mixed-{file}"));
            fs::copy(from.join(file), run.client(0).join(file)).unwrap();
            run.expect_invalid(&[file, words, "client-node2"]);
        }
    }
}

#[test]
fn clients_of_other_flags_or_commits_are_named() {
    for (name, value) in [("tasks", "7"), ("rate", "5"), ("verify", "true")] {
        let run = changed(name, |r| {
            drop(r.summary.flags.insert(name.into(), value.into()))
        });
        run.expect_invalid(&[
            "client-node2 and client-node3 differ",
            &format!("{name}: nothing and {value}"),
        ]);
    }
    let run = changed("commit", |r| r.summary.commit = "dirty".into());
    run.expect_invalid(&["commit: unknown and dirty"]);
    let run = changed("run", |r| r.summary.run = "77".into());
    run.expect_invalid(&["run: 5e and 77"]);
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn two_clients_add_up() {
    let run = Run::new("sum");
    let merged = run.merge();
    let summary = &merged.summary;
    let rules: Vec<Rule> = summary
        .findings
        .iter()
        .map(|finding| finding.rule)
        .collect();
    assert_eq!(rules, ALWAYS, "{:?}", summary.reasons);
    assert_eq!((summary.clients, summary.ops_per_sec), (2, 2000.0));
    assert_eq!(summary.counts.ops(), 6000);
    assert_eq!(summary.hit_rate, Some(1.0));
    assert_eq!(summary.workload["fingerprint"], "f0 f1");
    assert_eq!(summary.per_server[0].median_ops_per_sec, 2000.0);
    assert_eq!(summary.per_server[1].expected_share, Some(0.5));
    assert_eq!(merged.series.rows[2].ops(), 2000);
    let latencies = merged.latency.total();
    assert_eq!(
        LatencyPart::ALL.map(|part| latencies.of(part).len()),
        [6000, 6000, 6000, 6000, 0, 0]
    );
    assert_eq!(summary.in_progress_mean, 0.5);
    let offered = summary.offered.unwrap();
    assert_eq!((offered.intended, offered.arrived), (6060, 6000));
    let ratio = summary.littles_law_ratio.unwrap();
    assert!((ratio - 1.0).abs() < 0.01, "{ratio}");
}

#[test]
fn percentiles_are_those_of_all_operations() {
    let run = Run::new("percentiles");
    let mut slow = example(2, 3);
    slow.summary.flags.insert("client".into(), "1/2".into());
    for interval in &mut slow.latency.intervals {
        let mut second = Latencies::new();
        second.record(LatencyPart::Total, Duration::from_millis(50), 1000);
        *interval = second.pack();
    }
    run.write_client(1, &slow);
    let latency = run.merge().summary.latency_us.unwrap();
    // Half of all took 250 us, half 50 ms; averages would put every percentile in between.
    assert!((latency.p50 - 250.0).abs() < 1.0, "{latency:?}");
    assert!((latency.p95 - 50_000.0).abs() < 100.0, "{latency:?}");
}

#[test]
fn a_merged_run_is_read_like_a_clients() {
    let run = Run::new("round");
    run.merge().write(&run.0).unwrap();
    assert_eq!(Results::read(&run.0).unwrap().series.secs(), 3);
}

#[test]
fn a_missing_client_is_invalid_and_named() {
    let run = Run::new("missing");
    fs::remove_dir_all(run.client(1)).unwrap();
    run.write_server(0, "2,2850,2850,150,0,0\n");
    run.expect_invalid(&["2 clients", "missing: client 1"]);
}

#[test]
fn every_cut_off_file_is_invalid_and_named() {
    for file in [SUMMARY_FILE, SERIES_FILE, LATENCY_FILE] {
        let run = Run::new(file);
        run.cut(1, file);
        let merged = run.merge();
        assert_eq!(merged.summary.verdict, Verdict::Invalid);
        assert!(merged.summary.reasons[0].contains(file), "{file}");
        assert_eq!(merged.summary.ops_per_sec, 1000.0);
    }
}

#[test]
fn without_any_client_there_is_an_error() {
    let run = Run::new("none");
    for client in 0..2 {
        fs::remove_dir_all(run.client(client)).unwrap();
    }
    let error = merge(&run.0).unwrap_err();
    assert!(error.to_string().contains("no client's results"));
    assert!(matches!(
        merge(Path::new("/nonexistent/batchkv")),
        Err(MergeError::Directory(..))
    ));
}

#[test]
fn servers_totals_are_compared() {
    let run = Run::new("totals");
    run.write_server(0, "2,5700,5700,299,0,0\n");
    run.expect_invalid(&["10.10.1.1:8080 (server-node0.csv)", "300 puts"]);
}

#[test]
fn a_server_of_another_run_is_named() {
    let run = Run::new("foreign-server");
    run.write_server_of("77", 1, "2,0,0,0,0,0\n");
    run.expect_invalid(&["server-node1.csv", "of run 0000000000000077", "of 5e"]);
}

#[test]
fn the_last_row_of_a_server_that_died_may_be_old() {
    let run = Run::new("died");
    run.write_server(0, "2,5600,5600,290,0,0\n");
    let mut cut_off = example(2, 3);
    fail(&mut cut_off, "Server 0 was lost.");
    cut_off.summary.per_server[0].unknown.gets = 8192;
    let place = "1/2".into();
    cut_off.summary.flags.insert("client".into(), place);
    run.write_client(1, &cut_off);
    run.expect_invalid(&["client-node3: Server 0 was lost."]);
}

#[test]
fn a_missing_or_cut_off_server_is_invalid() {
    let run = Run::new("server");
    run.write_server(0, "2,5700,57");
    run.expect_invalid(&["server-node0.csv", "cut off"]);
    fs::remove_file(run.0.join("server-node0.csv")).unwrap();
    run.expect_invalid(&["2 servers", "statistics of 1"]);
}

#[test]
fn a_shorter_client_is_invalid_and_cuts_the_window() {
    let run = Run::new("short");
    let mut short = example(2, 3);
    short.summary.flags.insert("client".into(), "1/2".into());
    short.series.rows.pop();
    short.latency.intervals.pop();
    run.write_client(1, &short);
    let merged = run.expect_invalid(&["client-node3 has 2 of 3"]);
    assert_eq!(merged.summary.measured_secs, 2.0);
}

#[test]
fn clients_of_other_workloads_do_not_fit() {
    let run = Run::new("workload");
    let mut other = example(2, 3);
    other.summary.flags.insert("client".into(), "1/2".into());
    other.summary.workload.insert("theta".into(), "0.5".into());
    run.write_client(1, &other);
    run.expect_invalid(&["client-node2 and client-node3 differ"]);
}

#[test]
fn the_worst_client_decides_and_is_named() {
    let run = Run::new("worst");
    let mut bad = example(2, 3);
    bad.summary.flags.insert("client".into(), "1/2".into());
    fail(&mut bad, "Broken.");
    run.write_client(1, &bad);
    let merged = run.expect_invalid(&["client-node3: Broken."]);
    assert_eq!(merged.summary.counts.ops(), 6000);
}

#[test]
fn what_all_say_is_said_once() {
    let run = Run::new("same");
    for client in 0..2 {
        let mut results = example(2, 3);
        let place = format!("{client}/2");
        results.summary.flags.insert("client".into(), place);
        results.summary.facts.as_mut().unwrap().verify = false;
        let flags = &mut results.summary.flags;
        flags.insert("verify".into(), "false".into());
        // What a file says of itself is nothing.
        results.summary.findings.clear();
        results.summary.verdict = Verdict::Valid;
        run.write_client(client, &results);
    }
    let summary = run.merge().summary;
    // What the files say of themselves does not fit that.
    assert_eq!(summary.verdict, Verdict::Invalid);
    let rules: Vec<Rule> = summary
        .findings
        .iter()
        .map(|finding| finding.rule)
        .collect();
    let expected = [Rule::FilesDoNotFit, Rule::FilesDoNotFit, Rule::NotVerified];
    assert_eq!(rules[..3], expected);
}

#[test]
fn nodes_are_ordered_by_number() {
    let mut names = ["server-node10.csv", "server-node9.csv"];
    names.sort_by_key(|name| number_in(name));
    assert_eq!(names, ["server-node9.csv", "server-node10.csv"]);
}

#[test]
fn an_early_end_by_hand_may_leave_one_more_second() {
    let run = Run::new("hand");
    for client in 0..2 {
        let mut results = example(2, 3);
        let place = format!("{client}/2");
        results.summary.flags.insert("client".into(), place);
        results.summary.facts.as_mut().unwrap().interrupted = true;
        if client == 1 {
            results.series.rows.pop();
            results.latency.intervals.pop();
        }
        run.write_client(client, &results);
    }
    let summary = run.merge().summary;
    assert!(
        !summary
            .reasons
            .join(" ")
            .contains("must measure the same seconds")
    );
    assert_eq!(summary.measured_secs, 2.0);
}

#[test]
fn windows_that_lie_apart_are_invalid() {
    let run = Run::new("apart");
    let mut late = example(2, 3);
    late.summary.flags.insert("client".into(), "1/2".into());
    late.latency.start_unix_time += 0.25;
    run.write_client(1, &late);
    run.expect_invalid(&["client-node2 and client-node3", "0.250 s"]);
    late.summary.clock.bound_secs = 0.25;
    run.write_client(1, &late);
    assert_eq!(run.merge().summary.verdict, Verdict::Qualified);
}

#[test]
fn all_nodes_are_on_the_clock_of_client_0() {
    let run = Run::new("nodes");
    let ahead_secs = 3_600.0;
    for server in 0..2 {
        run.write_samples(server, ahead_secs);
    }
    for client in 0..2 {
        let mut results = example(2, 3);
        let place = format!("{client}/2");
        results.summary.flags.insert("client".into(), place);
        for part in &mut results.summary.per_server {
            part.told = Some(Told {
                on_client_machine: Some(false),
                busiest_thread: Some(0.25 * (client + 1) as f64),
                clock: Offset {
                    secs: -ahead_secs,
                    bound_secs: 0.001,
                },
                clock_rate: None,
            });
        }
        run.write_client(client, &results);
    }
    let merged = run.merge();
    merged.write(&run.0).unwrap();
    let csv = fs::read_to_string(run.0.join("nodes.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 4 * 3, "{csv}");
    assert!(
        csv.contains("\n3,1790000003.000,node1,server,2,1.000,"),
        "{csv}"
    );
    let nodes = &merged.summary.nodes;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["node0", "node1", "node2", "node3"]);
    // One core for 3 seconds and the 6,000 operations that the first server answered.
    assert_eq!(nodes[0].cpu_ns_per_op, 500_000.0);
    let told = merged.summary.per_server[0].told.unwrap();
    assert_eq!(told.busiest_thread, Some(0.5));
}

#[test]
fn broken_samples_are_named() {
    let run = Run::new("samples");
    fs::write(run.client(1).join(RESOURCES_FILE), "nonsense\n").unwrap();
    assert!(run.merge().summary.reasons[0].contains("resources.csv"));
}
