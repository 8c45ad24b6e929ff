//! Trying to make the driver believe a wrong number from an honest server: a proxy between the two changes
//! single frames on their way.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

mod driver;

use batchkv_client::protocol::{Answer, AnswerFrame};
use batchkv_workload::{KeyBuf, KeyStyle, values};
use driver::{SMALL, Scratch, Server, client, reasons};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// First bytes of the bodies that are changed, see `batchkv_protocol::frame`.
const TAG_REQUEST: u8 = 5;
const TAG_ANSWER: u8 = 6;
/// An answer with a value of 128 bytes: tag, length, value.
const VALUE_ANSWER_BYTES: usize = 2 + 128;
const VALUE_ANSWER_HEAD: [u8; 2] = [0, 128];

/// What the proxy does to a frame that it may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A bit of the value that a request ends with: the server stores what was never written.
    CorruptsRequests,
    RepeatsRequests,
    DropsRequests,
    /// A bit of the last value in an answer.
    CorruptsAnswers,
    /// The last two values in an answer change places.
    SwapsAnswers,
    RepeatsAnswers,
    DropsAnswers,
    DelaysAnswers,
    /// Lets no answer through in the first part of each second.
    StallsAnswers,
    /// Lets no answer through for [`LONG_STALL`], from [`UNTIL_LONG_STALL`] behind the first value on.
    StallsAtTheEnd,
    /// Values in small answers, which are those behind the window, by the first seen of their keys.
    MakesAnswersStale,
    /// Ends the connection instead of answering.
    Cuts,
}

/// Frames of the kind that is changed between two changes.
const CHANGED_ONE_IN: usize = 20;
/// More than eight answers and their framing.
const SMALL_FRAME_BYTES: usize = 8 * VALUE_ANSWER_BYTES + 64;
const DELAY: Duration = Duration::from_millis(20);
/// How long each second's stall is.
const STALL: Duration = Duration::from_millis(200);

/// A warm-up of 1 s and a window of 2 s, all but its last half second.
const UNTIL_LONG_STALL: Duration = Duration::from_millis(2500);
const LONG_STALL: Duration = Duration::from_secs(3);

impl Fault {
    fn tag(self) -> u8 {
        match self {
            Self::CorruptsRequests | Self::RepeatsRequests | Self::DropsRequests => TAG_REQUEST,
            _ => TAG_ANSWER,
        }
    }

    /// Whether this fault can be made in a frame, its length in front.
    fn fits(self, frame: &[u8]) -> bool {
        let value = |from_end: usize| {
            let start = frame.len().checked_sub(from_end * VALUE_ANSWER_BYTES);
            start.is_some_and(|start| frame[start..].starts_with(&VALUE_ANSWER_HEAD))
        };
        frame.get(4) == Some(&self.tag())
            && match self {
                Self::CorruptsAnswers | Self::StallsAtTheEnd => value(1),
                Self::SwapsAnswers => value(1) && value(2),
                // A get would end with a key, which is a decimal number here.
                Self::CorruptsRequests => {
                    let value_bytes = frame.iter().nth_back(128);
                    value_bytes == Some(&128) && !frame[frame.len() - 1].is_ascii_digit()
                }
                Self::MakesAnswersStale => frame.len() <= SMALL_FRAME_BYTES && value(1),
                _ => true,
            }
    }

