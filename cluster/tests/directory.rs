//! The directory: what it refuses, and what holds after any commands.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::Directory;
use batchkv_cluster::directory::{Arrival, Command, Refusal, Reply, Server};
use batchkv_cluster::limits::{REPLICAS_MAX, SERVERS_MAX};
use batchkv_cluster::placement::ServerState;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use std::collections::{BTreeMap, BTreeSet};

fn arrival(token: u128) -> Arrival {
    Arrival {
        token,
        address: format!("10.0.0.{token}:8081"),
        peer_address: format!("10.0.0.{token}:9081"),
        machine: token as u64,
    }
}

fn bootstrap(cluster: u128, token: u128) -> Command {
    Command::Bootstrap {
        cluster,
        partitions: 4,
        replicas: 3,
        server: arrival(token),
    }
}

fn join(token: u128) -> Command {
    Command::Join {
        cluster: None,
        server: arrival(token),
    }
}

fn set_state(server: u64, state: ServerState) -> Command {
    Command::SetState { server, state }
}

fn place(partition: u32, before: &[u64], after: &[u64]) -> Command {
    Command::Place {
        partition,
        before: before.into(),
        after: after.into(),
    }
}

fn remove(server: u64) -> Command {
    Command::Remove {
        server,
        accept_data_loss: false,
    }
}

/// Cluster 7 of servers 1 to 3, all up, with tokens 11 to 13.
fn three_up() -> Directory {
    let mut directory = Directory::default();
    directory.apply(bootstrap(7, 11)).unwrap();
    for token in [12, 13] {
        directory.apply(join(token)).unwrap();
    }
    for id in 1..=3 {
        directory.apply(set_state(id, ServerState::Up)).unwrap();
    }
    directory
}

fn ids(directory: &Directory) -> Vec<u64> {
    directory.servers().iter().map(|server| server.id).collect()
}

#[test]
fn a_cluster_is_bootstrapped_once_and_asking_again_is_no_second_time() {
    let mut directory = Directory::default();
    assert_eq!(directory.apply(join(12)), Err(Refusal::NotBootstrapped));
    let joined = |is_new| Reply::Joined {
        cluster: 7,
        server: 1,
        is_new,
    };
    assert_eq!(directory.apply(bootstrap(7, 11)), Ok(joined(true)));
    assert_eq!(directory.apply(bootstrap(7, 11)), Ok(joined(false)));
    let refused = Err(Refusal::AlreadyBootstrapped { cluster: 7 });
    assert_eq!(directory.apply(bootstrap(8, 11)), refused);
    assert_eq!(directory.apply(bootstrap(7, 12)), refused);
    assert_eq!(directory.version(), 1);
    assert_eq!((directory.cluster(), directory.replicas()), (Some(7), 3));
}

#[test]
fn a_server_that_asks_twice_has_one_id_and_one_that_starts_again_has_another() {
    let mut directory = three_up();
    let expected = |server, is_new| {
        Ok(Reply::Joined {
            cluster: 7,
            server,
            is_new,
        })
    };
    assert_eq!(directory.apply(join(12)), expected(2, false));
    assert_eq!(directory.apply(join(99)), expected(4, true));
    directory.apply(remove(4)).unwrap();
    assert_eq!(directory.apply(join(99)), expected(5, true));
    assert_eq!(ids(&directory), [1, 2, 3, 5]);
    assert_eq!(directory.server(5).unwrap().index, 3);
    assert_eq!(directory.server(4), None);
}

#[test]
fn servers_of_other_clusters_are_refused() {
    let mut directory = three_up();
    let with_data = |cluster| Command::Join {
        cluster: Some(cluster),
        server: arrival(50),
    };
    let refused = Err(Refusal::OtherCluster { cluster: 7 });
    assert_eq!(directory.apply(with_data(8)), refused);
    assert!(directory.apply(with_data(7)).is_ok());
}

#[test]
fn a_placement_names_the_whole_of_what_it_replaces() {
    let mut directory = three_up();
    directory.apply(place(1, &[], &[1, 2])).unwrap();
    assert_eq!(
        directory.apply(place(1, &[1], &[1, 3])),
        Err(Refusal::Changed)
    );
    directory.apply(place(1, &[1, 2], &[1, 3])).unwrap();
    assert_eq!(directory.partitions()[1].replicas, [1, 3]);
    let refusals = [
        (
            place(4, &[], &[1]),
            Refusal::UnknownPartition { partition: 4 },
        ),
        (place(0, &[], &[1, 1]), Refusal::NamedTwice { server: 1 }),
        (place(0, &[], &[9]), Refusal::UnknownServer { server: 9 }),
        (place(0, &[], &[]), Refusal::Replicas(0)),
    ];
    for (command, refusal) in refusals {
        assert_eq!(directory.apply(command), Err(refusal));
    }
    directory.apply(join(50)).unwrap();
    assert_eq!(
        directory.apply(place(0, &[], &[4])),
        Err(Refusal::NotUp { server: 4 })
    );
}

