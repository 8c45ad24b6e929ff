//! What the directory's leader does next: from what should be, and what the groups say of themselves, to
//! single steps.
//!
//! The controller is two pure functions. [`placements`] says where partitions should be from now on, which the
//! directory agrees on; [`steps`] leads each group there, one change of its members at a time:
//!
//! ```text
//!  learner -> copied -> voter, in the same change in place of the one that leaves -> the old one deletes
//!                         |
//!                         the leader hands over first, if it is the one that leaves
//! ```
//!
//! 1. Nothing is remembered: both are asked again and again, by whoever leads the directory, and a
//!    step that is asked for twice is the same step. So a controller that dies, or is wrong about what is, costs
//!    time and no data; each step is decided by the group itself.
//! 2. No step leaves a group fewer voters than it has, unless it has more than it should.
//! 3. At most [`COPIES_MAX`] partitions are copied to a server at a time, and as many from one.

use crate::directory::{Command, Directory};
use crate::limits::COPIES_MAX;
use crate::placement::{self, Move, Partition, ServerState};
use std::collections::{BTreeMap, BTreeSet};

/// A partition's group as its leader describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Who leads it; `None` when nobody does, or nobody is known to.
    pub leader: Option<u64>,
    /// Ids of the servers that vote.
    pub voters: Vec<u64>,
    /// Servers that are being copied to.
    pub learners: Vec<Learner>,
    /// What a copy takes, in bytes.
    pub bytes: u64,
}

/// A server that follows a group and does not vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learner {
    /// Its id.
    pub server: u64,
    /// Whether it lags so little that it may vote.
    pub is_caught_up: bool,
}

/// Something to ask a partition's leader for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Copy the partition to a server.
    AddLearner {
        /// The partition.
        partition: u32,
        /// The server.
        server: u64,
    },
    /// Let a learner vote.
    Promote {
        /// The partition.
        partition: u32,
        /// The learner.
        server: u64,
        /// Who stops voting in the same change, and deletes.
        instead_of: Option<u64>,
    },
    /// A voter more than there should be leaves, and deletes.
    RemoveVoter {
        /// The partition.
        partition: u32,
        /// The voter; never the leader.
        server: u64,
    },
    /// A learner that should not be there leaves, and deletes.
    RemoveLearner {
        /// The partition.
        partition: u32,
        /// The learner.
        server: u64,
    },
    /// Hand over to a voter.
    Lead {
        /// The partition.
        partition: u32,
        /// The voter.
        to: u64,
    },
}

impl Step {
    /// The partition whose group it is asked of.
    #[must_use]
    pub fn partition(&self) -> u32 {
        match *self {
            Self::AddLearner { partition, .. }
            | Self::Promote { partition, .. }
            | Self::RemoveVoter { partition, .. }
            | Self::RemoveLearner { partition, .. }
            | Self::Lead { partition, .. } => partition,
        }
    }
}

/// Where partitions should be from now on: commands to the directory; none when it is as it should be.
/// `groups` are indexed by partition, all of them.
#[must_use]
pub fn placements(directory: &Directory, groups: &[Group]) -> Vec<Command> {
    let servers = directory.placement_servers();
    let partitions = wanted_partitions(directory, groups);
    let moves = placement::plan(&servers, &partitions, directory.replicas() as usize);
    let mut after: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for one in moves {
        let (partition, from, to) = match one {
            Move::Add { partition, to } => (partition, None, Some(to)),
            Move::Replace {
                partition,
                from,
                to,
            } => (partition, Some(from), Some(to)),
            Move::Remove { partition, from } => (partition, Some(from), None),
            Move::Lead { .. } => continue,
        };
        let wanted = &partitions[partition as usize].replicas;
        let replicas = after.entry(partition).or_insert_with(|| wanted.clone());
        replicas.retain(|id| Some(*id) != from);
        replicas.extend(to);
    }
    let place = |(partition, after): (u32, Vec<u64>)| Command::Place {
        partition,
        before: partitions[partition as usize].replicas.clone(),
        after,
    };
    after.into_iter().map(place).collect()
}

/// How many partitions a server holds or is given: none when it may go.
#[must_use]
pub fn held_by(server: u64, groups: &[Group]) -> usize {
    let holds = |group: &&Group| {
        group.voters.contains(&server) || group.learners.iter().any(|one| one.server == server)
    };
    groups.iter().filter(holds).count()
}

/// The next step of each group that is not yet what the directory wants; none when all are. `groups` are
/// indexed by partition, all of them. With servers that are `absent` nothing is begun, and what was begun is given up;
/// where they vote they stay.
#[must_use]
pub fn steps(directory: &Directory, groups: &[Group], absent: &BTreeSet<u64>) -> Vec<Step> {
    let partitions = wanted_partitions(directory, groups);
    let servers = directory.placement_servers();
    let assignments = placement::assign(&servers, &partitions, directory.replicas() as usize);
    let mut copies = Copies::under_way(groups);
    let mut steps = Vec::new();
    for (((number, group), partition), assignment) in
        (0..).zip(groups).zip(&partitions).zip(assignments)
    {
        let Some(leader) = group.leader else {
            continue;
        };
        let partition = GroupView {
            number,
            leader,
            group,
            wanted: &partition.replicas,
            directory,
            absent,
            preferred: assignment.leader,
        };
        steps.extend(partition.next(&mut copies));
    }
    steps
}

