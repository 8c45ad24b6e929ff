//! A closed loop: asks, fills one buffer a server, sends what is full.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use batchkv_workload::random::Random;
use batchkv_workload::{Identity, KeyBuf, Kind, LoadOrder, Operation, Phase, Stream};

use super::batch::{Batch, Step, StepKind, wire_key};
use super::lane::Lane;
use super::tally::Stage;
use super::worker::Worker;

/// Least operations in a request of the load: small batches are for latencies, which nobody measures
/// while loading.
const LOAD_BATCH_SIZE_MIN: usize = 1024;

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
    },
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
    source: Source,
    buffers: Vec<Buffer>,
    /// Steps that make a buffer full.
    full_steps: usize,
}

/// The open buffer for one server, in the order in which operations were asked for.
struct Buffer {
    lane: Rc<Lane>,
    steps: Vec<Step>,
}

impl Task {
    /// Task number `task` of the client.
    pub(crate) fn new(worker: Rc<Worker>, task: u32, source: Source) -> Self {
        let pairs = worker.spec.mix().share(Kind::ReadModifyWrite) > 0.0;
        let full_steps = match source {
            Source::Load(_) => worker.batch_size.max(LOAD_BATCH_SIZE_MIN),
            Source::Closing { .. } => CLOSING_BATCH_SIZE,
            // Room for both halves of a read-modify-write is left.
            Source::Run { .. } => worker.batch_size - usize::from(pairs),
        };
        let buffer = |server| Buffer {
            lane: Rc::new(Lane::new(server, worker.link_of(server, task))),
            steps: Vec::with_capacity(full_steps + 1),
        };
        Self {
            source,
            buffers: (0..worker.servers()).map(buffer).collect(),
            full_steps,
            worker,
        }
    }

    /// Goes on until the source ends or the worker stops, then waits for the last answers.
    pub(crate) async fn run(mut self) {
        while let Some(server) = self.fill() {
            self.send(server, Instant::now()).await;
            if self.worker.is_stopping() {
                break;
            }
        }
        for server in 0..self.buffers.len() {
            // What the load has left.
            if !self.buffers[server].steps.is_empty() {
                self.send(server, Instant::now()).await;
            }
        }
        for buffer in &self.buffers {
            buffer.lane.room(1).await;
        }
    }

    /// Asks for operations until a server's buffer is full, and says whose; `None` when the source
    /// has ended.
    fn fill(&mut self) -> Option<usize> {
        let worker = Rc::clone(&self.worker);
        match &mut self.source {
            Source::Load(order) => {
                for record in &mut *order.borrow_mut() {
                    let full = push(&worker, &mut self.buffers, StepKind::Load, record);
                    if full.1 >= self.full_steps {
                        return Some(full.0);
                    }
                }
                None
            }
            Source::Closing {
                records,
                random,
                operations,
            } => {
                while *operations > 0 {
                    *operations -= 1;
                    let kind = [StepKind::Get, StepKind::Update][random.below(2) as usize];
                    let record = records[random.below(records.len() as u64) as usize];
                    let full = push(&worker, &mut self.buffers, kind, record);
                    if full.1 >= self.full_steps {
                        return Some(full.0);
                    }
                }
                None
            }
            Source::Run { identity, stream } => {
                if worker.stage() != Stage::WarmUp && identity.phase == Phase::WarmUp {
                    identity.phase = Phase::Run;
                    **stream = Stream::new(&worker.spec, *identity);
                }
                let mut inserts = worker.inserts.borrow_mut();
                loop {
                    let operation = stream.next(&mut inserts);
                    let (server, steps) = ask(&worker, &mut self.buffers, operation);
                    if steps >= self.full_steps {
                        return Some(server);
                    }
                }
            }
        }
    }

    /// Sends a buffer, full since `full`, once its server's window has room; a worker that stops
    /// sends nothing.
    async fn send(&mut self, server: usize, full: Instant) {
        let Buffer { lane, steps } = &mut self.buffers[server];
        lane.room(self.worker.window).await;
        if self.worker.is_stopping() {
            return;
        }
        let mut parts = self.worker.spare.borrow_mut().pop().unwrap_or_default();
        self.worker.group(steps, &mut parts.steps);
        steps.clear();
        lane.enter();
        let batch = Batch::new(Rc::clone(&self.worker), Rc::clone(lane), parts, full);
        self.worker.submit(lane.link, batch);
    }
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
    let partition = worker.map.partition_of(wire_key(&key));
    let server = worker.owner(partition);
    let steps = &mut buffers[server].steps;
    steps.push(Step::new(kind, record, &key, partition));
    (server, steps.len())
}
