//! The controller against groups that do what they are asked for, or not, while servers come and go.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::Directory;
use batchkv_cluster::controller::{Group, Learner, Step, held_by, placements, steps};
use batchkv_cluster::directory::{Arrival, Command, Reply};
use batchkv_cluster::limits::COPIES_MAX;
use batchkv_cluster::placement::{self, ServerState};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Event {
    /// The controller is asked once; which of its steps arrive.
    Ask(u64),
    /// Some learners have caught up.
    CatchUp(u64),
    Join,
    Drain(usize),
    Undrain(usize),
    Kill(usize),
    /// Another replica is elected.
    Elect(usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => any::<u64>().prop_map(Event::Ask),
        6 => any::<u64>().prop_map(Event::CatchUp),
        1 => any::<bool>().prop_map(|_| Event::Join),
        1 => (0..9usize).prop_map(Event::Drain),
        1 => (0..9usize).prop_map(Event::Undrain),
        1 => (0..9usize).prop_map(Event::Kill),
        1 => (0..64usize, 0..5usize).prop_map(|(group, voter)| Event::Elect(group, voter)),
    ]
}

/// A cluster whose servers all have machines of their own.
struct World {
    directory: Directory,
    groups: Vec<Group>,
    joined: u64,
    copies: usize,
}

impl World {
    fn new(partitions: u32, replicas: u32, servers: u64) -> Self {
        let mut world = Self {
            directory: Directory::default(),
            groups: Vec::new(),
            joined: 0,
            copies: 0,
        };
        let server = world.arrival();
        world.command(Command::Bootstrap {
            cluster: 7,
            partitions,
            replicas,
            server,
        });
        world.set_state(1, ServerState::Up);
        (1..servers).for_each(|_| world.join());
        for command in placements(
            &world.directory,
            &vec![Group::default(); partitions as usize],
        ) {
            world.command(command);
        }
        // Groups begin where they are wanted.
        let begin = |wanted: &batchkv_cluster::directory::Wanted| Group {
            leader: wanted.replicas.first().copied(),
            voters: wanted.replicas.clone(),
            learners: vec![],
            bytes: 1 << 20,
        };
        world.groups = world.directory.partitions().iter().map(begin).collect();
        world
    }

    fn arrival(&mut self) -> Arrival {
        self.joined += 1;
        Arrival {
            token: self.joined.into(),
            address: "a:1".to_owned(),
            peer_address: "a:2".to_owned(),
            machine: self.joined,
        }
    }

    fn command(&mut self, command: Command) -> Reply {
        self.directory.apply(command).unwrap()
    }

    fn set_state(&mut self, server: u64, state: ServerState) {
        self.command(Command::SetState { server, state });
    }

    fn join(&mut self) {
        let server = self.arrival();
        let cluster = None;
        let joined = self.command(Command::Join { cluster, server });
        let Reply::Joined { server, .. } = joined else {
            panic!("{joined:?}");
        };
        self.set_state(server, ServerState::Up);
    }

    fn with_state(&self, state: ServerState) -> Vec<u64> {
        let servers = self.directory.servers().iter();
        servers
            .filter(|server| server.state == state)
            .map(|server| server.id)
            .collect()
    }

    fn is_alive(&self, id: u64) -> bool {
        let server = self.directory.server(id);
        server.is_some_and(|server| server.state != ServerState::Gone)
    }

    fn has_majority(&self, voters: &[u64]) -> bool {
        let alive = voters.iter().filter(|id| self.is_alive(**id)).count();
        2 * alive > voters.len()
    }

    fn event(&mut self, event: &Event) {
        match *event {
            Event::Ask(arriving) => {
                self.ask(arriving);
            }
            Event::CatchUp(which) => self.catch_up(which),
            Event::Join => self.join(),
            Event::Drain(which) => {
                if let Some(server) = self.with_state(ServerState::Up).get(which) {
                    self.set_state(*server, ServerState::Draining);
                }
            }
            Event::Undrain(which) => {
                if let Some(server) = self.with_state(ServerState::Draining).get(which) {
                    self.set_state(*server, ServerState::Up);
                }
            }
            Event::Kill(which) => {
                if let Some(server) = self.with_state(ServerState::Up).get(which) {
                    self.kill(*server);
                }
            }
            Event::Elect(group, voter) => self.elect(group, voter),
        }
    }

