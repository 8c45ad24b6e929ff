//! Groups that are answered later: what an executor takes away, and how it comes back.
//!
//! ```text
//!  connection's thread                                      any thread
//!  Session --- ParkedGroup (owns the group's bytes) --->    Executor::submit
//!     ^                                                         |  answer / resume / dropped
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
use batchkv_protocol::{Answer, Answers as _, Control, Counters, KeptAnswers, Position, Refusal};
use tokio::sync::Notify;

use crate::budget::Budget;
use crate::executor::Group;

/// A group that an executor took away. It is completed once, by [`answer`](Self::answer) or
/// [`resume`](Self::resume); one that is dropped ends its connection, because nobody knows what became of it. `R`
/// is the executor's [`Resumption`](crate::executor::Executor::Resumption).
#[derive(Debug)]
pub struct ParkedGroup<R = ()> {
    client: [u8; 16],
    taken: Taken<R>,
    reply: Reply<R>,
}

/// What a parked group and its completion have in common.
#[derive(Debug)]
pub(crate) struct Taken<R> {
    pub(crate) request: u64,
    header: GroupHeader,
    number: u32,
    bytes: Box<[u8]>,
    /// When its frame's last byte was read.
    pub(crate) read_at: Option<Instant>,
    charge: ParkedCharge<R>,
}

impl<R> Taken<R> {
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
pub(crate) enum Completion<R> {
    /// The last is how many of the operations were refused for another reason than want of memory.
    Answered(Taken<R>, KeptAnswers, Counters, u64),
    Resumed(Taken<R>, R),
    /// Nobody knows, of a group of this request.
    Abandoned(u64),
    /// What was asked of the [desk](crate::desk) is answered.
    Said(Control),
}

/// Tells the connection, whatever happens.
#[derive(Debug)]
struct Reply<R> {
    mailbox: Arc<Mailbox<R>>,
    /// Of which request a group is lost if nothing is told.
    owed: Option<u64>,
}

impl<R> ParkedGroup<R> {
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

    /// Names the connection that it came over, among those that have groups parked.
    #[must_use]
    pub fn connection(&self) -> u64 {
        Arc::as_ptr(&self.reply.mailbox).addr() as u64
    }

    /// Completes the group: an answer for each of its operations, in their order, and what is to be
    /// counted for them. Nothing happens when the connection is gone.
    pub fn answer(self, answers: KeptAnswers, counters: Counters) {
        self.complete(answers, counters, counters.refused);
    }

    fn complete(mut self, answers: KeptAnswers, counters: Counters, ruled_out: u64) {
        self.taken.charge.grow(answers.bytes() as u64);
        let completion = Completion::Answered(self.taken, answers, counters, ruled_out);
        self.reply.tell(completion);
    }

    /// Completes the group, of which nothing was executed: each operation gets this answer.
    pub fn refuse(self, answer: Answer<'static>) {
        let Group { header, number, .. } = self.group();
        let mut kept = KeptAnswers::new(usize::MAX);
        for operation in 0..u32::from(header.operations) {
            let group = number;
            kept.answer(Position { group, operation }, answer);
        }
        let count = u64::from(header.operations);
        let mut counters = Counters::default();
        match answer {
            Answer::WrongOwner(_) => counters.wrong_owner = count,
            Answer::Opened { .. } => {}
            _ => counters.refused = count,
        }
        let is_short = answer == Answer::Refused(Refusal::OutOfMemory);
        let ruled_out = if is_short { 0 } else { counters.refused };
        self.complete(kept, counters, ruled_out);
    }

    /// Has the connection's thread execute the group now with [`Executor::resume`](crate::executor::Executor::resume),
    /// straight into its answers, whoever owns the partition. Values then wait nowhere. `resumption` is dropped when
    /// the whole group is answered, or never will be.
    pub fn resume(self, resumption: R) {
        self.reply.tell(Completion::Resumed(self.taken, resumption));
    }
}

impl<R> Reply<R> {
    fn tell(mut self, completion: Completion<R>) {
        self.owed = None;
        self.mailbox.post(completion);
    }
}

impl<R> Drop for Reply<R> {
    fn drop(&mut self) {
        if let Some(request) = self.owed {
            self.mailbox.post(Completion::Abandoned(request));
        }
    }
}

/// Where one connection's groups are completed.
#[derive(Debug)]
struct Mailbox<R> {
    /// `None` when the connection is gone.
    arrived: Mutex<Option<VecDeque<Completion<R>>>>,
    bell: Notify,
    parked_bytes: AtomicU64,
    budget: Arc<Budget>,
}

impl<R> Mailbox<R> {
    fn post(&self, completion: Completion<R>) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = arrived.as_mut() {
            queue.push_back(completion);
            drop(arrived);
            self.bell.notify_one();
        }
    }

    fn pop(&self) -> Option<Completion<R>> {
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
struct ParkedCharge<R> {
    mailbox: Arc<Mailbox<R>>,
    bytes: u64,
}

impl<R> ParkedCharge<R> {
    /// What is there already is counted, whatever the bounds say.
    fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.mailbox
            .parked_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.mailbox.budget.park(bytes);
    }
}

impl<R> Drop for ParkedCharge<R> {
    fn drop(&mut self) {
        let Self { mailbox, bytes } = self;
        mailbox.parked_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        mailbox.budget.unpark(*bytes);
    }
}

/// One connection's side: parks groups and takes their completions. Holds nothing before the first.
#[derive(Debug)]
pub(crate) struct Parking<R> {
    budget: Arc<Budget>,
    mailbox: Option<Arc<Mailbox<R>>>,
}

/// What a parked group takes beside its operations, and what an executor keeps of it, in bytes.
const GROUP_BYTES: usize = 256;

impl<R> Parking<R> {
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
    ) -> ParkedGroup<R> {
        let mailbox = self.mailbox();
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

    fn mailbox(&mut self) -> &Arc<Mailbox<R>> {
        let budget = &self.budget;
        self.mailbox.get_or_insert_with(|| {
            Arc::new(Mailbox {
                arrived: Mutex::new(Some(VecDeque::new())),
                bell: Notify::new(),
                parked_bytes: AtomicU64::new(0),
                budget: budget.clone(),
            })
        })
    }

    /// Where what is asked of the desk is answered.
    pub(crate) fn desk_reply(&mut self) -> impl FnOnce(Control) + Send + use<R>
    where
        R: Send + 'static,
    {
        let mailbox = Arc::clone(self.mailbox());
        move |said| mailbox.post(Completion::Said(said))
    }

    /// The next completion.
    #[inline]
    pub(crate) fn next(&self) -> Option<Completion<R>> {
        self.mailbox.as_ref()?.pop()
    }

    /// Ready when a group was completed since the last time. While there is no group it never is.
    pub(crate) fn completed(&self) -> impl Future<Output = ()> + use<R> {
        let mailbox = self.mailbox.clone();
        async move {
            match mailbox {
                Some(mailbox) => mailbox.bell.notified().await,
                None => std::future::pending().await,
            }
        }
    }
}

impl<R> Drop for Parking<R> {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.close();
        }
    }
}
