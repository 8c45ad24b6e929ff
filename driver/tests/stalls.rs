//! What stands still for a while, and what runs say of it. Stalls begin and end by what the client prints, and
//! what is expected follows from when they did: a slow machine makes waits longer, never shorter.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

mod driver;

use driver::proxy::{is_answer, proxy};
use driver::{Scratch, Server, program, reasons};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Buckets of latencies are 0.1 % wide, and the two programs' clocks are one.
const TOLERANCE: f64 = 0.99;
const BASE: &str = "--records 5000 --batch-size 256 --tasks 4 --threads 2 --warmup-secs 1";

/// Lets answers through, or not.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

/// A stall and the measured window, in seconds since 1970.
struct Stall {
    begin: f64,
    end: f64,
    /// No answer came from here on
    from: f64,
    /// until here.
    until: f64,
}

impl Stall {
    /// What at least this share of an open loop's evenly spread arrivals must have waited: each that came in the
    /// stall waited for its end.
    fn least_wait_secs(&self, share: f64) -> f64 {
        let last = self.from + share * (self.end - self.begin);
        assert!(self.begin < self.from && last < self.end);
        (self.until - last).max(0.0)
    }
}

fn unix_secs() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

impl Gate {
    /// Writes once the gate is open; none is being written when it has been closed.
    fn pass(&self, write: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<()> {
        let closed = self.closed.lock().unwrap();
        let open = self.opened.wait_while(closed, |closed| *closed).unwrap();
        let written = write();
        drop(open);
        written
    }

    fn close(&self) -> f64 {
        *self.closed.lock().unwrap() = true;
        unix_secs()
    }

    fn open(&self) -> f64 {
        let at = unix_secs();
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
        at
    }
}

/// Reads what the client prints up to the line of this second of the window.
fn until_second(lines: &mut impl Iterator<Item = std::io::Result<String>>, second: u64) {
    let is_it = |line: &str| line.starts_with(&format!("measured {second:>4} s"));
    assert!(lines.any(|line| is_it(&line.unwrap())), "second {second}");
}

/// A run in which no answer comes from the end of a second on, until another has ended and `longer` is over; its
/// summary, and the stall.
fn stalled(
    name: &str,
    flags: &str,
    (second, until): (u64, u64),
    longer: Duration,
) -> (serde_json::Value, Stall) {
    let (server, scratch, gate) = (
        Server::start(0, 1),
        Scratch::new(name),
        Arc::new(Gate::default()),
    );
    let passing = Arc::clone(&gate);
    let address = proxy(&server.address, move |frame, mut to| {
        match is_answer(&frame) {
            true => passing.pass(|| to.write_all(&frame)),
            false => to.write_all(&frame),
        }
    });
    let output = scratch.path().display();
    let words = format!("--hosts {address} {BASE} {flags} --output {output}");
    let mut child = program(&words).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    until_second(&mut lines, second);
    let from = gate.close();
    if until > second {
        until_second(&mut lines, until);
    }
    thread::sleep(longer);
    let until = gate.open();
    let (code, rest) = ended(child, lines);
    assert_eq!(code, Some(0), "{rest}");
    let (begin, end) = window(&scratch);
    let stall = Stall {
        begin,
        end,
        from,
        until,
    };
    (scratch.summary(""), stall)
}

/// The measured window, in seconds since 1970.
fn window(scratch: &Scratch) -> (f64, f64) {
    let csv = fs::read_to_string(scratch.path().join("throughput.csv")).unwrap();
    let ends = csv
        .lines()
        .skip(1)
        .map(|row| row.split(',').nth(1).unwrap());
    let ends: Vec<f64> = ends.map(|end| end.parse().unwrap()).collect();
    (ends[0] - 1.0, ends[ends.len() - 1])
}

/// Exit status, and what the client still said.
fn ended(
    mut child: Child,
    lines: impl Iterator<Item = std::io::Result<String>>,
) -> (Option<i32>, String) {
    let mut rest: Vec<String> = lines.map(Result::unwrap).collect();
    let mut complaints = String::new();
    let stderr = child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut complaints).unwrap();
    rest.push(complaints);
    (child.wait().unwrap().code(), rest.join("\n"))
}

