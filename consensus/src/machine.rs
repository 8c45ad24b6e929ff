//! What a group replicates: a state machine, and how openraft drives it.
//!
//! The state machine is fed committed entries in log order, the same on every member, and is asked for
//! images of itself. It keeps no log index: the adapter below does, together with the membership and the
//! log time, and puts them into snapshots.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::{oneshot, watch};

use crate::error::ProposeError;
use crate::group::Held;
use crate::limits::APPEND_BYTES;
use crate::types::{LogId, Round, SnapshotMeta, StoredMembership, Types, entry_bytes};

/// One entry of the log that a majority holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<P> {
    /// Its place in the log. Places that hold no proposals (a leader's first entry, membership) are left out.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// Log time, in milliseconds since the group began; never less than at the entry before, and the same
    /// on every member.
    pub time_millis: u64,
    /// What was proposed, in order.
    pub proposals: Vec<Proposal<P>>,
}

/// One proposal of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal<P> {
    /// The bytes that were proposed.
    pub bytes: Bytes,
    /// What the caller left beside them, on the member where the caller waits; `None` on every other member.
    pub parked: Option<P>,
}

/// What a group replicates.
///
/// The functions run on the consensus thread between beats and votes of all groups of the node, so they
/// must hand heavy work to other threads and await it. While one is awaited, this group applies nothing
/// else, and other groups go on.
pub trait StateMachine: 'static {
    /// What a caller leaves at the proposer, to be had again when its proposal is applied there: the parked
    /// part of a batch that is not replicated, such as its gets.
    type Parked: Send + 'static;
    /// What applying a proposal answers.
    type Answer: Send + 'static;
    /// The state at one entry, read in chunks.
    type Image: Image;
    /// A state that is being received in chunks.
    type Import: Import;

    /// Applies entries in order. Returns one answer for every proposal that has its `parked`, in order.
    /// The state and the order of effects must depend on nothing but the entries.
    fn apply(
        &mut self,
        entries: Vec<Committed<Self::Parked>>,
    ) -> impl Future<Output = Vec<Self::Answer>>;

    /// A proposal is not answered by [`apply`](Self::apply): what was parked beside it, and why. Called before its
    /// caller is told the same, on whichever thread knows.
    fn refused(parked: Self::Parked, error: &ProposeError) {
        let _ = (parked, error);
    }

    /// The state as it is now, between two calls of `apply`. Later entries must not change what it yields.
    fn image(&mut self) -> Self::Image;

    /// Begins to receive a state beside the one that is there.
    fn import(&mut self) -> Self::Import;

    /// Replaces the state by one that was received whole.
    fn install(&mut self, import: Self::Import) -> impl Future<Output = Result<(), String>>;
}

/// A cursor over a state.
pub trait Image: 'static {
    /// The next chunk, at most [`crate::limits::CHUNK_BYTES`] long; `None` after the last.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>>;
}

/// A state that is being received.
pub trait Import: 'static {
    /// Takes the next chunk, in the order in which the image yielded them. An error ends the transfer.
    fn take(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), String>>;
}

/// Callers that wait for a round, by its ticket. Shared by the proposer, which adds and gives up, and the
/// adapter, which answers when the round is applied here.
pub(crate) type Tickets<S> = Rc<RefCell<HashMap<u64, Vec<Waiting<S>>>>>;

/// One caller of a round.
pub(crate) struct Waiting<S: StateMachine> {
    pub(crate) parked: S::Parked,
    /// The one term in which the proposal may be appended; `None`: any.
    pub(crate) term: Option<u64>,
    pub(crate) reply: oneshot::Sender<Result<S::Answer, ProposeError>>,
    /// Given back when the caller is answered.
    pub(crate) held: Held,
}

/// A caller whose proposal is being applied.
type Caller<S> = (
    oneshot::Sender<Result<<S as StateMachine>::Answer, ProposeError>>,
    Held,
);

/// A snapshot on its way out of or into a state machine.
pub(crate) enum Carried<S: StateMachine> {
    /// Openraft was only told that one could be made: in memory nothing is written ahead of need.
    Marker,
    Image {
        time_millis: u64,
        image: S::Image,
    },
    Import {
        time_millis: u64,
        import: S::Import,
    },
}

/// A state machine as openraft sees it.
///
/// 1. `applied` grows by one entry at a time and equals the last entry whose effects are in `machine`.
/// 2. A snapshot names the entry that was applied last when its image was taken, never an older one:
///    "making" one only marks that the log up to here may go, and the image is taken when a follower needs it.
pub(crate) struct Adapter<S: StateMachine> {
    machine: S,
    tickets: Tickets<S>,
    applied: Option<LogId>,
    applied_index: watch::Sender<u64>,
    membership: StoredMembership,
    time_millis: u64,
    marked: bool,
}

