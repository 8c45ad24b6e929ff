//! The whole path: the program `batchkv-client` against servers in this process.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

mod driver;

use batchkv_client::protocol::limits::FRAME_BYTES;
use driver::{SMALL, Scratch, Server, client, outcome, program};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};

/// A port that was free a moment ago; nothing else on this machine is likely to take it.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Whether a rule spoke.
fn found(summary: &serde_json::Value, rule: &str) -> bool {
    let findings = summary["findings"].as_array().unwrap();
    findings.iter().any(|finding| finding["rule"] == rule)
}

#[test]
fn a_run_on_two_servers_is_true_and_leaves_its_files() {
    let servers = [Server::start(0, 2), Server::start(1, 2)];
    let scratch = Scratch::new("valid");
    let hosts = servers
        .each_ref()
        .map(|server| server.address.as_str())
        .join(",");
    let output = scratch.path().join("a/b");
    let words = format!("-hosts {hosts} {SMALL} --output {}", output.display());
    let (code, text, complaints) = client(&words);
    assert_eq!(code, 0, "{text}{complaints}");
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("throughput ") && last.ends_with(" ops/s"),
        "{last}"
    );
    let summary = scratch.summary("a/b");
    assert_eq!(summary["verdict"], "QUALIFIED");
    for rule in ["too-short", "shared-machine"] {
        assert!(found(&summary, rule), "{summary}");
    }
    assert_eq!(summary["hit_rate"], 1.0);
    assert_eq!(summary["measured_secs"], 1.0);
    assert!(summary["verified"].as_u64().unwrap() > 0);
    framing_is_small(&summary);
    latency_is_whole(&summary);
    let hottest = &summary["hottest_server"];
    let share = hottest["share"].as_f64().unwrap();
    assert!((0.5..1.0).contains(&share), "{hottest}");
    assert_eq!(hottest["ceiling"], 1.0 / (share * 2.0));
    let csv = fs::read_to_string(output.join("throughput.csv")).unwrap();
    assert_eq!(csv.lines().count(), 2, "{csv}");
    assert!(csv.starts_with(
        "second,unix_time,ops,reads,writes,misses,errors,run,server_0_ops,server_1_ops\n"
    ));
    let log = fs::read_to_string(output.join("latency.hlog")).unwrap();
    assert!(log.contains("\n0.000,1.000,"), "{log}");
    let nodes = fs::read_to_string(output.join("nodes.csv")).unwrap();
    assert!(nodes.contains(",client 0,client,"), "{nodes}");
    assert!(summary["nodes"][0]["cpu_ns_per_op"].as_f64().unwrap() > 0.0);
    let told = &summary["per_server"][1]["told"];
    assert!(told["busiest_thread"].as_f64().unwrap() > 0.0, "{told}");
    // Both clocks are this machine's.
    assert!(
        told["clock"]["secs"].as_f64().unwrap().abs() < 1.0,
        "{told}"
    );
    shares_are_as_expected(&summary);
    for (server, k) in servers.into_iter().zip(0..) {
        let answered = &summary["per_server"][k]["answered"];
        let totals = server.stop().counters;
        assert_eq!(answered["gets"], totals.gets);
        assert_eq!(answered["puts"], totals.puts);
    }
}

/// What the run expects of its servers' shares is what the workload's proof says of as many.
fn shares_are_as_expected(summary: &serde_json::Value) {
    let (code, proof, complaints) = client(&format!("verify-workload {SMALL} --servers 2"));
    assert_eq!(code, 0, "{proof}{complaints}");
    for server in summary["per_server"].as_array().unwrap() {
        let percent = 100.0 * server["expected_share"].as_f64().unwrap();
        let wanted = format!("{percent:.4} % wanted");
        assert!(proof.contains(&wanted), "{wanted}: {proof}");
    }
}

/// The parts' means add up to the total's; buckets are 1 % wide. By Little's law the operations in progress are
/// throughput times mean latency; a machine that stands still at one of the window's ends lets them differ, and
/// the verdict says so.
fn latency_is_whole(summary: &serde_json::Value) {
    let mean = |path: &str| summary.pointer(path).unwrap().as_f64().unwrap();
    let parts = ["fill", "queue", "service"];
    let sum: f64 = parts
        .map(|part| mean(&format!("/latency_parts_us/{part}/mean")))
        .iter()
        .sum();
    let total = mean("/latency_us/mean");
    assert!((sum / total - 1.0).abs() < 0.02, "{sum} {total}: {summary}");
    let ratio = mean("/littles_law_ratio");
    let fits = (ratio - 1.0).abs() <= 0.05;
    assert_eq!(found(summary, "latency-does-not-fit"), !fits, "{summary}");
}

