//! Read points: an index that a read must wait for, so that it sees all that was acknowledged before it began.

use std::time::Duration;

#[cfg(test)]
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Raft, ReadPolicy};
use tokio::sync::mpsc;

use super::proposer::{PointReply, drain};
use crate::error::ReadError;
use crate::machine::{Adapter, StateMachine};
use crate::types::Types;

/// What a leader's word is worth to a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadBy {
    /// A majority confirms, after the read began, that this leader still leads. Relies on no clock.
    Confirm,
    /// The leader was confirmed so lately that no other can have been elected. Relies on steady clocks
    /// that run equally fast on all members.
    Lease,
}

/// Serves callers of read points: one confirmation is under way at a time, and whoever comes meanwhile
/// shares the next one.
pub(crate) struct Reads<S: StateMachine> {
    pub(crate) node: u64,
    pub(crate) raft: Raft<Types, Adapter<S>>,
    pub(crate) patience: Duration,
    #[cfg(test)]
    pub(crate) unconfirmed: bool,
}

impl<S: StateMachine> Reads<S> {
    pub(crate) async fn run(
        self,
        policy: ReadBy,
        mut callers: mpsc::UnboundedReceiver<PointReply>,
    ) {
        while let Some(first) = callers.recv().await {
            let callers = drain(first, &mut callers);
            let point = self.point(policy).await;
            for caller in callers {
                let _caller_left = caller.send(point.clone());
            }
        }
    }

    async fn point(&self, policy: ReadBy) -> Result<u64, ReadError> {
        #[cfg(test)]
        if self.unconfirmed {
            return self.point_without_confirmation();
        }
        let policy = match policy {
            ReadBy::Confirm => ReadPolicy::ReadIndex,
            ReadBy::Lease => ReadPolicy::LeaseRead,
        };
        let asked = self.raft.get_read_linearizer(policy);
        match tokio::time::timeout(self.patience, asked).await {
            Ok(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
            Ok(Err(RaftError::APIError(error))) => Err(self.refused(&error)),
            Ok(Err(RaftError::Fatal(_))) => Err(ReadError::Stopped),
            Err(_elapsed) => Err(ReadError::NoQuorum),
        }
    }

    fn refused(&self, error: &LinearizableReadError<Types>) -> ReadError {
        match error {
            LinearizableReadError::ForwardToLeader(to) if to.leader_id != Some(self.node) => {
                ReadError::NotLeader {
                    leader: to.leader_id,
                }
            }
            LinearizableReadError::ForwardToLeader(_)
            | LinearizableReadError::QuorumNotEnough(_) => ReadError::NoQuorum,
        }
    }

    /// A mutant of the tests: whoever believes to lead answers by what it has applied.
    #[cfg(test)]
    fn point_without_confirmation(&self) -> Result<u64, ReadError> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state.is_leader() {
            Ok(metrics.last_applied.map_or(0, |id| id.index))
        } else {
            Err(ReadError::NotLeader {
                leader: metrics.current_leader,
            })
        }
    }
}
