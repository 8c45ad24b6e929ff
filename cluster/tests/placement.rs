//! Placement: against all placements that there are, where these are few; and its properties where not.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::placement::{Assignment, Move, Partition, Server, ServerState, assign, plan};
use proptest::collection::vec;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use std::collections::{BTreeMap, BTreeSet};

fn state() -> impl Strategy<Value = ServerState> {
    prop_oneof![
        6 => Just(ServerState::Up),
        1 => Just(ServerState::Joining),
        1 => Just(ServerState::Draining),
        1 => Just(ServerState::Gone),
    ]
}

fn servers(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Server>> {
    vec((0..4u64, state()), count).prop_map(|servers| {
        (1..)
            .zip(servers)
            .map(|(id, (machine, state))| Server { id, machine, state })
            .collect()
    })
}

/// Each server on a machine of its own.
fn all_up(count: u64) -> Vec<Server> {
    let server = |id| Server {
        id,
        machine: id,
        state: ServerState::Up,
    };
    (1..=count).map(server).collect()
}

/// Partitions that are held by some of the servers with ids up to 6, one of which leads.
fn partitions(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Partition>> {
    let partition = (any::<u8>(), any::<u8>(), 0..3u64).prop_map(|(held, leader, mebibytes)| {
        let replicas: Vec<u64> = (1..=6).filter(|id| held >> id & 1 == 1).collect();
        let leader = replicas.get(usize::from(leader) % 8).copied();
        Partition {
            replicas,
            leader,
            bytes: mebibytes << 20,
        }
    });
    vec(partition, count)
}

fn empty(count: usize) -> Vec<Partition> {
    vec![Partition::default(); count]
}

fn placed(assignments: &[Assignment]) -> Vec<Partition> {
    let placed = |assignment: &Assignment| Partition {
        replicas: assignment.replicas.clone(),
        leader: assignment.leader,
        bytes: 1 << 20,
    };
    assignments.iter().map(placed).collect()
}

fn take(partitions: &mut [Partition], step: Move) {
    match step {
        Move::Add { partition, to } => partitions[partition as usize].replicas.push(to),
        Move::Replace {
            partition,
            from,
            to,
        } => {
            let replicas = &mut partitions[partition as usize].replicas;
            let place = replicas.iter().position(|id| *id == from).unwrap();
            replicas[place] = to;
        }
        Move::Remove { partition, from } => {
            let replicas = &mut partitions[partition as usize].replicas;
            let before = replicas.len();
            replicas.retain(|id| *id != from);
            assert_eq!(replicas.len(), before - 1);
        }
        Move::Lead { partition, to } => {
            let partition = &mut partitions[partition as usize];
            assert!(partition.replicas.contains(&to));
            partition.leader = Some(to);
        }
    }
}

fn counts(held: impl Iterator<Item = u64>, servers: &[Server]) -> Vec<usize> {
    let mut counts: BTreeMap<u64, usize> = servers
        .iter()
        .filter(|server| server.state == ServerState::Up)
        .map(|server| (server.id, 0))
        .collect();
    held.for_each(|id| *counts.get_mut(&id).unwrap() += 1);
    counts.into_values().collect()
}

fn difference(counts: &[usize]) -> usize {
    counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0)
}

fn squares(counts: &[usize]) -> usize {
    counts.iter().map(|count| count * count).sum()
}

fn machines(replicas: &[u64], servers: &[Server]) -> BTreeMap<u64, usize> {
    let mut machines = BTreeMap::new();
    for id in replicas {
        let server = servers.iter().find(|server| server.id == *id).unwrap();
        *machines.entry(server.machine).or_default() += 1;
    }
    machines
}

/// What of a placement is to be small: replicas of a partition on one machine, unevenness, and bytes.
fn score(choice: &[Vec<u64>], servers: &[Server], partitions: &[Partition]) -> (usize, usize, u64) {
    let crowd = |replicas: &Vec<u64>| -> usize {
        let machines = machines(replicas, servers).into_values();
        machines.map(|count| count * count).sum()
    };
    let moved = partitions.iter().zip(choice).map(|(partition, replicas)| {
        let new = replicas
            .iter()
            .filter(|id| !partition.replicas.contains(id));
        new.count() as u64 * (partition.bytes + (1 << 20))
    });
    (
        choice.iter().map(crowd).sum(),
        squares(&counts(choice.iter().flatten().copied(), servers)),
        moved.sum(),
    )
}

/// Every way to choose `copies` of `ids`.
fn choices(ids: &[u64], copies: usize) -> Vec<Vec<u64>> {
    (0..1u32 << ids.len())
        .filter(|chosen| chosen.count_ones() as usize == copies)
        .map(|chosen| {
            let chosen = |(place, id): (usize, &u64)| (chosen >> place & 1 == 1).then_some(*id);
            ids.iter().enumerate().filter_map(chosen).collect()
        })
        .collect()
}

fn best_score(servers: &[Server], partitions: &[Partition], wanted: usize) -> (usize, usize, u64) {
    let up: Vec<u64> = servers
        .iter()
        .filter(|server| server.state == ServerState::Up)
        .map(|server| server.id)
        .collect();
    let choices = choices(&up, wanted.min(up.len()));
    let mut combinations: Vec<Vec<Vec<u64>>> = vec![vec![]];
    for _ in partitions {
        combinations = combinations
            .iter()
            .flat_map(|begun| {
                choices.iter().map(|choice| {
                    let mut longer = begun.clone();
                    longer.push(choice.clone());
                    longer
                })
            })
            .collect();
    }
    let scores = combinations
        .iter()
        .map(|combination| score(combination, servers, partitions));
    scores.min().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_placement_is_better(
        servers in servers(1..5), partitions in partitions(1..5), wanted in 1..4usize
    ) {
        let assignments = assign(&servers, &partitions, wanted);
        let found: Vec<Vec<u64>> = assignments.iter().map(|one| one.replicas.clone()).collect();
        prop_assert_eq!(
            score(&found, &servers, &partitions),
            best_score(&servers, &partitions, wanted)
        );
    }

    #[test]
    fn every_partition_is_held_by_as_many_servers_that_are_up_as_can_be(
        servers in servers(0..9), partitions in partitions(0..20), wanted in 1..5usize
    ) {
        let up: BTreeSet<u64> = servers.iter()
            .filter(|server| server.state == ServerState::Up)
            .map(|server| server.id)
            .collect();
        let up_machines: BTreeSet<u64> = servers.iter()
            .filter(|server| up.contains(&server.id))
            .map(|server| server.machine)
            .collect();
        for assignment in assign(&servers, &partitions, wanted) {
            let replicas: BTreeSet<u64> = assignment.replicas.iter().copied().collect();
            prop_assert_eq!(replicas.len(), assignment.replicas.len());
            prop_assert_eq!(replicas.len(), wanted.min(up.len()));
            prop_assert!(replicas.is_subset(&up));
            prop_assert_eq!(assignment.leader.is_some(), !replicas.is_empty());
            prop_assert!(assignment.leader.is_none_or(|leader| replicas.contains(&leader)));
            let machines = machines(&assignment.replicas, &servers);
            prop_assert_eq!(machines.len(), replicas.len().min(up_machines.len()));
        }
    }

    /// Machines that are of one size do not stand in evenness' way.
    #[test]
    fn replicas_and_leaders_are_even_within_one(
        count in 1..9u64, on_one in any::<bool>(), partitions in partitions(1..40), wanted in 1..5usize
    ) {
        let mut servers = all_up(count);
        if on_one {
            servers.iter_mut().for_each(|server| server.machine = 7);
        }
        let assignments = assign(&servers, &partitions, wanted);
        let replicas = assignments.iter().flat_map(|one| one.replicas.iter().copied());
        prop_assert!(difference(&counts(replicas, &servers)) <= 1);
        let leaders = assignments.iter().filter_map(|one| one.leader);
        prop_assert!(difference(&counts(leaders, &servers)) <= 1);
    }

    #[test]
    fn a_plan_ends_in_one_pass_and_never_takes_a_partition_below_what_is_wanted(
        servers in servers(0..8), mut partitions in partitions(0..20), wanted in 1..5usize
    ) {
        for step in plan(&servers, &partitions, wanted) {
            let before: Vec<usize> = partitions.iter().map(|one| one.replicas.len()).collect();
            take(&mut partitions, step);
            for (partition, before) in partitions.iter().zip(before) {
                let distinct: BTreeSet<u64> = partition.replicas.iter().copied().collect();
                prop_assert_eq!(distinct.len(), partition.replicas.len());
                prop_assert!(distinct.len() >= before.min(wanted));
            }
        }
        prop_assert_eq!(plan(&servers, &partitions, wanted), vec![]);
    }

    #[test]
    fn a_new_server_gets_its_share_and_nothing_else_moves(
        count in 1..12u64, partitions in 1..65usize, wanted in 1..4usize
    ) {
        let before = placed(&assign(&all_up(count), &empty(partitions), wanted));
        let servers = all_up(count + 1);
        let moves = plan(&servers, &before, wanted);
        let mut copied = 0;
        for step in moves {
            match step {
                Move::Add { to, .. } | Move::Replace { to, .. } => {
                    prop_assert_eq!(to, count + 1);
                    copied += 1;
                }
                Move::Lead { .. } => {}
                Move::Remove { .. } => prop_assert!(false, "nobody leaves"),
            }
        }
        let replicas = partitions * wanted.min(servers.len());
        prop_assert!(copied <= replicas / servers.len() + 1, "{} of {}", copied, replicas);
    }

    /// Beside what the drained server held, at most one replica moves, which evenness may ask for: where the
    /// server that should get two of its partitions holds all of them but one already.
    #[test]
    fn draining_moves_what_was_there(
        count in 2..12u64, drained in 0..12u64, partitions in 1..65usize, wanted in 1..4usize
    ) {
        let mut servers = all_up(count);
        let before = placed(&assign(&servers, &empty(partitions), wanted));
        let drained = drained % count + 1;
        servers[drained as usize - 1].state = ServerState::Draining;
        let mut besides = 0;
        for step in plan(&servers, &before, wanted) {
            match step {
                Move::Replace { from, .. } => besides += usize::from(from != drained),
                Move::Lead { .. } => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert!(besides <= 1, "{} others moved", besides);
    }
}

/// Four partitions of the drained server are to fill the others up to six each, and one that should get two
/// of them holds three.
#[test]
fn evenness_outweighs_one_more_move() {
    let mut servers = all_up(4);
    let mut placed = placed(&assign(&servers, &empty(9), 2));
    servers[0].state = ServerState::Draining;
    let moves = plan(&servers, &placed, 2);
    let others = moves
        .iter()
        .filter(|step| matches!(step, Move::Replace { from, .. } if *from != 1));
    assert_eq!(others.count(), 1, "{moves:?}");
    moves.into_iter().for_each(|step| take(&mut placed, step));
    let held = placed.iter().flat_map(|one| one.replicas.iter().copied());
    assert_eq!(counts(held, &servers), [6, 6, 6]);
}

#[test]
fn a_server_stays_while_nobody_can_replace_it() {
    let mut servers = all_up(3);
    let before = placed(&assign(&servers, &empty(4), 3));
    for state in [ServerState::Draining, ServerState::Gone] {
        servers[1].state = state;
        let moves = plan(&servers, &before, 3);
        let only_leaders = |step: &Move| matches!(step, Move::Lead { to, .. } if *to != 2);
        assert!(moves.iter().all(only_leaders), "{moves:?}");
        let mut more = servers.clone();
        more.push(all_up(4)[3]);
        let replaced = plan(&more, &before, 3);
        let replaced = replaced
            .iter()
            .filter(|step| matches!(step, Move::Replace { from: 2, to: 4, .. }));
        assert_eq!(replaced.count(), 4);
    }
}

#[test]
fn the_lost_are_replaced_before_those_that_drain() {
    let mut servers = all_up(4);
    servers[0].state = ServerState::Draining;
    servers[1].state = ServerState::Gone;
    let partition = Partition {
        replicas: vec![1, 2, 3],
        leader: Some(3),
        bytes: 0,
    };
    let expected = Move::Replace {
        partition: 0,
        from: 2,
        to: 4,
    };
    assert_eq!(plan(&servers, &[partition], 3), [expected]);
}

#[test]
fn partitions_of_a_server_share_their_others_with_many() {
    let servers = all_up(20);
    let before = placed(&assign(&servers, &empty(256), 3));
    assert_eq!(plan(&servers, &before, 3), []);
    let pairs: BTreeSet<(u64, u64)> = before
        .iter()
        .map(|partition| (partition.replicas[0], partition.replicas[1]))
        .collect();
    assert!(pairs.len() > 100);
}