    /// Kills the server unless that takes a group's majority.
    fn kill(&mut self, server: u64) {
        let before = self.directory.clone();
        let remove = Command::Remove {
            server,
            accept_data_loss: false,
        };
        if self.directory.apply(remove).is_err() {
            return;
        }
        if !self
            .groups
            .iter()
            .all(|group| self.has_majority(&group.voters))
        {
            self.directory = before;
            return;
        }
        for number in 0..self.groups.len() {
            if self.groups[number].leader == Some(server) {
                self.elect(number, 0);
            }
        }
    }

    fn elect(&mut self, group: usize, voter: usize) {
        let Some(group) = self.groups.get(group) else {
            return;
        };
        let number = self.groups.iter().position(|one| std::ptr::eq(one, group));
        let voters = group.voters.iter().copied();
        let alive: Vec<u64> = voters.filter(|id| self.is_alive(*id)).collect();
        self.groups[number.unwrap()].leader = Some(alive[voter % alive.len()]);
    }

    fn catch_up(&mut self, which: u64) {
        let learners = self.groups.iter_mut().flat_map(|group| &mut group.learners);
        for (number, learner) in learners.enumerate() {
            learner.is_caught_up |= which >> (number % 64) & 1 == 1;
        }
    }

    /// Asks the controller, and carries out what arrives; whether there was anything to do.
    fn ask(&mut self, arriving: u64) -> bool {
        let commands = placements(&self.directory, &self.groups);
        let steps = steps(&self.directory, &self.groups, &BTreeSet::new());
        let is_busy = !commands.is_empty() || !steps.is_empty();
        for (number, step) in steps.into_iter().enumerate() {
            if arriving >> (number % 64) & 1 == 1 {
                self.take(step);
            }
        }
        for (number, command) in commands.into_iter().enumerate() {
            if arriving >> (number % 64) & 1 == 1 {
                self.command(command);
            }
        }
        self.check_copies();
        is_busy
    }

    fn take(&mut self, step: Step) {
        let (Step::AddLearner { partition, .. }
        | Step::Promote { partition, .. }
        | Step::RemoveVoter { partition, .. }
        | Step::RemoveLearner { partition, .. }
        | Step::Lead { partition, .. }) = step;
        let wanted = self.directory.partitions()[partition as usize]
            .replicas
            .len();
        let mut group = self.groups[partition as usize].clone();
        let before = group.voters.len();
        match step {
            Step::AddLearner { server, .. } => {
                assert!(!group.voters.contains(&server) && group.learners.is_empty());
                assert!(self.with_state(ServerState::Up).contains(&server));
                self.copies += 1;
                group.learners.push(Learner {
                    server,
                    is_caught_up: false,
                });
            }
            Step::Promote {
                server, instead_of, ..
            } => {
                let learner = group.learners.pop().unwrap();
                assert!(learner.is_caught_up && learner.server == server);
                assert_ne!(instead_of, group.leader);
                group.voters.retain(|id| Some(*id) != instead_of);
                group.voters.push(server);
                assert!(group.voters.len() >= before);
            }
            Step::RemoveVoter { server, .. } => {
                assert_ne!(group.leader, Some(server));
                group.voters.retain(|id| *id != server);
                assert!(group.voters.len() == before - 1 && before > wanted);
            }
            Step::RemoveLearner { server, .. } => {
                assert_eq!(group.learners.pop().unwrap().server, server);
            }
            Step::Lead { to, .. } => {
                assert!(group.voters.contains(&to) && self.is_alive(to));
                assert_ne!(group.leader, Some(to));
                group.leader = Some(to);
            }
        }
        assert!(self.has_majority(&group.voters));
        self.groups[partition as usize] = group;
    }

