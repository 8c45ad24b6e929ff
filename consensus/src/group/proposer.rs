//! Drives [`Rounds`]: takes proposals from callers, proposes entries, and answers what was not applied.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use openraft::{Raft, async_runtime::WatchReceiver};
use tokio::sync::{mpsc, oneshot};

use crate::error::ProposeError;
use crate::limits::PROPOSALS_BYTES_MAX;
use crate::log::{MemoryLog, SharedLog};
use crate::machine::{Adapter, StateMachine, Tickets, Waiting};
use crate::rounds::{Next, Rounds};
use crate::steady;
use crate::types::{Round, Types};

/// A new leader refuses proposals for some milliseconds before it takes them: how long they are held.
const NEW_LEADER_PATIENCE: Duration = Duration::from_millis(100);
/// How often they are tried meanwhile.
const NEW_LEADER_STEP: Duration = Duration::from_millis(2);

/// A proposal on its way to the consensus thread.
pub(crate) struct Submission<S: StateMachine> {
    pub(crate) bytes: Bytes,
    pub(crate) waiting: Waiting<S>,
}

/// Room for a proposal's bytes; gives it back when its caller is answered.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Held {
    /// Takes room, unless [`PROPOSALS_BYTES_MAX`] are taken. An empty proposal takes some too.
    pub(crate) fn take(all: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let bytes = bytes + 64;
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        let held = Self {
            bytes,
            all: Arc::clone(all),
        };
        (before + bytes <= PROPOSALS_BYTES_MAX).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Proposes for one group until its callers are gone or it stops.
pub(crate) struct Proposer<S: StateMachine> {
    pub(crate) node: u64,
    pub(crate) raft: Raft<Types, Adapter<S>>,
    pub(crate) log: SharedLog<MemoryLog>,
    pub(crate) tickets: Tickets<S>,
    pub(crate) patience: Duration,
    #[cfg(test)]
    pub(crate) early: Option<crate::group::EarlyAnswer<S>>,
}

impl<S: StateMachine> Proposer<S> {
    pub(crate) async fn run(self, mut submissions: mpsc::UnboundedReceiver<Submission<S>>) {
        let this = Rc::new(self);
        let mut rounds = Rounds::default();
        let mut under_way = FuturesUnordered::new();
        let mut ticket = 0;
        loop {
            let wake = match rounds.next(steady::now()) {
                Next::Propose(begun, round) => {
                    ticket += 1;
                    let answered = this.propose(ticket, round);
                    under_way.push(async move {
                        answered.await;
                        begun
                    });
                    continue;
                }
                Next::WaitUntil(moment) => moment.saturating_sub(steady::now()),
                Next::Wait => Duration::MAX,
            };
            tokio::select! {
                biased;
                Some(begun) = under_way.next() => rounds.done(begun),
                submission = submissions.recv() => {
                    let Some(submission) = submission else { break };
                    rounds.push(steady::now(), submission.bytes, submission.waiting);
                    while let Ok(more) = submissions.try_recv() {
                        rounds.push(steady::now(), more.bytes, more.waiting);
                    }
                }
                () = tokio::time::sleep(wake), if wake < Duration::MAX => {}
            }
        }
    }

    /// Proposes a round; the future ends when its callers are answered.
    fn propose(
        self: &Rc<Self>,
        ticket: u64,
        round: Vec<(Bytes, Waiting<S>)>,
    ) -> impl Future<Output = ()> + use<S> {
        let term = self.term();
        let (round, stale): (Vec<_>, Vec<_>) = { round.into_iter() }
            .partition(|(_, waiting)| waiting.term.is_none_or(|wanted| wanted == term));
        for (_, caller) in stale {
            refuse(caller, &ProposeError::NotLeader { leader: None });
        }
        let is_bound = round.iter().any(|(_, waiting)| waiting.term.is_some());
        let term = is_bound.then_some(term);
        let (proposals, waiting): (Vec<_>, Vec<_>) = round.into_iter().unzip();
        #[cfg(test)]
        let waiting = self.answer_early(&proposals, waiting);
        self.tickets.borrow_mut().insert(ticket, waiting);
        let round = Round {
            ticket,
            time_millis: self.log.time_millis(),
            proposals: proposals.into(),
        };
        let this = Rc::clone(self);
        async move {
            if round.proposals.is_empty() {
                return give_up(&this.tickets, ticket, &ProposeError::Unknown);
            }
            let written = tokio::time::timeout(this.patience, this.write(round, term)).await;
            let error = match written {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(_elapsed) => ProposeError::Unknown,
            };
            give_up(&this.tickets, ticket, &error);
        }
    }

    /// The newest term that this member knows.
    fn term(&self) -> u64 {
        self.raft
            .server_metrics()
            .borrow_watched()
            .vote
            .leader_id
            .term
    }

    /// Returns when the round is applied here; its callers have their answers then. Nothing is appended in another
    /// term than `term`, if there is one.
    async fn write(&self, round: Round, term: Option<u64>) -> Result<(), ProposeError> {
        let began = steady::now();
        loop {
            // Between here and the append no leader can be deposed and elected again.
            if term.is_some_and(|term| term != self.term()) {
                return Err(ProposeError::NotLeader { leader: None });
            }
            let error = match self.raft.client_write(round.clone()).await {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(error)) => error,
                Err(RaftError::Fatal(_)) => return Err(ProposeError::Unknown),
            };
            let ClientWriteError::ForwardToLeader(to) = error else {
                return Err(ProposeError::Unknown);
            };
            if !self.leads(&to) || steady::now() - began > NEW_LEADER_PATIENCE {
                let leader = to.leader_id.filter(|leader| *leader != self.node);
                return Err(ProposeError::NotLeader { leader });
            }
            tokio::time::sleep(NEW_LEADER_STEP).await;
        }
    }

    /// Whether who refused us, pointing to nobody else, is a leader that is not ready yet.
    fn leads(&self, refused: &ForwardToLeader<Types>) -> bool {
        let elsewhere = refused.leader_id.is_some_and(|leader| leader != self.node);
        !elsewhere
            && self
                .raft
                .server_metrics()
                .borrow_watched()
                .state
                .is_leader()
    }
}