#[test]
fn a_server_that_drains_keeps_what_it_has_and_gets_nothing() {
    let mut directory = three_up();
    directory.apply(place(0, &[], &[1, 2])).unwrap();
    directory
        .apply(set_state(2, ServerState::Draining))
        .unwrap();
    assert_eq!(
        directory.apply(place(1, &[], &[2])),
        Err(Refusal::NotUp { server: 2 })
    );
    directory.apply(place(0, &[1, 2], &[3, 2])).unwrap();
    directory.apply(set_state(2, ServerState::Up)).unwrap();
    let refused = directory.apply(set_state(2, ServerState::Joining));
    let expected = Refusal::NotFromHere {
        before: ServerState::Up,
        after: ServerState::Joining,
    };
    assert_eq!(refused, Err(expected));
}

#[test]
fn the_last_copy_is_given_up_only_when_that_is_accepted() {
    let mut directory = three_up();
    directory.apply(place(0, &[], &[1, 2])).unwrap();
    directory.apply(place(3, &[], &[1])).unwrap();
    assert_eq!(
        directory.apply(remove(1)),
        Err(Refusal::LastCopy { partitions: 1 })
    );
    directory
        .apply(Command::Remove {
            server: 1,
            accept_data_loss: true,
        })
        .unwrap();
    assert_eq!(
        directory.apply(remove(2)),
        Err(Refusal::LastCopy { partitions: 1 })
    );
    // Still there for whoever replaces it, and gone when nobody names it.
    assert_eq!(directory.server(1).unwrap().state, ServerState::Gone);
    assert_eq!(directory.apply(remove(1)), Ok(Reply::Unchanged));
    directory.apply(place(0, &[1, 2], &[3, 2])).unwrap();
    directory
        .apply(Command::Reset {
            partition: 3,
            incarnation: 0,
            server: 2,
        })
        .unwrap();
    assert_eq!(ids(&directory), [2, 3]);
    assert_eq!(directory.partitions()[3].incarnation, 1);
    let again = Command::Reset {
        partition: 3,
        incarnation: 0,
        server: 2,
    };
    assert_eq!(directory.apply(again), Err(Refusal::Changed));
}

#[test]
fn numbers_and_addresses_have_limits_that_the_refusals_name() {
    let mut directory = Directory::default();
    let first = |partitions, replicas, address: &str| Command::Bootstrap {
        cluster: 7,
        partitions,
        replicas,
        server: Arrival {
            address: address.to_owned(),
            ..arrival(1)
        },
    };
    let long = "a".repeat(300);
    for (command, refusal) in [
        (first(12, 3, "a:1"), Refusal::Partitions(12)),
        (first(0, 3, "a:1"), Refusal::Partitions(0)),
        (first(16, 0, "a:1"), Refusal::Replicas(0)),
        (
            first(16, REPLICAS_MAX + 1, "a:1"),
            Refusal::Replicas(REPLICAS_MAX + 1),
        ),
        (first(16, 3, ""), Refusal::Address(0)),
        (first(16, 3, &long), Refusal::Address(300)),
    ] {
        assert_eq!(directory.apply(command), Err(refusal));
    }
    assert_eq!(
        Refusal::Replicas(8).to_string(),
        "8 replicas: must be from 1 to 7"
    );
    directory.apply(first(16, 3, "a:1")).unwrap();
    for token in 2..=u128::from(SERVERS_MAX) {
        directory.apply(join(token)).unwrap();
    }
    assert_eq!(directory.apply(join(5000)), Err(Refusal::TooManyServers));
}

#[test]
fn golden_bytes() {
    let command = join(3);
    let expected = [
        &[1, 1, 0, 3, 13][..],
        b"10.0.0.3:8081",
        &[13],
        b"10.0.0.3:9081",
        &[3],
    ]
    .concat();
    assert_eq!(command.encode(), expected);
    assert_eq!(Command::decode(&expected).unwrap(), command);

    assert_eq!(Directory::default().encode(), [1, 0]);
    let mut directory = Directory::default();
    directory.apply(bootstrap(7, 3)).unwrap();
    directory.apply(set_state(1, ServerState::Up)).unwrap();
    directory.apply(place(1, &[], &[1])).unwrap();
    let expected = [
        &[1, 1, 7, 3, 3, 2][..], // format, bootstrapped, cluster, version, replicas, next server
        &[1, 1, 0],              // one server: id, index
        &expected[3..],
        &[1],                                        // up
        &[4, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], // four partitions: replicas, founder, incarnation
    ]
    .concat();
    assert_eq!(directory.encode(), expected);
    assert_eq!(Directory::decode(&expected).unwrap(), directory);
}

