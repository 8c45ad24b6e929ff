//! What broken, hostile and unlucky peers do to the real server: each gets an error or a closed
//! connection, memory stays bounded, nothing panics, and a well-behaved client beside them loses
//! no operation.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use batchkv_protocol::limits::{OPERATIONS_PER_REQUEST_MAX, VALUE_BYTES_MAX};
use batchkv_protocol::{Answer, Control, PartitionMap, Refusal, RequestWriter, SendBuffer};
use common::{Answered, Peer, Server, framed, hello};

const MISSING: Answered = Answered::Other(Answer::Missing);
const STORED: Answered = Answered::Other(Answer::Stored);

/// Runs `trouble` beside a client whose every operation must be answered rightly, before, during
/// and after; then the server must stop in order.
fn beside_a_good_client(arguments: &[&str], trouble: impl FnOnce(&Server)) {
    let server = Server::start(arguments);
    let mut good = Peer::greeted(server.address);
    assert_eq!(good.put(b"good", b"value"), STORED);
    trouble(&server);
    assert_eq!(good.get(b"good"), Answered::Value(b"value".to_vec()));
    assert_eq!(good.get(b"bad"), MISSING);
    assert_eq!(good.counters().executed(), 3);
    drop(good);
    server.stop_well();
}

/// What the server says to a peer that greets rightly and then sends `bytes`.
fn error_after_hello(server: &Server, bytes: &[u8]) -> String {
    let mut peer = Peer::greeted(server.address);
    peer.send(bytes);
    peer.receive_error()
}

fn error_for(server: &Server, bytes: &[u8]) -> String {
    let mut peer = Peer::silent(server.address);
    peer.send(bytes);
    peer.receive_error()
}

/// A frame with one get of "k" in its right group; offsets of its body:
/// tag 0, id 1, last 2, groups 3-4, partition 5, epoch 6, flags 7, operations 8-9, length 10-12,
/// operation tag 13, key length 14, key 15.
fn one_get() -> Vec<u8> {
    let partition = PartitionMap::fixed(256, 1).unwrap().partition_of(b"k");
    assert!(partition < 251, "the offsets assume a one-byte partition");
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 1);
    assert!(writer.get(partition, 1, b"k"));
    writer.finish(true);
    out.pending()[4..].to_vec()
}

