//! The typed library against a small server over real sockets.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

mod common;

use batchkv_client::connect::CONNECT_TIME;
use batchkv_client::protocol::limits::{
    KEY_BYTES_MAX, OPERATIONS_PER_REQUEST_MAX, VALUE_BYTES_MAX,
};
use batchkv_client::protocol::{Control, ErrorFrame, RequestFrame};
use batchkv_client::{Answers, Batch, BatchError, Client, ConnectError, Options, Outcome};
use common::listener;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

async fn connect(hosts: &[String]) -> Client {
    Client::connect(hosts, Options::default()).await.unwrap()
}

fn outcomes(answers: &Answers) -> Vec<Outcome<'_>> {
    answers.iter().collect()
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_batch_from_several_servers() {
    let hosts = [common::start(0, 2), common::start(1, 2)];
    let client = connect(&hosts).await;
    let mut batch = Batch::new();
    for key in 0..1000_u32 {
        batch.put(&key.to_le_bytes(), &key.to_be_bytes()).unwrap();
    }
    let answers = client.execute(batch).await;
    assert!(answers.iter().all(|outcome| outcome == Outcome::Stored));
    let mut batch = Batch::new();
    for key in 0..1001_u32 {
        batch.get(&key.to_le_bytes()).unwrap();
    }
    let answers = client.execute(batch).await;
    for key in 0..1000_u32 {
        let outcome = answers.get(key as usize);
        assert_eq!(outcome, Some(Outcome::Value(&key.to_be_bytes())));
    }
    assert_eq!(answers.get(1000), Some(Outcome::Missing));
    assert_eq!(answers.get(1001), None);
    assert!(answers.lost().is_none());
}

#[tokio::test]
async fn operations_on_one_key_apply_in_order_and_counts_agree() {
    let hosts = [common::start(0, 1)];
    let client = connect(&hosts).await;
    let mut batch = Batch::new();
    batch
        .get(b"a")
        .and_then(|batch| batch.put(b"a", b"1"))
        .and_then(|batch| batch.get(b"a"))
        .and_then(|batch| batch.put(b"a", b""))
        .and_then(|batch| batch.delete(b"a"))
        .and_then(|batch| batch.delete(b"a"))
        .unwrap();
    let answers = client.execute(batch).await;
    let expected = [
        Outcome::Missing,
        Outcome::Stored,
        Outcome::Value(b"1"),
        Outcome::Stored,
        Outcome::Deleted { existed: true },
        Outcome::Deleted { existed: false },
    ];
    assert_eq!(outcomes(&answers), expected);
    let counts = client.close().await.unwrap();
    assert_eq!(counts[0].served, counts[0].answered);
    assert_eq!((counts[0].served.gets, counts[0].served.hits), (2, 1));
    assert!(client.execute(Batch::new()).await.is_empty());
    let mut late = Batch::new();
    late.get(b"a").unwrap();
    let answers = client.execute(late).await;
    assert_eq!(outcomes(&answers), [Outcome::NotSent]);
    let error = client.close().await.unwrap_err().to_string();
    assert!(error.contains("closed by this client"), "{error}");
}

