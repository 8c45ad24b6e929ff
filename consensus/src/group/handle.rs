//! A group as other threads hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::changes::{Change, ChangeOrder};
use super::proposer::{Held, PointReply, Submission};
use super::reads::ReadBy;
use super::status::Status;
use crate::error::{ChangeError, ProposeError, ReadError};
use crate::limits::PROPOSAL_BYTES_MAX;
use crate::machine::{StateMachine, Waiting};

/// The consensus thread's ends of a handle's channels.
pub(crate) struct Ends<S: StateMachine> {
    pub(super) submissions: mpsc::UnboundedReceiver<Submission<S>>,
    pub(super) confirms: mpsc::UnboundedReceiver<PointReply>,
    pub(super) leases: mpsc::UnboundedReceiver<PointReply>,
    pub(super) changes: mpsc::UnboundedReceiver<ChangeOrder>,
    pub(super) applied: watch::Sender<u64>,
    pub(super) status: watch::Sender<Status>,
}

/// One group on one node, for any thread: channels, no lock that is held while anything waits. Clones are
/// cheap and the same. What waits in its channels is bounded by [`crate::limits::PROPOSALS_BYTES_MAX`].
pub struct GroupHandle<S: StateMachine> {
    pub(super) node: u64,
    pub(super) group: u32,
    pub(super) submit: mpsc::UnboundedSender<Submission<S>>,
    pub(super) confirm: mpsc::UnboundedSender<PointReply>,
    pub(super) lease: mpsc::UnboundedSender<PointReply>,
    pub(super) change: mpsc::UnboundedSender<ChangeOrder>,
    pub(super) held: Arc<AtomicUsize>,
    pub(super) applied: watch::Receiver<u64>,
    pub(super) status: watch::Receiver<Status>,
}

impl<S: StateMachine> Clone for GroupHandle<S> {
    fn clone(&self) -> Self {
        Self {
            node: self.node,
            group: self.group,
            submit: self.submit.clone(),
            confirm: self.confirm.clone(),
            lease: self.lease.clone(),
            change: self.change.clone(),
            held: Arc::clone(&self.held),
            applied: self.applied.clone(),
            status: self.status.clone(),
        }
    }
}

impl<S: StateMachine> std::fmt::Debug for GroupHandle<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "group {} on node {}", self.group, self.node)
    }
}

impl<S: StateMachine> GroupHandle<S> {
    /// The group's id.
    pub fn group(&self) -> u32 {
        self.group
    }

    /// The id of the node that this handle belongs to.
    pub fn node(&self) -> u64 {
        self.node
    }

    /// Proposes bytes. The answer comes when they are committed and applied on this member, which must
    /// lead the group. `parked` stays here and is handed to [`StateMachine::apply`] with the bytes.
    ///
    /// The proposal is on its way when this returns, not when the future is first polled. Proposals that
    /// wait at the same time are applied in the order of their calls, unless they are under way in two
    /// rounds of which the first is refused. Dropping the future leaves the proposal as it is.
    pub fn propose(
        &self,
        bytes: Bytes,
        parked: S::Parked,
    ) -> impl Future<Output = Result<S::Answer, ProposeError>> + use<S> {
        let answer = self.submit(None, bytes, parked);
        async move {
            // The sender is dropped without an answer only where a group stops.
            answer?.await.unwrap_or(Err(ProposeError::Unknown))
        }
    }

    /// [`propose`](Self::propose), in one term or never: where this member leads in another by then, the proposal is
    /// refused. So of what somebody proposed while he took it for the leader of `term`, nothing is appended
    /// behind something of his that was refused.
    pub fn propose_in(
        &self,
        term: u64,
        bytes: Bytes,
        parked: S::Parked,
    ) -> impl Future<Output = Result<S::Answer, ProposeError>> + use<S> {
        let answer = self.submit(Some(term), bytes, parked);
        async move { answer?.await.unwrap_or(Err(ProposeError::Unknown)) }
    }

