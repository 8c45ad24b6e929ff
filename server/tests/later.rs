//! Groups that are answered later: late, out of order, from other threads, and never too many.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use batchkv_client::{Batch, Client, Options, Outcome};
use batchkv_protocol::limits::{FRAME_BYTES_MAX, PARKED_BYTES_MAX};
use batchkv_protocol::{
    Answer, Answers, Control, Counters, KeptAnswers, Operation, Position, SendBuffer,
};
use batchkv_server::config::Config;
use batchkv_server::executor::{Executor, Group, Immediate, Ruling};
use batchkv_server::parked::ParkedGroup;
use batchkv_server::session::Scratch;
use batchkv_server::shared_map::SharedMap;
use batchkv_store::{Dashmap, Placed, Usage};
use batchkv_workload::random::Random;
use common::running::{Running, config, runtime};
use common::{Answered, PATIENCE, Peer};

/// What became of a group's writes, by operation; the others are executed when the group is resumed.
type Outcomes = Vec<Option<Answer<'static>>>;
type Parked = ParkedGroup<Outcomes>;

/// Takes groups away, all but those of every third partition where that is wanted.
struct Later {
    store: Arc<Immediate<Dashmap>>,
    taken: Mutex<Sender<Parked>>,
    some_now: bool,
}

impl Executor for Later {
    type Resumption = Outcomes;

    fn rule(&self, group: &Group<'_>) -> Ruling {
        match self.store.rule(group) {
            Ruling::Now if !self.some_now || !group.header.partition.is_multiple_of(3) => {
                Ruling::Later
            }
            ruling => ruling,
        }
    }

    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        self.store.apply(window, answers, counters)
    }

    fn submit(&self, group: Parked) {
        // Where nobody takes it, it is dropped.
        let _ = self.taken.lock().unwrap().send(group);
    }

    fn resume(
        &self,
        outcomes: &Outcomes,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let fits = |placed: &&Placed<'_>| match outcomes.get(placed.position.operation as usize) {
            Some(Some(answer)) => answers.answer(placed.position, *answer),
            _ => self.apply(&[**placed], answers, counters) == 1,
        };
        window.iter().take_while(fits).count()
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }
}

type Store = Arc<Immediate<Dashmap>>;

/// A server whose groups come out of the receiver, and what they can be executed with.
fn start(some_now: bool) -> (Running, Store, Receiver<Parked>) {
    start_with(config(), some_now)
}