#[tokio::test]
async fn a_batch_longer_than_a_request_is_split_and_keeps_its_order_per_key() {
    let hosts = [common::start(0, 1)];
    let client = connect(&hosts).await;
    let mut batch = Batch::new();
    for round in 0..50_000_u32 {
        batch.put(b"hot", &round.to_le_bytes()).unwrap();
        batch.get(b"hot").unwrap();
    }
    let answers = client.execute(batch).await;
    assert_eq!(answers.len(), 100_000);
    for round in 0..50_000_u32 {
        let outcome = answers.get(2 * round as usize + 1);
        assert_eq!(outcome, Some(Outcome::Value(&round.to_le_bytes())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_batches_are_in_flight_from_clones_on_a_threaded_runtime() {
    let hosts = [common::start(0, 2), common::start(1, 2)];
    let options = Options {
        connections_per_server: 3.try_into().unwrap(),
        ..Options::default()
    };
    let client = Client::connect(&hosts, options).await.unwrap();
    let tasks: Vec<_> = (0..32_u32)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut batch = Batch::new();
                for key in 0..200_u32 {
                    let key = [task.to_le_bytes(), key.to_le_bytes()].concat();
                    batch.put(&key, &[7; 100]).unwrap();
                    batch.get(&key).unwrap();
                }
                let answers = client.execute(batch).await;
                let values = answers
                    .iter()
                    .filter(|&got| got == Outcome::Value(&[7; 100]));
                assert_eq!(values.count(), 200);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let counts = client.close().await.unwrap();
    let served: u64 = counts.iter().map(|counts| counts.served.executed()).sum();
    assert_eq!(served, 32 * 400);
    assert!(counts.iter().all(|counts| counts.served == counts.answered));
}

#[tokio::test]
async fn the_longest_key_and_value_pass() {
    let hosts = [common::start(0, 1)];
    let client = connect(&hosts).await;
    let (key, value) = (vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]);
    let mut batch = Batch::new();
    batch.put(&key, &value).unwrap().get(&key).unwrap();
    let answers = client.execute(batch).await;
    assert_eq!(answers.get(1), Some(Outcome::Value(&value)));
}

#[test]
fn keys_and_values_outside_the_limits_are_refused_and_leave_the_batch_as_it_was() {
    let mut batch = Batch::new();
    let long = vec![0; VALUE_BYTES_MAX + 1];
    assert_eq!(batch.get(b"").unwrap_err(), BatchError::Key { bytes: 0 });
    let error = batch.delete(&long[..=KEY_BYTES_MAX]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a key of 65536 bytes: allowed are 1 to 65535"
    );
    let error = batch.put(b"k", &long).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a value of 1048577 bytes: allowed are 0 to 1048576"
    );
    assert!(batch.is_empty());
}

#[tokio::test]
async fn a_server_that_dies_leaves_unknown_then_not_sent() {
    // The process that answers there later is none that a client knows.
    let life = AtomicUsize::new(0);
    let host = common::start_with(listener(), move |mut peer| {
        let life = life.fetch_add(1, Relaxed) as u32;
        peer.greet(common::hello(life, 1 + life))?;
        peer.frame()?; // the request; then the connection is dropped
        Ok(())
    });
    let options = Options {
        deadline: Duration::from_millis(300),
        ..Options::default()
    };
    let client = Client::connect(&[&host], options).await.unwrap();
    let batch = || {
        let mut batch = Batch::new();
        batch.put(b"a", b"1").unwrap().get(b"b").unwrap();
        batch
    };
    let answers = client.execute(batch()).await;
    assert_eq!(outcomes(&answers), [Outcome::Unknown; 2]);
    let lost = answers.lost().unwrap().to_string();
    assert_eq!(lost, format!("connection to {host}: closed by the server"));
    let answers = client.execute(batch()).await;
    assert_eq!(outcomes(&answers), [Outcome::NotSent; 2]);
    let lost = answers.lost().unwrap().to_string();
    let expected =
        format!("connection to {host}: lost, and not made again yet: {host} was server 0");
    assert!(lost.starts_with(&expected), "{lost}");
    assert!(client.close().await.is_err());
    let answers = client.execute(batch()).await;
    assert_eq!(outcomes(&answers), [Outcome::NotSent; 2]);
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_what_was_lost_stays_lost() {
    let (store, lives) = (common::Store::default(), AtomicUsize::new(0));
    let host = common::start_with(listener(), move |mut peer| {
        peer.greet(common::hello(0, 1))?;
        let dies = lives.fetch_add(1, Relaxed) < 3;
        while let Some(body) = peer.frame()? {
            if dies {
                return Ok(());
            }
            peer.respond(&body, &store)?;
        }
        Ok(())
    });
    let client = connect(&[host]).await;
    for expected in [
        Outcome::Unknown,
        Outcome::Unknown,
        Outcome::Unknown,
        Outcome::Stored,
    ] {
        let mut batch = Batch::new();
        batch.put(b"a", b"1").unwrap();
        let answers = client.execute(batch).await;
        assert_eq!(outcomes(&answers), [expected]);
        assert_eq!(answers.lost().is_some(), expected == Outcome::Unknown);
    }
    let counts = client.close().await.unwrap();
    assert_eq!(counts[0].served, counts[0].answered);
}

/// The server has read the lost request, and could apply it behind what comes over the next connection.
#[tokio::test]
async fn what_follows_a_lost_request_of_its_batch_is_not_sent() {
    const REQUEST: usize = OPERATIONS_PER_REQUEST_MAX;
    let store = common::Store::default();
    let is_first = AtomicBool::new(true);
    let host = common::start_with(listener(), move |mut peer| {
        peer.greet(common::hello(0, 1))?;
        let loses = is_first.swap(false, Relaxed);
        while let Some(body) = peer.frame()? {
            match RequestFrame::parse(&body) {
                Ok(request) if loses && request.last => return Ok(()),
                Ok(_) if loses => {}
                _ => peer.respond(&body, &store)?,
            }
        }
        Ok(())
    });
    let client = connect(&[host]).await;
    let mut batch = Batch::new();
    for number in 0..=REQUEST {
        batch.put(b"hot", &number.to_le_bytes()).unwrap();
    }
    let answers = client.execute(batch).await;
    assert!(
        answers
            .iter()
            .take(REQUEST)
            .all(|outcome| outcome == Outcome::Unknown)
    );
    assert_eq!(answers.get(REQUEST), Some(Outcome::NotSent));
    let mut later = Batch::new();
    later.get(b"hot").unwrap();
    let answers = client.execute(later).await;
    assert_eq!(outcomes(&answers), [Outcome::Missing]);
}

#[tokio::test]
async fn a_client_that_is_dropped_leaves_no_connection_behind() {
    let (ended, end) = std::sync::mpsc::channel();
    let store = common::Store::default();
    let host = common::start_with(listener(), move |mut peer| {
        peer.greet(common::hello(0, 1))?;
        while let Some(body) = peer.frame()? {
            peer.respond(&body, &store)?;
        }
        ended.send(()).unwrap();
        Ok(())
    });
    let client = connect(&[host]).await;
    let mut batch = Batch::new();
    batch.put(b"a", b"1").unwrap();
    client.execute(batch).await;
    drop(client);
    let waiting = tokio::task::spawn_blocking(move || end.recv_timeout(CONNECT_TIME));
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_servers_own_words_end_a_connection() {
    let host = common::start_with(listener(), |mut peer| {
        peer.greet(common::hello(0, 1))?;
        peer.frame()?;
        let text = "the house is on fire".to_owned();
        peer.say(&Control::Error(ErrorFrame { text }))
    });
    let client = connect(&[host]).await;
    let mut batch = Batch::new();
    batch.get(b"a").unwrap();
    let answers = client.execute(batch).await;
    let lost = answers.lost().unwrap().to_string();
    assert!(
        lost.ends_with("the server says: the house is on fire"),
        "{lost}"
    );
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let host = common::start_with(listener(), |mut peer| {
        peer.greet(common::hello(0, 1))?;
        while peer.frame()?.is_some() {}
        Ok(())
    });
    let mut options = Options::default();
    options.connect.silence_time = Duration::from_millis(20);
    let client = Client::connect(&[host], options).await.unwrap();
    let mut batch = Batch::new();
    batch.get(b"a").unwrap();
    let answers = client.execute(batch).await;
    assert_eq!(outcomes(&answers), [Outcome::Unknown]);
    let lost = answers.lost().unwrap().to_string();
    assert!(lost.contains("no byte moved for 20ms"), "{lost}");
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_address() {
    const { assert!(CONNECT_TIME.as_secs() < 5) };
    let closed = listener().local_addr().unwrap().to_string();
    let error = Client::connect(&[&closed], Options::default()).await;
    let error = error.unwrap_err().to_string();
    let start = format!("no batchkv server at {closed}: ");
    assert!(error.starts_with(&start), "{error}");
    assert!(error.to_lowercase().contains("refused"), "{error}");

    let mute = listener();
    let address = mute.local_addr().unwrap().to_string();
    let mut options = Options::default();
    options.connect.connect_time = Duration::from_millis(20);
    let error = Client::connect(&[&address], options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no batchkv server at {address}: no hello within 20ms")
    );
    let none: [&str; 0] = [];
    let error = Client::connect(&none, Options::default()).await;
    assert!(matches!(error, Err(ConnectError::NoHosts)));
}

#[tokio::test]
async fn something_else_than_a_server_is_an_error_that_names_the_address() {
    let host = common::start_with(listener(), |mut peer| {
        peer.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    let error = Client::connect(&[&host], Options::default()).await;
    let error = error.unwrap_err().to_string();
    let start = format!("no batchkv server at {host}: the server sent a malformed frame");
    assert!(error.starts_with(&start), "{error}");
}

#[tokio::test]
async fn servers_that_do_not_fit_the_list_are_named_with_both_sides() {
    let (zero, one) = (common::start(0, 2), common::start(1, 2));
    let error = Client::connect(&[&one, &zero], Options::default()).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains(&format!("{one} is number 0 of 2")),
        "{error}"
    );
    assert!(error.contains("it is server 1 of 2"), "{error}");

    let error = Client::connect(&[&zero], Options::default()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("number 0 of 1"), "{error}");
    assert!(error.contains("server 0 of 2"), "{error}");

    let lone = common::start(0, 1);
    let error = Client::connect(&[&lone, &one], Options::default()).await;
    assert!(matches!(error, Err(ConnectError::Maps { .. })), "{error:?}");
}

#[tokio::test]
async fn a_hello_that_cannot_be_worked_with_says_why() {
    let host = common::start_with(listener(), |mut peer| {
        let mut hello = common::hello(0, 1);
        hello.limits.value_bytes = 1000;
        peer.greet(hello)
    });
    let error = Client::connect(&[&host], Options::default()).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "the server at {host} does not fit this client: it accepts value bytes up to 1000, \
             this client sends up to 1048576"
        )
    );
}
