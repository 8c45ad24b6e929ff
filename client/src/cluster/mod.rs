//! Batches to a cluster, whose partitions change their leaders and lose them.
//!
//! ```text
//!  Batch -> units: a group each, partition by partition        [unit]
//!             | one behind the other's answers
//!  Errand -> a number of the partition's stream                [stream]
//!             | sent to the leader as it is known; again, with the same number, until it is answered
//!  Reply  <- what came of it, or that nobody knows             [verdict]
//! ```
//!
//! `stream`, `unit` and `verdict` are plain values; here are the waiting and the sending.

mod errand;
mod request;
mod stream;
mod unit;
mod verdict;

use crate::answers::{Answers, Reply};
use crate::batch::Batch;
use crate::client::Options;
use crate::lines::Lines;
use crate::together::Together;
use errand::Errand;
use request::Request;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use stream::Stream;
use tokio::sync::Notify;
use tokio::time::Instant;
use unit::{Unit, units};

/// From where gets of groups without writes may be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reads {
    /// From the leader, as of a moment between call and answer.
    #[default]
    Linearizable,
    /// From any replica, as of an earlier moment: never earlier than what this client has read or written of the
    /// partition before. How fresh it is stands in [`Answers::freshness`](crate::Answers::freshness).
    Any,
}

/// What a client did to get its answers, over its whole life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retries {
    /// Groups that were sent again, counted each time.
    pub resent: u64,
    /// Those of them that went to another server, which a refusal had named.
    pub redirected: u64,
}

/// The connections to a cluster's servers, and what is known of its partitions.
#[derive(Debug)]
pub(crate) struct Cluster {
    lines: Lines<Request>,
    options: Options,
    partitions: Vec<Partition>,
    /// Whose turn it is of the servers that any group may be read from.
    turn: AtomicUsize,
    resent: AtomicU64,
    redirected: AtomicU64,
}

/// What this client keeps of one partition.
#[derive(Debug, Default)]
struct Partition {
    stream: Mutex<Option<Stream>>,
    /// Held by whoever opens a stream.
    opening: tokio::sync::Mutex<()>,
    /// Rung when a number is settled, or a stream opened.
    room: Notify,
    /// The newest entry that was seen.
    newest: AtomicU64,
}

impl Partition {
    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream
            .lock()
            .expect("nothing panics while it holds the lock")
    }
}

impl Cluster {
    pub(crate) fn new(lines: Lines<Request>, options: Options) -> Self {
        let partitions = lines.routes().live().partitioning().partitions();
        Self {
            lines,
            options,
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            turn: AtomicUsize::new(0),
            resent: AtomicU64::new(0),
            redirected: AtomicU64::new(0),
        }
    }

    pub(crate) fn lines(&self) -> &Lines<Request> {
        &self.lines
    }

    pub(crate) fn retries(&self) -> Retries {
        Retries {
            resent: self.resent.load(Ordering::Relaxed),
            redirected: self.redirected.load(Ordering::Relaxed),
        }
    }

    /// See [`Client::execute`](crate::Client::execute).
    pub(crate) async fn execute(&self, batch: Batch) -> Answers {
        let deadline = Instant::now() + self.options.deadline;
        let mut answers = Answers::with_operations(batch.len());
        let units = units(&batch, self.lines.routes().live().partitioning());
        let batch = Arc::new(batch);
        let mut errands = Together::new();
        for units in units.into_values() {
            errands.add(self.run(&batch, units, deadline));
        }
        while let Some(done) = errands.next().await {
            for (unit, reply) in done {
                answers.add(&unit.operations, reply);
            }
        }
        answers
    }

    /// Sends one partition's units, each behind the answers to the one before. Behind one that was not settled
    /// nothing is sent: it may yet take effect, and must not come behind what follows it.
    async fn run(
        &self,
        batch: &Arc<Batch>,
        units: Vec<Unit>,
        deadline: Instant,
    ) -> Vec<(Arc<Unit>, Reply)> {
        let mut done: Vec<(Arc<Unit>, Reply)> = Vec::with_capacity(units.len());
        for unit in units {
            let unit = Arc::new(unit);
            let lost = done.last().and_then(|(_, reply)| reply.lost());
            let reply = match lost {
                Some(cause) => Reply::not_sent(unit.operations.len(), Arc::clone(cause)),
                None => Errand::new(self, batch, &unit, deadline).run().await,
            };
            done.push((unit, reply));
        }
        done
    }
}

/// Time that a group which was sent to a former leader is given to be answered by it, once another is known.
const GRACE_TIME: Duration = Duration::from_millis(100);
/// Pauses before a group is sent again where nothing new is known: the first, and the longest.
const PAUSE_TIMES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(100)];
