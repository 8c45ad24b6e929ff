//! Whole clusters of what servers decide, without their threads: beats are lost for up to some seconds, servers die
//! and others come, and in the end everything is where it should be.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::Directory;
use batchkv_cluster::controller::Step;
use batchkv_cluster::directory::{Arrival, Command, Reply};
use batchkv_cluster::gossip::{Led, Told};
use batchkv_cluster::node::duties::{Duty, Members, Picture};
use batchkv_cluster::node::view::View;
use batchkv_cluster::placement::ServerState;
use batchkv_consensus::{MemberStatus, Role, Status};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PARTITIONS: u32 = 4;
const BEAT: Duration = Duration::from_millis(100);
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// A Raft group that never errs.
#[derive(Debug, Clone, Default)]
struct Group {
    voters: BTreeSet<u64>,
    learners: BTreeSet<u64>,
    leader: Option<u64>,
    term: u64,
    last: u64,
    caught_up: BTreeSet<u64>,
}

impl Group {
    fn status(&self, at: u64) -> Status {
        let mut status = Status::default();
        let members = self.voters.union(&self.learners);
        let is_member = self.voters.contains(&at) || self.learners.contains(&at);
        if !is_member {
            return status;
        }
        status.role = match self.leader {
            Some(leader) if leader == at => Role::Leader,
            _ => Role::Follower,
        };
        (status.term, status.leader, status.last) = (self.term, self.leader, self.last);
        let member = |id: &u64| MemberStatus {
            id: *id,
            address: "a:1".into(),
            voter: self.voters.contains(id),
            matched: self.caught_up.contains(id).then_some(self.last),
        };
        status.members = members.map(member).collect();
        status
    }

    fn has_majority(&self, alive: &BTreeMap<u64, Server>) -> bool {
        let votes = self.voters.iter().filter(|id| alive.contains_key(id));
        self.voters.is_empty() || 2 * votes.count() > self.voters.len()
    }

    /// Somebody alive leads, unless nobody can.
    fn elect(&mut self, alive: &BTreeMap<u64, Server>, draw: usize) {
        let fit = self
            .voters
            .iter()
            .filter(|id| alive.contains_key(id) && self.caught_up.contains(id));
        let fit: Vec<u64> = fit.copied().collect();
        if self
            .leader
            .is_none_or(|leader| !alive.contains_key(&leader))
            && !fit.is_empty()
        {
            self.term += 1;
            self.last += 1;
            self.leader = Some(fit[draw % fit.len()]);
        }
    }
}

#[derive(Debug, Default)]
struct Server {
    view: View,
    runs: BTreeSet<u32>,
    founded: BTreeSet<(u32, u64)>,
    directory: Directory,
}

#[derive(Debug, Clone)]
enum Event {
    /// A server looks, and of what it finds to do this is done.
    Turn(usize, u64),
    /// A server's beat reaches these.
    Beat(usize, u64),
    /// The directory comes to these.
    Learn(u64),
    /// Members are copied to.
    CatchUp,
    Pass(u64),
    Kill(usize),
    Join,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (any::<usize>(), any::<u64>()).prop_map(|(at, done)| Event::Turn(at, done)),
        20 => (any::<usize>(), any::<u64>()).prop_map(|(from, to)| Event::Beat(from, to)),
        10 => any::<u64>().prop_map(Event::Learn),
        8 => Just(Event::CatchUp),
        8 => (0..3_000_u64).prop_map(Event::Pass),
        1 => any::<usize>().prop_map(Event::Kill),
        2 => Just(Event::Join),
    ]
}

struct World {
    now: Duration,
    directory: Directory,
    directory_group: Group,
    groups: BTreeMap<u32, Group>,
    alive: BTreeMap<u64, Server>,
    joined: u64,
}