#[test]
fn damaged_images_are_refused_or_give_a_directory() {
    let mut directory = three_up();
    directory.apply(place(1, &[], &[1, 3])).unwrap();
    let image = directory.encode();
    for end in 0..image.len() {
        assert!(Directory::decode(&image[..end]).is_err(), "cut at {end}");
    }
    for at in 0..image.len() {
        for bit in 0..8 {
            let mut flipped = image.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(directory) = Directory::decode(&flipped) {
                assert_eq!(Directory::decode(&directory.encode()).unwrap(), directory);
            }
        }
    }
}

fn state() -> impl Strategy<Value = ServerState> {
    prop_oneof![
        1 => Just(ServerState::Joining),
        4 => Just(ServerState::Up),
        2 => Just(ServerState::Draining),
        1 => Just(ServerState::Gone),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let replicas = || vec(0..8u64, 0..4);
    prop_oneof![
        1 => (6..9u128, 0..12u128).prop_map(|(cluster, token)| bootstrap(cluster, token)),
        4 => (option::of(6..9u128), 0..12u128)
            .prop_map(|(cluster, token)| Command::Join { cluster, server: arrival(token) }),
        6 => (0..8u64, state()).prop_map(|(server, state)| set_state(server, state)),
        2 => (0..8u64, any::<bool>()).prop_map(|(server, accept_data_loss)| Command::Remove {
            server,
            accept_data_loss,
        }),
        1 => (0..9u32).prop_map(|replicas| Command::SetReplicas { replicas }),
        // Often what is there: `check` fills it in.
        6 => (0..5u32, replicas()).prop_map(|(partition, after)| place(partition, &[], &after)),
        1 => (0..5u32, 0..2u64, 0..8u64).prop_map(|(partition, incarnation, server)| {
            Command::Reset { partition, incarnation, server }
        }),
    ]
}

/// What must hold between a directory and the one that it became.
fn check_step(before: &Directory, after: &Directory, is_change: bool) {
    if is_change {
        assert_eq!(after.version(), before.version() + 1);
    } else {
        assert_eq!(after, before);
    }
    assert!(before.cluster().is_none() || before.cluster() == after.cluster());
    for (old, new) in before.partitions().iter().zip(after.partitions()) {
        assert!(new.incarnation >= old.incarnation);
    }
    for old in before.servers() {
        let new = after.server(old.id).map(|server| server.state);
        if old.state == ServerState::Gone {
            assert!(matches!(new, None | Some(ServerState::Gone)));
        }
    }
    let indexes: BTreeSet<u32> = after.servers().iter().map(|server| server.index).collect();
    assert_eq!(indexes.len(), after.servers().len());
    for wanted in after.partitions() {
        let replicas: BTreeSet<u64> = wanted.replicas.iter().copied().collect();
        assert_eq!(replicas.len(), wanted.replicas.len());
        assert!(replicas.iter().all(|id| after.server(*id).is_some()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn after_any_commands_the_directory_is_sound(commands in vec(command(), 1..80)) {
        let mut directory = Directory::default();
        let mut known: BTreeMap<u64, Server> = BTreeMap::new();
        for mut command in commands {
            if let Command::Place { partition, before, .. } = &mut command
                && let Some(wanted) = directory.partitions().get(*partition as usize)
            {
                before.clone_from(&wanted.replicas);
            }
            prop_assert_eq!(&Command::decode(&command.encode()).unwrap(), &command);

            let before = directory.clone();
            let mut elsewhere = Directory::decode(&directory.encode()).unwrap();
            let reply = directory.apply(command.clone());
            prop_assert_eq!(elsewhere.apply(command), reply);
            prop_assert_eq!(&elsewhere, &directory);
            let is_change = matches!(reply, Ok(Reply::Done | Reply::Joined { is_new: true, .. }));
            check_step(&before, &directory, is_change);
            for server in directory.servers() {
                let first = known.entry(server.id).or_insert_with(|| server.clone());
                prop_assert_eq!(&first.arrival, &server.arrival);
                prop_assert_eq!(first.index, server.index);
            }
            if let Ok(Reply::Joined { server, is_new: true, .. }) = reply {
                prop_assert!(before.server(server).is_none() && known.keys().all(|id| *id <= server));
            }
        }
    }
}
