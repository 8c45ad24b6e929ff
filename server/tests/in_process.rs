//! The server as a function: sockets of the test's own making.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use batchkv_protocol::limits::{BUFFER_BYTES_MAX, FRAME_BYTES, SOCKET_SEND_BYTES, VALUE_BYTES_MAX};
use batchkv_protocol::{Answer, AnswerFrame, Answers, Control, Counters, PartitionMap};
use batchkv_server::config::{Config, EngineKind};
use batchkv_server::stats::Snapshot;
use batchkv_store::{Dashmap, Engine, Placed, Usage};
use common::{Answered, PATIENCE, Peer};
use tokio::sync::oneshot;

/// Runs `client` against a server on `listener`, which drops nothing, then stops the server and gives
/// its totals.
fn with_server(
    listener: TcpListener,
    buffer_bytes_max: u64,
    client: impl FnOnce(SocketAddr),
) -> Snapshot {
    let totals = with_engine(Dashmap::new(256, None), listener, buffer_bytes_max, client);
    assert_eq!(totals.dropped, 0);
    totals
}

fn with_engine(
    engine: impl Engine,
    listener: TcpListener,
    buffer_bytes_max: u64,
    client: impl FnOnce(SocketAddr),
) -> Snapshot {
    let address = listener.local_addr().unwrap();
    let config = Config {
        server_index: 0,
        map: PartitionMap::fixed(256, 1).unwrap(),
        addresses: Vec::new(),
        engine: EngineKind::Partitioned,
        threads: 1,
        max_memory_bytes: None,
        buffer_bytes_max,
        max_connections: 100,
        idle_timeout: Duration::from_secs(60),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime
            .block_on(batchkv_server::serve(
                config,
                engine,
                listener,
                |_| (),
                async { drop(stopped.await) },
            ))
            .unwrap()
    });
    client(address);
    stop.send(()).unwrap();
    let totals = server.join().unwrap();
    assert_eq!(totals.connections, 0);
    totals
}

/// An engine with a fault: it panics over the key "bad".
struct Faulty(Dashmap);

impl Engine for Faulty {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let bad = |placed: &Placed<'_>| placed.operation.key().bytes() == b"bad";
        assert!(!window.iter().any(bad), "the test's own panic");
        self.0.apply(window, answers, counters)
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }
}

#[test]
fn a_panic_ends_its_connection_only_and_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine = Faulty(Dashmap::new(256, None));
    let totals = with_engine(engine, listener, BUFFER_BYTES_MAX, |address| {
        let mut good = Peer::greeted(address);
        let mut unlucky = Peer::greeted(address);
        assert_eq!(good.put(b"k", b"v"), Answered::Other(Answer::Stored));
        let get = unlucky.request(1, |_, place| place.get(b"bad"));
        unlucky.send(&get);
        assert_eq!(unlucky.receive(), None);
        assert_eq!(good.get(b"k"), Answered::Value(b"v".to_vec()));
    });
    assert_eq!((totals.panics, totals.dropped), (1, 1));
}

#[test]
fn tiny_socket_buffers_on_both_sides_do_not_deadlock() {
    const REQUESTS: usize = 8;
    const OPERATIONS: usize = 200;
    const SOCKET_BYTES: usize = 16 << 10;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Accepted sockets inherit the listener's size; for sending the server sets its own.
    let socket = socket2::SockRef::from(&listener);
    socket.set_recv_buffer_size(SOCKET_BYTES).unwrap();
    with_server(listener, BUFFER_BYTES_MAX, |address| {
        let mut peer = Peer::greeted(address);
        let socket = socket2::SockRef::from(&peer.stream);
        socket.set_recv_buffer_size(SOCKET_BYTES).unwrap();
        socket.set_send_buffer_size(SOCKET_BYTES).unwrap();
        let value = vec![3; 1000];
        let mut frames = Vec::new();
        for _ in 0..REQUESTS {
            frames.extend(peer.request(OPERATIONS, |n, place| {
                place.put(n.to_string().as_bytes(), &value)
            }));
            frames.extend(peer.request(OPERATIONS, |n, place| place.get(n.to_string().as_bytes())));
        }
        assert!(frames.len() > 20 * FRAME_BYTES && frames.len() > 4 * SOCKET_SEND_BYTES);
        let mut sender = peer.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || sender.write_all(&frames));
        for _ in 0..REQUESTS {
            let stored = peer.answers(OPERATIONS);
            assert!(
                stored
                    .iter()
                    .all(|answer| *answer == Answered::Other(Answer::Stored))
            );
            let read = peer.answers(OPERATIONS);
            assert!(
                read.iter()
                    .all(|answer| *answer == Answered::Value(value.clone()))
            );
        }
        sending.join().unwrap().unwrap();
    });
}