fn start_with(config: Config, some_now: bool) -> (Running, Store, Receiver<Parked>) {
    let (taken, groups) = mpsc::channel();
    let (made, store) = mpsc::channel();
    let executor = move |map: Arc<SharedMap>| {
        let store = Arc::new(Immediate::new(Dashmap::new(256, None), map, 0));
        made.send(store.clone()).unwrap();
        let taken = Mutex::new(taken);
        Later {
            store,
            taken,
            some_now,
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Running::start(listener, config, executor);
    (server, store.recv().unwrap(), groups)
}

/// Executes a group into answers that go later.
fn execute(store: &Immediate<Dashmap>, group: &Parked) -> (KeptAnswers, Counters) {
    let (mut kept, mut counters) = (KeptAnswers::new(usize::MAX), Counters::default());
    let all = store.execute(
        &group.group(),
        &mut Scratch::default(),
        &mut kept,
        &mut counters,
    );
    assert!(all.unwrap());
    let gets = |operation: &Operation<'_>| matches!(operation, Operation::Get { .. });
    let gets = group.group().operations().filter(gets).count();
    assert_eq!(counters.gets, gets as u64);
    (kept, counters)
}

/// How long a group waits for others that it may be answered behind.
const LINGER: Duration = Duration::from_micros(200);

/// Executes what comes in its order, and answers in another: of the groups that wait, those of the highest
/// partition first. Groups of even partitions are executed here, others by their connection's thread. The most
/// groups that waited together.
fn answer_late(store: &Immediate<Dashmap>, groups: &Receiver<Parked>) -> usize {
    let mut most = 0;
    while let Ok(first) = groups.recv() {
        let others = std::iter::from_fn(|| groups.recv_timeout(LINGER).ok());
        let mut held: Vec<_> = std::iter::once(first)
            .chain(others)
            .map(|group| {
                let is_here = group.group().header.partition.is_multiple_of(2);
                (is_here.then(|| execute(store, &group)), group)
            })
            .collect();
        most = most.max(held.len());
        held.sort_by_key(|(_, group)| std::cmp::Reverse(group.group().header.partition));
        for (executed, group) in held {
            match executed {
                Some((kept, counters)) => group.answer(kept, counters),
                None => group.resume(Vec::new()),
            }
        }
    }
    most
}

const KEYS: u64 = 600;

/// A random batch, and what a plain map says that comes of it.
fn batch(random: &mut Random, model: &mut HashMap<u64, Vec<u8>>) -> (Batch, Vec<Option<Vec<u8>>>) {
    let (mut batch, mut expected) = (Batch::new(), Vec::new());
    for _ in 0..random.below(2000) {
        let (key, kind) = (random.below(KEYS), random.below(10));
        match kind {
            0 => {
                batch.delete(&key.to_le_bytes()).unwrap();
                model.remove(&key);
                expected.push(None);
            }
            1..4 => {
                let value = vec![random.below(256) as u8; random.below(300) as usize];
                batch.put(&key.to_le_bytes(), &value).unwrap();
                model.insert(key, value);
                expected.push(None);
            }
            _ => {
                batch.get(&key.to_le_bytes()).unwrap();
                expected.push(Some(model.get(&key).cloned().unwrap_or_default()));
            }
        }
    }
    (batch, expected)
}

#[test]
fn a_client_never_notices_that_groups_are_answered_late_and_out_of_order() {
    const BATCHES: usize = 60;
    for some_now in [false, true] {
        let (server, store, groups) = start(some_now);
        let address = server.address.to_string();
        let answering = std::thread::spawn(move || answer_late(&store, &groups));
        let counts = runtime().block_on(async {
            let client = Client::connect(&[address], Options::default())
                .await
                .unwrap();
            let (mut random, mut model) = (Random::new(&[7]), HashMap::new());
            for _ in 0..BATCHES {
                let (batch, expected) = batch(&mut random, &mut model);
                let answers = client.execute(batch).await;
                for (index, expected) in expected.iter().enumerate() {
                    match (answers.get(index), expected) {
                        (Some(Outcome::Stored | Outcome::Deleted { .. }), None) => {}
                        (Some(Outcome::Value(value)), Some(expected)) => {
                            assert_eq!(value, expected.as_slice());
                        }
                        (Some(Outcome::Missing), Some(expected)) => assert!(expected.is_empty()),
                        other => panic!("{other:?}"),
                    }
                }
            }
            client.close().await.unwrap()
        });
        assert_eq!(counts[0].served, counts[0].answered);
        let totals = server.stop();
        assert!(answering.join().unwrap() > 1, "nothing was out of order");
        assert_eq!(totals.counters, counts[0].served);
        assert_eq!((totals.dropped, totals.parked_bytes), (0, 0));
        let served: u64 = totals.service.buckets.iter().sum();
        assert_eq!(served, totals.frames, "each frame's service time is known");
    }
}

/// The writes are applied here, as a log would; the gets are executed when the group comes back, and see them.
#[test]
fn a_group_is_resumed_with_what_became_of_its_writes() {
    let (server, store, groups) = start(false);
    let mut peer = Peer::greeted(server.address);
    let bytes = peer.request(5, |n, place| match n {
        0 => place.put(b"k", b"v"),
        1 => place.delete(b"k"),
        2 => place.put(b"k", &[5; 12_000]),
        _ => place.get(b"k"),
    });
    peer.send(&bytes);
    let group = groups.recv_timeout(PATIENCE).unwrap();
    let mut outcomes = Outcomes::new();
    for (operation, written) in (0..).zip(group.group().operations()) {
        let position = Position {
            group: 0,
            operation,
        };
        let partition = group.group().header.partition;
        let placed = Placed {
            position,
            partition,
            operation: written,
        };
        let (mut kept, mut counters) = (KeptAnswers::new(usize::MAX), Counters::default());
        outcomes.push(match written {
            Operation::Get { .. } => None,
            Operation::Put { .. } => Some(Answer::Stored),
            Operation::Delete { .. } => Some(Answer::Deleted { existed: true }),
        });
        if outcomes[operation as usize].is_some() {
            assert_eq!(store.apply(&[placed], &mut kept, &mut counters), 1);
        }
    }
    group.resume(outcomes);
    let value = Answered::Value(vec![5; 12_000]);
    let deleted = Answered::Other(Answer::Deleted { existed: true });
    let stored = Answered::Other(Answer::Stored);
    assert_eq!(
        peer.answers(5),
        [stored.clone(), deleted, stored, value.clone(), value]
    );
    drop(peer);
    assert_eq!(server.stop().counters.gets, 2);
}

/// One put for each of `count` groups, in a request of its own.
fn puts(peer: &mut Peer, count: usize, value: &[u8]) -> Vec<u8> {
    let one = |n: usize, peer: &mut Peer| {
        peer.request(1, |_, place| place.put(n.to_string().as_bytes(), value))
    };
    (0..count).flat_map(|n| one(n, peer)).collect()
}

#[test]
fn what_is_parked_is_bounded_and_read_on_when_it_is_answered() {
    const VALUE_BYTES: usize = 10_000;
    const REQUESTS: usize = 2000;
    let (server, store, groups) = start(false);
    let mut peer = Peer::greeted(server.address);
    let mut bytes = puts(&mut peer, REQUESTS, &[1; VALUE_BYTES]);
    assert!(bytes.len() as u64 > 3 * PARKED_BYTES_MAX);
    peer.stream.set_nonblocking(true).unwrap();
    let parked_bytes = || server.handle.observer().snapshot().parked_bytes;
    let begin = Instant::now();
    let mut sent = 0;
    // The socket takes no more only when the server reads no more.
    while sent < bytes.len() && parked_bytes() < PARKED_BYTES_MAX - FRAME_BYTES_MAX as u64 {
        assert!(begin.elapsed() < PATIENCE);
        match peer.stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(sent < bytes.len());
    peer.stream.set_nonblocking(false).unwrap();
    let rest = bytes.split_off(sent);
    let mut sender = peer.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&rest));
    for _ in 0..REQUESTS {
        let group = groups.recv_timeout(PATIENCE).unwrap();
        assert!(parked_bytes() <= PARKED_BYTES_MAX);
        let (kept, counters) = execute(&store, &group);
        group.answer(kept, counters);
        // Answers are read as they come, and in the order of their completion here.
        assert_eq!(peer.answers(1), [Answered::Other(Answer::Stored)]);
    }
    sending.join().unwrap().unwrap();
    drop(peer);
    let totals = server.stop();
    assert_eq!((totals.dropped, totals.parked_bytes), (0, 0));
    assert_eq!(totals.counters.puts, REQUESTS as u64);
}

#[test]
fn a_connection_waits_for_the_groups_of_others_when_all_together_are_too_many() {
    const BOUND: u64 = 1 << 20;
    const VALUE_BYTES: usize = 10_000;
    const REQUESTS: usize = 150;
    let small = Config {
        buffer_bytes_max: 4 * BOUND,
        ..config()
    };
    let (server, store, groups) = start_with(small, false);
    let snapshot = || server.handle.observer().snapshot();
    let mut first = Peer::greeted(server.address);
    let bytes = puts(&mut first, REQUESTS, &[1; VALUE_BYTES]);
    let mut sender = first.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&bytes));
    let mut second = Peer::greeted(server.address);
    let begin = Instant::now();
    // Another group of the first one has no room then.
    while snapshot().parked_bytes + VALUE_BYTES as u64 <= BOUND {
        assert!(begin.elapsed() < PATIENCE, "too little is parked");
        std::thread::yield_now();
    }
    // One that has nothing parked is told of nothing but the others' end.
    let bytes = puts(&mut second, 1, &[2; 2 * VALUE_BYTES]);
    let received = snapshot().bytes_received + bytes.len() as u64;
    second.send(&bytes);
    while snapshot().bytes_received < received {
        assert!(begin.elapsed() < PATIENCE, "the second is not read");
        std::thread::yield_now();
    }
    for _ in 0..=REQUESTS {
        let group = groups.recv_timeout(PATIENCE).unwrap();
        assert!(snapshot().parked_bytes <= BOUND);
        let (kept, counters) = execute(&store, &group);
        group.answer(kept, counters);
    }
    assert_eq!(second.answers(1), [Answered::Other(Answer::Stored)]);
    for _ in 0..REQUESTS {
        assert_eq!(first.answers(1), [Answered::Other(Answer::Stored)]);
    }
    sending.join().unwrap().unwrap();
    drop((first, second));
    let totals = server.stop();
    assert_eq!((totals.dropped, totals.parked_bytes), (0, 0));
}