impl World {
    fn new(replicas: u32) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            directory: Directory::default(),
            directory_group: Group::default(),
            groups: BTreeMap::new(),
            alive: BTreeMap::new(),
            joined: 0,
        };
        let server = world.arrival();
        let bootstrap = Command::Bootstrap {
            cluster: 7,
            partitions: PARTITIONS,
            replicas,
            server,
        };
        world.directory.apply(bootstrap).unwrap();
        world.alive.insert(1, Server::default());
        found(&mut world.directory_group, 1);
        world
    }

    fn arrival(&mut self) -> Arrival {
        self.joined += 1;
        Arrival {
            token: self.joined.into(),
            address: format!("a:{}", self.joined),
            peer_address: format!("a:{}", self.joined),
            machine: self.joined,
        }
    }

    fn event(&mut self, event: &Event) {
        let pick = |at: usize| *self.alive.keys().nth(at % self.alive.len()).unwrap();
        match *event {
            Event::Turn(at, done) => {
                self.turn(pick(at), done);
            }
            Event::Beat(from, to) => self.beat(pick(from), to),
            Event::Learn(who) => self.learn(who),
            Event::CatchUp => self.catch_up(),
            Event::Pass(millis) => {
                // Nobody who lives is silent for long enough to be taken for dead.
                self.beat_all();
                self.now += Duration::from_millis(millis);
            }
            Event::Kill(which) => self.kill(pick(which)),
            Event::Join if self.alive.len() < 6 => self.join(),
            Event::Join => {}
        }
    }

    fn all_groups(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.values_mut().chain([&mut self.directory_group])
    }

    fn catch_up(&mut self) {
        let alive: BTreeSet<u64> = self.alive.keys().copied().collect();
        for group in self.all_groups() {
            let members: BTreeSet<u64> = group.voters.union(&group.learners).copied().collect();
            group.caught_up.extend(members.intersection(&alive));
        }
    }

    /// Unless some group would have no majority that remembers.
    fn kill(&mut self, server: u64) {
        let killed = self.alive.remove(&server).unwrap();
        let alive = std::mem::take(&mut self.alive);
        let is_fatal =
            alive.is_empty() || self.all_groups().any(|group| !group.has_majority(&alive));
        // Whoever founds a group is its only member for a moment, and must not die before.
        let founds = |wanted: &batchkv_cluster::directory::Wanted| wanted.founder == server;
        let unfounded = self
            .directory
            .partitions()
            .iter()
            .filter(|wanted| founds(wanted))
            .count();
        let founded = self
            .groups
            .values()
            .filter(|group| !group.voters.is_empty())
            .count();
        self.alive = alive;
        if is_fatal || (unfounded > 0 && founded < PARTITIONS as usize) {
            self.alive.insert(server, killed);
            return;
        }
        self.elect(server as usize);
    }

    fn elect(&mut self, draw: usize) {
        let alive = std::mem::take(&mut self.alive);
        self.all_groups()
            .for_each(|group| group.elect(&alive, draw));
        self.alive = alive;
    }

    fn join(&mut self) {
        let server = self.arrival();
        let join = Command::Join {
            cluster: None,
            server,
        };
        let Reply::Joined { server, .. } = self.directory.apply(join).unwrap() else {
            panic!("not joined");
        };
        self.alive.insert(server, Server::default());
    }

    fn learn(&mut self, who: u64) {
        let members = &self.directory_group;
        for (id, server) in &mut self.alive {
            let is_member = members.voters.contains(id) || members.learners.contains(id);
            if is_member && who >> (id % 64) & 1 == 1 {
                server.directory = self.directory.clone();
            }
        }
    }

    fn statuses(&self, at: u64) -> BTreeMap<u32, Status> {
        let runs = self.alive[&at].runs.iter();
        let status = |partition: &u32| {
            let group = self.groups.get(partition);
            (
                *partition,
                group.map(|group| group.status(at)).unwrap_or_default(),
            )
        };
        runs.map(status).collect()
    }

    fn beat(&mut self, from: u64, to: u64) {
        let leads = self.statuses(from).into_iter();
        let told = Told {
            leads: leads
                .filter_map(|(partition, status)| Led::of(partition, 0, &status))
                .collect(),
            ..Told::default()
        };
        for (id, server) in &mut self.alive {
            if *id != from && to >> (id % 64) & 1 == 1 {
                server.view.hear(from, told.clone(), self.now);
            }
        }
    }

    fn beat_all(&mut self) {
        let ids: Vec<u64> = self.alive.keys().copied().collect();
        ids.iter().for_each(|id| self.beat(*id, u64::MAX));
    }

    /// Has a server look, and does what `done` says of what it finds; whether there was anything.
    fn turn(&mut self, at: u64, done: u64) -> bool {
        let statuses = self.statuses(at);
        let directory_group = self.directory_group.status(at);
        let server = self.alive.get_mut(&at).unwrap();
        if server.directory.cluster().is_none() {
            return false;
        }
        server.view.meet(&server.directory, self.now);
        let picture = Picture {
            me: at,
            directory: &server.directory,
            view: &server.view,
            now: self.now,
            dead_after: DEAD_AFTER,
            groups: &statuses,
            directory_group: &directory_group,
            founded: &server.founded,
        };
        let duties = picture.duties();
        let is_busy = !duties.is_empty();
        let mut touched = BTreeSet::new();
        for (number, duty) in duties.into_iter().enumerate() {
            if done >> (number % 64) & 1 == 1 && touched.insert(group_of(&duty)) {
                self.carry_out(at, duty);
            }
        }
        is_busy
    }

    fn carry_out(&mut self, at: u64, duty: Duty) {
        match duty {
            Duty::Start(partition) => {
                assert!(self.alive.get_mut(&at).unwrap().runs.insert(partition));
            }
            Duty::Found(partition) => {
                let group = self.groups.entry(partition).or_default();
                assert!(group.voters.is_empty(), "{partition} is founded twice");
                found(group, at);
                let server = self.alive.get_mut(&at).unwrap();
                assert!(server.founded.insert((partition, 0)));
            }
            Duty::Stop(partition) => {
                let group = &self.groups[&partition];
                assert!(!group.voters.contains(&at) && !group.learners.contains(&at));
                self.alive.get_mut(&at).unwrap().runs.remove(&partition);
            }
            Duty::Step(step) => self.take(at, step),
            Duty::Propose(command) => {
                // Proposed by an old picture, it may be refused.
                if let Command::Remove { server, .. } = command {
                    assert!(!self.alive.contains_key(&server) || self.alive.len() > 1);
                }
                let _refused = self.directory.apply(command);
            }
            Duty::Members(change) => self.change_directory(change),
        }
    }

    fn take(&mut self, at: u64, step: Step) {
        let group = self.groups.get_mut(&step.partition()).unwrap();
        assert_eq!(group.leader, Some(at), "who leads takes the steps");
        group.last += 1;
        match step {
            Step::AddLearner { server, .. } => {
                assert!(!group.voters.contains(&server));
                group.learners.insert(server);
                group.caught_up.remove(&server);
            }
            Step::Promote {
                server, instead_of, ..
            } => {
                assert!(group.learners.remove(&server) && group.caught_up.contains(&server));
                group.voters.insert(server);
                instead_of.map(|gone| group.voters.remove(&gone));
            }
            Step::RemoveVoter { server, .. } => assert!(group.voters.remove(&server)),
            Step::RemoveLearner { server, .. } => assert!(group.learners.remove(&server)),
            Step::Lead { to, .. } => {
                assert!(group.voters.contains(&to) && group.caught_up.contains(&to));
                group.term += 1;
                // Who was told lately that it lives may be dead by now: then nobody leads.
                group.leader = Some(to).filter(|to| self.alive.contains_key(to));
            }
        }
        self.elect(0);
    }

    fn change_directory(&mut self, change: Members) {
        let group = &mut self.directory_group;
        match change {
            Members::Add { server, address } => {
                let known = self.directory.server(server);
                assert!(known.is_none_or(|known| known.arrival.peer_address == address));
                group.learners.insert(server);
                group.caught_up.remove(&server);
            }
            Members::Vote(voters) => {
                assert!(voters.len() >= group.voters.len());
                assert!(voters.iter().all(|id| group.caught_up.contains(id)));
                group.learners.retain(|id| !voters.contains(id));
                group.voters = voters;
            }
            Members::Remove(server) => assert!(group.learners.remove(&server)),
        }
        self.elect(0);
    }

    /// From now on all goes well.
    fn settle(&mut self) {
        for _ in 0..1500 {
            self.now += BEAT;
            self.elect(0);
            self.catch_up();
            self.learn(u64::MAX);
            let ids: Vec<u64> = self.alive.keys().copied().collect();
            self.beat_all();
            let turns = ids.iter().filter(|id| self.turn(**id, u64::MAX)).count();
            if turns == 0 && self.is_calm() {
                return self.check_settled();
            }
        }
        panic!("it does not end: {:?} {:?}", self.groups, self.directory);
    }

    /// Nobody is about to be taken for dead.
    fn is_calm(&self) -> bool {
        let silence = |server: &Server, id| server.view.silence(id, self.now).unwrap_or_default();
        let dead = |id: &u64| !self.alive.contains_key(id);
        let servers = self.directory.servers().iter();
        let dead: Vec<u64> = servers.map(|server| server.id).filter(dead).collect();
        let mut all = self.alive.values();
        all.all(|server| dead.iter().all(|id| silence(server, *id) > 2 * DEAD_AFTER))
    }

    fn check_settled(&self) {
        let replicas = self.directory.replicas() as usize;
        let is_alive = |id: &&u64| self.alive.contains_key(id);
        for group in self.groups.values() {
            let alive = group.voters.iter().filter(is_alive).count();
            let all = (&self.groups, &self.directory);
            assert_eq!(
                alive,
                replicas.min(self.alive.len()),
                "{group:?} of {all:?}"
            );
            assert!(group.learners.is_empty());
            assert!(alive < replicas || group.voters.len() == replicas);
        }
        for (id, server) in &self.alive {
            let state = self.directory.server(*id).map(|server| server.state);
            assert_eq!(state, Some(ServerState::Up));
            let holds = self
                .groups
                .iter()
                .filter(|(_, group)| group.voters.contains(id));
            let holds: BTreeSet<u32> = holds.map(|(partition, _)| *partition).collect();
            assert_eq!(server.runs, holds, "server {id} runs what it holds");
        }
        let voters = self.directory_group.voters.iter().filter(is_alive).count();
        assert!(
            voters >= self.alive.len().min(3),
            "{:?}",
            self.directory_group
        );
        assert_eq!(self.groups.len(), PARTITIONS as usize);
    }
}

fn found(group: &mut Group, by: u64) {
    group.voters.insert(by);
    group.caught_up.insert(by);
    (group.leader, group.term) = (Some(by), 1);
}

fn group_of(duty: &Duty) -> u32 {
    match duty {
        Duty::Start(partition) | Duty::Found(partition) | Duty::Stop(partition) => *partition,
        Duty::Step(step) => step.partition(),
        Duty::Propose(_) | Duty::Members(_) => u32::MAX,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_lost_groups_are_founded_once_and_end_whole(
        replicas in 1..4_u32,
        events in proptest::collection::vec(event(), 0..400),
    ) {
        let mut world = World::new(replicas);
        for event in &events {
            world.event(event);
        }
        world.settle();
    }
}
