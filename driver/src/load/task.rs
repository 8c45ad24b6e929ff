//! A task: asks for operations as its pacing says, fills one buffer a server, sends what is full or has
//! waited long enough.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use batchkv_workload::random::Random;
use batchkv_workload::{Identity, KeyBuf, Kind, LoadOrder, Operation, Phase, Stream};
use tokio::time::{sleep_until, timeout_at};

use crate::load::lane::Lane;
use crate::load::links::Links;
use crate::load::pacing::{Open, Pacing};
use crate::load::request::Request;
use crate::load::starts::Starts;
use crate::load::step::{Step, StepKind};
use crate::load::tally::Stage;
use crate::load::worker::Worker;
use crate::measured::latency::LatencyPart;

/// Least operations in a request of the load: small batches are for latencies, which nobody measures
/// while loading.
const LOAD_BATCH_SIZE_MIN: usize = 1024;

/// Operations that a closed loop draws before it asks for them: the steps from a random word to a key's
/// server wait for each other, and a processor overlaps more of them in two short loops than in a long one.
const DRAWN_AHEAD: usize = 32;

/// Longest sleep, so that a worker's stop is seen soon.
const IDLE_TIME_MAX: Duration = Duration::from_millis(50);
/// Behind the window's end, and the longest wait for a batch to fill, an open loop has so long to send what
/// arrived in the window.
pub(crate) const CATCH_UP_TIME: Duration = Duration::from_secs(5);
/// The closing part of a run: its tasks a worker, the operations of each, and those in a batch.
pub(crate) const CLOSING_TASKS: usize = 2;
const CLOSING_OPERATIONS: usize = 4096;
const CLOSING_BATCH_SIZE: usize = 8;
/// Tells its random streams from those of `Phase`.
const CLOSING_STREAM: u64 = 3;

/// Where a task's operations come from.
pub(crate) enum Source {
    /// The records of the worker's share, which its tasks divide among them; ends.
    Load(Rc<RefCell<LoadOrder>>),
    /// The task's own stream; endless.
    Run {
        identity: Identity,
        stream: Box<Stream>,
        /// What was drawn and is not yet asked for. What the warm-up leaves here is asked for in the run, as
        /// what it leaves in the buffers is sent there.
        drawn: VecDeque<Operation>,
    },
    /// Gets of records that were written, which the worker's tasks divide among them; ends.
    ReadBack(Rc<RefCell<IntoIter<u64>>>),
    /// Half gets, half puts of the hottest sampled records; ends.
    Closing {
        records: Vec<u64>,
        random: Random,
        operations: usize,
    },
}

impl Source {
    /// The stream of the warm-up; the measured one takes its place with the window's start.
    pub(crate) fn warm_up(worker: &Worker, task: u32) -> Self {
        let identity = Identity {
            seed: worker.seed,
            client: worker.client,
            task,
            phase: Phase::WarmUp,
        };
        Self::Run {
            identity,
            stream: Box::new(Stream::new(&worker.spec, identity)),
            drawn: VecDeque::with_capacity(DRAWN_AHEAD),
        }
    }

    /// Few and small batches, one after the other, so that most operations have an order.
    pub(crate) fn closing(worker: &Worker, task: u32) -> Self {
        let recorder = worker.recorder.as_ref();
        let records = recorder.map_or(Vec::new(), |recorder| recorder.borrow().hottest());
        let (client, task) = (worker.client.into(), task.into());
        Self::Closing {
            operations: if records.is_empty() {
                0
            } else {
                CLOSING_OPERATIONS
            },
            records,
            random: Random::new(&[worker.seed, client, task, CLOSING_STREAM]),
        }
    }
}

/// One task.
pub(crate) struct Task {
    worker: Rc<Worker>,
    links: Links,
    source: Source,
    pacing: Pacing,
    buffers: Vec<Buffer>,
    /// Steps that make a buffer full.
    full_steps: usize,
    /// Some operations are two steps.
    pairs: bool,
}

/// The open buffer for one server, in the order in which operations were asked for.
struct Buffer {
    lane: Rc<Lane>,
    steps: Vec<Step>,
    /// A closed loop's: when the steps' operations were generated.
    starts: Starts,
    /// An open loop's: when each step was to arrive, in nanoseconds since the schedule's zero.
    intended: Vec<u64>,
    /// Steps whose operations are in `starts`.
    started_steps: usize,
}