#[test]
fn counters_wait_for_parked_groups() {
    let (server, store, groups) = start(false);
    let mut peer = Peer::greeted(server.address);
    let mut bytes = puts(&mut peer, 2, b"v");
    let mut ask = SendBuffer::default();
    Control::CountersRequest.write(&mut ask);
    bytes.extend(ask.pending());
    peer.send(&bytes);
    let held: Vec<Parked> = groups.iter().take(2).collect();
    // The later one first; counters come behind both.
    for group in held.into_iter().rev() {
        let (kept, counters) = execute(&store, &group);
        group.answer(kept, counters);
        assert_eq!(peer.answers(1), [Answered::Other(Answer::Stored)]);
    }
    let Control::Counters(counters) = peer.receive_control() else {
        panic!("counters");
    };
    assert_eq!(counters.puts, 2);
    drop(peer);
    assert_eq!(server.stop().dropped, 0);
}

#[test]
fn a_connection_that_dies_drops_its_parked_groups() {
    let (server, store, groups) = start(false);
    let mut peer = Peer::greeted(server.address);
    let bytes = puts(&mut peer, 3, b"v");
    peer.send(&bytes);
    let mut held: Vec<Parked> = groups.iter().take(3).collect();
    // All come too late: one answered, one to be executed, one given up.
    drop(peer);
    let observer = server.handle.observer().clone();
    let begin = Instant::now();
    while observer.snapshot().connections > 0 {
        assert!(begin.elapsed() < PATIENCE, "the connection stays");
        std::thread::yield_now();
    }
    let group = held.remove(0);
    let (kept, counters) = execute(&store, &group);
    group.answer(kept, counters);
    held.remove(0).resume(Vec::new());
    assert!(observer.snapshot().parked_bytes > 0);
    drop(held);
    let totals = server.stop();
    assert_eq!((totals.dropped, totals.parked_bytes), (1, 0));
}

