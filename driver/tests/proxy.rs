//! Trying to make the driver believe a wrong number from an honest server: a proxy between the two changes
//! single frames on their way.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

mod driver;

use batchkv_client::protocol::{Answer, AnswerFrame};
use batchkv_workload::{KeyBuf, KeyStyle, values};
use driver::proxy::{TAG_ANSWER, proxy};
use driver::{SMALL, Scratch, Server, client};
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// First byte of the body of a request.
const TAG_REQUEST: u8 = 5;
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
                Self::CorruptsAnswers => value(1),
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
            Self::Cuts => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// What all connections of a proxy remember.
#[derive(Default)]
struct Memory {
    /// Frames that could be changed.
    seen: AtomicUsize,
    /// By record.
    first_values: Mutex<HashMap<u64, Vec<u8>>>,
}

impl Memory {
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

/// Starts a proxy in front of `server` that makes this fault, and gives its address.
fn faulty(server: &str, fault: Fault) -> String {
    let memory = Memory::default();
    proxy(server, move |mut frame, mut to| {
        if fault.fits(&frame) {
            let number = memory.seen.fetch_add(1, Ordering::Relaxed) + 1;
            if fault == Fault::DelaysAnswers || number.is_multiple_of(CHANGED_ONE_IN) {
                frame = fault.change(frame, &memory)?;
            }
        }
        to.write_all(&frame)
    })
}

/// Runs the client through a faulty proxy; gives its exit status and summary.
fn run(fault: Fault, flags: &str) -> (i32, serde_json::Value) {
    let server = Server::start(0, 1);
    let scratch = Scratch::new(&format!("proxy-{fault:?}{}", flags.len()));
    let (address, output) = (faulty(&server.address, fault), scratch.path().display());
    let (code, text, complaints) = client(&format!(
        "--hosts {address} {SMALL} {flags} --output {output}"
    ));
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
