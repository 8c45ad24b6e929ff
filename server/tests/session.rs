//! The conversation without sockets: bytes in, bytes out, at every cut and every output limit.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use batchkv_protocol::control::{FEATURE_REFERENCES, FEATURE_SERVER_TIME};
use batchkv_protocol::limits::{
    BUFFER_BYTES_MAX, FRAME_BYTES, OPERATIONS_PER_REQUEST_MAX, REQUESTS_OPEN_MAX, VALUE_BYTES_MAX,
};
use batchkv_protocol::{
    Answer, AnswerFrame, Control, Counters, ErrorFrame, Ownership, PartitionMap, Position,
    ReceiveBuffer, RequestWriter, SendBuffer, Status,
};
use batchkv_server::budget::Budget;
use batchkv_server::executor::{Executor, Immediate};
use batchkv_server::session::{Identity, Progress, Scratch, Session};
use batchkv_server::shared_map::SharedMap;
use batchkv_store::Dashmap;
use proptest::collection::vec;
use proptest::prelude::*;

const SERVERS: u32 = 2;

fn map() -> PartitionMap {
    PartitionMap::fixed(16, SERVERS).unwrap()
}

/// A session of server 0 of two, with its buffers and an engine.
struct Bench {
    session: Session,
    map: Arc<SharedMap>,
    executor: Immediate<Dashmap>,
    scratch: Scratch,
    input: ReceiveBuffer,
    out: SendBuffer,
    /// Everything that the session has sent.
    sent: Vec<u8>,
}

const TICK: Duration = Duration::from_millis(1);

thread_local! {
    /// What a session's clock says next.
    static CLOCK: Cell<Instant> = Cell::new(Instant::now());
}

/// A clock that goes on by a tick whenever it is read.
fn clock() -> Instant {
    let now = CLOCK.get() + TICK;
    CLOCK.set(now);
    now
}

impl Bench {
    fn new() -> Self {
        Self::offering(0)
    }

    /// With a client that offers these features.
    fn offering(features: u64) -> Self {
        let map = Arc::new(SharedMap::new(&map(), Vec::new()));
        let executor = Immediate::new(Dashmap::new(256, None), map.clone(), 0);
        let identity = Arc::new(Identity {
            server_index: 0,
            threads: 1,
            map: map.clone(),
            status: Status::default,
            clock,
        });
        let mut bench = Self {
            session: Session::new(identity, Arc::new(Budget::new(BUFFER_BYTES_MAX))),
            map,
            executor,
            scratch: Scratch::default(),
            input: ReceiveBuffer::default(),
            out: SendBuffer::default(),
            sent: Vec::new(),
        };
        let hello = common::hello_offering(features);
        assert_eq!(bench.feed(&hello, usize::MAX), Progress::Idle);
        assert!(matches!(
            bench.controls().as_slice(),
            [Control::ServerHello(_)]
        ));
        bench.sent.clear();
        bench
    }

