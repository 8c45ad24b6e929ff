//! What a server has to do next: a pure function of what it sees.
//!
//! There is no server that tells others what to do. The directory says what should be, each server tells what it
//! leads, and from that each works out the same [steps]; it takes those of the groups
//! that it leads itself. The directory's leader alone proposes changes of the directory. What a server sees may be
//! old: each duty is asked of a group that decides on it, and what cannot be any more is refused there.
//!
//! 1. A group is founded once, by the one server that the directory names, alone ([`Wanted::founder`]).
//! 2. A server stops a group only when its leader's members, at an entry not before the server's own last one, are
//!    without it: so nothing that it has acknowledged since it was taken in is forgotten.
//! 3. A server is declared gone only when it has been silent, and there are as many others as replicas are wanted:
//!    one that only paused comes back as itself where nobody could take its place.

use super::view::{SUSPECT_AFTER, View};
use crate::controller::{Group, Step, placements, steps};
use crate::directory::{Command, Directory, Server, Wanted};
use crate::gossip::Led;
use crate::limits::CAUGHT_UP_ENTRIES;
use crate::placement::ServerState;
use batchkv_consensus::{Role, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Voters of the directory in a cluster of at least as many servers; below that as many as there are, up to 3.
const DIRECTORY_VOTERS_MAX: usize = 5;

/// What a server sees at one moment.
#[derive(Debug)]
pub struct Picture<'a> {
    /// Its id.
    pub me: u64,
    /// The directory, as far as it has come here.
    pub directory: &'a Directory,
    /// What the others have told.
    pub view: &'a View,
    /// The moment, by this server's steady clock.
    pub now: Duration,
    /// How long a server is silent before it is taken for dead.
    pub dead_after: Duration,
    /// The groups that run here, by partition.
    pub groups: &'a BTreeMap<u32, Status>,
    /// The directory's own group.
    pub directory_group: &'a Status,
    /// Partitions whose groups this server has founded, with their incarnations.
    pub founded: &'a BTreeSet<(u32, u64)>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// Run a partition's group here.
    Start(u32),
    /// Found a partition's group, which runs here.
    Found(u32),
    /// Stop a partition's group here, and delete what it held.
    Stop(u32),
    /// Change the members or the leader of a group that is led here.
    Step(Step),
    /// Propose a change of the directory.
    Propose(Command),
    /// Change the members of the directory's group.
    Members(Members),
}

/// A change of the members of the directory's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// Copy the directory to a server.
    Add {
        /// Its id.
        server: u64,
        /// Where its peers reach it.
        address: String,
    },
    /// From now on these vote.
    Vote(BTreeSet<u64>),
    /// A server that is gone is no member any more.
    Remove(u64),
}

/// A group's leader, as far as one is known, and what he says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The leader's id.
    pub leader: u64,
    /// The group.
    pub led: Led,
}

