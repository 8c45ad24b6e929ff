//! Owners that change while operations flow: each operation ends once, at the owner that took it.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use batchkv_protocol::control::FEATURE_MAP;
use batchkv_protocol::{
    Answer, AnswerFrame, Control, Hello, LiveMap, MapFrame, Ownership, PartitionMap, RequestWriter,
    Role, SendBuffer, ServerAddress,
};
use batchkv_server::config::Config;
use batchkv_server::executor::Immediate;
use batchkv_store::Partitioned;
use common::running::{Running, config};
use common::{PATIENCE, Peer, hello_offering};

const PARTITIONS: u32 = 16;
const SERVERS: u32 = 2;

/// Servers of one process, each of which knows where all are.
fn start(engines: [Partitioned; 2]) -> [Running; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses: Vec<ServerAddress> = (0..)
        .zip(&listeners)
        .map(|(id, listener)| ServerAddress {
            id,
            address: listener.local_addr().unwrap().to_string(),
        })
        .collect();
    let mut index = 0;
    let mut engines = engines.into_iter();
    listeners.map(|listener| {
        let server_index = index;
        index += 1;
        let config = Config {
            server_index,
            map: PartitionMap::fixed(PARTITIONS, SERVERS).unwrap(),
            addresses: addresses.clone(),
            ..config()
        };
        let engine = engines.next().unwrap();
        let executor = move |map| Immediate::new(engine, map, server_index);
        Running::start(listener, config, executor)
    })
}

fn engines() -> [Partitioned; 2] {
    [(); 2].map(|()| Partitioned::new(PARTITIONS, None))
}

fn receive_map(peer: &mut Peer) -> MapFrame {
    match peer.receive_control() {
        Control::Map(map) => map,
        other => panic!("{other:?}"),
    }
}

fn greeted(address: SocketAddr, features: u64) -> Peer {
    let mut peer = Peer::silent(address);
    peer.send(&hello_offering(features));
    match peer.receive_control() {
        Control::ServerHello(hello) => assert_eq!(hello.features, features),
        other => panic!("{other:?}"),
    }
    peer
}

#[test]
fn changes_are_sent_to_who_understands_them_and_to_nobody_else() {
    let servers = start(engines());
    let [first, second] = servers.each_ref().map(|server| server.address.to_string());
    let mut told = greeted(servers[0].address, FEATURE_MAP);
    let map = receive_map(&mut told);
    let addresses: Vec<&String> = map.servers.iter().map(|server| &server.address).collect();
    assert_eq!(addresses, [&first, &second]);
    let fixed = PartitionMap::fixed(PARTITIONS, SERVERS).unwrap();
    assert_eq!(map.partitions, fixed.partitions());

    let mut untold = greeted(servers[0].address, 0);
    let moved = Ownership { owner: 1, epoch: 5 };
    let offered = (0..4).map(|partition| (partition, moved));
    assert_eq!(servers[0].handle.map().offer(offered), 4);
    // It comes to a connection that says nothing, and all of the change at once.
    let changed = receive_map(&mut told);
    assert!(changed.version > map.version);
    assert_eq!(changed.partitions[..4], [moved; 4]);
    assert_eq!(changed.partitions[4..], map.partitions[4..]);
    // A lower epoch changes nothing, and a change of addresses comes too.
    let older = Ownership { owner: 0, epoch: 4 };
    assert_eq!(servers[0].handle.map().offer([(0, older)]), 0);
    servers[0].handle.map().set_servers(Vec::new());
    let moved = receive_map(&mut told);
    assert!(moved.servers.is_empty() && moved.partitions == changed.partitions);

    let mut ask = SendBuffer::default();
    Control::StatusRequest.write(&mut ask);
    untold.send(ask.pending());
    assert!(matches!(untold.receive_control(), Control::Status(_)));
    drop((told, untold));
    for server in servers {
        assert_eq!(server.stop().dropped, 0);
    }
}

#[test]
fn an_operator_asks_and_sends_no_operations_and_a_peer_is_turned_away() {
    let servers = start(engines());
    let say = |role| {
        let mut out = SendBuffer::default();
        Hello::new(role, 0).write(&mut out);
        let mut peer = Peer::silent(servers[0].address);
        peer.send(out.pending());
        peer
    };
    let mut operator = say(Role::Operator);
    assert!(matches!(
        operator.receive_control(),
        Control::ServerHello(_)
    ));
    assert_eq!(operator.counters().gets, 0);
    let get = operator.request(1, |_, place| place.get(b"k"));
    operator.send(&get);
    let error = operator.receive_error();
    assert!(error.contains("an operator sends no operations"), "{error}");

    let mut peer = say(Role::Peer {
        cluster: 1,
        from: 2,
        to: 3,
    });
    let error = peer.receive_error();
    assert!(error.contains("belongs to no cluster"), "{error}");
    drop((operator, peer));
    for server in servers {
        assert_eq!(server.stop().dropped, 0);
    }
}

#[test]
fn clients_are_counted_over_all_their_connections() {
    let servers = start(engines());
    let clients = || servers[0].handle.observer().snapshot().clients;
    let hello = |id| {
        let mut out = SendBuffer::default();
        Hello::new(Role::Client { id: [id; 16] }, 0).write(&mut out);
        let mut peer = Peer::silent(servers[0].address);
        peer.send(out.pending());
        assert!(matches!(peer.receive_control(), Control::ServerHello(_)));
        // The hello was taken note of before anything later is answered.
        peer.counters();
        peer
    };
    let peers = [1, 2, 1].map(hello);
    assert_eq!(clients(), 2);
    let [_one, two, _same] = peers;
    drop(two);
    let begin = Instant::now();
    while clients() > 1 {
        assert!(
            begin.elapsed() < PATIENCE,
            "a client that is gone is counted"
        );
    }
}