    fn submit(
        &self,
        term: Option<u64>,
        bytes: Bytes,
        parked: S::Parked,
    ) -> Result<oneshot::Receiver<Result<S::Answer, ProposeError>>, ProposeError> {
        let refuse = |parked, error| {
            S::refused(parked, &error);
            Err(error)
        };
        if bytes.len() > PROPOSAL_BYTES_MAX {
            let bytes = bytes.len();
            return refuse(parked, ProposeError::TooLong { bytes });
        }
        let Some(held) = Held::take(&self.held, bytes.len()) else {
            return refuse(parked, ProposeError::Busy);
        };
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            parked,
            term,
            reply,
            held,
        };
        match self.submit.send(Submission { bytes, waiting }) {
            Ok(()) => Ok(answer),
            Err(unsent) => refuse(unsent.0.waiting.parked, ProposeError::Stopped),
        }
    }

    /// An index such that a state at it, or later, holds all that was acknowledged before the call. Wait
    /// for it with [`Self::wait_applied`], then read. Callers that wait at the same time share one
    /// confirmation.
    pub async fn read_point(&self, by: ReadBy) -> Result<u64, ReadError> {
        let (reply, point) = oneshot::channel();
        let queue = match by {
            ReadBy::Confirm => &self.confirm,
            ReadBy::Lease => &self.lease,
        };
        queue.send(reply).map_err(|_| ReadError::Stopped)?;
        point.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Index of the last entry that is applied on this member.
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Returns when the entry at `index` is applied on this member, leader or not.
    pub async fn wait_applied(&self, index: u64) -> Result<(), ReadError> {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|applied| *applied >= index).await;
        reached.map(|_| ()).map_err(|_| ReadError::Stopped)
    }

    /// The group as this member sees it; figures may be 50 ms old, leader and members are not.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Told whenever [`Self::status`] changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Founds the group: names its first voters, by id and address, this node among them. Once in the life of a
    /// group, on one member; refused where the group has entries or votes.
    pub async fn bootstrap(&self, voters: BTreeMap<u64, String>) -> Result<(), ChangeError> {
        self.order(Change::Bootstrap(voters), Duration::MAX).await
    }

    /// Adds a member without a vote; it is sent the state. Wait until the status shows that it has caught up
    /// before it votes.
    pub async fn add_learner(
        &self,
        id: u64,
        address: &str,
        patience: Duration,
    ) -> Result<(), ChangeError> {
        let change = Change::AddLearner(id, address.to_owned());
        self.order(change, patience).await
    }

    /// Makes these members, who must be members already, the voters. Voters that are left out are removed in
    /// the same change; learners stay. Committed by majorities of the old and of the new voters.
    ///
    /// A leader that leaves itself out steps down when the change is done: hand over first.
    pub async fn set_voters(
        &self,
        voters: BTreeSet<u64>,
        patience: Duration,
    ) -> Result<(), ChangeError> {
        self.order(Change::SetVoters(voters), patience).await
    }

    /// Removes a member without a vote.
    pub async fn remove_learner(&self, id: u64, patience: Duration) -> Result<(), ChangeError> {
        self.order(Change::RemoveLearner(id), patience).await
    }

    /// Hands the group's leadership to a voter. Returns when this member knows that the other leads;
    /// proposals meanwhile are refused as certainly not appended.
    pub async fn transfer(&self, to: u64, patience: Duration) -> Result<(), ChangeError> {
        self.order(Change::Transfer(to), patience).await
    }

    async fn order(&self, change: Change, patience: Duration) -> Result<(), ChangeError> {
        let (reply, done) = oneshot::channel();
        self.change
            .send(ChangeOrder {
                change,
                patience,
                reply,
            })
            .map_err(|_| ChangeError::Stopped)?;
        done.await.unwrap_or(Err(ChangeError::Stopped))
    }
}