/// Why a task asks for no more operations for now.
enum Filled {
    /// This server's buffer is full.
    Full(usize),
    /// The next operation has not arrived.
    AllDue,
    /// There are no more.
    Ended,
}

impl Buffer {
    /// When its first operation was to arrive.
    fn first(&self) -> Option<u64> {
        self.intended.first().copied()
    }
}

impl Task {
    /// Task number `task` of the client.
    pub(crate) fn new(
        worker: Rc<Worker>,
        links: Links,
        task: u32,
        source: Source,
        pacing: Pacing,
    ) -> Self {
        let pairs = worker.spec.mix().share(Kind::ReadModifyWrite) > 0.0;
        let full_steps = match source {
            Source::Load(_) => worker.batch_size.max(LOAD_BATCH_SIZE_MIN),
            Source::Closing { .. } => CLOSING_BATCH_SIZE,
            // Room for both halves of a read-modify-write is left.
            Source::Run { .. } => worker.batch_size - usize::from(pairs),
            Source::ReadBack(_) => worker.batch_size,
        };
        let buffer = |server| Buffer {
            lane: Rc::new(Lane::new(server, links.link_of(server, task))),
            steps: Vec::with_capacity(full_steps + 1),
            starts: Starts::default(),
            intended: Vec::new(),
            started_steps: 0,
        };
        Self {
            source,
            pacing,
            buffers: (0..links.servers()).map(buffer).collect(),
            full_steps,
            pairs,
            worker,
            links,
        }
    }

    /// Goes on until the source ends or the worker stops, then waits for the last answers.
    pub(crate) async fn run(mut self) {
        loop {
            let from = Instant::now();
            let filled = self.fill(from);
            let to = Instant::now();
            self.started(from, to);
            match filled {
                Filled::Full(server) => self.send(server, to).await,
                Filled::AllDue => self.idle(to).await,
                Filled::Ended => break,
            }
            if self.worker.is_stopping() || self.limit().is_some_and(|limit| to >= limit) {
                break;
            }
        }
        for server in 0..self.buffers.len() {
            // What the load has left.
            if !self.buffers[server].steps.is_empty() {
                self.send(server, Instant::now()).await;
            }
        }
        self.give_up();
        for buffer in &self.buffers {
            buffer.lane.room(1).await;
        }
    }

    /// Asks for operations that are due at `now` until a server's buffer is full.
    fn fill(&mut self, now: Instant) -> Filled {
        let worker = Rc::clone(&self.worker);
        match &mut self.source {
            Source::Load(order) => {
                let mut records = order.borrow_mut();
                let puts = records.by_ref().map(|record| (StepKind::Load, record));
                ask_all(&worker, &mut self.buffers, self.full_steps, puts)
            }
            Source::ReadBack(records) => {
                let mut records = records.borrow_mut();
                let gets = records.by_ref().map(|record| (StepKind::Get, record));
                ask_all(&worker, &mut self.buffers, self.full_steps, gets)
            }
            Source::Closing {
                records,
                random,
                operations,
            } => {
                let steps = std::iter::from_fn(|| {
                    *operations = operations.checked_sub(1)?;
                    let kind = [StepKind::Get, StepKind::Update][random.below(2) as usize];
                    Some((kind, records[random.below(records.len() as u64) as usize]))
                });
                ask_all(&worker, &mut self.buffers, self.full_steps, steps)
            }
            Source::Run {
                identity,
                stream,
                drawn,
            } => {
                if worker.stage() != Stage::WarmUp && identity.phase == Phase::WarmUp {
                    identity.phase = Phase::Run;
                    **stream = Stream::new(&worker.spec, *identity);
                }
                if let Pacing::Open(open) = &mut self.pacing {
                    open.measure(worker.span());
                }
                let mut inserts = worker.inserts.borrow_mut();
                loop {
                    let (intended, ahead) = match &mut self.pacing {
                        Pacing::Closed => (None, DRAWN_AHEAD),
                        Pacing::Open(open) => match open.take(now) {
                            None if open.is_over()
                                && self.buffers.iter().all(|b| b.steps.is_empty()) =>
                            {
                                return Filled::Ended;
                            }
                            None => return Filled::AllDue,
                            intended => (intended, 1),
                        },
                    };
                    if drawn.is_empty() {
                        drawn.extend((0..ahead).map(|_| stream.next(&mut inserts)));
                    }
                    let operation = drawn.pop_front().expect("at least one was drawn");
                    let (server, steps) = ask(&worker, &mut self.buffers, operation);
                    if let Some(intended) = intended {
                        // A read-modify-write is two steps.
                        let buffer = &mut self.buffers[server];
                        buffer.intended.resize(steps, intended);
                    }
                    if steps >= self.full_steps {
                        return Filled::Full(server);
                    }
                }
            }
        }
    }

