//! One group on one node: openraft's core with what stands around it.
//!
//! ```text
//!  callers, any thread                      consensus thread
//!  GroupHandle::propose     --------------> proposer   rounds -> openraft -> log, peers
//!  GroupHandle::read_point  --------------> reads      one confirmation for all who wait
//!  GroupHandle::set_voters … -------------> changes    one at a time
//!  answer                   <-------------- adapter    applies what is committed, in log order
//!  GroupHandle::status      <-------------- status, purge
//! ```

mod changes;
mod door;
mod handle;
mod proposer;
mod purge;
mod reads;
mod status;

use std::marker::PhantomData;
use std::rc::Rc;

use openraft::Raft;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::calls::Calls;
use crate::config::Config;
use crate::error::StartError;
use crate::log::{MemoryLog, SharedLog};
use crate::machine::{Adapter, StateMachine, Tickets};
use crate::peer::Peers;
use crate::task;
use crate::types::Types;

pub use handle::GroupHandle;
pub(crate) use proposer::Held;
pub use reads::ReadBy;
pub use status::{MemberStatus, Role, Status};

use door::Member;
use handle::Ends;
use proposer::Proposer;
use reads::Reads;

/// A mutant of the tests: what a proposal is answered before it is committed.
#[cfg(test)]
pub(crate) type EarlyAnswer<S> = Rc<dyn Fn(&bytes::Bytes) -> <S as StateMachine>::Answer>;

/// Faults that tests build in to see them caught.
#[cfg(test)]
pub(crate) struct Mutants<S: StateMachine> {
    pub(crate) early: Option<EarlyAnswer<S>>,
    pub(crate) unconfirmed: bool,
}

#[cfg(test)]
impl<S: StateMachine> Default for Mutants<S> {
    fn default() -> Self {
        Self {
            early: None,
            unconfirmed: false,
        }
    }
}

/// A group that runs on this thread.
pub(crate) struct Running<S: StateMachine> {
    raft: Raft<Types, Adapter<S>>,
    tickets: Tickets<S>,
    tasks: Vec<JoinHandle<()>>,
    calls: Rc<Calls>,
    group: u32,
}

/// What a group is started with.
pub(crate) struct Start<S: StateMachine> {
    pub(crate) node: u64,
    pub(crate) group: u32,
    pub(crate) config: Config,
    pub(crate) machine: S,
    #[cfg(test)]
    pub(crate) mutants: Mutants<S>,
}

/// Starts a group; `ends` are the consensus thread's ends of its handle.
pub(crate) async fn start<S: StateMachine>(
    calls: &Rc<Calls>,
    start: Start<S>,
    ends: Ends<S>,
) -> Result<Running<S>, StartError> {
    let Start { node, group, .. } = start;
    let config = start.config;
    let log = SharedLog::new(MemoryLog::default());
    let tickets = Tickets::default();
    let peers = Peers {
        calls: Rc::clone(calls),
        group,
        node,
        patience: config.election_max,
        machine: PhantomData::<S>,
    };
    let applied = ends.applied.subscribe();
    let adapter = Adapter::new(start.machine, Rc::clone(&tickets), ends.applied);
    let raft = Raft::new(node, config.openraft(group)?, peers, log.clone(), adapter)
        .await
        .map_err(|error| StartError::Config(error.to_string()))?;
    let member = Rc::new(Member {
        raft: raft.clone(),
        log: log.clone(),
        receiver: Default::default(),
    });
    calls.open(group, Rc::clone(&member) as Rc<dyn crate::calls::Door>);
    let proposer = Proposer {
        node,
        raft: raft.clone(),
        log: log.clone(),
        tickets: Rc::clone(&tickets),
        patience: config.propose_patience,
        #[cfg(test)]
        early: start.mutants.early,
    };
    let reads = || Reads {
        node,
        raft: raft.clone(),
        patience: config.election_max,
        #[cfg(test)]
        unconfirmed: start.mutants.unconfirmed,
    };
    let tasks = vec![
        task::spawn(proposer.run(ends.submissions)),
        task::spawn(reads().run(ReadBy::Confirm, ends.confirms)),
        task::spawn(reads().run(ReadBy::Lease, ends.leases)),
        task::spawn(changes::run(raft.clone(), node, ends.changes)),
        task::spawn(purge::keep_bounded(
            raft.clone(),
            log.clone(),
            config,
            applied,
        )),
        task::spawn(status::tell(raft.clone(), log, ends.status, move || {
            member.receiver.tidy();
        })),
    ];
    Ok(Running {
        raft,
        tickets,
        tasks,
        calls: Rc::clone(calls),
        group,
    })
}

impl<S: StateMachine> Running<S> {
    /// Stops the group on this node. Callers that still wait are told that they do not know.
    pub(crate) async fn stop(self) {
        self.calls.shut(self.group);
        for task in &self.tasks {
            task.abort();
        }
        let _already_stopped = self.raft.shutdown().await;
        proposer::give_up_all(&self.tickets);
    }
}

/// The two ends of the channels between a group's handle and its tasks.
pub(crate) fn channels<S: StateMachine>(node: u64, group: u32) -> (GroupHandle<S>, Ends<S>) {
    let (submit, submissions) = mpsc::unbounded_channel();
    let (confirm, confirms) = mpsc::unbounded_channel();
    let (lease, leases) = mpsc::unbounded_channel();
    let (change, changes) = mpsc::unbounded_channel();
    let (applied, applied_seen) = watch::channel(0);
    let (status, status_seen) = watch::channel(Status::default());
    let handle = GroupHandle {
        node,
        group,
        submit,
        confirm,
        lease,
        change,
        held: Default::default(),
        applied: applied_seen,
        status: status_seen,
    };
    let ends = Ends {
        submissions,
        confirms,
        leases,
        changes,
        applied,
        status,
    };
    (handle, ends)
}
