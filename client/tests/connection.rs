//! Connections and their pumps over real sockets.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

mod common;

use batchkv_client::connect::{self, ConnectOptions};
use batchkv_client::connection::Connection;
use batchkv_client::exchange::{Exchange, Lost, NoExchange};
use batchkv_client::kind::{OperationKind, WrongKind};
use batchkv_client::protocol::control::FEATURE_STATUS;
use batchkv_client::protocol::{Answer, Control, PartitionMap, RequestWriter, ServerHello, Status};
use batchkv_client::pump::Pump;
use socket2::{Domain, SockRef, Socket, Type};
use std::net::{SocketAddr, TcpListener};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Small enough that a few values fill a direction.
const SOCKET_BUFFER_BYTES: usize = 4096;
const VALUE_BYTES: usize = 10_000;
const OPERATIONS: usize = 100;

/// Puts a key, then gets it, again and again: both directions carry large values.
struct Echo {
    map: PartitionMap,
    number: u32,
    values: usize,
    done: oneshot::Sender<Result<usize, Lost>>,
}

impl Exchange for Echo {
    fn operations(&self) -> usize {
        OPERATIONS
    }

    fn write(&mut self, index: usize, frame: &mut RequestWriter<'_>) -> bool {
        let key = self.number.to_le_bytes();
        let partition = self.map.partition_of(&key);
        if index % 2 == 1 {
            return frame.get(partition, 1, &key);
        }
        let room = frame.put(partition, 1, &key, VALUE_BYTES);
        room.map(|room| room.fill(index as u8)).is_some()
    }

    fn answer(&mut self, index: usize, answer: Answer<'_>) -> Result<(), WrongKind> {
        let kind = [OperationKind::Put, OperationKind::Get][index % 2];
        kind.check(&answer)?;
        if let Answer::Value(value) = answer {
            assert_eq!(value, [index as u8 - 1; VALUE_BYTES]);
            self.values += 1;
        }
        Ok(())
    }

    fn answered(&mut self, _operations: usize) {}

    fn ended(self, outcome: Result<(), Lost>) {
        let _ = self.done.send(outcome.map(|()| self.values));
    }
}

fn submit(connection: &Connection<Echo>, number: u32) -> oneshot::Receiver<Result<usize, Lost>> {
    let (done, outcome) = oneshot::channel();
    connection.submit(Echo {
        map: connection.map().clone(),
        number,
        values: 0,
        done,
    });
    outcome
}

async fn open(address: &str) -> (Connection<Echo>, Pump<Echo>) {
    let options = ConnectOptions::default();
    connect::open(address, &options).await.unwrap()
}

/// A listener and a client's socket, all with buffers as small as the system allows.
async fn tiny_buffers() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepted = SockRef::from(&listener); // what it accepts inherits these
    accepted.set_recv_buffer_size(SOCKET_BUFFER_BYTES).unwrap();
    accepted.set_send_buffer_size(SOCKET_BUFFER_BYTES).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).unwrap();
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    (listener, TcpStream::from_std(socket.into()).unwrap())
}

#[tokio::test]
async fn tiny_socket_buffers_and_many_large_requests_do_not_deadlock() {
    let (listener, stream) = tiny_buffers().await;
    let address = common::start_on(listener, 0, 1);
    let options = ConnectOptions::default();
    let (connection, pump) = connect::over(stream, &address, &options).await.unwrap();
    let pump = tokio::spawn(pump);
    let outcomes: Vec<_> = (0..20).map(|number| submit(&connection, number)).collect();
    for outcome in outcomes {
        assert_eq!(outcome.await.unwrap().unwrap(), OPERATIONS / 2);
    }
    let counts = connection.close().await.unwrap();
    assert_eq!(counts.served, counts.answered);
    assert_eq!(counts.answered.hits, 20 * OPERATIONS as u64 / 2);
    let value_bytes = counts.answered.hits * VALUE_BYTES as u64;
    let traffic = connection.traffic();
    assert!(traffic.bytes_sent > value_bytes && traffic.bytes_received > value_bytes);
    pump.await.unwrap();
}

