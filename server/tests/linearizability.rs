//! The promise of the whole system: what several clients see of a few hot keys is linearizable.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use batchkv_client::{Batch, Client, Options, Outcome};
use batchkv_protocol::limits::BUFFER_BYTES_MAX;
use batchkv_protocol::{Answer, Answers, Counters, Operation, PartitionMap};
use batchkv_server::config::{Config, EngineKind};
use batchkv_store::{Dashmap, Engine, Partitioned, Placed, Usage};
use batchkv_workload::history::{self, Action, Event, Violation};
use batchkv_workload::random::Random;
use tokio::sync::oneshot;

const KEYS: usize = 4;
const PARTITIONS: u32 = 256;
const SERVER_THREADS: usize = 2;
const CLIENTS: u64 = 4;
const BATCHES_PER_CLIENT: usize = 500;
const OPERATIONS_PER_BATCH_MAX: u64 = 16;
/// Puts are the fewer, so that values live long enough to be missed.
const PUT_ONE_IN: u64 = 8;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn key(index: usize) -> [u8; 8] {
    (index as u64).to_le_bytes()
}

/// Every value says which it is, several times, so that a torn one is noticed; and their lengths
/// differ, so that overwriting takes each of its ways.
fn value_bytes(value: u64) -> Vec<u8> {
    value.to_le_bytes().repeat(1 + value as usize % 40)
}

fn value_of(bytes: &[u8]) -> u64 {
    let value = u64::from_le_bytes(*bytes.first_chunk().unwrap());
    assert_eq!(bytes, value_bytes(value), "a torn value");
    value
}

