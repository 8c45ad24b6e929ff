//! What the tasks and requests of one worker share, but for its connections; all of it on the worker's thread.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use batchkv_client::connection::Traffic;
use batchkv_client::error::{ConnectionError, Loss};
use batchkv_client::group::Grouping;
use batchkv_client::routes::Routes;
use batchkv_protocol::{Answer, Ownership};
use batchkv_workload::random::Random;
use batchkv_workload::{Inserts, KeyBuf, KeyStyle, Kind, Presence, Spec, Stamp, Witness, Writer};
use tokio::sync::mpsc::UnboundedSender;

use crate::command::config::Config;
use crate::history::recorder::{EVENTS_MAX, Recorder, Sending, ValueId};
use crate::load::alarm::Alarm;
use crate::load::memory::RequestMemory;
use crate::load::report::{Message, Report};
use crate::load::step::{Step, wire_key};
use crate::load::tally::{Stage, Tally};
use crate::measured::counts::Kinds;
use crate::measured::interval::Volume;
use crate::screen::grouped;

/// Of large requests one in so many is watched, drawn by the run's seed: what is known of a record lies outside
/// the cache.
const WATCHED_ONE_IN: u64 = 2;
/// Requests of fewer operations are all watched.
const WATCHED_ALL_BELOW: usize = 256;
/// Names the random stream that draws them.
const WATCH_STREAM: u64 = 0x7761_7463;

/// One worker.
pub(crate) struct Worker {
    pub(crate) spec: Spec,
    pub(crate) key_style: KeyStyle,
    /// Who owns which partition now.
    pub(crate) routes: Arc<Routes>,
    pub(crate) seed: u64,
    pub(crate) client: u32,
    pub(crate) run: u16,
    pub(crate) batch_size: usize,
    pub(crate) window: usize,
    pub(crate) verify: bool,
    /// Operations arrive by a schedule, at which tasks are woken.
    pub(crate) alarm: Option<Rc<Alarm>>,
    pub(crate) writer: RefCell<Writer>,
    /// Names its values, with the run.
    pub(crate) writer_number: u16,
    pub(crate) witness: RefCell<Witness>,
    /// Which requests are watched.
    watch: RefCell<Random>,
    /// The client's, where records are deleted and nobody else deletes.
    pub(crate) presence: Option<Arc<Presence>>,
    /// Whether records are deleted.
    pub(crate) deletes: bool,
    pub(crate) inserts: RefCell<Inserts>,
    /// Present with --check-linearizability.
    pub(crate) recorder: Option<RefCell<Recorder>>,
    /// Batches so far.
    batches: Cell<u32>,
    pub(crate) tally: RefCell<Tally>,
    /// Bytes of keys and values, written and read.
    payload: Cell<Traffic>,
    /// Memory of ended requests.
    pub(crate) spare: RefCell<Vec<RequestMemory>>,
    /// What the worker's connections have moved, all together.
    traffic: Box<dyn Fn() -> Traffic>,
    /// What became unknown on each connection.
    unknown: RefCell<Vec<Kinds>>,
    /// Whether a server's loss was told: its connections are lost together.
    loss_told: RefCell<Vec<bool>>,
    /// The highest index of a server of the run.
    last_server: usize,
    grouping: RefCell<Grouping>,
    stopping: Cell<bool>,
    reading_back: Cell<bool>,
    report: UnboundedSender<Report>,
    index: usize,
}

impl Worker {
    /// Worker `index`, which has so many `links`, of which `routes` learn.
    pub(crate) fn new(
        config: &Config,
        run: u16,
        index: usize,
        routes: Arc<Routes>,
        (links, traffic): (usize, Box<dyn Fn() -> Traffic>),
        presence: Option<Arc<Presence>>,
        report: UnboundedSender<Report>,
    ) -> Self {
        let writer = config.share(index).writer();
        let servers = config.hosts.len();
        Self {
            spec: config.spec.clone(),
            key_style: config.spec.key_style(),
            seed: config.seed,
            client: config.member.client,
            run,
            batch_size: config.batch_size,
            window: config.window,
            verify: config.verify,
            alarm: None,
            writer: RefCell::new(Writer::new(run, writer)),
            writer_number: writer,
            witness: RefCell::new(Witness::new(config.spec.records())),
            watch: RefCell::new(Random::new(&[config.seed, WATCH_STREAM, writer.into()])),
            presence,
            deletes: config.spec.mix().share(Kind::Delete) > 0.0,
            recorder: recorder(config).map(RefCell::new),
            batches: Cell::new(0),
            inserts: RefCell::new(Inserts::new(config.spec.records(), config.share(index))),
            tally: RefCell::new(Tally::new(servers, Instant::now())),
            payload: Cell::default(),
            spare: RefCell::default(),
            last_server: servers - 1,
            grouping: RefCell::default(),
            routes,
            traffic,
            unknown: RefCell::new(vec![Kinds::default(); links]),
            loss_told: RefCell::new(vec![false; servers]),
            stopping: Cell::new(false),
            reading_back: Cell::new(false),
            report,
            index,
        }
    }