#[test]
fn the_servers_time_splits_the_service() {
    let server = Server::start(0, 1);
    let scratch = Scratch::new("server-time");
    let run = |flags: &str| {
        let (address, output) = (&server.address, scratch.path().display());
        let words = format!("--hosts {address} {SMALL} {flags} --output {output}");
        let (code, text, complaints) = client(&words);
        assert_eq!(code, 0, "{text}{complaints}");
        (scratch.summary(""), text)
    };
    let (split, text) = run("--server-time");
    let mean = |part: &str| split["latency_parts_us"][part]["mean"].as_f64().unwrap();
    let (server_us, network_us, service_us) = (mean("server"), mean("network"), mean("service"));
    assert!(server_us > 0.0 && network_us > 0.0, "{split}");
    let sum = server_us + network_us;
    assert!((sum / service_us - 1.0).abs() < 0.02, "{sum} {service_us}");
    assert!(
        text.contains("\n    server ") && text.contains("\n    network "),
        "{text}"
    );
    let log = fs::read_to_string(scratch.path().join("latency.hlog")).unwrap();
    assert!(
        log.contains("Tag=server,") && log.contains("Tag=network,"),
        "{log}"
    );
    let (plain, _) = run("");
    assert_eq!(plain["latency_parts_us"]["server"], serde_json::Value::Null);
}

/// Batches of 256 hold a group for each of a server's 32 partitions: a header of 8 bytes for 8 operations.
fn framing_is_small(summary: &serde_json::Value) {
    const BYTES_MAX: f64 = 2.0 + 1.0 + 32.0 / 256.0;
    let ops = summary["ops_per_sec"].as_f64().unwrap() * summary["measured_secs"].as_f64().unwrap();
    // At each of the window's ends each of four connections may stand inside a frame.
    let slack = 2.0 * 4.0 * FRAME_BYTES as f64 / ops;
    for (what, least) in [("per_operation", 2.0), ("per_answer", 1.9)] {
        let bytes = summary["framing_bytes"][what].as_f64().unwrap();
        assert!(
            (least - slack..BYTES_MAX + slack).contains(&bytes),
            "{what}: {bytes}, slack {slack}"
        );
    }
}

#[test]
fn every_workload_is_true() {
    let server = Server::start(0, 1);
    let workloads = [
        "--workload A --value-bytes 1..300",
        "--workload C --chooser uniform --keys user",
        "--workload D",
        "--workload F --batch-size 3 --window 4",
        "--mix read=0.5,update=0.3,insert=0.1,delete=0.1 --chooser hotspot",
        "--chooser ycsb --batch-size 1 --tasks 1",
    ];
    for workload in workloads {
        let (code, text, complaints) =
            client(&format!("--hosts {} {SMALL} {workload}", server.address));
        assert_eq!(code, 0, "{workload}: {text}{complaints}");
        assert!(text.contains("verdict     QUALIFIED"), "{workload}: {text}");
    }
}

#[test]
fn what_is_not_checked_or_loaded_is_qualified() {
    let server = Server::start(0, 1);
    let hosts = format!("--hosts {} {SMALL}", server.address);
    let (code, text, _) = client(&format!("{hosts} --no-verify"));
    assert_eq!(code, 0);
    assert!(
        text.contains("QUALIFIED") && text.contains("--no-verify"),
        "{text}"
    );
    let (code, text, _) = client(&format!("{hosts} --no-load"));
    assert_eq!(code, 0);
    assert!(
        text.contains("QUALIFIED") && text.contains("--no-load"),
        "{text}"
    );
    let (code, text, _) = client(&format!("{hosts} --strict"));
    assert_eq!(code, 3, "{text}");
}