impl Picture<'_> {
    /// All that is to be done, the more urgent first. Several duties may be of one group: one at a time.
    #[must_use]
    pub fn duties(&self) -> Vec<Duty> {
        let leaderships = self.leaderships();
        let groups = self.controlled(&leaderships);
        let mut duties = self.starts();
        duties.extend(self.stops(&leaderships));
        duties.extend(self.steps(&groups).map(Duty::Step));
        if self.directory_group.role == Role::Leader {
            duties.extend(self.members().map(Duty::Members));
            duties.extend(self.command(&groups).map(Duty::Propose));
        }
        duties
    }

    /// Who leads which partition, by the highest epoch that anybody claims; all partitions, in their order.
    #[must_use]
    pub fn leaderships(&self) -> Vec<Option<Leadership>> {
        let partitions = self.directory.partitions();
        let mut known: Vec<Option<Leadership>> = vec![None; partitions.len()];
        let mut hear = |leader, led: &Led| {
            if let Some(known) = known.get_mut(led.partition as usize) {
                let rank = |led: &Led| (led.incarnation, led.term);
                if known.as_ref().is_none_or(|old| rank(&old.led) <= rank(led)) {
                    let led = led.clone();
                    *known = Some(Leadership { leader, led });
                }
            }
        };
        self.view
            .leads()
            .for_each(|(leader, led)| hear(leader, led));
        for (partition, status) in self.groups {
            let incarnation = partitions.get(*partition as usize).map(|it| it.incarnation);
            if let Some(led) = Led::of(*partition, incarnation.unwrap_or(0), status) {
                hear(self.me, &led);
            }
        }
        known
    }

    /// The groups as the controller sees them: a leader who is not heard leads nothing.
    fn controlled(&self, leaderships: &[Option<Leadership>]) -> Vec<Group> {
        let group = |known: &Option<Leadership>| match known {
            Some(known) => Group {
                leader: Some(known.leader).filter(|leader| self.is_heard(*leader)),
                ..known.led.group(known.leader)
            },
            None => Group::default(),
        };
        leaderships.iter().map(group).collect()
    }

    pub(super) fn is_heard(&self, server: u64) -> bool {
        server == self.me || self.view.is_heard(server, self.now)
    }

    /// Whether a server can be given something.
    fn is_fit(&self, server: u64) -> bool {
        let told = self.view.told(server);
        self.is_heard(server) && !told.is_some_and(|told| told.is_leaving)
    }

    fn starts(&self) -> Vec<Duty> {
        let mut duties = Vec::new();
        for (partition, wanted) in (0..).zip(self.directory.partitions()) {
            match self.groups.get(&partition) {
                None if wanted.replicas.contains(&self.me) || self.founds(partition, wanted) => {
                    duties.push(Duty::Start(partition));
                }
                Some(_) if self.founds(partition, wanted) => duties.push(Duty::Found(partition)),
                _ => {}
            }
        }
        duties
    }

    fn founds(&self, partition: u32, wanted: &Wanted) -> bool {
        wanted.founder == self.me && !self.founded.contains(&(partition, wanted.incarnation))
    }

    fn stops(&self, leaderships: &[Option<Leadership>]) -> Vec<Duty> {
        let is_over = |(partition, status): &(&u32, &Status)| {
            let known = leaderships.get(**partition as usize);
            let known = known.and_then(Option::as_ref);
            let is_out = known.is_some_and(|known| {
                known.leader != self.me
                    && known.led.term >= status.term
                    && known.led.last >= status.last
                    && known.led.member(self.me).is_none()
            });
            !self.is_wanted(**partition) && is_out
        };
        let over = self.groups.iter().filter(is_over);
        over.map(|(partition, _)| Duty::Stop(*partition)).collect()
    }

    /// The steps of the groups that are led here, as far as they can be taken now.
    fn steps(&self, groups: &[Group]) -> impl Iterator<Item = Step> {
        let is_whole = groups.iter().all(|group| group.leader.is_some());
        let is_possible = move |step: &Step| {
            let partition = step.partition();
            let group = &groups[partition as usize];
            let status = self.groups.get(&partition);
            group.leader == Some(self.me)
                && status.is_some_and(|status| !status.changing)
                && match step {
                    // Who should lead what is told by all groups together; who leaves hands over in any case.
                    Step::Lead { to, .. } => {
                        (is_whole || !self.is_wanted(partition)) && self.can_lead(*to, status)
                    }
                    _ => true,
                }
        };
        let servers = self.directory.servers().iter().map(|server| server.id);
        let absent = servers.filter(|server| !self.is_fit(*server)).collect();
        steps(self.directory, groups, &absent)
            .into_iter()
            .filter(is_possible)
    }

    fn is_wanted(&self, partition: u32) -> bool {
        let wanted = self.directory.partitions().get(partition as usize);
        wanted.is_some_and(|wanted| wanted.replicas.contains(&self.me))
    }

    fn can_lead(&self, server: u64, status: Option<&Status>) -> bool {
        status.is_some_and(|status| is_caught_up(server, status))
    }

    /// The next change of the directory, asked of its leader.
    fn command(&self, groups: &[Group]) -> Option<Command> {
        let servers = self.directory.servers();
        let is_ready = |server: &&Server| {
            server.state == ServerState::Joining
                && self.is_fit(server.id)
                && (server.id == self.me || is_caught_up(server.id, self.directory_group))
        };
        if let Some(ready) = servers.iter().find(is_ready) {
            return Some(Command::SetState {
                server: ready.id,
                state: ServerState::Up,
            });
        }
        if let Some(dead) = servers.iter().find(|server| self.is_dead(server)) {
            return Some(self.remove(dead.id, groups));
        }
        let command = placements(self.directory, groups).into_iter().next();
        command.map(|command| self.founded_here(command))
    }

    /// The directory knows only where partitions should be. What is led by somebody else is not lost with the server
    /// that should have it.
    fn remove(&self, server: u64, groups: &[Group]) -> Command {
        let partitions = self.directory.partitions().iter().zip(groups);
        let is_led = |(wanted, group): (&Wanted, &Group)| {
            !wanted.replicas.contains(&server) || group.leader.is_some()
        };
        Command::Remove {
            server,
            accept_data_loss: { partitions }.all(is_led),
        }
    }

    /// A partition that was nowhere begins on the directory's leader, which certainly lives, and spreads from there:
    /// a group whose founder died before it founded would never be.
    fn founded_here(&self, command: Command) -> Command {
        match command {
            Command::Place {
                partition, before, ..
            } if before.is_empty() => Command::Place {
                partition,
                before,
                after: vec![self.me],
            },
            other => other,
        }
    }

    /// Whether a server is taken for dead, and can be done without.
    fn is_dead(&self, server: &Server) -> bool {
        let silence = self.view.silence(server.id, self.now).unwrap_or_default();
        let alive = |other: &&Server| {
            other.id != server.id && other.state == ServerState::Up && self.is_heard(other.id)
        };
        let others = self.directory.servers();
        let is_restarted = silence > SUSPECT_AFTER
            && others.iter().filter(alive).any(|other| {
                other.id > server.id && other.arrival.address == server.arrival.address
            });
        let is_silent = server.id != self.me && (silence > self.dead_after || is_restarted);
        let is_missed = server.state != ServerState::Joining;
        let is_spared = others.iter().filter(alive).count() >= self.directory.replicas() as usize;
        server.state != ServerState::Gone && is_silent && (is_spared || !is_missed)
    }

    /// The next change of the members of the directory's group: all servers, of whom a few vote.
    fn members(&self) -> Option<Members> {
        let group = self.directory_group;
        let is_there = |id: u64| {
            let server = self.directory.server(id);
            server.is_some_and(|server| server.state != ServerState::Gone)
        };
        if group.changing {
            return None;
        }
        let alive = || self.directory.servers().iter().filter(|it| is_there(it.id));
        let is_member = |id| group.members.iter().any(|member| member.id == id);
        if let Some(server) = alive().find(|server| !is_member(server.id)) {
            return Some(Members::Add {
                server: server.id,
                address: server.arrival.peer_address.clone(),
            });
        }
        let mut voters: BTreeSet<u64> = group.voters().collect();
        let learners = group.members.iter().filter(|member| !member.voter);
        let mut fit = learners
            .clone()
            .filter(|member| self.is_fit(member.id) && is_caught_up(member.id, group));
        let wanted = match alive().count() {
            servers if servers >= DIRECTORY_VOTERS_MAX => DIRECTORY_VOTERS_MAX,
            servers => servers.min(3),
        };
        let gone = voters.iter().copied().find(|voter| !is_there(*voter));
        if (gone.is_some() || voters.len() < wanted)
            && let Some(newcomer) = fit.find(|member| is_there(member.id))
        {
            gone.map(|gone| voters.remove(&gone));
            voters.insert(newcomer.id);
            return Some(Members::Vote(voters));
        }
        // Who is gone and lives should hear of it.
        let stray = { learners }.find(|it| !is_there(it.id) && !self.is_heard(it.id));
        stray.map(|member| Members::Remove(member.id))
    }
}

/// Whether a member lacks little of the log of its leader, whose `status` this is.
pub(super) fn is_caught_up(server: u64, status: &Status) -> bool {
    let member = status.members.iter().find(|member| member.id == server);
    let matched = member.and_then(|member| member.matched);
    matched.is_some_and(|at| at + CAUGHT_UP_ENTRIES >= status.last)
}