#[test]
fn a_server_that_stops_waits_for_parked_groups() {
    let (server, store, groups) = start(false);
    let mut peer = Peer::greeted(server.address);
    let bytes = puts(&mut peer, 1, b"v");
    peer.send(&bytes);
    let group = groups.recv_timeout(PATIENCE).unwrap();
    // A connection beside it ends at once, so it is known that the server stops.
    let mut other = Peer::greeted(server.address);
    let stopping = server.stopping();
    assert_eq!(other.receive(), None);
    drop(other);
    let (kept, counters) = execute(&store, &group);
    group.answer(kept, counters);
    assert_eq!(peer.answers(1), [Answered::Other(Answer::Stored)]);
    assert_eq!(peer.receive(), None);
    drop(peer);
    let totals = stopping.join().unwrap();
    assert_eq!((totals.dropped, totals.counters.puts), (0, 1));
}

#[test]
fn a_group_that_is_given_up_ends_its_connection_with_a_reason() {
    let (server, _, groups) = start(false);
    let mut peer = Peer::greeted(server.address);
    let bytes = puts(&mut peer, 1, b"v");
    peer.send(&bytes);
    drop(groups.recv_timeout(PATIENCE).unwrap());
    let error = peer.receive_error();
    assert!(error.contains("is not known"), "{error}");
    drop(peer);
    assert_eq!(server.stop().closed[0], 1);
}

#[test]
fn a_request_may_not_have_the_number_of_one_that_is_not_answered() {
    let (server, _, groups) = start(false);
    let mut peer = Peer::greeted(server.address);
    let bytes = puts(&mut peer, 1, b"v");
    peer.send(&bytes.repeat(2));
    let error = peer.receive_error();
    assert!(error.contains("has the number 1"), "{error}");
    drop((peer, groups));
    server.stop();
}