    /// Feeds bytes and lets the session write, `limit` bytes at a time, until it needs more.
    fn feed(&mut self, mut bytes: &[u8], limit: usize) -> Progress {
        loop {
            self.input.fill_from(&mut bytes);
            let progress = self.session.advance(
                &self.executor,
                &mut self.scratch,
                &mut self.input,
                &mut self.out,
                limit,
            );
            assert!(
                self.out.pending().len()
                    < limit
                        .saturating_add(FRAME_BYTES)
                        .saturating_add(VALUE_BYTES_MAX)
            );
            self.sent.extend(self.out.pending());
            self.out.sent(self.out.pending().len());
            match progress {
                Progress::More => {}
                Progress::Idle if bytes.is_empty() => return Progress::Idle,
                Progress::Idle => {}
                stopped => return stopped,
            }
        }
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        let (mut left, mut bodies) = (self.sent.as_slice(), Vec::new());
        while let Some((length, rest)) = left.split_first_chunk::<4>() {
            let (body, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
            bodies.push(body.to_vec());
            left = rest;
        }
        bodies
    }

    fn controls(&self) -> Vec<Control> {
        self.bodies()
            .iter()
            .filter_map(|body| Control::decode(body).ok())
            .collect()
    }

    fn error(&self) -> String {
        match self.controls().pop() {
            Some(Control::Error(ErrorFrame { text })) => text,
            other => panic!("no error at the end, but {other:?}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Put(u8, usize),
    Delete(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        any::<u8>().prop_map(Step::Get),
        (
            any::<u8>(),
            prop_oneof![0..200_usize, 0..200_usize, 60_000..90_000_usize]
        )
            .prop_map(|(k, n)| Step::Put(k, n)),
        any::<u8>().prop_map(Step::Delete),
    ];
    vec(one, 1..120)
}

fn key(step: &Step) -> [u8; 1] {
    match step {
        Step::Get(key) | Step::Put(key, _) | Step::Delete(key) => [*key],
    }
}

/// The request's frames, and where each step stands in it.
fn write(id: u64, steps: &[Step]) -> (Vec<u8>, Vec<Position>) {
    let (map, mut out, mut positions) = (map(), SendBuffer::default(), Vec::new());
    let mut groups_before = 0;
    let mut writer = RequestWriter::begin(&mut out, id);
    let mut at = 0;
    while at < steps.len() {
        let (step, key) = (&steps[at], key(&steps[at]));
        let partition = map.partition_of(&key);
        let fits = match step {
            Step::Get(_) => writer.get(partition, 1, &key),
            Step::Delete(_) => writer.delete(partition, 1, &key),
            Step::Put(_, bytes) => writer
                .put(partition, 1, &key, *bytes)
                .map(|room| room.fill(at as u8))
                .is_some(),
        };
        if !fits {
            groups_before += writer.groups();
            writer.finish(false);
            writer = RequestWriter::begin(&mut out, id);
            continue;
        }
        let group = (groups_before + writer.groups() - 1) as u32;
        let continued = positions
            .last()
            .filter(|last: &&Position| last.group == group);
        let operation = continued.map_or(0, |last| last.operation + 1);
        positions.push(Position { group, operation });
        at += 1;
    }
    writer.finish(true);
    (out.pending().to_vec(), positions)
}

/// What each step's answer must be, by a plain map; and the connection's counters.
fn expect(steps: &[Step]) -> (Vec<String>, Counters) {
    let (map, mut model, mut counters) = (map(), HashMap::new(), Counters::default());
    let mut one = |(at, step): (usize, &Step)| {
        let key = key(step);
        let known = map.ownership(map.partition_of(&key)).unwrap();
        if known.owner != 0 {
            counters.wrong_owner += 1;
            return format!("{:?}", Answer::WrongOwner(known));
        }
        match step {
            Step::Get(_) => {
                counters.gets += 1;
                counters.hits += u64::from(model.contains_key(&key));
                model
                    .get(&key)
                    .map_or_else(|| format!("{:?}", Answer::Missing), Clone::clone)
            }
            Step::Put(_, bytes) => {
                counters.puts += 1;
                model.insert(key, format!("{:?}", Answer::Value(&vec![at as u8; *bytes])));
                format!("{:?}", Answer::Stored)
            }
            Step::Delete(_) => {
                counters.deletes += 1;
                format!(
                    "{:?}",
                    Answer::Deleted {
                        existed: model.remove(&key).is_some()
                    }
                )
            }
        }
    };
    let answers = steps.iter().enumerate().map(&mut one).collect();
    (answers, counters)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_cut_and_limit_gives_the_same_answers(
        steps in steps(),
        cuts in vec(1..5000_usize, 1..20),
        limit in prop_oneof![1..3000_usize, Just(usize::MAX)],
        features in (0..4_u64).prop_map(|bits| bits * FEATURE_REFERENCES),
    ) {
        let (bytes, positions) = write(7, &steps);
        let (expected, counters) = expect(&steps);
        let mut bench = Bench::offering(features);
        let (mut left, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
        while !left.is_empty() {
            let (piece, rest) = left.split_at(left.len().min(*cuts.next().unwrap()));
            prop_assert_eq!(bench.feed(piece, limit), Progress::Idle);
            left = rest;
        }
        let mut answered = HashMap::new();
        let bodies = bench.bodies();
        for (index, body) in bodies.iter().enumerate() {
            let mut frame = AnswerFrame::parse(body).unwrap();
            prop_assert_eq!(frame.id, 7);
            let timed = features & FEATURE_SERVER_TIME != 0;
            prop_assert_eq!(frame.server_time.is_some(), timed);
            prop_assert_eq!(frame.last, index + 1 == bodies.len());
            let mut answers = 0;
            while let Some(piece) = frame.next_piece().unwrap() {
                let Position { group, mut operation } = piece.first;
                while let Some(answer) = frame.next_answer().unwrap() {
                    let before = answered.insert((group, operation), format!("{answer:?}"));
                    prop_assert!(before.is_none());
                    operation += 1;
                    answers += 1;
                }
            }
            prop_assert!(features & FEATURE_REFERENCES != 0 || frame.references.answers == 0);
            prop_assert!(body.len() + 4 <= FRAME_BYTES.min(limit) || answers == 1);
        }
        prop_assert_eq!(answered.len(), steps.len());
        for (position, expected) in positions.iter().zip(&expected) {
            prop_assert_eq!(&answered[&(position.group, position.operation)], expected);
        }
        prop_assert_eq!(bench.session.counters(), counters);
        prop_assert!(!bench.session.is_mid_frame());
        prop_assert!(bench.input.is_empty());
    }
}

#[test]
fn status_is_told_to_those_who_ask_for_it() {
    let mut bench = Bench::new();
    let mut ask = SendBuffer::default();
    Control::StatusRequest.write(&mut ask);
    assert_eq!(bench.feed(ask.pending(), 1), Progress::Idle);
    let told = Control::decode(&bench.bodies().pop().unwrap());
    assert_eq!(told, Ok(Control::Status(Status::default())));
}

#[test]
fn the_servers_time_is_told_to_those_who_want_it() {
    let steps: Vec<Step> = (0..3).map(|_| Step::Put(1, 40_000)).collect();
    let gets = vec![Step::Get(1); 3];
    let asked = |bench: &mut Bench| {
        bench.feed(&write(1, &steps).0, usize::MAX);
        bench.sent.clear();
        let read_at = CLOCK.get();
        bench.session.read_at(read_at);
        bench.feed(&write(2, &gets).0, 1);
        let bodies = bench.bodies();
        let time = |body: &Vec<u8>| AnswerFrame::parse(body).unwrap().server_time;
        let ticks = (CLOCK.get() - read_at).as_millis();
        (bodies.iter().map(time).collect::<Vec<_>>(), ticks)
    };
    // A value a frame; all were asked for by what was read at one time.
    let told = asked(&mut Bench::offering(FEATURE_SERVER_TIME));
    assert_eq!(told, ([1, 2, 3].map(|n| Some(n * TICK)).into(), 3));
    // Without the feature no clock is read.
    assert_eq!(asked(&mut Bench::new()), (vec![None; 3], 0));
}

#[test]
fn counters_come_behind_the_answers_before_them() {
    let mut bench = Bench::new();
    let steps: Vec<Step> = (0..50)
        .map(|n| Step::Put(n, 2000))
        .chain((0..50).map(Step::Get))
        .collect();
    let (mut bytes, _) = write(1, &steps);
    let mut ask = SendBuffer::default();
    Control::CountersRequest.write(&mut ask);
    bytes.extend(ask.pending());
    assert_eq!(bench.feed(&bytes, 1), Progress::Idle);
    let last = bench.bodies().pop().unwrap();
    assert_eq!(
        Control::decode(&last),
        Ok(Control::Counters(expect(&steps).1))
    );
}

#[test]
fn a_stale_epoch_is_told_the_known_one() {
    let mut bench = Bench::new();
    let partition = (0..16)
        .find(|p| map().ownership(*p).unwrap().owner == 0)
        .unwrap();
    let key = (0..=255_u8)
        .find(|key| map().partition_of(&[*key]) == partition)
        .unwrap();
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 1);
    assert!(writer.get(partition, 2, &[key]));
    writer.finish(true);
    bench.feed(out.pending(), usize::MAX);
    let body = bench.bodies().remove(0);
    let mut frame = AnswerFrame::parse(&body).unwrap();
    frame.next_piece().unwrap().unwrap();
    let known = map().ownership(partition).unwrap();
    assert_eq!(frame.next_answer(), Ok(Some(Answer::WrongOwner(known))));
}

#[test]
fn a_request_of_too_many_operations_is_refused() {
    let mut bench = Bench::new();
    let steps = vec![Step::Get(1); OPERATIONS_PER_REQUEST_MAX + 1];
    let (bytes, _) = write(1, &steps);
    assert_eq!(bench.feed(&bytes, usize::MAX), Progress::Failed);
    assert!(bench.error().contains("more than 65536 operations"));
}

#[test]
fn too_many_unfinished_requests_are_refused() {
    let mut bench = Bench::new();
    for id in 0..=REQUESTS_OPEN_MAX as u64 {
        let mut out = SendBuffer::default();
        let mut writer = RequestWriter::begin(&mut out, id);
        assert!(writer.get(map().partition_of(b"k"), 1, b"k"));
        writer.finish(false);
        let expected = if id < REQUESTS_OPEN_MAX as u64 {
            Progress::Idle
        } else {
            Progress::Failed
        };
        assert_eq!(bench.feed(out.pending(), usize::MAX), expected);
    }
    assert!(bench.error().contains("64 requests were begun"));
    assert_eq!(bench.executor.usage().records, 0);
}

#[test]
fn a_group_that_has_begun_is_not_ruled_on_again() {
    let mut bench = Bench::new();
    let partition_of = |key: u8| map().partition_of(&[key]);
    let owned = |key: &u8| partition_of(*key) == 0;
    let key = (0..=255_u8).find(owned).unwrap();
    bench.feed(&write(1, &[Step::Put(key, 40_000)]).0, usize::MAX);
    bench.sent.clear();
    // Each value is a frame of its own, so the session stops within the first group, and within the second.
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 2);
    let other = (0..=255_u8).find(|key| partition_of(*key) == 2).unwrap();
    for key in [key, key, key, other, key] {
        assert!(writer.get(partition_of(key), 1, &[key]));
    }
    writer.finish(true);
    bench.input.fill_from(&mut out.pending());
    let advance = |bench: &mut Bench| {
        let progress = bench.session.advance(
            &bench.executor,
            &mut bench.scratch,
            &mut bench.input,
            &mut bench.out,
            FRAME_BYTES,
        );
        bench.sent.extend(bench.out.pending());
        bench.out.sent(bench.out.pending().len());
        progress
    };
    assert_eq!(advance(&mut bench), Progress::More);
    assert!(bench.session.is_mid_frame());
    let moved = Ownership { owner: 1, epoch: 2 };
    assert_eq!(bench.map.offer([(0, moved)]), 1);
    while advance(&mut bench) == Progress::More {}
    let mut answers = Vec::new();
    for body in bench.bodies() {
        let mut frame = AnswerFrame::parse(&body).unwrap();
        while frame.next_piece().unwrap().is_some() {
            while let Some(answer) = frame.next_answer().unwrap() {
                answers.push(match answer {
                    Answer::Value(value) => format!("{} bytes", value.len()),
                    other => format!("{other:?}"),
                });
            }
        }
    }
    let value = "40000 bytes".to_owned();
    let refused = format!("{:?}", Answer::WrongOwner(moved));
    let missing = format!("{:?}", Answer::Missing);
    // The last group of the partition begins after the change.
    let expected = [value.clone(), value.clone(), value, missing, refused];
    assert_eq!(answers, expected);
}

/// Or the beginning of a batch, refused in between and sent again, would come behind its end.
#[test]
fn what_was_sent_before_a_partition_went_away_is_refused_when_it_is_back() {
    let mut bench = Bench::new();
    let key = [(0..=255_u8)
        .find(|key| map().partition_of(&[*key]) == 0)
        .unwrap()];
    let put = |epoch, last| {
        let mut out = SendBuffer::default();
        let mut writer = RequestWriter::begin(&mut out, 1);
        assert!(writer.put(0, epoch, &key, 0).is_some());
        writer.finish(last);
        out.pending().to_vec()
    };
    let away = Ownership { owner: 1, epoch: 2 };
    let back = Ownership { owner: 0, epoch: 3 };
    bench.map.offer([(0, away)]);
    bench.feed(&put(1, false), usize::MAX);
    bench.map.offer([(0, back)]);
    bench.feed(&put(1, false), usize::MAX);
    bench.feed(&put(4, false), usize::MAX);
    bench.feed(&put(3, true), usize::MAX);
    let answers: Vec<String> = bench
        .bodies()
        .iter()
        .map(|body| {
            let mut frame = AnswerFrame::parse(body).unwrap();
            frame.next_piece().unwrap();
            format!("{:?}", frame.next_answer().unwrap().unwrap())
        })
        .collect();
    let refused = |known| format!("{:?}", Answer::WrongOwner(known));
    let stored = format!("{:?}", Answer::Stored);
    assert_eq!(
        answers,
        [refused(away), refused(back), refused(back), stored]
    );
}