    #[inline]
    fn ownership(&self, partition: u32) -> Ownership {
        let ownership = self.routes.live().ownership(partition);
        ownership.expect("a key's partition is one of the map's")
    }

    /// The server that a partition's operations are sent to. One that is none of the run's cannot be: then
    /// another refuses them, which ends in the results.
    #[inline]
    pub(crate) fn owner(&self, partition: u32) -> usize {
        (self.ownership(partition).owner as usize).min(self.last_server)
    }

    #[inline]
    pub(crate) fn epoch(&self, partition: u32) -> u64 {
        self.ownership(partition).epoch
    }

    #[inline]
    pub(crate) fn partition_of(&self, key: &KeyBuf) -> u32 {
        self.routes.live().partition_of(wire_key(key))
    }

    #[inline]
    pub(crate) fn value_bytes(&self, record: u64, stamp: Stamp) -> usize {
        self.spec.value_sizes().bytes(record, stamp)
    }

    pub(crate) fn stage(&self) -> Stage {
        self.tally.borrow().stage()
    }

    /// Whether operations arrive by a schedule.
    pub(crate) fn is_open_loop(&self) -> bool {
        self.alarm.is_some()
    }

    /// Waits until `instant`, which an open loop's tasks do.
    pub(crate) async fn alarm(&self, instant: Instant) {
        match &self.alarm {
            Some(alarm) => alarm.wait(instant).await,
            None => pending().await,
        }
    }

    /// Whether tasks send nothing any more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Puts steps in the order of their partitions, keeping the order within each.
    /// An open loop's have a time each, `intended`.
    pub(crate) fn group(&self, steps: &[Step], intended: &[u64], memory: &mut RequestMemory) {
        let mut grouping = self.grouping.borrow_mut();
        let partitions = self.routes.live().partitioning().partitions();
        let order = grouping.sort(steps, partitions as usize);
        memory.steps.clear();
        memory
            .steps
            .extend(order.iter().map(|&index| steps[index as usize]));
        memory.intended.clear();
        if !intended.is_empty() {
            let times = order.iter().map(|&index| intended[index as usize]);
            memory.intended.extend(times);
        }
    }

    /// Takes note that a batch is about to be queued.
    pub(crate) fn sending(&self) -> Sending {
        let batch = self.batches.get();
        self.batches.set(batch.wrapping_add(1));
        Sending {
            batch,
            queued: Instant::now(),
        }
    }

    /// Whether the gets of a request of so many operations are compared with the worker's own writes.
    pub(crate) fn watches(&self, operations: usize) -> bool {
        operations < WATCHED_ALL_BELOW
            || self.is_reading_back()
            || self.watch.borrow_mut().below(WATCHED_ONE_IN) == 0
    }

    /// The value of this worker's write with that sequence.
    pub(crate) fn value_id(&self, sequence: u64) -> ValueId {
        ValueId::new(self.writer.borrow().loaded().writer, sequence)
    }

    /// Lets tasks send again, behind the window: nothing of it is counted in a second.
    pub(crate) fn begin_closing(&self) {
        self.stopping.set(false);
        self.reading_back.set(false);
        if let Some(recorder) = &self.recorder {
            recorder.borrow_mut().begin_closing();
        }
    }

    /// Lets tasks read back what was written.
    pub(crate) fn begin_reading_back(&self) {
        self.stopping.set(false);
        self.reading_back.set(true);
        if let Some(recorder) = &self.recorder {
            recorder.borrow_mut().pause();
        }
    }

