//! A member as its leader or candidate sees it: openraft's network traits over [`Calls`].

use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use crate::calls::{CallError, Calls};
use crate::machine::{Carried, CarriedSnapshot, StateMachine};
use crate::snapshot;
use crate::transport::Lane;
use crate::types::{Member, Types, Vote};
use crate::wire::{Begin, Reply, Request};

/// Makes [`Peer`]s for one group.
pub(crate) struct Peers<S> {
    pub(crate) calls: Rc<Calls>,
    pub(crate) group: u32,
    pub(crate) node: u64,
    /// Within which a message with entries is answered or taken for lost.
    pub(crate) patience: Duration,
    pub(crate) machine: PhantomData<S>,
}

impl<S: StateMachine> RaftNetworkFactory<Types> for Peers<S> {
    type Network = Peer<S>;

    async fn new_client(&mut self, target: u64, member: &Member) -> Peer<S> {
        if !member.address.is_empty() {
            self.calls.learn(target, &member.address);
        }
        Peer {
            line: Line {
                calls: Rc::clone(&self.calls),
                group: self.group,
                node: self.node,
                to: target,
            },
            patience: self.patience,
            machine: PhantomData,
        }
    }
}

/// The way from this node to one member of a group.
pub(crate) struct Line {
    pub(crate) calls: Rc<Calls>,
    pub(crate) group: u32,
    node: u64,
    to: u64,
}

impl Line {
    pub(crate) async fn call(
        &self,
        lane: Lane,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, CallError> {
        self.calls
            .call(self.to, lane, self.group, request, patience)
            .await
    }

    fn error(&self, action: RPCTypes, error: CallError) -> RPCError<Types> {
        match error {
            CallError::Late(timeout) => RPCError::Timeout(Timeout {
                action,
                id: self.node,
                target: self.to,
                timeout,
            }),
            CallError::Unsent(_) | CallError::Refused(_) => {
                RPCError::Unreachable(Unreachable::new(&error))
            }
            CallError::Strange => RPCError::Network(NetworkError::new(&error)),
        }
    }
}

/// One member, for one of openraft's tasks: replication, beats or snapshots.
pub(crate) struct Peer<S> {
    line: Line,
    patience: Duration,
    machine: PhantomData<S>,
}

impl<S: StateMachine> RaftNetworkV2<Types> for Peer<S> {
    type SnapshotData = Carried<S>;

    /// One message of entries is under way to a member at a time, so a member that stopped reading costs
    /// the leader [`crate::limits::APPEND_BYTES`]; more under way were not faster.
    async fn append_entries(
        &mut self,
        append: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let (lane, patience) = if append.entries.is_empty() {
            (Lane::Urgent, option.hard_ttl())
        } else {
            (Lane::Entries, self.patience)
        };
        let reply = self
            .line
            .call(lane, Request::Append(append), patience)
            .await;
        match reply {
            Ok(Reply::Appended(appended)) => Ok(appended),
            other => Err(self.line.error(RPCTypes::AppendEntries, strange(other))),
        }
    }

    async fn vote(
        &mut self,
        vote: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Request::Vote(vote), option).await
    }

    async fn pre_vote(
        &mut self,
        vote: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Request::PreVote(vote), option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: CarriedSnapshot<S>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let Carried::Image { time_millis, image } = snapshot.snapshot else {
            return Err(ReplicationClosed::new("only an image can be sent").into());
        };
        let begin = Begin {
            vote,
            transfer: self.line.calls.number(),
            time_millis,
            meta: snapshot.meta,
        };
        let send = snapshot::send(&self.line, begin, image, self.patience);
        match select(std::pin::pin!(cancel), std::pin::pin!(send)).await {
            Either::Left((closed, _)) => Err(closed.into()),
            Either::Right((Ok(vote), _)) => Ok(SnapshotResponse::new(vote)),
            Either::Right((Err(error), _)) => {
                Err(self.line.error(RPCTypes::InstallSnapshot, error).into())
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        transfer: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let request = Request::Transfer(transfer);
        let reply = self.line.call(Lane::Urgent, request, option.hard_ttl());
        match reply.await {
            Ok(Reply::Handed(handed)) => Ok(handed),
            other => Err(self.line.error(RPCTypes::TransferLeader, strange(other))),
        }
    }
}

impl<S> Peer<S> {
    async fn ask(
        &self,
        request: Request,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let reply = self.line.call(Lane::Urgent, request, option.hard_ttl());
        match reply.await {
            Ok(Reply::Voted(voted)) => Ok(voted),
            other => Err(self.line.error(RPCTypes::Vote, strange(other))),
        }
    }
}

/// The error of a call that was not answered as its kind is.
pub(crate) fn strange(reply: Result<Reply, CallError>) -> CallError {
    reply.err().unwrap_or(CallError::Strange)
}
