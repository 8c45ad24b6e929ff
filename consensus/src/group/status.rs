//! What is seen of a group from outside.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Instant as _, Raft, RaftMetrics, ServerState};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::log::{MemoryLog, SharedLog};
use crate::machine::{Adapter, StateMachine};
use crate::types::Types;

/// How often figures that change with each entry are told; leaders and members are told at once.
const STATUS_EVERY: Duration = Duration::from_millis(50);

/// What a member does in its group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It has no vote: it is catching up, was removed, or was never told of the group's members.
    #[default]
    Learner,
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
    /// It stopped, or failed.
    Stopped,
}

/// A group as one member sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// What this member does.
    pub role: Role,
    /// The newest term that it knows.
    pub term: u64,
    /// Who leads that term, as far as it knows.
    pub leader: Option<u64>,
    /// Index of its last entry. The first entry of a group has index 0 and names its members.
    pub last: u64,
    /// Index of the last entry that it knows to be committed.
    pub committed: u64,
    /// Index of the last entry that its state machine applied.
    pub applied: u64,
    /// What its log takes, in bytes.
    pub log_bytes: usize,
    /// Who belongs to the group, by id. Empty before the group was bootstrapped, or this member told of it.
    pub members: Arc<[MemberStatus]>,
    /// Whether a change of the members is under way.
    pub changing: bool,
    /// When a majority last confirmed this leader; only a leader knows.
    quorum_acked: Option<Instant>,
}

/// A member of a group as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its node id.
    pub id: u64,
    /// Where it is reached.
    pub address: Arc<str>,
    /// Whether it votes. A learner only receives entries.
    pub voter: bool,
    /// Index of the last entry that it is known to hold; only a leader knows.
    pub matched: Option<u64>,
}

impl Status {
    /// Time since a majority last confirmed this leader; `None` if it does not lead or never was.
    pub fn since_quorum(&self) -> Option<Duration> {
        self.quorum_acked.map(|moment| moment.elapsed())
    }

    /// The ids of those who vote.
    pub fn voters(&self) -> impl Iterator<Item = u64> + '_ {
        let voters = self.members.iter().filter(|member| member.voter);
        voters.map(|member| member.id)
    }

    fn of(metrics: &RaftMetrics<Types>, log_bytes: usize) -> Self {
        Self {
            role: match metrics.state {
                _ if metrics.running_state.is_err() => Role::Stopped,
                ServerState::Learner => Role::Learner,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Leader => Role::Leader,
                ServerState::Shutdown => Role::Stopped,
            },
            term: metrics.current_term,
            leader: metrics.current_leader,
            last: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            log_bytes,
            members: members(metrics),
            changing: metrics.membership_config != metrics.committed_membership_config
                || metrics
                    .membership_config
                    .membership()
                    .get_joint_config()
                    .len()
                    > 1,
            quorum_acked: metrics
                .last_quorum_acked
                .and_then(|moment| Instant::now().checked_sub(moment.elapsed())),
        }
    }
}

fn members(metrics: &RaftMetrics<Types>) -> Arc<[MemberStatus]> {
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let matched = |id| Some(metrics.replication.as_ref()?.get(id)?.as_ref()?.index);
    let nodes = membership.nodes().map(|(id, member)| MemberStatus {
        id: *id,
        address: Arc::clone(&member.address),
        voter: voters.contains(id),
        matched: matched(id),
    });
    nodes.collect()
}

/// Tells `status` what openraft's metrics say, until the group stops.
pub(crate) async fn tell<S: StateMachine>(
    raft: Raft<Types, Adapter<S>>,
    log: SharedLog<MemoryLog>,
    status: watch::Sender<Status>,
    mut each: impl FnMut(),
) {
    let (mut all, mut server) = (raft.metrics(), raft.server_metrics());
    loop {
        let now = Status::of(&all.borrow_watched(), log.bytes());
        let stopped = now.role == Role::Stopped;
        status.send_replace(now);
        each();
        if stopped || all.changed().await.is_err() {
            return;
        }
        // The rarer channel is told first, so whatever it holds back here comes with the next turn.
        tokio::select! {
            biased;
            changed = server.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(STATUS_EVERY) => {}
        }
    }
}