impl<S: StateMachine> Adapter<S> {
    pub(crate) fn new(machine: S, tickets: Tickets<S>, applied_index: watch::Sender<u64>) -> Self {
        Self {
            machine,
            tickets,
            applied: None,
            applied_index,
            membership: StoredMembership::default(),
            time_millis: 0,
            marked: false,
        }
    }

    pub(crate) fn import(&mut self) -> S::Import {
        self.machine.import()
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }

    /// Gives each proposal of a round back what its caller parked, and the callers to answer.
    fn committed(
        &mut self,
        id: LogId,
        round: &Round,
        callers: &mut Vec<Caller<S>>,
    ) -> Committed<S::Parked> {
        self.time_millis = self.time_millis.max(round.time_millis);
        let waiting = match round.ticket {
            0 => None,
            ticket => self.tickets.borrow_mut().remove(&ticket),
        };
        let mut waiting = waiting.into_iter().flatten();
        let proposals = round
            .proposals
            .iter()
            .map(|bytes| Proposal {
                bytes: bytes.clone(),
                parked: waiting.next().map(|waiting| {
                    callers.push((waiting.reply, waiting.held));
                    waiting.parked
                }),
            })
            .collect();
        Committed {
            index: id.index,
            term: id.leader_id.term,
            time_millis: self.time_millis,
            proposals,
        }
    }

    async fn apply_run(&mut self, run: Vec<EntryResponder<Types>>) -> io::Result<()> {
        let mut entries = Vec::with_capacity(run.len());
        let mut callers = Vec::new();
        let mut responders = Vec::new();
        let mut last = self.applied;
        for (entry, responder) in run {
            match &entry.payload {
                EntryPayload::Normal(round) => {
                    entries.push(self.committed(entry.log_id, round, &mut callers));
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                }
                EntryPayload::Blank => {}
            }
            last = Some(entry.log_id);
            responders.extend(responder);
        }
        if !entries.is_empty() {
            let answers = self.machine.apply(entries).await;
            if answers.len() != callers.len() {
                return Err(io::Error::other(format!(
                    "the state machine gave {} answers to {} callers",
                    answers.len(),
                    callers.len()
                )));
            }
            for ((reply, _held), answer) in callers.into_iter().zip(answers) {
                let _caller_left = reply.send(Ok(answer));
            }
        }
        self.set_applied(last);
        for responder in responders {
            responder.send(());
        }
        Ok(())
    }

    fn set_applied(&mut self, applied: Option<LogId>) {
        self.applied = applied;
        self.applied_index
            .send_replace(applied.map_or(0, |id| id.index));
    }
}

impl<S: StateMachine> RaftStateMachine<Types> for Adapter<S> {
    type SnapshotData = Carried<S>;
    type SnapshotBuilder = Marker<S>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Entries>(&mut self, mut entries: Entries) -> io::Result<()>
    where
        Entries: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut run = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            bytes += entry_bytes(&entry.0);
            run.push(entry);
            if bytes >= APPEND_BYTES {
                self.apply_run(std::mem::take(&mut run)).await?;
                bytes = 0;
            }
        }
        self.apply_run(run).await
    }

    async fn get_snapshot_builder(&mut self) -> Marker<S> {
        self.marked = true;
        Marker {
            meta: self.meta(),
            machine: std::marker::PhantomData,
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Carried<S>) -> io::Result<()> {
        let Carried::Import {
            time_millis,
            import,
        } = data
        else {
            return Err(io::Error::other("only what was received is installed"));
        };
        self.machine
            .install(import)
            .await
            .map_err(io::Error::other)?;
        self.membership = meta.last_membership.clone();
        self.time_millis = self.time_millis.max(time_millis);
        self.marked = true;
        self.set_applied(meta.last_log_id);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<CarriedSnapshot<S>>> {
        if !self.marked {
            return Ok(None);
        }
        Ok(Some(Snapshot {
            meta: self.meta(),
            snapshot: Carried::Image {
                time_millis: self.time_millis,
                image: self.machine.image(),
            },
        }))
    }
}

pub(crate) type CarriedSnapshot<S> = openraft::type_config::alias::SnapshotOf<Types, Carried<S>>;

/// Says where the state machine stands; see the second invariant of [`Adapter`].
pub(crate) struct Marker<S> {
    meta: SnapshotMeta,
    machine: std::marker::PhantomData<S>,
}

impl<S: StateMachine> RaftSnapshotBuilder<Types> for Marker<S> {
    type SnapshotData = Carried<S>;

    async fn build_snapshot(&mut self) -> io::Result<CarriedSnapshot<S>> {
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: Carried::Marker,
        })
    }
}
