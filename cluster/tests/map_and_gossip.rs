//! What clients are told, and what servers tell each other.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::Directory;
use batchkv_cluster::directory::{Arrival, Command};
use batchkv_cluster::gossip::{Led, Load, Member, Told};
use batchkv_cluster::limits::CAUGHT_UP_ENTRIES;
use batchkv_cluster::map::{addresses, epoch, ownership, term, wanted};
use batchkv_cluster::placement::ServerState;
use batchkv_consensus::{MemberStatus, Role, Status};
use batchkv_protocol::LiveMap;
use batchkv_protocol::limits::{EPOCH_MAX, PARTITIONS_MAX};
use batchkv_protocol::map::Ownership;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};

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
    assert_eq!(term(epoch(2, 3)), 3);
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

    let addresses = addresses(&directory);
    let addresses: Vec<(u32, &str)> = addresses
        .iter()
        .map(|server| (server.id, server.address.as_str()))
        .collect();
    assert_eq!(addresses, [(0, "host1:8081"), (1, "host2:8081")]);
}

fn told() -> Told {
    Told {
        directory: 12,
        load: Load {
            operations_per_second: 1,
            records: 2,
            memory_bytes: 300,
        },
        is_leaving: true,
        leads: vec![Led {
            partition: 5,
            incarnation: 1,
            term: 7,
            last: 9,
            members: vec![Member {
                server: 3,
                votes: true,
                behind: Some(4),
            }],
        }],
    }
}

#[test]
fn golden_bytes() {
    let bytes = [1, 12, 1, 2, 251, 44, 1, 1, 1, 5, 1, 7, 9, 1, 3, 1, 1, 4];
    assert_eq!(told().encode(), bytes);
    assert_eq!(Told::decode(&bytes), Ok(told()));
}

#[test]
fn what_is_no_gossip_is_refused() {
    let led = |partition| Led {
        partition,
        ..Led::default()
    };
    for leads in [
        vec![led(1), led(1)],
        vec![led(2), led(1)],
        vec![led(PARTITIONS_MAX)],
    ] {
        let told = Told {
            leads,
            ..Told::default()
        };
        assert!(Told::decode(&told.encode()).is_err(), "{told:?}");
    }
    let bytes = told().encode();
    for length in 0..bytes.len() {
        assert!(Told::decode(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn only_a_leader_tells_of_its_group() {
    let mut status = Status::default();
    assert_eq!(Led::of(3, 0, &status), None);
    status.role = Role::Leader;
    status.term = 4;
    status.last = 100;
    let member = |id, voter, matched| MemberStatus {
        id,
        address: "a:1".into(),
        voter,
        matched,
    };
    status.members = [
        member(1, true, Some(100)),
        member(2, true, Some(90)),
        member(4, false, Some(100 - CAUGHT_UP_ENTRIES - 1)),
        member(5, false, Some(100 - CAUGHT_UP_ENTRIES)),
        member(6, false, None),
    ]
    .into();
    let led = Led::of(3, 0, &status).unwrap();
    assert_eq!(led.member(2).unwrap().behind, Some(10));
    let group = led.group(1);
    assert_eq!((group.leader, group.voters), (Some(1), vec![1, 2]));
    let learners: Vec<_> = group
        .learners
        .iter()
        .map(|learner| (learner.server, learner.is_caught_up))
        .collect();
    assert_eq!(learners, [(4, false), (5, true), (6, false)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_noise_panics(bytes in vec(any::<u8>(), 0..60)) {
        let _refused = Told::decode(&bytes);
        let _refused = Told::decode(&[&[1], &bytes[..]].concat());
    }
}
