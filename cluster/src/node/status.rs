//! How the cluster is, as one server knows it: for operators.

use super::duties::{Leadership, Picture};
use crate::directory::Server;
use crate::gossip::{Load, Member, Told};
use crate::placement;
use batchkv_consensus::Status;
use batchkv_protocol::operator::{
    ClusterStatus, GroupStatus, MemberRole, MemberStatus, PartitionStatus, ServerState,
    ServerStatus,
};

impl Picture<'_> {
    /// The cluster's status; `load` is what this server does and holds.
    #[must_use]
    pub fn status(&self, load: Load) -> ClusterStatus {
        let leaderships = self.leaderships();
        let incarnations = self.directory.partitions().iter();
        let partitions = incarnations.zip(&leaderships).map(|(wanted, known)| {
            let group = known.as_ref().map(|known| self.group(known));
            PartitionStatus {
                incarnation: wanted.incarnation,
                group: group.unwrap_or_default(),
            }
        });
        let servers = self.directory.servers().iter();
        ClusterStatus {
            cluster: self.directory.cluster().unwrap_or_default(),
            replicas: self.directory.replicas(),
            missing: self.missing(&leaderships),
            directory: group_status(self.directory_group),
            servers: servers
                .map(|server| self.server(server, load, &leaderships))
                .collect(),
            partitions: partitions.collect(),
        }
    }

    /// Replicas that are wanted and have no vote on a server that is heard.
    fn missing(&self, leaderships: &[Option<Leadership>]) -> u32 {
        let voters = |known: &Option<Leadership>| {
            let members = known.iter().flat_map(|known| &known.led.members);
            let alive = members.filter(|member| member.votes && self.is_heard(member.server));
            alive.count() as u32
        };
        let wanted = self.directory.replicas();
        let missing = leaderships
            .iter()
            .map(|known| wanted.saturating_sub(voters(known)));
        missing.sum()
    }

    fn group(&self, known: &Leadership) -> GroupStatus {
        let member = |member: &Member| MemberStatus {
            id: member.server,
            role: role(member.votes),
            behind: member.behind,
        };
        GroupStatus {
            leader: Some(known.leader).filter(|leader| self.is_heard(*leader)),
            term: known.led.term,
            members: known.led.members.iter().map(member).collect(),
        }
    }

    fn server(
        &self,
        server: &Server,
        load: Load,
        leaderships: &[Option<Leadership>],
    ) -> ServerStatus {
        let is_me = server.id == self.me;
        let told = self.view.told(server.id);
        let silence = self.view.silence(server.id, self.now);
        let heard = silence.filter(|_| told.is_some() && !is_me);
        let load = match is_me {
            true => load,
            false => told.map_or(Load::default(), |told: &Told| told.load),
        };
        let known = || leaderships.iter().flatten();
        let count = |number: usize| number as u32;
        ServerStatus {
            id: server.id,
            index: server.index,
            address: server.arrival.address.clone(),
            peer_address: server.arrival.peer_address.clone(),
            machine: server.arrival.machine,
            state: state(server.state),
            heard_millis: match is_me {
                true => Some(0),
                false => heard.map(|silence| silence.as_millis() as u64),
            },
            ops_per_sec: load.operations_per_second,
            records: load.records,
            bytes: load.memory_bytes,
            leads: count(known().filter(|known| known.leader == server.id).count()),
            holds: count(
                known()
                    .filter(|known| known.led.member(server.id).is_some())
                    .count(),
            ),
        }
    }
}

fn state(state: placement::ServerState) -> ServerState {
    match state {
        placement::ServerState::Joining => ServerState::Joining,
        placement::ServerState::Up => ServerState::Up,
        placement::ServerState::Draining => ServerState::Draining,
        placement::ServerState::Gone => ServerState::Gone,
    }
}

fn role(votes: bool) -> MemberRole {
    match votes {
        true => MemberRole::Voter,
        false => MemberRole::Learner,
    }
}

/// A group as a member of it sees it.
fn group_status(status: &Status) -> GroupStatus {
    let members = status.members.iter().map(|member| MemberStatus {
        id: member.id,
        role: role(member.voter),
        behind: member.matched.map(|at| status.last.saturating_sub(at)),
    });
    GroupStatus {
        leader: status.leader,
        term: status.term,
        members: members.collect(),
    }
}
