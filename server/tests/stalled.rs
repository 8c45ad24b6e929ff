//! Peers that ask for much and stop reading cost a server little each.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

mod common;

use std::process::Command;
use std::time::Instant;

use common::{PATIENCE, Peer, Server};

const PEERS: usize = 1000;
/// Gets of one request: their answers are several times what a socket holds.
const GETS: usize = 1000;
const VALUE_BYTES: usize = 1000;
/// A socket with this much in it has answers that its peer does not take.
const STUCK_BYTES_MIN: u64 = 16 << 10;
/// For all peers, resident and in sockets.
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

#[test]
fn a_thousand_peers_that_stop_reading_cost_little() {
    let server = Server::start(&["--threads", "2"]);
    let mut first = Peer::greeted(server.address);
    first.put(b"k", &[7; VALUE_BYTES]);
    let resident_before = server.status_kb("VmRSS") << 10;
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| Peer::greeted(server.address)).collect();
    for peer in &mut peers {
        let frames = peer.request(GETS, |_, place| place.get(b"k"));
        peer.send(&frames);
    }
    // Until nothing moves any more.
    let begin = Instant::now();
    let mut before = Vec::new();
    let sockets = loop {
        let now = socket_bytes(server.address.port());
        let is_stuck = |bytes: &&u64| **bytes >= STUCK_BYTES_MIN;
        let stuck = now.iter().filter(is_stuck).count();
        if stuck == PEERS && now == before {
            break now;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{stuck} of {PEERS} peers are stuck"
        );
        before = now;
        // A peer that reads is served beside them.
        first.get(b"k");
    };
    let resident = (server.status_kb("VmRSS") << 10) - resident_before;
    let in_sockets: u64 = sockets.iter().sum();
    assert!(
        resident + in_sockets <= COST_BYTES_MAX,
        "{resident} bytes resident and {in_sockets} in sockets"
    );
    // They are served on when they read again.
    for peer in peers.iter_mut().take(10) {
        assert_eq!(peer.answers(GETS).len(), GETS);
    }
}