#[test]
fn half_frames_hold_no_more_than_the_budget() {
    const BUDGET_BYTES: u64 = 8 << 20;
    const GREEDY: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    with_server(listener, BUDGET_BYTES, |address| {
        let mut good = Peer::greeted(address);
        assert_eq!(good.put(b"k", b"v"), Answered::Other(Answer::Stored));
        let mut greedy: Vec<Peer> = (0..GREEDY).map(|_| Peer::greeted(address)).collect();
        let frame = greedy[0].request(1, |_, place| place.put(b"huge", &vec![1; VALUE_BYTES_MAX]));
        for peer in &mut greedy {
            peer.send(&frame[..frame.len() - 1]);
        }
        // At most seven such frames fit the budget: the others are told so while the server goes on.
        let told = |peer: &&Peer| {
            peer.stream.set_nonblocking(true).unwrap();
            let told = peer.stream.peek(&mut [0]).is_ok();
            peer.stream.set_nonblocking(false).unwrap();
            told
        };
        while greedy.iter().filter(told).count() < GREEDY - 7 {
            assert_eq!(good.get(b"k"), Answered::Value(b"v".to_vec()));
        }
        // Each of the others ends its frame and is answered, or was turned away as well by then.
        for peer in &mut greedy {
            peer.stream.write_all(&frame[frame.len() - 1..]).ok();
            let body = peer.receive().expect("an answer or a reason");
            match Control::decode(&body) {
                Ok(Control::Error(error)) => {
                    assert!(error.text.contains("memory for connections is used up"))
                }
                _ => assert!(AnswerFrame::parse(&body).unwrap().last),
            }
        }
        assert_eq!(good.get(b"k"), Answered::Value(b"v".to_vec()));
    });
}

#[test]
fn a_quiet_connection_gives_its_part_of_the_budget_back() {
    // Enough for the buffer that a connection reads into, too little for those of two.
    const BUDGET_BYTES: u64 = 6 << 10;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    with_server(listener, BUDGET_BYTES, |address| {
        let mut quiet = Peer::greeted(address);
        assert_eq!(quiet.put(b"k", b"v"), Answered::Other(Answer::Stored));
        let is_served = || {
            let mut other = Peer::greeted(address);
            // Beyond the budget, the reason follows the hello.
            let get = other.request(1, |_, place| place.get(b"k"));
            other.send(&get);
            AnswerFrame::parse(&other.receive().expect("an answer or a reason")).is_ok()
        };
        let started = Instant::now();
        while !is_served() {
            assert!(started.elapsed() < PATIENCE, "nothing was given back");
        }
        assert_eq!(quiet.get(b"k"), Answered::Value(b"v".to_vec()));
    });
}

#[test]
fn bytes_of_last_words_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut error_bytes = 0;
    let totals = with_server(listener, BUFFER_BYTES_MAX, |address| {
        let mut peer = Peer::silent(address);
        peer.send(&[0; 4]);
        error_bytes = peer.stream.read_to_end(&mut Vec::new()).unwrap();
    });
    assert_eq!(totals.bytes_received, 4);
    assert_eq!(totals.bytes_sent, error_bytes as u64);
}
