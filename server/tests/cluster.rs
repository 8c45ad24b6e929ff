//! Real server programs as a cluster: what was acknowledged is there, whoever dies.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use batchkv_client::{Batch, Client, Options, Outcome};
use batchkv_protocol::operator::{ClusterStatus, OperatorAnswer, OperatorRequest};
use batchkv_protocol::{Control, Hello, Role, SendBuffer};
use common::running::runtime;
use common::{Peer, Server};

/// Longer than anything here takes, also on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

const KEYS: u32 = 300;

fn bootstrap(replicas: &str) -> Server {
    Server::start(&["--cluster", "--bootstrap", "--replicas", replicas])
}

fn join(seed: SocketAddr, more: &[&str]) -> Server {
    let seed = seed.to_string();
    let arguments = ["--cluster", "--join", &seed];
    Server::start(&[&arguments, more].concat())
}

fn operate(server: SocketAddr, request: OperatorRequest) -> OperatorAnswer {
    let mut operator = Peer::silent(server);
    let mut out = SendBuffer::default();
    Hello::new(Role::Operator, u64::MAX).write(&mut out);
    Control::OperatorRequest(request).write(&mut out);
    operator.send(out.pending());
    loop {
        match operator.receive_control() {
            Control::OperatorAnswer(answer) => return answer,
            Control::ServerHello(_) | Control::Map(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn status(server: SocketAddr) -> ClusterStatus {
    match operate(server, OperatorRequest::Status) {
        OperatorAnswer::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

/// Asks again and again until the status is so.
fn until(server: SocketAddr, what: &str, is_so: impl Fn(&ClusterStatus) -> bool) -> ClusterStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = status(server);
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < end, "{what} never came: {status:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_whole(status: &ClusterStatus) -> bool {
    let led = |partition: &batchkv_protocol::operator::PartitionStatus| {
        let group = &partition.group;
        group.leader.is_some()
            && group.members.len() == status.replicas as usize
            && group.members.iter().all(|member| member.behind == Some(0))
    };
    status.missing == 0 && status.partitions.iter().all(led)
}

/// Options of a client whose every batch must be answered.
fn patient() -> Options {
    with_deadline(PATIENCE)
}

/// Options of a client that soon asks anew where a partition is.
fn impatient() -> Options {
    with_deadline(Duration::from_secs(1))
}

fn with_deadline(deadline: Duration) -> Options {
    Options {
        deadline,
        ..Options::default()
    }
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// Puts all keys with `value` in front of their numbers; those that were not acknowledged, and may have taken effect.
async fn put_all(client: &Client, value: &str) -> Vec<u32> {
    let mut batch = Batch::new();
    for number in 0..KEYS {
        let value = format!("{value} {number}");
        batch.put(&key(number), value.as_bytes()).unwrap();
    }
    let answers = client.execute(batch).await;
    let missing = (0..KEYS).filter(|number| {
        let outcome = answers.get(*number as usize).unwrap();
        !matches!(outcome, Outcome::Stored)
    });
    missing.collect()
}

/// Reads all keys until each is answered: what `is_right` says of each value must hold.
async fn check_all(client: &Client, is_right: impl Fn(u32, Option<&str>) -> bool) {
    let end = Instant::now() + PATIENCE;
    let mut left: Vec<u32> = (0..KEYS).collect();
    while !left.is_empty() {
        assert!(Instant::now() < end, "{left:?} are never answered");
        let mut batch = Batch::new();
        for number in &left {
            batch.get(&key(*number)).unwrap();
        }
        let answers = client.execute(batch).await;
        let mut again = Vec::new();
        for (place, number) in left.iter().enumerate() {
            match answers.get(place).unwrap() {
                Outcome::Value(value) => {
                    let value = std::str::from_utf8(value).unwrap();
                    assert!(is_right(*number, Some(value)), "{number}: {value}");
                }
                Outcome::Missing => assert!(is_right(*number, None), "{number} is missing"),
                _ => again.push(*number),
            }
        }
        left = again;
    }
}

fn kill(server: Server) {
    let pid = server.pid().to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &pid])
            .status()
            .unwrap()
            .success()
    );
    drop(server);
}

#[test]
fn whoever_dies_what_was_acknowledged_is_there_and_the_rest_goes_on() {
    let first = bootstrap("3");
    let (second, third) = (join(first.address, &[]), join(first.address, &[]));
    let whole = until(first.address, "a whole cluster", is_whole);
    assert_eq!(whole.servers.len(), 3);
    assert_eq!(whole.partitions.len(), 16);
    runtime().block_on(async {
        let client = Client::connect(&[second.address.to_string()], patient())
            .await
            .unwrap();
        assert_eq!(put_all(&client, "one").await, [0; 0]);
        let any = Client::connect(&[third.address.to_string()], patient())
            .await
            .unwrap();
        check_all(&any, |number, value| {
            value == Some(&format!("one {number}"))
        })
        .await;

        let mut batch = Batch::new();
        batch.delete(&key(0)).unwrap();
        batch.delete(b"nothing").unwrap();
        let answers = client.execute(batch).await;
        assert!(matches!(
            answers.get(0).unwrap(),
            Outcome::Deleted { existed: true }
        ));
        assert!(matches!(
            answers.get(1).unwrap(),
            Outcome::Deleted { existed: false }
        ));

        // The leader of some partitions, and of the directory, dies.
        kill(first);
        let after = Client::connect(&[third.address.to_string()], impatient())
            .await
            .unwrap();
        check_all(&after, |number, value| match number {
            0 => value.is_none(),
            _ => value == Some(&format!("one {number}")),
        })
        .await;
        let unknown = put_all(&after, "two").await;
        check_all(&after, |number, value| {
            let two = format!("two {number}");
            value == Some(&two) || (unknown.contains(&number) && value != Some(""))
        })
        .await;
    });
    let left = until(third.address, "a death that is noticed", |status| {
        status.missing > 0
    });
    assert!(
        left.partitions
            .iter()
            .all(|partition| partition.group.leader.is_some())
    );
    second.stop();
    third.stop();
}