fn latency_secs(summary: &serde_json::Value, percentile: &str) -> f64 {
    summary["latency_us"][percentile].as_f64().unwrap() / 1e6
}

/// Each arrival in a stall waits for its end, however late it is sent.
#[test]
fn an_open_loop_shows_a_stall_to_each_arrival() {
    let flags = "--secs 4 --rate 2000";
    let (summary, stall) = stalled("open", flags, (1, 1), Duration::from_millis(900));
    assert_eq!(summary["offered"]["intended"], 8_000);
    for (percentile, share) in [("p90", 0.1), ("p95", 0.05), ("p99", 0.01)] {
        let least_secs = stall.least_wait_secs(share);
        let secs = latency_secs(&summary, percentile);
        assert!(
            secs >= TOLERANCE * least_secs && least_secs > 0.0,
            "{percentile}: {secs} {least_secs}: {summary}"
        );
    }
}

/// Arrivals that wait for the end of a stall that lies behind the window count with what they took.
#[test]
fn arrivals_that_are_answered_behind_the_window_count_with_their_time() {
    let flags = "--secs 3 --rate 2000";
    let (summary, stall) = stalled("behind", flags, (1, 3), Duration::from_millis(500));
    let offered = &summary["offered"];
    assert_eq!(offered["intended"], 6_000);
    let count = |name: &str| offered[name].as_u64().unwrap();
    assert!(count("arrived").abs_diff(6_000) <= 4, "{offered}");
    let given_up = count("dropped") + count("unanswered");
    let late_least = 2_000.0 * (stall.end - stall.from) - 8.0;
    assert!((count("late") + given_up) as f64 >= late_least, "{offered}");
    // A machine so slow that some were given up says so.
    let said = reasons(&summary, "dropped-arrivals");
    assert_eq!(said.len(), usize::from(given_up > 0), "{summary}");
    let least_secs = stall.least_wait_secs(0.1);
    let p90_secs = latency_secs(&summary, "p90");
    assert!(
        p90_secs >= TOLERANCE * least_secs,
        "{least_secs}: {summary}"
    );
    // What was in progress at the window's end weighs too much for Little's law.
    let said = reasons(&summary, "latency-does-not-fit");
    assert_eq!(said.len(), 1, "{summary}");
}

/// A server that stands still for seconds: the medians of both halves need not tell, the seconds do.
#[test]
fn seconds_without_answers_are_named() {
    let (summary, _) = stalled("gap", "--secs 8", (3, 6), Duration::ZERO);
    let said = reasons(&summary, "stalled");
    assert_eq!(said.len(), 1, "{summary}");
    for words in [
        "less than a tenth of the median second",
        "waited for more than a second",
    ] {
        assert!(said[0].contains(words), "{words}: {summary}");
    }
    let stalls = &summary["facts"]["stalls"];
    assert!(stalls["gaps"][0]["last"].as_u64() >= Some(5), "{summary}");
    assert!(stalls["longest"]["secs"].as_f64() > Some(1.0), "{summary}");
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// A client that is stopped: its seconds are empty, and it is told that it was the client itself.
#[test]
fn a_client_that_is_stopped_is_named_as_the_cause() {
    const STOPPED: Duration = Duration::from_millis(2_500);
    let (server, scratch) = (Server::start(0, 1), Scratch::new("stopped"));
    let (address, output) = (&server.address, scratch.path().display());
    let words = format!("--hosts {address} {BASE} --secs 8 --output {output}");
    let mut child = program(&words).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    until_second(&mut lines, 2);
    signal(&child, "-STOP");
    thread::sleep(STOPPED);
    signal(&child, "-CONT");
    let (code, rest) = ended(child, lines);
    assert_eq!(code, Some(0), "{rest}");
    let summary = scratch.summary("");
    let said = reasons(&summary, "stalled");
    assert_eq!(said.len(), 1, "{summary}");
    assert!(
        said[0].contains("the client itself did not run"),
        "{said:?}"
    );
    let late_secs = summary["facts"]["stalls"]["client_late_secs"].as_f64();
    assert!(late_secs > Some(1.4), "{summary}");
}