/// What is wanted, as placement sees it: what is on its way counts as there.
fn wanted_partitions(directory: &Directory, groups: &[Group]) -> Vec<Partition> {
    let seen = |(wanted, group): (&crate::directory::Wanted, &Group)| Partition {
        replicas: wanted.replicas.clone(),
        leader: group.leader,
        bytes: group.bytes,
    };
    directory
        .partitions()
        .iter()
        .zip(groups)
        .map(seen)
        .collect()
}

/// Copies under way, by server.
struct Copies {
    into: BTreeMap<u64, usize>,
    from: BTreeMap<u64, usize>,
}

impl Copies {
    fn under_way(groups: &[Group]) -> Self {
        let mut copies = Self {
            into: BTreeMap::new(),
            from: BTreeMap::new(),
        };
        for group in groups {
            let copying = group.learners.iter().filter(|one| !one.is_caught_up);
            for (learner, leader) in copying.zip(group.leader) {
                copies.count(leader, learner.server);
            }
        }
        copies
    }

    fn count(&mut self, from: u64, to: u64) {
        *self.from.entry(from).or_default() += 1;
        *self.into.entry(to).or_default() += 1;
    }

    /// Whether one more is allowed, which then is counted.
    fn begin(&mut self, from: u64, to: u64) -> bool {
        let is_free = |copies: &BTreeMap<u64, usize>, server| {
            copies.get(server).is_none_or(|count| *count < COPIES_MAX)
        };
        let is_allowed = is_free(&self.from, &from) && is_free(&self.into, &to);
        if is_allowed {
            self.count(from, to);
        }
        is_allowed
    }
}

/// A group that has a leader, and what should become of it.
struct GroupView<'a> {
    number: u32,
    leader: u64,
    group: &'a Group,
    wanted: &'a [u64],
    directory: &'a Directory,
    absent: &'a BTreeSet<u64>,
    /// Who should lead it once it is where it should be.
    preferred: Option<u64>,
}

impl GroupView<'_> {
    fn next(&self, copies: &mut Copies) -> Option<Step> {
        if self.wanted.is_empty() {
            return None;
        }
        let partition = self.number;
        let voters = &self.group.voters;
        let is_coming = |id: &&u64| !voters.contains(id) && self.is_fit(**id);
        let coming: Vec<u64> = self.wanted.iter().filter(is_coming).copied().collect();
        let mut learners = self.group.learners.iter();
        if let Some(stray) = learners.find(|learner| !coming.contains(&learner.server)) {
            let server = stray.server;
            return Some(Step::RemoveLearner { partition, server });
        }
        if let Some(learner) = self.group.learners.first() {
            return learner.is_caught_up.then(|| self.promote(learner.server));
        }
        if let Some(&server) = coming.first() {
            let begins = copies.begin(self.leader, server);
            return begins.then_some(Step::AddLearner { partition, server });
        }
        self.shrink().or_else(|| self.balance())
    }

    fn is_fit(&self, id: u64) -> bool {
        let server = self.directory.server(id);
        server.is_some_and(|server| server.state == ServerState::Up) && !self.absent.contains(&id)
    }

    /// Voters that should not be; those that are gone first, and the leader last.
    fn leaving(&self) -> Vec<u64> {
        let voters = self.group.voters.iter().copied();
        let mut leaving: Vec<u64> = voters.filter(|id| !self.wanted.contains(id)).collect();
        leaving.sort_by_key(|id| {
            let is_alive = self
                .directory
                .server(*id)
                .is_some_and(|server| server.state != ServerState::Gone);
            (*id == self.leader, is_alive)
        });
        leaving
    }

    /// A voter that stays and can lead.
    fn heir(&self) -> Option<u64> {
        let stays = |id: &u64| *id != self.leader && self.wanted.contains(id) && self.is_fit(*id);
        let preferred = self.preferred.filter(|id| self.group.voters.contains(id));
        let voters = self.group.voters.iter().copied();
        preferred.into_iter().chain(voters).find(stays)
    }

    fn promote(&self, server: u64) -> Step {
        let partition = self.number;
        let is_full = self.group.voters.len() >= self.wanted.len();
        let instead_of = self.leaving().first().copied().filter(|_| is_full);
        match (instead_of, self.heir()) {
            (Some(leader), Some(to)) if leader == self.leader => Step::Lead { partition, to },
            // Nobody else can lead yet: the new one will, once it votes.
            (Some(leader), None) if leader == self.leader => Step::Promote {
                partition,
                server,
                instead_of: None,
            },
            _ => Step::Promote {
                partition,
                server,
                instead_of,
            },
        }
    }

    /// Takes away what is more than wanted, when all that is wanted votes.
    fn shrink(&self) -> Option<Step> {
        let partition = self.number;
        let server = *self.leaving().first()?;
        if self.group.voters.len() <= self.wanted.len() {
            return None;
        }
        if server == self.leader {
            return self.heir().map(|to| Step::Lead { partition, to });
        }
        Some(Step::RemoveVoter { partition, server })
    }

    fn balance(&self) -> Option<Step> {
        let partition = self.number;
        let to = self.preferred.filter(|to| self.is_fit(*to))?;
        let is_due = to != self.leader && self.group.voters.contains(&to);
        is_due.then_some(Step::Lead { partition, to })
    }
}