#[test]
fn an_open_loop_sends_what_arrives() {
    let servers = [Server::start(0, 2), Server::start(1, 2)];
    let scratch = Scratch::new("open");
    let [a, b] = servers.each_ref().map(|server| &server.address);
    let run = |flags: &str| {
        let output = scratch.path().display();
        let words = format!("--hosts {a},{b} {SMALL} --arrivals poisson {flags} --output {output}");
        let (code, text, complaints) = client(&words);
        assert_eq!(code, 0, "{text}{complaints}");
        scratch.summary("")
    };
    // So few that nothing but the linger ends a batch.
    let few = run("--rate 500 --workload F");
    assert_eq!(few["offered"]["intended"], 500);
    let counted =
        |summary: &serde_json::Value, what: &str| summary["offered"][what].as_u64().unwrap();
    // Six standard deviations, and what a stopped machine may leave for later.
    assert!((1..=640).contains(&counted(&few, "arrived")), "{few}");
    assert_eq!(
        (counted(&few, "dropped"), counted(&few, "unanswered")),
        (0, 0)
    );
    // No machine does so many: most are given up some seconds behind the window's end, which is in their
    // latencies, and memory stays bounded.
    let many = run("--rate 1e10");
    for rule in ["rate-missed", "dropped-arrivals"] {
        assert!(found(&many, rule), "{many}");
    }
    let p50_us = many["latency_us"]["p50"].as_f64().unwrap();
    assert!(p50_us > 5e6, "{many}");
    assert!(counted(&many, "dropped") > 5_000_000_000, "{many}");
    assert!(many["ops_per_sec"].as_f64().unwrap() > 0.0, "{many}");
}

#[test]
fn a_workload_is_proven_without_servers() {
    let words = "verify-workload --tasks 4 --records 2000 --seed 7 --servers 2";
    let (code, text, complaints) = client(words);
    assert_eq!(code, 0, "{text}{complaints}");
    for line in [
        "read     95.0000 % wanted",
        "hottest",
        "server 1",
        "mix: passed",
        "skew: passed",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(client(words).1, text);
    let (_, other, _) = client("verify-workload --tasks 4 --records 2000 --seed 8 --servers 2");
    assert_ne!(other, text);
    let (code, _, complaints) = client("verify-workload --servers 0");
    assert_eq!(code, 2);
    assert!(
        complaints.contains("'0' for '--servers <N>': allowed are whole numbers from 1 to"),
        "{complaints}"
    );
}

#[test]
fn checking_a_command_line_needs_no_server() {
    let nobody = "--hosts 127.0.0.1:1";
    let (code, text, complaints) = client(&format!("{nobody} -theta 0.9 --check"));
    assert_eq!((code, text.as_str(), complaints.as_str()), (0, "", ""));
    let (code, _, complaints) = client(&format!("{nobody} --check --mix read=0.5,update=0.4"));
    assert_eq!(code, 2);
    assert!(
        complaints.contains("'read=0.5,update=0.4' for '--mix"),
        "{complaints}"
    );
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_the_run() {
    let server = Server::start(0, 1);
    let scratch = Scratch::new("unwritable");
    let file = scratch.path().join("file");
    fs::write(&file, "kept").unwrap();
    let hosts = &server.address;
    let output = file.join("results").display().to_string();
    let (code, text, complaints) = client(&format!("--hosts {hosts} {SMALL} --output {output}"));
    assert_eq!((code, text.as_str()), (2, ""));
    assert!(
        complaints.contains(&format!("'{output}' for '--output'")),
        "{complaints}"
    );
    assert_eq!(server.stop().counters.puts, 0);
}

#[test]
fn two_clients_meet_and_are_merged() {
    let server = Server::start(0, 1);
    let scratch = Scratch::new("merged");
    let barrier = free_address();
    let clients = [0, 1].map(|index| {
        let output = scratch.path().join(format!("client-node{}", index + 1));
        program(&format!(
            "--hosts {} {SMALL} --check-linearizability 0.02 --client {index}/2 --barrier {barrier} \
             --output {}",
            server.address,
            output.display()
        ))
        .spawn()
        .unwrap()
    });
    for client in clients {
        let (code, text, complaints) = outcome(client.wait_with_output().unwrap());
        assert_eq!(code, 0, "{text}{complaints}");
    }
    let told = server.stop();
    let totals = told.counters;
    let newest = u128::from_le_bytes(told.newest_client);
    let csv = format!(
        "unix_time,gets,hits,puts,deletes,newest_client\n1,{},{},{},{},{:032x}\n",
        totals.gets, totals.hits, totals.puts, totals.deletes, newest
    );
    fs::write(scratch.path().join("server-node0.csv"), csv).unwrap();
    let (code, text, complaints) = client(&format!("merge {}", scratch.path().display()));
    assert_eq!(code, 0, "{text}{complaints}");
    let summary = scratch.summary("");
    assert_eq!(
        (&summary["verdict"], &summary["clients"]),
        (&"QUALIFIED".into(), &2.into())
    );
    assert!(!found(&summary, "windows-apart"), "{summary}");
    for part in ["window", "closing"] {
        let checked = &summary["linearizability"][part];
        assert_eq!(checked["violation"], serde_json::Value::Null, "{summary}");
        assert!(checked["operations"].as_u64() > Some(0), "{summary}");
    }
    let closing = &summary["linearizability"]["closing"];
    assert!(closing["ordered_pairs"].as_u64() > Some(0), "{summary}");
    assert!(
        text.contains("small batches on the hottest sampled records"),
        "{text}"
    );
    // Half of the records each: together all of them, once.
    let puts = summary["per_server"][0]["answered"]["puts"]
        .as_u64()
        .unwrap();
    assert_eq!(puts, totals.puts);
    let each = ["client-node1", "client-node2"].map(|name| scratch.summary(name));
    let ops = |summary: &serde_json::Value| summary["ops_per_sec"].as_f64().unwrap();
    assert_eq!(ops(&summary), ops(&each[0]) + ops(&each[1]));
    fs::remove_file(scratch.path().join("client-node2/summary.json")).unwrap();
    let (code, text, _) = client(&format!("merge {}", scratch.path().display()));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("INVALID") && text.contains("client-node2"),
        "{text}"
    );
}

#[test]
fn a_client_whose_peer_dies_ends_and_is_invalid() {
    let server = Server::start(0, 1);
    let barrier = free_address();
    let words = |index: u32| {
        let hosts = &server.address;
        format!("--hosts {hosts} {SMALL} --secs 600 --client {index}/2 --barrier {barrier}")
    };
    let leader = program(&words(0)).spawn().unwrap();
    let mut peer = program(&words(1)).spawn().unwrap();
    let mut lines = BufReader::new(peer.stdout.take().unwrap()).lines();
    // All have met twice when the window has begun.
    assert!(lines.any(|line| line.unwrap().starts_with("measured")));
    peer.kill().unwrap();
    peer.wait().unwrap();
    let (code, text, _) = outcome(leader.wait_with_output().unwrap());
    assert_eq!(code, 1);
    assert!(text.contains("client 1 ended early"), "{text}");
}

#[test]
fn an_early_end_by_hand_is_qualified_and_fails() {
    let server = Server::start(0, 1);
    let small = SMALL.replace("--secs 1", "--secs 600");
    let mut child = program(&format!("--hosts {} {small}", server.address))
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("measured")));
    interrupt(&child);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        rest.iter()
            .any(|line| line.starts_with("verdict     QUALIFIED")),
        "{rest:?}"
    );
    assert!(rest.last().unwrap().starts_with("throughput "));
}