/// What a client of this test did, by its own count.
#[derive(Default)]
struct Sent {
    puts: u64,
    stored: [u64; 2],
    wrong_owner: u64,
}

/// Puts unique keys in batches to the owners that the map says; what was refused as another's is sent again.
fn put_keys(client: u64, batches: u64, addresses: [SocketAddr; 2], moves: &AtomicU64) -> Sent {
    const KEYS: u64 = 200;
    let map = LiveMap::new(&PartitionMap::fixed(PARTITIONS, SERVERS).unwrap());
    let mut peers = addresses.map(Peer::greeted);
    let mut sent = Sent::default();
    for batch in 0.. {
        // At least so many, and as long as owners are still to change.
        if batch >= batches && moves.load(Relaxed) == 0 {
            return sent;
        }
        let mut left: Vec<u64> = (0..KEYS)
            .map(|key| client << 40 | batch << 16 | key)
            .collect();
        sent.puts += KEYS;
        while !left.is_empty() {
            let owner = |key: &u64| {
                let partition = map.partition_of(&key.to_le_bytes());
                map.ownership(partition).unwrap().owner
            };
            let ask = std::mem::take(&mut left).into_iter();
            let (first, second): (Vec<u64>, _) = ask.partition(|key| owner(key) == 0);
            for (server, mine) in [first, second].into_iter().enumerate() {
                put_to(&mut peers[server], &map, server, mine, &mut left, &mut sent);
            }
        }
    }
    sent
}

/// Puts keys to one server; those that it refused are added to `left`.
fn put_to(
    peer: &mut Peer,
    map: &LiveMap,
    server: usize,
    mut keys: Vec<u64>,
    left: &mut Vec<u64>,
    sent: &mut Sent,
) {
    if keys.is_empty() {
        return;
    }
    keys.sort_by_key(|key| map.partition_of(&key.to_le_bytes()));
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, sent.puts);
    for key in &keys {
        let partition = map.partition_of(&key.to_le_bytes());
        let epoch = map.ownership(partition).unwrap().epoch;
        let room = writer.put(partition, epoch, &key.to_le_bytes(), 8);
        room.unwrap().copy_from_slice(&key.to_le_bytes());
    }
    writer.finish(true);
    peer.send(out.pending());
    // Groups are answered in order here, so answers are those of the keys as they were sent.
    let mut keys = keys.into_iter();
    let mut last = false;
    while !last {
        let body = peer.receive().unwrap();
        if let Ok(Control::Map(told)) = Control::decode(&body) {
            map.offer_all(&told.partitions);
            continue;
        }
        let mut frame = AnswerFrame::parse(&body).unwrap();
        last = frame.last;
        while frame.next_piece().unwrap().is_some() {
            while let Some(answer) = frame.next_answer().unwrap() {
                let key = keys.next().unwrap();
                match answer {
                    Answer::Stored => sent.stored[server] += 1,
                    Answer::WrongOwner(known) => {
                        map.offer(map.partition_of(&key.to_le_bytes()), known);
                        sent.wrong_owner += 1;
                        left.push(key);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(keys.next(), None);
}

#[test]
fn owners_change_under_load_and_every_operation_ends_once() {
    const CLIENTS: u64 = 3;
    const BATCHES: u64 = 100;
    const MOVES: u64 = 400;
    let servers = start(engines());
    let addresses = servers.each_ref().map(|server| server.address);
    let moves = Arc::new(AtomicU64::new(MOVES));
    let began = AtomicBool::new(false);
    let sent: Vec<Sent> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (moves, began) = (&moves, &began);
                scope.spawn(move || {
                    began.store(true, Relaxed);
                    put_keys(client, BATCHES, addresses, moves)
                })
            })
            .collect();
        for step in 1..=MOVES {
            // Both are told, one after the other: in between none of them owns the partition.
            let partition = (step as u32 * 7) % PARTITIONS;
            let owner = (step / u64::from(PARTITIONS) + step) as u32 % SERVERS;
            let change = [(
                partition,
                Ownership {
                    owner,
                    epoch: step + 1,
                },
            )];
            for server in &servers {
                assert_eq!(server.handle.map().offer(change), 1);
            }
            // Some operations are done between any two changes.
            let done = || -> u64 {
                let counters = servers
                    .each_ref()
                    .map(|server| server.handle.observer().snapshot().counters);
                counters.iter().map(|counters| counters.puts).sum()
            };
            let (before, begin) = (done(), Instant::now());
            while done() == before {
                assert!(begin.elapsed() < PATIENCE, "nothing is stored");
                std::thread::yield_now();
            }
            moves.fetch_sub(1, Relaxed);
        }
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let [first, second] = servers.map(Running::stop);
    let sum = |count: fn(&Sent) -> u64| sent.iter().map(count).sum::<u64>();
    assert_eq!(first.counters.puts, sum(|sent| sent.stored[0]));
    assert_eq!(second.counters.puts, sum(|sent| sent.stored[1]));
    assert_eq!(
        first.counters.puts + second.counters.puts,
        sum(|sent| sent.puts)
    );
    // Keys are put once each, so each is in one of the stores and in no other.
    assert_eq!(first.usage.records, first.counters.puts);
    assert_eq!(second.usage.records, second.counters.puts);
    let refused = first.counters.wrong_owner + second.counters.wrong_owner;
    assert_eq!(refused, sum(|sent| sent.wrong_owner));
    assert!(refused > 0, "no operation met a change");
}
