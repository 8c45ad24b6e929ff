//! The library against a cluster that fails as a test tells it to: what is sent again takes effect once.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

mod common;
mod world;

use batchkv_client::protocol::Refusal;
use batchkv_client::protocol::options::ANY_VERSION;
use batchkv_client::{Answers, Batch, Client, Options, Outcome, Reads};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use world::{Act, PARTITIONS, World};

/// A generator with a fixed stream (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % bound
    }
}

async fn connect(world: &World) -> Client {
    Client::connect(&world.addresses, patient()).await.unwrap()
}

/// Options under which no busy machine makes an operation unknown.
fn patient() -> Options {
    Options {
        deadline: Duration::from_secs(60),
        ..Options::default()
    }
}

async fn put(client: &Client, key: &[u8], value: &[u8]) -> Answers {
    let mut batch = Batch::new();
    batch.put(key, value).unwrap();
    client.execute(batch).await
}

/// One client's batches of random operations on keys of its own; every answer is what it would be without faults. How
/// many writes there were.
async fn one_clients_batches(world: Arc<World>, seed: u64) -> u64 {
    let (client, mut random) = (connect(&world).await, Random(seed));
    let mut model: HashMap<u64, u64> = HashMap::new();
    let mut writes = 0;
    for round in 0..30 {
        let (mut batch, mut expected) = (Batch::new(), Vec::new());
        for operation in 0..1 + random.below(20) {
            let record = random.below(30);
            let key = [seed, record].map(u64::to_le_bytes).concat();
            match random.below(3) {
                0 => {
                    batch.get(&key).unwrap();
                    expected.push(format!("{:?}", model.get(&record)));
                }
                1 => {
                    let value = round * 100 + operation;
                    batch.put(&key, &value.to_le_bytes()).unwrap();
                    model.insert(record, value);
                    expected.push("stored".into());
                    writes += 1;
                }
                _ => {
                    batch.delete(&key).unwrap();
                    let existed = model.remove(&record).is_some();
                    expected.push(format!("deleted {existed}"));
                    writes += 1;
                }
            }
        }
        let answers = client.execute(batch).await;
        let told: Vec<String> = answers.iter().map(told).collect();
        assert_eq!(told, expected, "{:?}", answers.lost());
    }
    writes
}