    /// Whether what is answered now was read back.
    pub(crate) fn is_reading_back(&self) -> bool {
        self.reading_back.get()
    }

    /// Begins the load or the warm-up.
    pub(crate) fn begin(&self, stage: Stage) {
        let volume = self.volume();
        self.tally.borrow_mut().begin(stage, Instant::now(), volume);
    }

    /// Ends the stage early: nothing more is sent or counted.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.tally.borrow_mut().stop(Instant::now());
    }

    /// The measured window from begin to end, once it is known.
    pub(crate) fn span(&self) -> Option<(Instant, Instant)> {
        self.tally.borrow().span()
    }

    /// Notes operations that were generated by `now`, and how long ago altogether.
    pub(crate) fn generated(&self, now: Instant, operations: usize, ago_nanos: u128) {
        self.close_seconds(now);
        let operations = operations as u64;
        let mut tally = self.tally.borrow_mut();
        tally.generated(now, operations, ago_nanos);
    }

    /// Hands over the seconds that are over.
    pub(crate) fn close_seconds(&self, now: Instant) {
        let due = |tally: &Tally| tally.boundary().is_some_and(|boundary| now >= boundary);
        if !due(&self.tally.borrow()) {
            return;
        }
        let volume = self.volume();
        let mut tally = self.tally.borrow_mut();
        while let Some(closed) = tally.close(now, volume) {
            self.tell(Message::Second(Box::new(closed)));
        }
        // An open loop goes on until all that arrived in the window is sent.
        if tally.stage() == Stage::Over && !self.is_open_loop() {
            self.stopping.set(true);
        }
    }

    /// Connection `link` to `server` was lost with a request under way.
    pub(crate) fn lost(
        &self,
        server: usize,
        link: usize,
        unknown: &Kinds,
        cause: &ConnectionError,
    ) {
        self.unknown.borrow_mut()[link].add(unknown);
        if !mem::replace(&mut self.loss_told.borrow_mut()[server], true) {
            self.stopping.set(true);
            let what = match cause.loss {
                Loss::Dropped => "requests were given up that it did not answer".into(),
                _ => format!("it was lost: {cause}"),
            };
            self.tell(Message::Failed(format!(
                "Server {server} must answer until the end, but {what}; look at its log."
            )));
        }
    }

    /// A put of the load was refused: the workload needs every record, so the load ends here.
    #[cold]
    pub(crate) fn load_refused(&self, server: usize, answer: &Answer<'_>) {
        if self.stopping.replace(true) {
            return;
        }
        let reason = match answer {
            Answer::Refused(reason) => reason.to_string(),
            other => format!("{other:?}"),
        };
        let records = grouped(self.spec.records());
        let mib = self.spec.records() as f64 * self.spec.record_bytes() / f64::from(1 << 20);
        self.tell(Message::Failed(format!(
            "Every record must be loaded, but server {server} refused one: {reason}. The keys and values of \
             {records} records are {mib:.0} MiB, and a server needs more than that for its share of them; load \
             fewer or shorter ones, or allow the servers more (their --max-memory)."
        )));
    }

    /// What became unknown on a connection.
    pub(crate) fn unknown(&self, link: usize) -> Kinds {
        self.unknown.borrow()[link]
    }

    pub(crate) fn tell(&self, message: Message) {
        // The main thread goes away only when the run is over.
        let _ = self.report.send((self.index, message));
    }

    /// Takes note of bytes of keys and values that were written into a frame.
    #[inline]
    pub(crate) fn wrote(&self, bytes: usize) {
        let mut payload = self.payload.get();
        payload.bytes_sent += bytes as u64;
        self.payload.set(payload);
    }

    /// Takes note of bytes of values that were read from a frame.
    #[inline]
    pub(crate) fn read(&self, bytes: usize) {
        let mut payload = self.payload.get();
        payload.bytes_received += bytes as u64;
        self.payload.set(payload);
    }

    fn volume(&self) -> Volume {
        Volume {
            traffic: (self.traffic)(),
            payload: self.payload.get(),
            batches: self.batches.get().into(),
        }
    }

    /// The worker's number.
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

/// One worker's recorder of histories.
fn recorder(config: &Config) -> Option<Recorder> {
    let list = config.watch_list.clone()?;
    Some(Recorder::new(list, EVENTS_MAX / config.threads))
}