    /// What goes on instead of the frame.
    fn change(self, mut frame: Vec<u8>, memory: &Memory) -> io::Result<Vec<u8>> {
        match self {
            Self::MakesAnswersStale => {
                memory.make_stale(&mut frame);
                Ok(frame)
            }
            Self::CorruptsRequests | Self::CorruptsAnswers => {
                *frame.last_mut().unwrap() ^= 1;
                Ok(frame)
            }
            Self::SwapsAnswers => {
                let middle = frame.len() - VALUE_ANSWER_BYTES;
                let (before, last) = frame.split_at_mut(middle);
                before[middle - VALUE_ANSWER_BYTES..].swap_with_slice(last);
                Ok(frame)
            }
            Self::RepeatsRequests | Self::RepeatsAnswers => Ok(frame.repeat(2)),
            Self::DropsRequests | Self::DropsAnswers => Ok(Vec::new()),
            Self::DelaysAnswers => {
                thread::sleep(DELAY);
                Ok(frame)
            }
            Self::StallsAtTheEnd => {
                thread::sleep(memory.long_stall());
                Ok(frame)
            }
            Self::StallsAnswers => {
                thread::sleep(STALL.saturating_sub(since_second()));
                Ok(frame)
            }
            Self::Cuts => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// Time since the system clock's last whole second.
fn since_second() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Duration::from_nanos(now.subsec_nanos().into())
}

/// What all connections of a proxy remember.
#[derive(Default)]
struct Memory {
    /// Frames that could be changed.
    seen: AtomicUsize,
    /// When the first value came by.
    begin: OnceLock<Instant>,
    /// By record.
    first_values: Mutex<HashMap<u64, Vec<u8>>>,
}

impl Memory {
    /// How long a frame has to wait for the long stall's end.
    fn long_stall(&self) -> Duration {
        let since = self.begin.get_or_init(Instant::now).elapsed();
        let end = UNTIL_LONG_STALL + LONG_STALL;
        match (UNTIL_LONG_STALL..end).contains(&since) {
            true => end - since,
            false => Duration::ZERO,
        }
    }

    /// Every value becomes the first one that came by of its record.
    fn make_stale(&self, frame: &mut [u8]) {
        let mut first_values = self.first_values.lock().unwrap();
        for start in value_starts(frame) {
            let value = &mut frame[start..start + 128];
            let is_of = |record: &u64| {
                let key = KeyBuf::new(KeyStyle::Decimal, *record);
                values::check(key.hash(), value).is_ok()
            };
            if let Some(record) = (0..5000).find(is_of) {
                let first = first_values.entry(record);
                value.copy_from_slice(first.or_insert_with(|| value.to_vec()));
            }
        }
    }
}

/// Where the values of 128 bytes begin in an answer frame.
fn value_starts(frame: &[u8]) -> Vec<usize> {
    let mut answers = AnswerFrame::parse(&frame[4..]).unwrap();
    let mut starts = Vec::new();
    while let Some(piece) = answers.next_piece().unwrap() {
        for _ in 0..piece.answers {
            if let Some(Answer::Value(value)) = answers.next_answer().unwrap() {
                starts.push(value.as_ptr() as usize - frame.as_ptr() as usize);
            }
        }
    }
    starts
}

/// Starts a proxy in front of `server` and gives its address.
fn proxy(server: &str, fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    let memory = Arc::new(Memory::default());
    thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(&server).unwrap());
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                to.set_nodelay(true).unwrap();
                let memory = Arc::clone(&memory);
                thread::spawn(move || {
                    // Either end may go away at any time.
                    let _ = forward(&from, &to, fault, &memory);
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

/// Passes frames on until one side ends.
fn forward(
    mut from: &TcpStream,
    mut to: &TcpStream,
    fault: Fault,
    memory: &Memory,
) -> io::Result<()> {
    loop {
        let mut frame = vec![0; 4];
        from.read_exact(&mut frame)?;
        let body_bytes = u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize;
        frame.resize(4 + body_bytes, 0);
        from.read_exact(&mut frame[4..])?;
        if fault.fits(&frame) {
            let number = memory.seen.fetch_add(1, Ordering::Relaxed) + 1;
            let always = [
                Fault::DelaysAnswers,
                Fault::StallsAnswers,
                Fault::StallsAtTheEnd,
            ];
            if always.contains(&fault) || number.is_multiple_of(CHANGED_ONE_IN) {
                frame = fault.change(frame, memory)?;
            }
        }
        to.write_all(&frame)?;
    }
}

/// Runs the client through a faulty proxy; gives its exit status and summary.
fn run(fault: Fault, flags: &str) -> (i32, serde_json::Value) {
    run_with(fault, &format!("{SMALL} {flags}"))
}

/// The same with all flags, in place of the small run's.
fn run_with(fault: Fault, flags: &str) -> (i32, serde_json::Value) {
    let server = Server::start(0, 1);
    let scratch = Scratch::new(&format!("proxy-{fault:?}{}", flags.len()));
    let (address, output) = (proxy(&server.address, fault), scratch.path().display());
    let (code, text, complaints) = client(&format!("--hosts {address} {flags} --output {output}"));
    assert!(text.contains("verdict "), "{fault:?}: {text}{complaints}");
    (code, scratch.summary(""))
}

/// The run is INVALID, among others by this rule.
fn caught(fault: Fault, rule: &str) {
    caught_with("", fault, rule);
}

fn caught_with(flags: &str, fault: Fault, rule: &str) -> serde_json::Value {
    let (code, summary) = run(fault, flags);
    assert_eq!(
        (code, &summary["verdict"]),
        (1, &"INVALID".into()),
        "{summary}"
    );
    let findings = summary["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|finding| finding["rule"] == rule),
        "{fault:?}: {summary}"
    );
    summary
}

#[test]
fn stale_answers_contradict_the_recorded_histories() {
    let flags = "--check-linearizability 0.02";
    let summary = caught_with(flags, Fault::MakesAnswersStale, "not-linearizable");
    let checked = &summary["linearizability"];
    assert_eq!(checked["window"]["violation"], serde_json::Value::Null);
    let shown = checked["closing"]["violation"].as_str().unwrap();
    assert!(
        shown.starts_with("record ") && shown.contains("; read "),
        "{shown}"
    );
}

#[test]
fn values_that_change_on_their_way_are_found() {
    caught(Fault::CorruptsRequests, "wrong-values");
    caught(Fault::CorruptsAnswers, "wrong-values");
}

#[test]
fn values_that_change_places_are_another_keys() {
    caught(Fault::SwapsAnswers, "wrong-values");
}

#[test]
fn repeated_requests_and_answers_are_found() {
    caught(Fault::RepeatsRequests, "failed");
    caught(Fault::RepeatsAnswers, "failed");
}

#[test]
fn dropped_requests_and_answers_are_unknown() {
    caught(Fault::DropsRequests, "unknown");
    caught(Fault::DropsAnswers, "unknown");
}

#[test]
fn connections_that_are_cut_are_failures() {
    caught(Fault::Cuts, "failed");
    caught(Fault::Cuts, "unknown");
}

#[test]
fn a_slow_way_is_no_fault_and_shows_in_the_latency() {
    let (code, summary) = run(Fault::DelaysAnswers, "");
    assert_eq!(
        (code, &summary["verdict"]),
        (0, &"QUALIFIED".into()),
        "{summary}"
    );
    let p50_us = summary["latency_us"]["p50"].as_f64().unwrap();
    assert!(p50_us >= DELAY.as_secs_f64() * 1e6, "{summary}");
}

/// In every second no answer comes for 0.2 s. Of operations that arrive evenly a fifth meets such a stall, at
/// an even chance anywhere in it, so of all x wait longer than 0.2 s - x (in seconds): the 90th percentile is
/// 100 ms and the 99th 190 ms. A closed loop sends nothing while it waits, so that few operations see the
/// stall. A slow machine makes waits longer: the bounds from above are wide.
#[test]
fn an_open_loop_shows_a_stall_that_a_closed_one_hides() {
    let flags = "--records 5000 --batch-size 256 --tasks 4 --threads 2 --secs 3 --warmup-secs 1";
    let (code, open) = run_with(Fault::StallsAnswers, &format!("{flags} --rate 2000"));
    assert_eq!(code, 0, "{open}");
    let millis = |summary: &serde_json::Value, path: &str| {
        let micros = summary.pointer(path).and_then(serde_json::Value::as_f64);
        micros.unwrap_or_else(|| panic!("{path}: {summary}")) / 1e3
    };
    let p90_ms = millis(&open, "/latency_us/p90");
    assert!((80.0..180.0).contains(&p90_ms), "{p90_ms}: {open}");
    let p99_ms = millis(&open, "/latency_us/p99");
    assert!((170.0..400.0).contains(&p99_ms), "{p99_ms}: {open}");
    // A request that was under way is few operations: what waits for it to come back has not been sent.
    let service_p90_ms = millis(&open, "/latency_parts_us/service/p90");
    assert!(service_p90_ms < p90_ms, "{service_p90_ms}: {open}");
    assert_eq!(open["offered"]["intended"], 6_000);
    let (code, closed) = run_with(Fault::StallsAnswers, flags);
    assert_eq!(code, 0, "{closed}");
    assert!(
        millis(&closed, "/latency_us/p90") < p90_ms / 2.0,
        "{closed}"
    );
    assert_eq!(closed["offered"], serde_json::Value::Null);
}

/// The last quarter of the window's arrivals waits for the end of a stall that is behind the window: each of
/// them counts with what it took, 2.5 to 3 s.
#[test]
fn arrivals_that_are_answered_behind_the_window_count_with_their_time() {
    let flags = "--records 5000 --batch-size 256 --tasks 4 --threads 2 --secs 2 --warmup-secs 1";
    let (code, summary) = run_with(Fault::StallsAtTheEnd, &format!("{flags} --rate 2000"));
    assert_eq!(code, 0, "{summary}");
    let offered = &summary["offered"];
    assert_eq!(offered["intended"], 4_000);
    let arrived = offered["arrived"].as_u64().unwrap();
    assert!(arrived.abs_diff(4_000) <= 4, "{offered}");
    // Nothing was given up: the backlog of the stall was sent behind it.
    assert_eq!(
        (&offered["dropped"], &offered["unanswered"]),
        (&0.into(), &0.into())
    );
    let late = offered["late"].as_u64().unwrap();
    assert!((500..2_000).contains(&late), "{offered}");
    let p90_us = summary["latency_us"]["p90"].as_f64().unwrap();
    assert!(p90_us > 2e6, "{summary}");
    assert!(
        summary["latency_us"]["p50"].as_f64().unwrap() < 1e6,
        "{summary}"
    );
    // What was in progress at the window's end weighs too much for Little's law.
    let said = reasons(&summary, "latency-does-not-fit");
    assert_eq!(said.len(), 1, "{summary}");
}

/// A server that stands still for 3 of 6 s: the medians of both halves need not tell, the seconds do.
#[test]
fn seconds_without_answers_are_named() {
    let flags = "--records 5000 --batch-size 256 --tasks 4 --threads 2 --secs 6 --warmup-secs 1";
    let (code, summary) = run_with(Fault::StallsAtTheEnd, flags);
    assert_eq!(code, 0, "{summary}");
    let said = reasons(&summary, "stalled");
    assert_eq!(said.len(), 1, "{summary}");
    for words in [
        "less than a tenth of the median second",
        "waited for more than a second",
    ] {
        assert!(said[0].contains(words), "{words}: {summary}");
    }
    let stalls = &summary["facts"]["stalls"];
    assert!(stalls["gaps"][0]["last"].as_u64() >= Some(3), "{summary}");
    let longest_secs = stalls["longest"]["secs"].as_f64().unwrap();
    assert!((2.0..5.0).contains(&longest_secs), "{summary}");
}