fn told(outcome: Outcome<'_>) -> String {
    match outcome {
        Outcome::Value(value) => {
            let value = u64::from_le_bytes(value.try_into().unwrap());
            format!("{:?}", Some(value))
        }
        Outcome::Missing => format!("{:?}", None::<u64>),
        Outcome::Stored => "stored".into(),
        Outcome::Deleted { existed } => format!("deleted {existed}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_every_write_takes_effect_once_and_is_answered_truly() {
    const CLIENTS: u64 = 6;
    let faults = Arc::new(Mutex::new(HashMap::new()));
    let (counted, mut random) = (faults.clone(), Random(1));
    let world = World::start(3, move |_, _, _| {
        let act = match random.below(16) {
            0 | 1 => Act::CutBehind,
            2 => Act::CutBefore,
            3 => Act::HandOver,
            4 => Act::Unsettle,
            5 => Act::Refuse(Refusal::NoLeader),
            6 => Act::Refuse(Refusal::Busy),
            _ => return Act::Serve,
        };
        let act_name = format!("{act:?}");
        *counted.lock().unwrap().entry(act_name).or_insert(0) += 1;
        act
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| tokio::spawn(one_clients_batches(world.clone(), seed)))
        .collect();
    let mut writes = 0;
    for client in clients {
        writes += client.await.unwrap();
    }
    // Each put and each delete has taken one version.
    let versions: u64 = (0..PARTITIONS).map(|number| world.version(number)).sum();
    assert_eq!(versions, writes);
    let faults = faults.lock().unwrap();
    assert_eq!(faults.len(), 6, "each happened: {faults:?}");
    assert!(faults["CutBehind"] > 50, "{faults:?}");
}

#[tokio::test]
async fn a_group_that_hangs_goes_to_the_next_leader() {
    let mut hung = false;
    let world = World::start(2, move |_, _, options| match options.sequence {
        Some(_) if !std::mem::replace(&mut hung, true) => Act::Hang,
        _ => Act::Serve,
    });
    let client = connect(&world).await;
    let answers = put(&client, b"k", b"v").await;
    assert_eq!(
        answers.get(0),
        Some(Outcome::Stored),
        "{:?}",
        answers.lost()
    );
    assert_eq!(client.retries().resent, 1);
}

/// A client whose time is over soon.
async fn hasty(world: &World) -> Client {
    let options = Options {
        deadline: Duration::from_millis(300),
        ..Options::default()
    };
    Client::connect(&world.addresses, options).await.unwrap()
}

#[tokio::test]
async fn when_the_time_is_over_what_was_never_applied_is_refused_and_the_rest_unknown() {
    let refusing = World::start(1, |_, _, options| match options.opens {
        true => Act::Serve,
        false => Act::Refuse(Refusal::NoLeader),
    });
    let answers = put(&hasty(&refusing).await, b"k", b"v").await;
    // Unknown is what was on its way when the time was over, as can happen where the machine has no time.
    let told = [Outcome::Refused(Refusal::NoLeader), Outcome::Unknown];
    assert!(told.contains(&answers.get(0).unwrap()), "{answers:?}");
    assert_eq!((0..PARTITIONS).map(|p| refusing.version(p)).sum::<u64>(), 0);

    let cutting = World::start(1, |_, _, options| match options.opens {
        true => Act::Serve,
        false => Act::CutBehind,
    });
    let client = hasty(&cutting).await;
    let mut batch = Batch::new();
    batch.put(b"k", &[1; 10_000]).unwrap();
    batch.put(b"k", &[2; 10_000]).unwrap();
    let answers = client.execute(batch).await;
    // The second stands in a group of its own, which is not sent behind one that may yet take effect.
    let outcomes: Vec<_> = answers.iter().collect();
    assert_eq!(outcomes, [Outcome::Unknown, Outcome::NotSent]);
    assert!(answers.lost().is_some());
    assert_eq!((0..PARTITIONS).map(|p| cutting.version(p)).sum::<u64>(), 1);
}

#[tokio::test]
async fn a_stream_that_the_partition_forgot_is_opened_anew_unless_the_group_may_be_applied() {
    let (mut sent, opened) = (0, Arc::new(Mutex::new(0)));
    let counted = opened.clone();
    let world = World::start(1, move |_, _, options| {
        *counted.lock().unwrap() += u64::from(options.opens);
        sent += u64::from(!options.opens);
        match sent {
            1 if !options.opens => Act::Refuse(Refusal::StreamExpired),
            3 => Act::CutBehind,
            4 => Act::Refuse(Refusal::StreamExpired),
            _ => Act::Serve,
        }
    });
    let client = connect(&world).await;
    let first = put(&client, b"k", b"v").await;
    assert_eq!(first.get(0), Some(Outcome::Stored));
    assert_eq!(*opened.lock().unwrap(), 2);
    let second = put(&client, b"k", b"w").await;
    assert_eq!(second.get(0), Some(Outcome::Unknown));
    assert!(second.lost().is_some());
}

#[tokio::test]
async fn versions_are_told_and_a_put_on_condition_of_another_is_refused() {
    let world = World::start(2, |_, _, _| Act::Serve);
    let client = connect(&world).await;
    let mut batch = Batch::new();
    batch.get_with_version(b"k").unwrap();
    batch.put_if(b"k", b"first", 0).unwrap();
    batch.put_if(b"k", b"again", 0).unwrap();
    batch.get(b"k").unwrap();
    batch.put(b"k", b"plain").unwrap();
    batch.put_if(b"k", b"whatever", ANY_VERSION).unwrap();
    batch.put_if(b"k", b"last", 3).unwrap();
    batch.get_with_version(b"k").unwrap();
    batch.delete(b"k").unwrap();
    let answers = client.execute(batch).await;
    let expected = [
        Outcome::Missing,
        Outcome::StoredAs { version: 1 },
        Outcome::Refused(Refusal::VersionMismatch { found: 1 }),
        Outcome::Value(b"first"),
        Outcome::Stored,
        Outcome::StoredAs { version: 3 },
        Outcome::StoredAs { version: 4 },
        Outcome::Versioned {
            value: b"last",
            version: 4,
        },
        Outcome::Deleted { existed: true },
    ];
    assert_eq!(answers.iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn servers_outside_a_cluster_have_no_versions() {
    let host = common::start(0, 1);
    let client = Client::connect(&[host], Options::default()).await.unwrap();
    let mut batch = Batch::new();
    batch.put(b"a", b"v").unwrap();
    batch.get_with_version(b"a").unwrap();
    let answers = client.execute(batch).await;
    let refused = Outcome::Refused(Refusal::NoCluster);
    assert!(answers.iter().all(|outcome| outcome == refused));
    assert_eq!(client.close().await.unwrap()[0].served.executed(), 0);
}

#[tokio::test]
async fn reads_of_any_replica_tell_what_was_seen_and_never_go_back() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = seen.clone();
    let world = World::start(3, move |server, _, options| {
        if !options.opens {
            asked.lock().unwrap().push((server, options.any));
        }
        Act::Serve
    });
    let options = Options {
        reads: Reads::Any,
        ..patient()
    };
    let client = Client::connect(&world.addresses, options).await.unwrap();
    let written = put(&client, b"k", b"v").await;
    let entry = written.freshness(0).unwrap().entry;
    assert!(entry > 0);
    for _ in 0..6 {
        let mut batch = Batch::new();
        batch.get(b"k").unwrap();
        let answers = client.execute(batch).await;
        assert_eq!(answers.get(0), Some(Outcome::Value(b"v")));
        assert!(answers.freshness(0).unwrap().entry >= entry);
    }
    let seen = seen.lock().unwrap();
    let entries: Vec<u64> = seen.iter().map(|(_, any)| any.unwrap()).collect();
    assert!(entries.is_sorted() && entries[0] == 0 && entries[1] == entry);
    let servers: Vec<u32> = seen.iter().skip(1).map(|(server, _)| *server).collect();
    assert!(
        (0..3).all(|server| servers.contains(&server)),
        "{servers:?}"
    );
}

#[tokio::test]
async fn a_seed_that_is_dead_is_done_without_and_a_closed_client_sends_nothing() {
    let world = World::start(2, |_, _, _| Act::Serve);
    // A port that the system hands to nobody.
    let dead = "127.0.0.1:1".to_owned();
    let seeds = [&dead, &world.addresses[0]];
    let client = Client::connect(&seeds, patient()).await.unwrap();
    let answers = put(&client, b"k", b"v").await;
    assert_eq!(answers.get(0), Some(Outcome::Stored));
    client.close().await.unwrap();
    let late = put(&client, b"k", b"w").await;
    assert_eq!(late.get(0), Some(Outcome::NotSent));
    assert!(Client::connect(&[dead], patient()).await.is_err());
}