    /// Accounts for what the buffers have got since the last time: what did not arrive by a schedule was
    /// generated evenly between two instants.
    fn started(&mut self, from: Instant, to: Instant) {
        if let Pacing::Open(open) = &mut self.pacing {
            let (fresh, ago_nanos) = open.take_fresh(to);
            self.worker.generated(to, fresh.operations, ago_nanos);
            let mut tally = self.worker.tally.borrow_mut();
            tally.arrivals().0.arrived += fresh.of_window;
            return;
        }
        let mut operations = 0;
        for buffer in &mut self.buffers {
            let fresh = &buffer.steps[buffer.started_steps..];
            let count = match self.pairs {
                true => fresh.iter().filter(|step| step.is_operation()).count(),
                false => fresh.len(),
            };
            buffer.starts.add(from, to, count);
            buffer.started_steps = buffer.steps.len();
            operations += count;
        }
        let ago_nanos = (to - from).as_nanos() * operations as u128 / 2;
        self.worker.generated(to, operations, ago_nanos);
    }

    /// Sends what has waited long enough and has room, then waits until there is something to do.
    async fn idle(&mut self, now: Instant) {
        let Pacing::Open(open) = &self.pacing else {
            return;
        };
        let window = self.worker.window;
        let overdue = |buffer: &Buffer| open.is_overdue(buffer.first(), now);
        let ready = |buffer: &Buffer| overdue(buffer) && buffer.lane.has_room(window);
        if let Some(server) = self.buffers.iter().position(ready) {
            return self.send(server, now).await;
        }
        let waiting = self.buffers.iter().filter(|buffer| !overdue(buffer));
        let firsts = waiting.filter_map(|buffer| buffer.first());
        let missing = |buffer: &Buffer| self.full_steps - buffer.steps.len();
        let missing_steps = self.buffers.iter().map(missing).min().unwrap_or(0);
        let longest = now + IDLE_TIME_MAX;
        let wake = open.wake(firsts, missing_steps);
        let wake = wake.map_or(longest, |wake| wake.min(longest));
        let mut sleep = pin!(sleep_until(wake.into()));
        let room = |cx: &mut Context<'_>| {
            let mut overdue = self.buffers.iter().filter(|buffer| overdue(buffer));
            overdue.any(|buffer| buffer.lane.poll_room(window, cx).is_ready())
        };
        let mut alarm = pin!(self.worker.alarm(wake));
        poll_fn(|cx| match room(cx) || alarm.as_mut().poll(cx).is_ready() {
            true => Poll::Ready(()),
            false => sleep.as_mut().poll(cx),
        })
        .await;
    }

    /// When an open loop gives up what it could not send: some time behind the window's end.
    fn limit(&self) -> Option<Instant> {
        let Pacing::Open(open) = &self.pacing else {
            return None;
        };
        let (_, end) = self.worker.span()?;
        Some(end + open.linger() + CATCH_UP_TIME)
    }

    /// Waits until a server's window has room; false when that came too late. What arrives in the meantime
    /// is asked for when there is room, with the times for which it was intended.
    async fn room(&self, server: usize) -> bool {
        let room = self.buffers[server].lane.room(self.worker.window);
        match self.limit() {
            Some(limit) => timeout_at(limit.into(), room).await.is_ok(),
            None => {
                room.await;
                true
            }
        }
    }

    /// Sends a buffer, in a closed loop full at `full`, once its server's window has room; a worker that
    /// stops sends nothing.
    async fn send(&mut self, server: usize, full: Instant) {
        if !self.room(server).await || self.worker.is_stopping() {
            return;
        }
        let (ready, schedule_begin) = match &self.pacing {
            Pacing::Closed => (full, None),
            Pacing::Open(open) => (self.ready(open, server), Some(open.begin())),
        };
        let buffer = &mut self.buffers[server];
        let mut memory = self.worker.spare.borrow_mut().pop().unwrap_or_default();
        self.worker
            .group(&buffer.steps, &buffer.intended, &mut memory);
        buffer.steps.clear();
        buffer.intended.clear();
        mem::swap(&mut buffer.starts, &mut memory.starts);
        buffer.started_steps = 0;
        buffer.lane.enter();
        let (worker, lane) = (Rc::clone(&self.worker), Rc::clone(&buffer.lane));
        let link = lane.link;
        let request = Request::new(worker, lane, memory, ready, schedule_begin);
        self.links.submit(link, request);
    }

    /// When an open loop's buffer was ready, and whom it has waited for since.
    fn ready(&self, open: &Open, server: usize) -> Instant {
        let buffer = &self.buffers[server];
        let last = buffer.intended.last().copied();
        let last = last.filter(|_| buffer.steps.len() >= self.full_steps);
        let ready = open.instant(open.ready(buffer.first().unwrap_or(0), last));
        let waited = ready.elapsed();
        let room_since = buffer.lane.room_since();
        let blocked = room_since.saturating_duration_since(ready).min(waited);
        let (operations, span) = (buffer.steps.len() as u64, self.worker.span());
        if span.is_some_and(|(start, _)| ready >= start) {
            let mut tally = self.worker.tally.borrow_mut();
            let (arrivals, _) = tally.arrivals();
            arrivals.blocked_micros += blocked.as_micros() as u64 * operations;
            arrivals.tardy_micros += (waited - blocked).as_micros() as u64 * operations;
        }
        ready
    }

    /// Counts what an open loop could not send, which took at least until now.
    fn give_up(&mut self) {
        let Pacing::Open(open) = &mut self.pacing else {
            return;
        };
        open.measure(self.worker.span());
        let now = Instant::now();
        self.worker.close_seconds(now);
        let mut tally = self.worker.tally.borrow_mut();
        let Some((start, end)) = tally.span() else {
            return;
        };
        let mut given_up = |intended: Instant, count: u64| {
            if start <= intended && intended < end {
                let (arrivals, latencies) = tally.arrivals();
                arrivals.dropped += count;
                let waited = now.saturating_duration_since(intended);
                latencies.record(LatencyPart::Total, waited, count);
            }
        };
        for buffer in &self.buffers {
            let operations = buffer.steps.iter().zip(&buffer.intended);
            for (_, nanos) in operations.filter(|(step, _)| step.is_operation()) {
                given_up(open.instant(*nanos), 1);
            }
        }
        open.give_up(given_up);
        let (fresh, ago_nanos) = open.take_fresh(now);
        tally.generated(now, fresh.operations as u64, ago_nanos);
        tally.arrivals().0.arrived += fresh.of_window;
    }
}