#[test]
fn garbage_bytes() {
    beside_a_good_client(&[], |server| {
        let garbage: Vec<u8> = (0..4096_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        assert!(error_for(server, &garbage).contains("frame length"));
        assert!(error_after_hello(server, &framed(&garbage[1..100])).contains("unknown frame tag"));
        assert!(error_for(server, &framed(&[0; 40])).contains("hello"));
    });
}

#[test]
fn an_http_request() {
    beside_a_good_client(&[], |server| {
        let error = error_for(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(error.contains("frame length is 542393671"), "{error}");
    });
}

#[test]
fn half_a_frame_then_silence() {
    beside_a_good_client(&["--idle-timeout", "2"], |server| {
        let error = error_after_hello(server, &framed(&one_get())[..9]);
        assert!(error.contains("not complete within 2 s"), "{error}");
        let mut silent = Peer::silent(server.address);
        let error = silent.receive_error();
        assert!(
            error.contains("hello was not complete within 2 s"),
            "{error}"
        );
    });
}

#[test]
fn one_byte_at_a_time_does_not_stretch_the_limit() {
    beside_a_good_client(&["--idle-timeout", "0.5"], |server| {
        let mut peer = Peer::greeted(server.address);
        peer.stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        // A megabyte promised; far more than the time allows at this pace.
        let mut ended = false;
        for byte in framed(&vec![5; 1 << 20]).iter().take(500) {
            if peer.stream.write_all(&[*byte]).is_err() {
                ended = true;
                break;
            }
            match peer.stream.read(&mut [0; 256]) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => {
                    ended = true;
                    break;
                }
            }
        }
        assert!(ended, "the server waited for 500 bytes");
    });
}

#[test]
fn a_length_of_four_gib() {
    beside_a_good_client(&[], |server| {
        let before = server.status_kb("VmHWM");
        let error = error_after_hello(server, &u32::MAX.to_le_bytes());
        assert!(
            error.contains("frame length is 4294967295: allowed are 1 to"),
            "{error}"
        );
        assert!(server.status_kb("VmHWM") < before + 2048);
    });
}

#[test]
fn a_count_of_two_to_the_forty() {
    beside_a_good_client(&[], |server| {
        let mut body = one_get();
        body.splice(14..15, [253, 0, 0, 0, 0, 0, 1, 0, 0]);
        body[10] += 8;
        let error = error_after_hello(server, &framed(&body));
        assert!(
            error.contains("key length is 1099511627776: allowed are 0 to 65535"),
            "{error}"
        );
    });
}

#[test]
fn an_empty_key() {
    beside_a_good_client(&[], |server| {
        let mut body = one_get();
        body[14] = 0;
        let error = error_after_hello(server, &framed(&body));
        assert!(
            error.contains("key length is 0: allowed are 1 to 65535"),
            "{error}"
        );
    });
}

#[test]
fn a_key_in_the_wrong_group_spoils_its_whole_frame() {
    beside_a_good_client(&[], |server| {
        let map = PartitionMap::fixed(256, 1).unwrap();
        let mut out = SendBuffer::default();
        let mut writer = RequestWriter::begin(&mut out, 1);
        writer
            .put(map.partition_of(b"bad"), 1, b"bad", 1)
            .unwrap()
            .fill(1);
        assert!(writer.get(map.partition_of(b"k") ^ 1, 1, b"k"));
        writer.finish(true);
        let error = error_after_hello(server, out.pending());
        assert!(error.contains("stands in a group of partition"), "{error}");
        // The good client sees below that the put of "bad" before it was not applied.
    });
}

#[test]
fn a_flag_refuses_its_group_only() {
    beside_a_good_client(&[], |server| {
        let mut peer = Peer::greeted(server.address);
        for (flag, reason) in [(128, Refusal::UnknownFlag), (4, Refusal::NoCluster)] {
            let mut body = one_get();
            body[7] = flag;
            peer.send(&framed(&body));
            let refused = Answered::Other(Answer::Refused(reason));
            assert_eq!(peer.answers(1), [refused]);
        }
        assert_eq!(peer.get(b"k"), MISSING);
        assert_eq!(peer.counters().refused, 2);
    });
}

#[test]
fn another_protocol_version() {
    beside_a_good_client(&[], |server| {
        let error = error_for(server, &hello(2, 9));
        assert!(
            error.contains("versions 2 to 9") && error.contains("version 1"),
            "{error}"
        );
        assert!(error_after_hello(server, &hello(1, 1)).contains("hello once"));
        assert!(error_for(server, &framed(&one_get())).contains("first frame must be a hello"));
    });
}

#[test]
fn another_servers_partition_is_named() {
    let server = Server::start(&["--servers", "2", "--server-index", "1"]);
    let mut peer = Peer::greeted(server.address);
    let map = PartitionMap::fixed(256, 2).unwrap();
    let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    for key in &keys {
        let known = map.ownership(map.partition_of(key.as_bytes())).unwrap();
        let expected = if known.owner == 1 {
            MISSING
        } else {
            Answered::Other(Answer::WrongOwner(known))
        };
        assert_eq!(peer.get(key.as_bytes()), expected);
    }
    assert_eq!(peer.counters().gets + peer.counters().wrong_owner, 20);
    server.stop_well();
}

#[test]
fn huge_answers_for_a_client_that_never_reads() {
    beside_a_good_client(&[], |server| {
        let mut greedy = Peer::greeted(server.address);
        assert_eq!(greedy.put(b"huge", &vec![7; VALUE_BYTES_MAX]), STORED);
        let before = server.status_kb("VmRSS");
        let frames = greedy.request(OPERATIONS_PER_REQUEST_MAX, |_, place| place.get(b"huge"));
        greedy.send(&frames);
        // The server is at work on it while the good client goes on.
        let mut other = Peer::greeted(server.address);
        for _ in 0..100 {
            assert_eq!(other.get(b"bad"), MISSING);
        }
        let after = server.status_kb("VmHWM");
        assert!(after < before + 16 * 1024, "{before} kB became {after} kB");
    });
}

#[test]
fn a_thousand_idle_connections() {
    beside_a_good_client(&[], |server| {
        let before = server.status_kb("VmRSS");
        let mut idle: Vec<Peer> = (0..1000).map(|_| Peer::greeted(server.address)).collect();
        let after = server.status_kb("VmRSS");
        assert!(after < before + 100 * 1024, "{before} kB became {after} kB");
        assert_eq!(idle[999].get(b"bad"), MISSING);
    });
}

#[test]
fn more_connections_than_allowed() {
    beside_a_good_client(&["--max-connections", "2"], |server| {
        let second = Peer::greeted(server.address);
        let error = Peer::silent(server.address).receive_error();
        assert!(error.contains("2 connections are open"), "{error}");
        drop(second);
    });
}

#[test]
fn refused_connections_take_nobodys_place() {
    const ATTEMPTS: usize = 200;
    beside_a_good_client(&["--max-connections", "2", "--threads", "1"], |server| {
        let second = Peer::greeted(server.address);
        let third = Peer::silent(server.address).receive_error();
        assert!(third.contains("2 connections are open"), "{third}");
        drop(second);
        // The refused stay, and the server waits a while for each of them to close.
        let mut refused = Vec::new();
        while refused.len() < ATTEMPTS {
            let mut peer = Peer::silent(server.address);
            peer.send(&hello(1, 1));
            match peer.receive_control() {
                Control::ServerHello(_) => return,
                _ => refused.push(peer),
            }
        }
        panic!("the free place was not given to any of {ATTEMPTS}");
    });
}

#[test]
fn connect_and_close_storms() {
    beside_a_good_client(&[], |server| {
        for round in 0..2000 {
            let mut stream = TcpStream::connect(server.address).unwrap();
            let bytes = hello(1, 1);
            // Every point of a conversation's beginning is one at which somebody leaves.
            stream
                .write_all(&bytes[..round % (bytes.len() + 1)])
                .unwrap();
        }
    });
}

#[test]
fn a_reader_that_stops_is_cut_off_in_time() {
    beside_a_good_client(&["--idle-timeout", "0.3"], |server| {
        let mut stuck = Peer::greeted(server.address);
        assert_eq!(stuck.put(b"huge", &vec![7; VALUE_BYTES_MAX]), STORED);
        let frames = stuck.request(64, |_, place| place.get(b"huge"));
        stuck.send(&frames);
        // Unread answers end the connection: writing to it fails in the end.
        let probe = std::iter::repeat_n(framed(&one_get()), 1_000_000);
        let ended = probe
            .into_iter()
            .any(|bytes| stuck.stream.write_all(&bytes).is_err());
        assert!(ended, "the server kept a connection that does not read");
    });
}

#[test]
fn stopping_answers_what_was_read() {
    let server = Server::start(&[]);
    let mut peer = Peer::greeted(server.address);
    assert_eq!(peer.put(b"k", b"v"), STORED);
    let printed = server.stop_well();
    assert!(
        printed.contains("total: 0 gets (0 hits), 1 puts"),
        "{printed}"
    );
    assert!(printed.contains("dropped: 0 connections"), "{printed}");
    assert_eq!(peer.receive(), None);
}

#[test]
fn a_client_that_always_sends_does_not_put_off_the_end() {
    const REQUESTS_AHEAD: usize = 64;
    let server = Server::start(&[]);
    let mut peer = Peer::greeted(server.address);
    let request = peer.request(2000, |_, place| place.get(b"k"));
    peer.send(&request.repeat(REQUESTS_AHEAD));
    let talking = std::thread::spawn(move || {
        while peer.receive().is_some() {
            peer.send(&request);
        }
    });
    server.stop_well();
    // Cut off at the drain limit, the connection would have been reset, not ended.
    talking.join().unwrap();
}
