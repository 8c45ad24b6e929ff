//! Peers that ask for much and stop reading cost a server little each.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

mod common;

use std::io::{ErrorKind, Write};
use std::process::Command;
use std::time::Instant;

use batchkv_protocol::PartitionMap;
use common::{PATIENCE, Peer, Server};

const PEERS: usize = 1000;
/// Gets of one request, those of the standard job.
const GETS: usize = 8192;
const VALUE_BYTES: usize = 128;
const KEYS: usize = 1000;
/// Most requests that a peer sends: several times what a socket takes.
const REQUESTS_MAX: usize = 10;
/// A socket with this much in it has answers that its peer does not take.
const STUCK_BYTES_MIN: u64 = 16 << 10;
/// What may still change between two looks at peers that are all stuck.
const SETTLED_BYTES_MAX: u64 = 1 << 20;
/// For all peers together, resident and in sockets.
const COST_BYTES_MAX: u64 = 100 << 20;

/// Memory of each of the server's sockets, as the kernel accounts it: received, to send, and reserved.
fn socket_bytes(port: u16) -> Vec<u64> {
    let port = format!("sport = :{port}");
    let ss = Command::new("ss")
        .args(["-tmnHO", "state", "established", &port])
        .output()
        .expect("ss of iproute2");
    let lines = String::from_utf8(ss.stdout).unwrap();
    lines.lines().map(memory_bytes).collect()
}

fn memory_bytes(line: &str) -> u64 {
    let (_, memory) = line.split_once("skmem:(").unwrap();
    let (fields, _) = memory.split_once(')').unwrap();
    let bytes = |field: &str| field.strip_prefix(['r', 'w', 'f'])?.parse::<u64>().ok();
    fields.split(',').filter_map(bytes).sum()
}

/// What a peer has sent since it stopped reading.
#[derive(Default)]
struct Sent {
    requests: usize,
    /// The end of the last request, which the socket did not take.
    rest: Vec<u8>,
}

/// Keys in the order of their partitions, as a client sends them.
fn keys() -> Vec<String> {
    let map = PartitionMap::fixed(256, 1).unwrap();
    let mut keys: Vec<String> = (0..GETS).map(|get| (get % KEYS).to_string()).collect();
    keys.sort_by_key(|key| map.partition_of(key.as_bytes()));
    keys
}

/// Sends requests until the socket takes no more for now: a server that is busy may read on later.
fn send_on(peer: &mut Peer, keys: &[String], sent: &mut Sent) {
    peer.stream.set_nonblocking(true).unwrap();
    loop {
        if sent.rest.is_empty() {
            if sent.requests == REQUESTS_MAX {
                return;
            }
            sent.requests += 1;
            sent.rest = peer.request(GETS, |get, place| place.get(keys[get].as_bytes()));
        }
        match peer.stream.write(&sent.rest) {
            Ok(bytes) => drop(sent.rest.drain(..bytes)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Takes all answers.
fn read_on(peer: &mut Peer, sent: &Sent) {
    peer.stream.set_nonblocking(false).unwrap();
    for _ in 1..sent.requests {
        assert_eq!(peer.answers(GETS).len(), GETS);
    }
    peer.send(&sent.rest);
    assert_eq!(peer.answers(GETS).len(), GETS);
}

#[test]
fn a_thousand_peers_that_stop_reading_cost_little() {
    let server = Server::start(&["--threads", "2", "--idle-timeout", "600"]);
    let mut first = Peer::greeted(server.address);
    for key in 0..KEYS {
        first.put(key.to_string().as_bytes(), &[7; VALUE_BYTES]);
    }
    let keys = keys();
    let resident_before = server.status_kb("VmRSS") << 10;
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| Peer::greeted(server.address)).collect();
    // Half of them have read before, so all that grows with use has grown.
    for peer in peers.iter_mut().step_by(2) {
        let frames = peer.request(GETS, |get, place| place.get(keys[get].as_bytes()));
        peer.send(&frames);
        assert_eq!(peer.answers(GETS).len(), GETS);
    }
    let mut sent: Vec<Sent> = peers.iter().map(|_| Sent::default()).collect();
    // Not at once: what their sockets promised to take and then dropped is kept until it is sent again.
    let begin = Instant::now();
    let mut before = 0;
    loop {
        for (peer, sent) in peers.iter_mut().zip(&mut sent) {
            send_on(peer, &keys, sent);
        }
        let sockets = socket_bytes(server.address.port());
        let stuck = sockets.iter().filter(|bytes| **bytes >= STUCK_BYTES_MIN);
        let stuck = stuck.count();
        let resident = (server.status_kb("VmRSS") << 10) - resident_before;
        let now = resident + sockets.iter().sum::<u64>();
        let is_settled = now.abs_diff(before) < SETTLED_BYTES_MAX;
        if stuck == PEERS && is_settled && now <= COST_BYTES_MAX {
            break;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{stuck} of {PEERS} peers are stuck and all cost {now} bytes"
        );
        before = now;
        // A peer that reads is served beside them.
        first.get(b"1");
    }
    // They are served on when they read again.
    for (peer, sent) in peers.iter_mut().zip(&sent).step_by(PEERS / 10) {
        read_on(peer, sent);
    }
}