/// Runs `clients` against a server with this engine, whose address they are given.
fn with_server<E: Engine, T>(engine: E, clients: impl FnOnce(&str) -> T) -> T {
    let config = Config {
        server_index: 0,
        map: PartitionMap::fixed(PARTITIONS, 1).unwrap(),
        addresses: Vec::new(),
        engine: EngineKind::Dashmap, // `serve` is given an engine, and does not look
        threads: SERVER_THREADS,
        max_memory_bytes: None,
        buffer_bytes_max: BUFFER_BYTES_MAX,
        max_connections: 100,
        idle_timeout: Duration::from_secs(60),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    thread::scope(|scope| {
        let server = batchkv_server::serve(config, engine, listener, |_| (), stopped);
        let server = scope.spawn(|| runtime().block_on(server).unwrap());
        let result = clients(&address);
        stop.send(()).unwrap();
        server.join().unwrap();
        result
    })
}

/// An operation: its key's index, and the value to put; `None` = a get.
type Asked = (usize, Option<u64>);

/// A small batch on the few keys, whose puts take their values from `values`.
fn random_batch(
    random: &mut Random,
    values: &mut impl Iterator<Item = u64>,
) -> (Batch, Vec<Asked>) {
    let mut batch = Batch::new();
    let mut asked = Vec::new();
    for _ in 0..=random.below(OPERATIONS_PER_BATCH_MAX) {
        let index = random.below(KEYS as u64) as usize;
        let written = match random.below(PUT_ONE_IN) {
            0 => values.next(),
            _ => None,
        };
        match written {
            Some(value) => batch.put(&key(index), &value_bytes(value)).unwrap(),
            None => batch.get(&key(index)).unwrap(),
        };
        asked.push((index, written));
    }
    (batch, asked)
}

/// One client: batches one after the other, with values of its own. Gives what happened, with the
/// index of the key.
/// Every other client lets repeated answers be references.
async fn hammer(address: &str, number: u64, clock: Instant) -> Vec<(usize, Event)> {
    let mut options = Options::default();
    options.connect.dedup_answers = number.is_multiple_of(2);
    let client = Client::connect(&[address], options).await.unwrap();
    let mut random = Random::new(&[number]);
    let mut values = number << 32..;
    let mut events = Vec::new();
    for _ in 0..BATCHES_PER_CLIENT {
        let (batch, asked) = random_batch(&mut random, &mut values);
        let sent = clock.elapsed().as_nanos() as u64;
        let answers = client.execute(batch).await;
        let answered = Some(clock.elapsed().as_nanos() as u64);
        // All operations of a batch have its interval: nothing finer is known.
        events.extend(
            asked
                .into_iter()
                .zip(answers.iter())
                .map(|((index, written), outcome)| {
                    let action = match (written, outcome) {
                        (Some(value), Outcome::Stored) => Action::Write(value),
                        (None, Outcome::Value(bytes)) => Action::Read(Some(value_of(bytes))),
                        (None, Outcome::Missing) => Action::Read(None),
                        other => panic!("{other:?}"),
                    };
                    (
                        index,
                        Event {
                            action,
                            sent,
                            answered,
                        },
                    )
                }),
        );
    }
    client.close().await.unwrap();
    events
}

/// Each key's history under all clients at once.
fn histories(engine: impl Engine) -> [Vec<Event>; KEYS] {
    let clock = Instant::now();
    let mut histories = [const { Vec::new() }; KEYS];
    with_server(engine, |address| {
        thread::scope(|scope| {
            let client =
                |number| scope.spawn(move || runtime().block_on(hammer(address, number, clock)));
            let clients: Vec<_> = (1..=CLIENTS).map(client).collect();
            for (index, event) in clients
                .into_iter()
                .flat_map(|client| client.join().unwrap())
            {
                histories[index].push(event);
            }
        });
    });
    histories
}

fn assert_linearizable(engine: impl Engine) {
    for history in histories(engine) {
        assert!(history.len() > BATCHES_PER_CLIENT);
        history::check(&history).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

/// Asserts that the checker finds the engine out, by values that hold although they were replaced.
fn assert_caught(engine: impl Engine) {
    let histories = histories(engine);
    let verdicts = histories.iter().map(|history| history::check(history));
    let violations: Vec<_> = verdicts.filter_map(Result::err).collect();
    assert!(!violations.is_empty());
    let by_order = violations.iter().all(|violation| {
        matches!(
            **violation,
            Violation::InitialReturned { .. }
                | Violation::Returned { .. }
                | Violation::Crossed { .. }
        )
    });
    assert!(by_order, "{violations:?}");
}

#[test]
fn the_partitioned_engine_is_linearizable() {
    assert_linearizable(Partitioned::new(PARTITIONS, None));
}

#[test]
fn the_dashmap_engine_is_linearizable() {
    assert_linearizable(Dashmap::new(PARTITIONS, None));
}

/// What a faulty engine answers instead of doing what was asked.
enum Lie {
    Stored,
    Value(Vec<u8>),
}

/// An engine that lies now and then.
struct Faulty<L> {
    engine: Dashmap,
    lie: L,
}

impl<L: Fn(Operation<'_>) -> Option<Lie> + Send + Sync + 'static> Faulty<L> {
    fn new(lie: L) -> Self {
        let engine = Dashmap::new(PARTITIONS, None);
        Self { engine, lie }
    }
}

impl<L: Fn(Operation<'_>) -> Option<Lie> + Send + Sync + 'static> Engine for Faulty<L> {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let mut fits = |placed: &Placed<'_>| match (self.lie)(placed.operation) {
            None => self.engine.apply(&[*placed], answers, counters) == 1,
            Some(Lie::Stored) => {
                let fits = answers.answer(placed.position, Answer::Stored);
                counters.puts += u64::from(fits);
                fits
            }
            Some(Lie::Value(value)) => {
                let fits = answers.answer(placed.position, Answer::Value(&value));
                counters.gets += u64::from(fits);
                counters.hits += u64::from(fits);
                fits
            }
        };
        let refused = window.iter().position(|placed| !fits(placed));
        refused.unwrap_or(window.len())
    }

    fn usage(&self) -> Usage {
        self.engine.usage()
    }
}

#[test]
fn an_engine_that_answers_stale_reads_is_caught() {
    const STALE_ONE_IN: u64 = 64;
    let gets = AtomicU64::new(0);
    let first_values = Mutex::new(HashMap::new());
    assert_caught(Faulty::new(move |operation| {
        let mut first_values = first_values.lock().unwrap();
        let key = operation.key().to_vec();
        match operation {
            Operation::Put { value, .. } => {
                first_values.entry(key).or_insert_with(|| value.to_vec());
                None
            }
            _ if gets.fetch_add(1, Relaxed).is_multiple_of(STALE_ONE_IN) => {
                first_values.get(&key).cloned().map(Lie::Value)
            }
            _ => None,
        }
    }));
}

#[test]
fn an_engine_that_loses_puts_is_caught() {
    const LOST_ONE_IN: u64 = 4;
    let puts = AtomicU64::new(0);
    assert_caught(Faulty::new(move |operation| {
        let is_put = matches!(operation, Operation::Put { .. });
        (is_put && puts.fetch_add(1, Relaxed).is_multiple_of(LOST_ONE_IN)).then_some(Lie::Stored)
    }));
}