#[test]
fn ending_one_of_two_clients_by_hand_ends_both_without_failure() {
    let server = Server::start(0, 1);
    let small = SMALL.replace("--secs 1", "--secs 600");
    for ended in 0..2 {
        let barrier = free_address();
        let mut clients = [0, 1].map(|index| {
            let place = format!("--client {index}/2 --barrier {barrier}");
            program(&format!("--hosts {} {small} {place}", server.address))
                .spawn()
                .unwrap()
        });
        let mut lines = BufReader::new(clients[ended].stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("measured")));
        interrupt(&clients[ended]);
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(
            rest.iter()
                .any(|line| line.starts_with("verdict     QUALIFIED")),
            "{rest:?}"
        );
        for client in clients {
            let (code, text, complaints) = outcome(client.wait_with_output().unwrap());
            assert_eq!(code, 130, "{text}{complaints}");
            assert!(!text.contains("ended early"), "{text}");
        }
    }
}

#[test]
fn nobody_needs_to_read_the_output() {
    let server = Server::start(0, 1);
    let mut child = program(&format!("--hosts {} {SMALL}", server.address))
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut complaints = String::new();
    let stderr = child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut complaints).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{complaints}");
    assert_eq!(complaints, "");
}

#[test]
fn single_keys_can_be_looked_at() {
    let server = Server::start(0, 1);
    let hosts = format!("--hosts {}", server.address);
    let out = |words: &str| {
        let (code, text, _) = client(&format!("{words} {hosts}"));
        (code, text)
    };
    assert_eq!(out("get fruit"), (1, String::new()));
    assert_eq!(out("put fruit -apple-"), (0, "stored\n".into()));
    assert_eq!(out("get fruit"), (0, "-apple-\n".into()));
    assert_eq!(out("delete fruit"), (0, "deleted\n".into()));
    assert_eq!(out("delete fruit").0, 1);
    for words in ["get fruit --with-version", "put fruit apple --if-version 0"] {
        let (code, text, complaint) = client(&format!("{words} {hosts}"));
        assert_eq!((code, text), (1, String::new()));
        assert!(
            complaint.contains("refused: the server is in no cluster"),
            "{complaint}"
        );
    }
    assert_eq!(out("get fruit").0, 1, "nothing was stored");
}