/// Answers the callers of a round that was not applied, and of which it is not known that it will be.
fn give_up<S: StateMachine>(tickets: &Tickets<S>, ticket: u64, error: &ProposeError) {
    let waiting = tickets.borrow_mut().remove(&ticket);
    for caller in waiting.into_iter().flatten() {
        refuse(caller, error);
    }
}

fn refuse<S: StateMachine>(caller: Waiting<S>, error: &ProposeError) {
    S::refused(caller.parked, error);
    let _caller_left = caller.reply.send(Err(error.clone()));
}

/// Answers all callers when the group stops.
pub(crate) fn give_up_all<S: StateMachine>(tickets: &Tickets<S>) {
    let all: HashMap<_, _> = tickets.take();
    for caller in all.into_values().flatten() {
        refuse(caller, &ProposeError::Unknown);
    }
}

/// A read point that callers wait for.
pub(crate) type PointReply = oneshot::Sender<Result<u64, crate::error::ReadError>>;

/// All that waits, after one.
pub(crate) fn drain<T>(first: T, queue: &mut mpsc::UnboundedReceiver<T>) -> Vec<T> {
    let mut all = vec![first];
    while let Some(Some(more)) = queue.recv().now_or_never() {
        all.push(more);
    }
    all
}

#[cfg(test)]
impl<S: StateMachine> Proposer<S> {
    /// A mutant of the tests: callers are answered before anything is committed.
    fn answer_early(&self, proposals: &[Bytes], waiting: Vec<Waiting<S>>) -> Vec<Waiting<S>> {
        let Some(answer) = &self.early else {
            return waiting;
        };
        for (bytes, caller) in proposals.iter().zip(waiting) {
            let _caller_left = caller.reply.send(Ok(answer(bytes)));
        }
        Vec::new()
    }
}
