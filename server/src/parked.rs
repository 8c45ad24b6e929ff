//! Groups that are answered later: what an executor takes away, and how it comes back.
//!
//! ```text
//!  connection's thread                                      any thread
//!  Session --- ParkedGroup (owns the group's bytes) --->    Executor::submit
//!     ^                                                         |  answer / execute / dropped
//!     '---- Mailbox: a queue, and a bell that wakes it <--------'
//! ```
//!
//! A parked group holds bytes of its own, no lock and nothing of the receive buffer. Its bytes, and those of its
//! answers, count against a bound of its connection and one of all, until the last of them is gone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use batchkv_protocol::limits::PARKED_BYTES_MAX;
use batchkv_protocol::request::GroupHeader;
use batchkv_protocol::{Counters, KeptAnswers};
use tokio::sync::Notify;

use crate::budget::Budget;
use crate::executor::Group;

/// A group that an executor took away. It is completed once, by [`answer`](Self::answer) or
/// [`execute`](Self::execute); one that is dropped ends its connection, because nobody knows what became of it.
#[derive(Debug)]
pub struct ParkedGroup {
    client: [u8; 16],
    taken: Taken,
    reply: Reply,
}

/// What a parked group and its completion have in common.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) request: u64,
    header: GroupHeader,
    number: u32,
    bytes: Box<[u8]>,
    /// When its frame's last byte was read.
    pub(crate) read_at: Option<Instant>,
    charge: ParkedCharge,
}

impl Taken {
    pub(crate) fn group(&self) -> Group<'_> {
        Group {
            header: self.header,
            number: self.number,
            bytes: &self.bytes,
        }
    }
}

/// What came of a parked group.
#[derive(Debug)]
pub(crate) enum Completion {
    Answered(Taken, KeptAnswers, Counters),
    Execute(Taken),
    /// Nobody knows, of a group of this request.
    Abandoned(u64),
}

/// Tells the connection, whatever happens.
#[derive(Debug)]
struct Reply {
    mailbox: Arc<Mailbox>,
    /// Of which request a group is lost if nothing is told.
    owed: Option<u64>,
}

impl ParkedGroup {
    /// The group: header, number and operations.
    #[must_use]
    pub fn group(&self) -> Group<'_> {
        self.taken.group()
    }

    /// The client who sent it, over all its connections.
    #[must_use]
    pub fn client(&self) -> [u8; 16] {
        self.client
    }

    /// Completes the group: an answer for each of its operations, in their order, and what is to be
    /// counted for them. Nothing happens when the connection is gone.
    pub fn answer(mut self, answers: KeptAnswers, counters: Counters) {
        self.taken.charge.grow(answers.bytes() as u64);
        let completion = Completion::Answered(self.taken, answers, counters);
        self.reply.tell(completion);
    }

    /// Has the connection's thread execute the group now, straight into its answers, whoever owns the partition.
    pub fn execute(self) {
        self.reply.tell(Completion::Execute(self.taken));
    }
}

impl Reply {
    fn tell(mut self, completion: Completion) {
        self.owed = None;
        self.mailbox.post(completion);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(request) = self.owed {
            self.mailbox.post(Completion::Abandoned(request));
        }
    }
}

/// Where one connection's groups are completed.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// `None` when the connection is gone.
    arrived: Mutex<Option<VecDeque<Completion>>>,
    bell: Notify,
    parked_bytes: AtomicU64,
    budget: Arc<Budget>,
}

impl Mailbox {
    fn post(&self, completion: Completion) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = arrived.as_mut() {
            queue.push_back(completion);
            drop(arrived);
            self.bell.notify_one();
        }
    }

    fn pop(&self) -> Option<Completion> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.as_mut()?.pop_front()
    }

    /// Takes no more, and gives up what is there; their charges refer to the mailbox.
    fn close(&self) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let left = arrived.take();
        drop(arrived);
        drop(left);
    }
}

/// A parked group's part of the bounds, given back when it goes.
#[derive(Debug)]
struct ParkedCharge {
    mailbox: Arc<Mailbox>,
    bytes: u64,
}

impl ParkedCharge {
    /// What is there already is counted, whatever the bounds say.
    fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.mailbox
            .parked_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.mailbox.budget.park(bytes);
    }
}

impl Drop for ParkedCharge {
    fn drop(&mut self) {
        let Self { mailbox, bytes } = self;
        mailbox.parked_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        mailbox.budget.unpark(*bytes);
    }
}

/// One connection's side: parks groups and takes their completions. Holds nothing before the first.
#[derive(Debug)]
pub(crate) struct Parking {
    budget: Arc<Budget>,
    mailbox: Option<Arc<Mailbox>>,
}

/// What a parked group takes beside its operations, and what an executor keeps of it, in bytes.
const GROUP_BYTES: usize = 256;

impl Parking {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            mailbox: None,
        }
    }

    /// Whether `group` keeps the bounds. One that finds nothing else parked always does.
    pub(crate) fn has_room(&self, group: &Group<'_>) -> bool {
        let bytes = (group.bytes.len() + GROUP_BYTES) as u64;
        let mine = self
            .mailbox
            .as_ref()
            .map_or(0, |mailbox| mailbox.parked_bytes.load(Ordering::Relaxed));
        (mine == 0 || mine + bytes <= PARKED_BYTES_MAX) && self.budget.may_park(bytes)
    }

    /// A copy of `group` that can be taken away.
    pub(crate) fn park(
        &mut self,
        group: &Group<'_>,
        request: u64,
        client: [u8; 16],
        read_at: Option<Instant>,
    ) -> ParkedGroup {
        let budget = &self.budget;
        let mailbox = self.mailbox.get_or_insert_with(|| {
            Arc::new(Mailbox {
                arrived: Mutex::new(Some(VecDeque::new())),
                bell: Notify::new(),
                parked_bytes: AtomicU64::new(0),
                budget: budget.clone(),
            })
        });
        let mut charge = ParkedCharge {
            mailbox: mailbox.clone(),
            bytes: 0,
        };
        charge.grow((group.bytes.len() + GROUP_BYTES) as u64);
        ParkedGroup {
            client,
            taken: Taken {
                request,
                header: group.header,
                number: group.number,
                bytes: group.bytes.into(),
                read_at,
                charge,
            },
            reply: Reply {
                mailbox: mailbox.clone(),
                owed: Some(request),
            },
        }
    }

    /// The next completion.
    #[inline]
    pub(crate) fn next(&self) -> Option<Completion> {
        self.mailbox.as_ref()?.pop()
    }

    /// Ready when a group was completed since the last time. While there is no group it never is.
    pub(crate) fn completed(&self) -> impl Future<Output = ()> + use<> {
        let mailbox = self.mailbox.clone();
        async move {
            match mailbox {
                Some(mailbox) => mailbox.bell.notified().await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.close();
        }
    }
}