/// Puts steps into their servers' buffers until one is full or there are no more.
fn ask_all(
    worker: &Worker,
    buffers: &mut [Buffer],
    full_steps: usize,
    steps: impl Iterator<Item = (StepKind, u64)>,
) -> Filled {
    for (kind, record) in steps {
        let (server, steps) = push(worker, buffers, kind, record);
        if steps >= full_steps {
            return Filled::Full(server);
        }
    }
    Filled::Ended
}

/// Puts an operation's steps into the buffer of its server; gives the server and the buffer's length.
#[inline]
fn ask(worker: &Worker, buffers: &mut [Buffer], operation: Operation) -> (usize, usize) {
    let record = operation.record;
    let kind = match operation.kind {
        Kind::Read => StepKind::Get,
        Kind::Update => StepKind::Update,
        Kind::Insert => StepKind::Insert,
        Kind::Delete => StepKind::Delete,
        Kind::ReadModifyWrite => {
            push(worker, buffers, StepKind::ModifyGet, record);
            StepKind::ModifyPut
        }
    };
    push(worker, buffers, kind, record)
}

#[inline]
fn push(worker: &Worker, buffers: &mut [Buffer], kind: StepKind, record: u64) -> (usize, usize) {
    let mut key = KeyBuf::default();
    key.set(worker.key_style, record);
    let partition = worker.partition_of(&key);
    let server = worker.owner(partition);
    let steps = &mut buffers[server].steps;
    steps.push(Step::new(kind, record, &key, partition));
    (server, steps.len())
}
