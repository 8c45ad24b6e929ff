//! Real server programs as a cluster: what was acknowledged is there, whoever dies.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
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

/// Options of a client that soon asks anew where a partition is, and waits for each server as long as it takes.
fn options() -> Options {
    let mut options = Options {
        deadline: Duration::from_secs(1),
        ..Options::default()
    };
    options.connect.connect_time = PATIENCE;
    options.connect.silence_time = PATIENCE;
    options
}

async fn connect(server: SocketAddr) -> Client {
    Client::connect(&[server.to_string()], options())
        .await
        .unwrap()
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// Puts all keys with `value` in front of their numbers, again and again until each is acknowledged.
async fn put_all(client: &Client, value: &str) {
    let end = Instant::now() + PATIENCE;
    let mut left: Vec<u32> = (0..KEYS).collect();
    while !left.is_empty() {
        assert!(Instant::now() < end, "{left:?} are never acknowledged");
        let mut batch = Batch::new();
        for number in &left {
            let value = format!("{value} {number}");
            batch.put(&key(*number), value.as_bytes()).unwrap();
        }
        let answers = client.execute(batch).await;
        let mut outcomes = answers.iter();
        left.retain(|_| !matches!(outcomes.next(), Some(Outcome::Stored)));
    }
}

/// Deletes a key until that is acknowledged; whether the first answer says that it was there, if the first was one.
async fn delete(client: &Client, key: &[u8]) -> Option<bool> {
    let end = Instant::now() + PATIENCE;
    let mut tries = 0;
    loop {
        assert!(Instant::now() < end, "the delete is never acknowledged");
        let mut batch = Batch::new();
        batch.delete(key).unwrap();
        let answers = client.execute(batch).await;
        if let Some(Outcome::Deleted { existed }) = answers.get(0) {
            return (tries == 0).then_some(existed);
        }
        tries += 1;
    }
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

/// Has a partition handed to a server, by whoever leads it at the moment.
fn lead(any: SocketAddr, partition: u32, to: u64) {
    let end = Instant::now() + PATIENCE;
    let mut ask = any;
    loop {
        assert!(
            Instant::now() < end,
            "{to} never leads partition {partition}"
        );
        match operate(ask, OperatorRequest::Transfer { partition, to }) {
            OperatorAnswer::Done => return,
            OperatorAnswer::NotHere { address } => ask = address.parse().unwrap(),
            // Its leader changes, or is not known.
            _ => ask = any,
        }
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
        let client = connect(second.address).await;
        put_all(&client, "one").await;
        let any = connect(third.address).await;
        check_all(&any, |number, value| {
            value == Some(&format!("one {number}"))
        })
        .await;
        assert_ne!(delete(&client, &key(0)).await, Some(false));
        assert_ne!(delete(&client, b"nothing").await, Some(true));

        // The leader of some partitions, and of the directory, dies.
        kill(first);
        let after = connect(third.address).await;
        check_all(&after, |number, value| match number {
            0 => value.is_none(),
            _ => value == Some(&format!("one {number}")),
        })
        .await;
        put_all(&after, "two").await;
        check_all(&after, |number, value| {
            value == Some(&format!("two {number}"))
        })
        .await;
    });
    until(third.address, "a death that is noticed", |status| {
        let mut groups = status.partitions.iter().map(|partition| &partition.group);
        status.missing > 0 && groups.all(|group| group.leader.is_some())
    });
    second.stop();
    third.stop();
}

/// What a server says that does not start, and its exit code.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_batchkv-server"));
    let output = command.args(arguments).output().unwrap();
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn what_a_cluster_cannot_be_started_with_is_said() {
    for (line, text) in [
        ("--cluster", "--bootstrap"),
        ("--bootstrap", "add --cluster"),
        ("--join 127.0.0.1:1", "add --cluster"),
        (
            "--cluster --bootstrap --join 127.0.0.1:1",
            "first server alone",
        ),
        ("--cluster --bootstrap --replicas 0", "1"),
        ("--cluster --bootstrap --replicas 8", "7"),
        (
            "--cluster --join 127.0.0.1:1 --partitions 16",
            "leave it out",
        ),
        ("--cluster --join 127.0.0.1:1 --replicas 3", "leave it out"),
        (
            "--cluster --join 127.0.0.1:7 --listen 127.0.0.1:7",
            "own --listen",
        ),
        ("--cluster --join nobody", "HOST:PORT"),
        ("--cluster --bootstrap --servers 3", "--servers"),
        ("--cluster --bootstrap --partitions 12", "power of two"),
        (
            "--cluster --bootstrap --listen 0.0.0.0:1 --allow-public",
            "--listen",
        ),
        (
            "--cluster --bootstrap --peer-listen 8.8.8.8:1",
            "--allow-public",
        ),
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (code, said) = failure(&words);
        assert!(
            code == Some(2) && said.contains(text),
            "{line}: {code:?} {said}"
        );
    }
    let alone = Server::start(&[]);
    let address = alone.address.to_string();
    let arguments = ["--cluster", "--join", &address, "--listen", "127.0.0.1:0"];
    let (code, said) = failure(&arguments);
    assert!(
        code == Some(1) && said.contains("belongs to no cluster"),
        "{code:?} {said}"
    );
    let taken = [
        "--cluster",
        "--bootstrap",
        "--listen",
        "127.0.0.1:0",
        "--peer-listen",
        &address,
    ];
    let (code, said) = failure(&taken);
    assert!(
        code == Some(1) && said.contains("--peer-listen"),
        "{code:?} {said}"
    );
}

#[test]
fn who_stops_hands_over_first_and_its_new_self_takes_its_place() {
    let first = Server::start(&["--cluster", "--bootstrap", "--dead-secs", "60"]);
    let more = ["--dead-secs", "60"];
    let (second, third) = (join(first.address, &more), join(first.address, &more));
    until(first.address, "a whole cluster", is_whole);
    runtime().block_on(async { put_all(&connect(second.address).await, "one").await });
    let address = first.address;
    let (ended, _, complaints) = first.stop();
    assert!(ended.success(), "{ended}: {complaints}");
    until(second.address, "other leaders", |status| {
        let leaders = status
            .partitions
            .iter()
            .map(|partition| partition.group.leader);
        { leaders }.all(|leader| leader.is_some_and(|leader| leader != 1))
    });

    let listen = address.to_string();
    let again = join(second.address, &["--dead-secs", "60", "--listen", &listen]);
    let whole = until(third.address, "a replacement", |status| {
        is_whole(status) && status.servers.iter().all(|server| server.id != 1)
    });
    assert_eq!(whole.servers.len(), 3);
    let new = whole
        .servers
        .iter()
        .find(|server| server.address == listen)
        .unwrap();
    assert_eq!((new.id, new.holds), (4, 16));

    lead(again.address, 0, new.id);
    let unknown = OperatorRequest::Transfer {
        partition: 99,
        to: new.id,
    };
    let answer = operate(again.address, unknown);
    assert!(
        matches!(answer, OperatorAnswer::Refused { .. }),
        "{answer:?}"
    );

    runtime().block_on(async {
        let client = connect(again.address).await;
        check_all(&client, |number, value| {
            value == Some(&format!("one {number}"))
        })
        .await;
    });
    for server in [again, second, third] {
        let (status, _, complaints) = server.stop();
        assert!(status.success(), "{status}: {complaints}");
    }
}

/// The first line of what is answered to `GET path`.
fn asked(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer.trim_end().to_owned()
}

#[test]
fn a_server_says_that_it_lives_and_that_it_is_ready() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_batchkv-server"))
        .args(["--cluster", "--bootstrap", "--listen", "127.0.0.1:0"])
        .args(["--metrics-listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let metrics = lines.next().unwrap().unwrap();
    let address = metrics.strip_prefix("metrics http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap();
    assert!(lines.next().unwrap().unwrap().starts_with("ready "));
    for (path, answer) in [
        ("/live", "HTTP/1.1 200 OK"),
        ("/ready", "HTTP/1.1 200 OK"),
        ("/metrics", "HTTP/1.1 200 OK"),
        ("/other", "HTTP/1.1 404 Not Found"),
    ] {
        assert_eq!(asked(address, path), answer, "{path}");
    }
    server.kill().unwrap();
    server.wait().unwrap();
}