#[tokio::test]
async fn what_was_submitted_finishes_after_the_handle_is_dropped() {
    let (connection, pump) = open(&common::start(0, 1)).await;
    let outcome = submit(&connection, 1);
    drop(connection);
    pump.await;
    assert_eq!(outcome.await.unwrap().unwrap(), OPERATIONS / 2);
}

#[tokio::test]
async fn a_dropped_pump_ends_every_request_as_not_sent() {
    let (connection, pump) = open(&common::start(0, 1)).await;
    let before = submit(&connection, 1);
    drop(pump);
    let after = submit(&connection, 2);
    for outcome in [before, after] {
        let lost = outcome.await.unwrap().unwrap_err();
        assert_eq!((lost.sent, lost.answered), (0, 0));
        let text = lost.cause.to_string();
        assert!(
            text.ends_with("the future that moves its bytes was dropped"),
            "{text}"
        );
    }
    assert!(connection.close().await.is_err());
}

#[tokio::test]
async fn a_server_that_dies_inside_a_frame_is_told_apart() {
    use batchkv_client::protocol::{AnswerWriter, Position, SendBuffer};
    use std::io::Write;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = common::start_with(listener, |mut peer| {
        peer.greet(common::hello(0, 1))?;
        let mut frames = 0;
        while frames < OPERATIONS / 2 * VALUE_BYTES {
            frames += peer.frame()?.map_or(0, |body| body.len());
        }
        let mut out = SendBuffer::default();
        for operation in 0..2 {
            let mut answers = AnswerWriter::begin(&mut out, 0);
            let position = Position {
                group: 0,
                operation,
            };
            let answer = [Answer::Stored, Answer::Missing][operation as usize];
            answers.answer(position, answer);
            answers.finish(false);
        }
        let cut = out.pending().len() - 1;
        peer.stream.write_all(&out.pending()[..cut])
    });
    let (connection, pump) = open(&address).await;
    let outcome = submit(&connection, 1);
    pump.await;
    let lost = outcome.await.unwrap().unwrap_err();
    assert_eq!((lost.sent, lost.answered), (OPERATIONS, 1));
    assert_eq!(lost.unknown(), OPERATIONS - 1);
    assert_eq!(
        lost.cause.to_string(),
        format!("connection to {address}: closed by the server in the middle of a frame")
    );
    assert_eq!(connection.answered().puts, 1);
}

#[tokio::test]
async fn a_server_that_lacks_what_was_asked_for_is_refused() {
    let options = ConnectOptions {
        server_time: true,
        ..ConnectOptions::default()
    };
    let opened = connect::open::<Echo>(&common::start(0, 1), &options).await;
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("lacks the features 0x4"), "{error}");
}

#[tokio::test]
async fn a_server_says_its_status_until_it_is_gone() {
    let address = common::start_with(common::listener(), |mut peer| {
        let hello = common::hello(0, 1);
        peer.greet(ServerHello {
            features: FEATURE_STATUS,
            ..hello
        })?;
        for machine in 1..=2 {
            let asked = peer.frame()?.unwrap();
            assert_eq!(Control::decode(&asked).unwrap(), Control::StatusRequest);
            peer.say(&Control::Status(Status {
                machine,
                ..Status::default()
            }))?;
        }
        peer.frame().map(drop)
    });
    let options = ConnectOptions {
        status: true,
        ..ConnectOptions::default()
    };
    let opened = connect::open::<NoExchange>(&address, &options).await;
    let (connection, pump) = opened.unwrap();
    let pump = tokio::spawn(pump);
    for machine in 1..=2 {
        let status = connection.status().await.unwrap().unwrap();
        assert_eq!(status.machine, machine);
    }
    let error = connection.status().await.unwrap_err().to_string();
    assert!(error.contains("closed by the server"), "{error}");
    pump.await.unwrap();
    assert!(connection.status().await.is_err());
}

#[tokio::test]
async fn a_server_that_says_no_status_is_no_fault() {
    let address = common::start(0, 1);
    let (connection, pump) = open(&address).await;
    let pump = tokio::spawn(pump);
    assert_eq!(connection.status().await.unwrap(), None);
    connection.close().await.unwrap();
    pump.await.unwrap();
}