    fn check_copies(&self) {
        let mut at_once: BTreeMap<(bool, u64), usize> = BTreeMap::new();
        for group in &self.groups {
            for learner in group.learners.iter().filter(|one| !one.is_caught_up) {
                // An election may give one leader more copies than it would have begun.
                *at_once.entry((true, learner.server)).or_default() += 1;
            }
        }
        assert!(
            at_once.values().all(|count| *count <= COPIES_MAX),
            "{at_once:?}"
        );
    }

    /// From now on all goes well.
    fn settle(&mut self) {
        for _ in 0..2000 {
            self.catch_up(u64::MAX);
            if !self.ask(u64::MAX) {
                self.check_settled();
                return;
            }
        }
        panic!(
            "it does not end: {:?}",
            steps(&self.directory, &self.groups, &BTreeSet::new())
        );
    }

    fn check_settled(&self) {
        let wanted_replicas = self.directory.replicas() as usize;
        let up = self.with_state(ServerState::Up);
        for (group, wanted) in self.groups.iter().zip(self.directory.partitions()) {
            let voters: BTreeSet<u64> = group.voters.iter().copied().collect();
            // Who drains or is lost before it was copied to is named until somebody can replace it.
            let replicas = &wanted.replicas;
            assert!(
                replicas
                    .iter()
                    .all(|id| voters.contains(id) || !up.contains(id))
            );
            let is_whole = replicas.iter().all(|id| voters.contains(id));
            assert!(!is_whole || voters.len() == replicas.len());
            assert!(group.learners.is_empty());
            let alive = voters.iter().filter(|id| up.contains(id)).count();
            assert_eq!(alive, wanted_replicas.min(up.len()));
        }
        if up.len() >= wanted_replicas {
            for id in self.with_state(ServerState::Draining) {
                assert_eq!(held_by(id, &self.groups), 0);
            }
            assert!(self.with_state(ServerState::Gone).is_empty());
        }
        let leads = |id: &u64| {
            let led = self.groups.iter().filter(|group| group.leader == Some(*id));
            led.count()
        };
        let counts: Vec<usize> = up.iter().map(leads).collect();
        let spread = counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0);
        assert!(spread <= 1, "{counts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whatever_comes_and_goes_groups_keep_their_majority_and_end_where_they_are_wanted(
        partitions in 0..5u32, replicas in 1..4u32, servers in 1..6u64,
        events in vec(event(), 1..80),
    ) {
        let mut world = World::new(1 << partitions, replicas, servers);
        world.settle();
        for event in &events {
            world.event(event);
        }
        world.settle();
    }
}

#[test]
fn a_new_server_is_copied_its_share_and_no_more() {
    for replicas in 1..4 {
        let mut world = World::new(16, replicas, 3);
        world.settle();
        assert_eq!(world.copies, 0);
        world.join();
        world.settle();
        assert_eq!(world.copies, 16 * replicas as usize / 4);
        assert_eq!(held_by(4, &world.groups), world.copies);
    }
}

#[test]
fn a_server_that_drains_ends_with_nothing_and_only_its_share_was_copied() {
    for replicas in 1..4 {
        let mut world = World::new(16, replicas, 4);
        world.settle();
        let held = held_by(2, &world.groups);
        world.set_state(2, ServerState::Draining);
        world.settle();
        assert_eq!((held_by(2, &world.groups), world.copies), (0, held));
    }
}

#[test]
fn a_plan_is_not_changed_by_its_being_carried_out() {
    let mut world = World::new(16, 3, 3);
    world.settle();
    world.join();
    world.ask(u64::MAX);
    let mut asked = 0;
    while world.ask(u64::MAX) {
        assert_eq!(placements(&world.directory, &world.groups), []);
        world.catch_up(u64::MAX);
        asked += 1;
    }
    assert!(asked > 0);
    let servers = world.directory.placement_servers();
    assert!(
        servers
            .iter()
            .all(|one| one.state == placement::ServerState::Up)
    );
}
