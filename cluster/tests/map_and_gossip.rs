//! What clients are told, and what servers tell each other.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::Directory;
use batchkv_cluster::directory::{Arrival, Command};
use batchkv_cluster::gossip::{Load, Told};
use batchkv_cluster::map::{epoch, map_frame, ownership, wanted};
use batchkv_cluster::placement::ServerState;
use batchkv_protocol::limits::{EPOCH_MAX, PARTITIONS_MAX};
use batchkv_protocol::map::Ownership;
use batchkv_protocol::{Control, LiveMap, SendBuffer};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
use std::collections::BTreeMap;

fn arrival(token: u128) -> Arrival {
    Arrival {
        token,
        address: format!("host{token}:8081"),
        peer_address: format!("host{token}:9081"),
        machine: 1,
    }
}

/// Servers 1 to 3 with indexes 0 to 2; partition 1 should be on servers 3 and 2.
fn directory() -> Directory {
    let mut directory = Directory::default();
    let first = Command::Bootstrap {
        cluster: 7,
        partitions: 2,
        replicas: 2,
        server: arrival(1),
    };
    directory.apply(first).unwrap();
    for token in [2, 3] {
        let join = Command::Join {
            cluster: None,
            server: arrival(token),
        };
        directory.apply(join).unwrap();
    }
    for server in 1..=3 {
        let state = ServerState::Up;
        directory
            .apply(Command::SetState { server, state })
            .unwrap();
    }
    place(&mut directory, &[], &[3, 2]);
    directory
}

fn place(directory: &mut Directory, before: &[u64], after: &[u64]) {
    let place = Command::Place {
        partition: 1,
        before: before.into(),
        after: after.into(),
    };
    directory.apply(place).unwrap();
}

fn remove(directory: &mut Directory, server: u64) {
    let remove = Command::Remove {
        server,
        accept_data_loss: false,
    };
    directory.apply(remove).unwrap();
}

#[test]
fn an_incarnation_is_above_all_terms_of_the_one_before() {
    assert_eq!(epoch(0, 5), 5);
    assert_eq!(epoch(2, 3), (2 << 40) + 3);
    assert!(epoch(1, u64::MAX) < epoch(2, 0));
    assert_eq!(epoch(u64::MAX, u64::MAX), EPOCH_MAX);
}

#[test]
fn a_map_begins_as_wanted_and_follows_whoever_leads() {
    let mut directory = directory();
    assert_eq!(wanted(&Directory::default()), None);
    let live = LiveMap::new(&wanted(&directory).unwrap());
    assert_eq!(live.ownership(1), Some(Ownership { owner: 2, epoch: 0 }));

    let second = ownership(&directory, 1, 2, 4).unwrap();
    assert!(live.offer(1, second));
    assert_eq!(live.ownership(1), Some(Ownership { owner: 1, epoch: 4 }));
    assert!(!live.offer(1, ownership(&directory, 1, 3, 3).unwrap()));

    let reset = Command::Reset {
        partition: 1,
        incarnation: 0,
        server: 3,
    };
    directory.apply(reset).unwrap();
    assert!(live.offer(1, ownership(&directory, 1, 3, 1).unwrap()));
    assert!(!live.offer(1, second));
    assert_eq!(ownership(&directory, 1, 9, 1), None);
    assert_eq!(ownership(&directory, 2, 1, 1), None);
}

#[test]
fn who_is_gone_owns_nothing_and_has_no_address() {
    let mut directory = directory();
    remove(&mut directory, 3);
    assert_eq!(ownership(&directory, 1, 3, 8), None);
    let owners = wanted(&directory).unwrap();
    assert_eq!(owners.ownership(1).unwrap().owner, 1);

    let map = map_frame(&directory, &owners, 9);
    let addresses: Vec<(u32, &str)> = map
        .servers
        .iter()
        .map(|server| (server.id, server.address.as_str()))
        .collect();
    assert_eq!(addresses, [(0, "host1:8081"), (1, "host2:8081")]);
    let mut out = SendBuffer::default();
    Control::Map(map.clone()).write(&mut out);
    assert_eq!(Control::decode(&out.pending()[4..]), Ok(Control::Map(map)));
}

fn read(texts: &[(&'static str, String)]) -> Result<Told, batchkv_cluster::Malformed> {
    let texts: BTreeMap<&str, &str> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    Told::from_texts(|name| texts.get(name).copied())
}

#[test]
fn golden_texts() {
    let told = Told {
        cluster: 0xABC,
        directory: 12,
        load: Load {
            operations_per_second: 1,
            records: 2,
            memory_bytes: 3,
        },
        leads: vec![(0, 7), (12, 1 << 40)],
    };
    let expected = [
        ("cluster", "00000000000000000000000000000abc"),
        ("directory", "12"),
        ("load", "1 2 3"),
        ("leads", "0:7 12:1099511627776"),
    ];
    assert_eq!(
        told.to_texts().map(|(name, text)| (name, text)),
        expected.map(|(name, text)| (name, text.to_owned()))
    );
    assert_eq!(read(&told.to_texts()), Ok(told));
    assert_eq!(read(&[]), Ok(Told::default()));
}

#[test]
fn texts_that_are_no_gossip_are_refused() {
    let last = PARTITIONS_MAX.to_string() + ":1";
    for (name, text) in [
        ("cluster", "xyz"),
        ("cluster", ""),
        ("directory", "-1"),
        ("load", "1 2"),
        ("load", "1 2 3 4"),
        ("load", "1  2 3"),
        ("leads", "1"),
        ("leads", "1:"),
        ("leads", "2:1 1:1"),
        ("leads", "1:1 1:2"),
        ("leads", &last),
    ] {
        assert!(read(&[(name, text.to_owned())]).is_err(), "{name} {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_told_is_what_is_heard(
        cluster in any::<u128>(),
        numbers in any::<[u64; 4]>(),
        leads in btree_map(0..PARTITIONS_MAX, any::<u64>(), 0..70),
    ) {
        let [directory, operations_per_second, records, memory_bytes] = numbers;
        let load = Load { operations_per_second, records, memory_bytes };
        let told = Told { cluster, directory, load, leads: leads.into_iter().collect() };
        prop_assert_eq!(read(&told.to_texts()), Ok(told));
    }

    #[test]
    fn no_text_panics(name in 0..4usize, text in vec(any::<char>(), 0..20)) {
        let name = Told::default().to_texts()[name].0;
        let _refused = read(&[(name, text.into_iter().collect())]);
    }
}
