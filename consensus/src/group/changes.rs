//! Changes of a group's members and of its leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::errors::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use openraft::{ChangeMembers, Raft};
use tokio::sync::{mpsc, oneshot};

use crate::error::ChangeError;
use crate::limits::{ADDRESS_BYTES_MAX, MEMBERS_MAX};
use crate::machine::{Adapter, StateMachine};
use crate::task;
use crate::types::{Member, Types};

/// What may be changed.
pub(crate) enum Change {
    Bootstrap(BTreeMap<u64, String>),
    AddLearner(u64, String),
    SetVoters(BTreeSet<u64>),
    RemoveLearner(u64),
    Transfer(u64),
}

/// A change that somebody waits for.
pub(crate) struct ChangeOrder {
    pub(crate) change: Change,
    pub(crate) patience: Duration,
    pub(crate) reply: oneshot::Sender<Result<(), ChangeError>>,
}

/// Carries out changes until the group stops. Openraft refuses a second one while one is under way.
pub(crate) async fn run<S: StateMachine>(
    raft: Raft<Types, Adapter<S>>,
    node: u64,
    mut orders: mpsc::UnboundedReceiver<ChangeOrder>,
) {
    while let Some(order) = orders.recv().await {
        let raft = raft.clone();
        task::spawn(async move {
            let change = carry_out(&raft, node, order.change);
            let done = tokio::time::timeout(order.patience, change).await;
            let _caller_left = order.reply.send(done.unwrap_or(Err(ChangeError::TimedOut)));
        });
    }
}

async fn carry_out<S: StateMachine>(
    raft: &Raft<Types, Adapter<S>>,
    node: u64,
    change: Change,
) -> Result<(), ChangeError> {
    match change {
        Change::Bootstrap(voters) => bootstrap(raft, voters).await,
        Change::AddLearner(id, address) => {
            let learner = member(&address)?;
            let added = raft.add_learner(id, learner, false).await;
            added.map(|_| ()).map_err(refused)
        }
        Change::SetVoters(voters) => {
            let changed = raft.change_membership(voters, false).await;
            changed.map(|_| ()).map_err(refused)
        }
        Change::RemoveLearner(id) => {
            let leaving = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
            let changed = raft.change_membership(leaving, false).await;
            changed.map(|_| ()).map_err(refused)
        }
        Change::Transfer(to) => transfer(raft, node, to).await,
    }
}

async fn bootstrap<S: StateMachine>(
    raft: &Raft<Types, Adapter<S>>,
    voters: BTreeMap<u64, String>,
) -> Result<(), ChangeError> {
    if voters.is_empty() || voters.len() > MEMBERS_MAX {
        return Err(ChangeError::NotAllowed(format!(
            "{} voters, where 1 to {MEMBERS_MAX} are allowed",
            voters.len()
        )));
    }
    let members = voters
        .into_iter()
        .map(|(id, address)| Ok((id, member(&address)?)))
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    match raft.initialize(members).await {
        Ok(()) => Ok(()),
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Err(ChangeError::NotAllowed(
            "the group was founded before".to_owned(),
        )),
        Err(RaftError::APIError(error)) => Err(ChangeError::NotAllowed(error.to_string())),
        Err(RaftError::Fatal(_)) => Err(ChangeError::Stopped),
    }
}

async fn transfer<S: StateMachine>(
    raft: &Raft<Types, Adapter<S>>,
    node: u64,
    to: u64,
) -> Result<(), ChangeError> {
    if let Err(refused) = raft.as_leader() {
        return Err(ChangeError::NotLeader {
            leader: refused.leader_id,
        });
    }
    if !raft.voter_ids().any(|voter| voter == to) {
        return Err(ChangeError::NotAllowed(format!("{to} has no vote")));
    }
    if to == node {
        return Ok(());
    }
    let asked = raft.trigger().transfer_leader(to).await;
    asked.map_err(|_| ChangeError::Stopped)?;
    let wait = raft.wait(None);
    let led = wait.metrics(|metrics| metrics.current_leader == Some(to), "transfer");
    led.await.map(|_| ()).map_err(|_| ChangeError::Stopped)
}

fn member(address: &str) -> Result<Member, ChangeError> {
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(ChangeError::NotAllowed(format!(
            "an address of {} bytes, where {ADDRESS_BYTES_MAX} are allowed",
            address.len()
        )));
    }
    Ok(Member {
        address: address.into(),
    })
}

fn refused(error: RaftError<Types, ClientWriteError<Types>>) -> ChangeError {
    let RaftError::APIError(error) = error else {
        return ChangeError::Stopped;
    };
    match error {
        ClientWriteError::ForwardToLeader(to) => ChangeError::NotLeader {
            leader: to.leader_id,
        },
        ClientWriteError::LogEntryDiscarded(_) => ChangeError::Unknown,
        ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        ) => ChangeError::InProgress,
        ClientWriteError::ChangeMembershipError(error) => {
            ChangeError::NotAllowed(error.to_string())
        }
        ClientWriteError::PreconditionFailed(error) => ChangeError::NotAllowed(error.to_string()),
    }
}
