//! A request of the driver: it writes its keys and values into the frame, and looks at the answers.
//!
//! Nothing is allocated per operation, and nothing per request either once enough have been in flight:
//! the memory of an ended request is the next one's.

mod exchange;

use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use batchkv_protocol::{Answer, RequestWriter};
use batchkv_workload::values;
use batchkv_workload::{Certainty, Floor, KeyBuf, Stamp, Ticket};

use crate::history::recorder::{Deed, Sending};
use crate::load::lane::Lane;
use crate::load::memory::{Frame, Noted, RequestMemory, TAKEN};
use crate::load::step::{Step, StepKind, wire_key};
use crate::load::tally::{Gain, Tally};
use crate::load::worker::Worker;
use crate::measured::counts::Kinds;
use crate::measured::latency::{Latencies, LatencyPart, Way};

/// A frame's operations are told in groups that span this part of their latency.
const GROUPS_IN_TOTAL: u64 = 100;
/// And this part of the longest fill.
const GROUPS_IN_FILL: u64 = 32;

/// A request on its way.
pub(crate) struct Request {
    worker: Rc<Worker>,
    lane: Rc<Lane>,
    /// When it was full, or its oldest operation had waited long enough.
    ready: Instant,
    /// Zero of the schedule by which its operations arrived; `None` in a closed loop.
    schedule_begin: Option<Instant>,
    sending: Sending,
    memory: RequestMemory,
    /// Steps that were answered.
    answered_steps: usize,
    /// How long the server took for the last frame of answers, where it tells.
    server_time: Option<Duration>,
    /// What was answered since the last frame's end.
    gain: Gain,
    /// What was answered at all, of gets up to the last frame's end.
    answered: Kinds,
    /// Present once a write was sent.
    ticket: Option<Ticket>,
    /// What is kept of the writes of the frame that is being written, once it has one.
    write_floor: Option<Floor>,
    /// Whether its gets are compared with the worker's own writes.
    is_watched: bool,
    /// The partition that was written last, and its epoch: read once a group.
    group: Option<(u32, u64)>,
}

impl Request {
    /// A request of the steps in `memory` for the server of `lane`, which was ready to be sent at `ready`.
    /// Operations that arrived by a schedule did so in time since `schedule_begin`.
    pub(crate) fn new(
        worker: Rc<Worker>,
        lane: Rc<Lane>,
        memory: RequestMemory,
        ready: Instant,
        schedule_begin: Option<Instant>,
    ) -> Self {
        let sending = worker.sending();
        let is_watched = worker.watches(memory.steps.len());
        Self {
            worker,
            lane,
            ready,
            schedule_begin,
            sending,
            memory,
            answered_steps: 0,
            server_time: None,
            gain: Gain::default(),
            answered: Kinds::default(),
            ticket: None,
            write_floor: None,
            is_watched,
            group: None,
        }
    }

    #[inline]
    fn epoch(&mut self, partition: u32) -> u64 {
        match self.group {
            Some((open, epoch)) if open == partition => epoch,
            _ => {
                let epoch = self.worker.epoch(partition);
                self.group = Some((partition, epoch));
                epoch
            }
        }
    }

    /// Takes note of a write that is sent with this sequence.
    #[inline]
    fn write_sent(&mut self, index: usize, record: u64, sequence: u64) {
        if self.write_floor.is_none() {
            let mut witness = self.worker.witness.borrow_mut();
            self.ticket.get_or_insert_with(|| witness.begin(sequence));
            self.write_floor = Some(witness.write_sent(sequence));
        }
        if let Some(recorder) = &self.worker.recorder
            && recorder.borrow().is_recorded(record)
        {
            let index = index as u32;
            self.memory.notes.push(Noted { index, sequence });
        }
    }

    /// The sequence of a write that is recorded.
    fn noted(&self, index: usize) -> Option<u64> {
        let notes = &self.memory.notes;
        let found = notes.binary_search_by_key(&(index as u32), |noted| noted.index);
        found.ok().map(|at| notes[at].sequence)
    }

    /// What was known when a step was sent whether its record is there.
    fn certainty(&self, index: usize) -> Certainty {
        let certainty = self.memory.certainties.get(index);
        certainty.copied().unwrap_or_default()
    }

    #[inline]
    fn write_put(
        &mut self,
        index: usize,
        step: Step,
        key: &KeyBuf,
        frame: &mut RequestWriter<'_>,
    ) -> bool {
        let worker = &self.worker;
        // A stamp is lost when the value does not fit: sequences may have gaps.
        let stamp = match step.kind() {
            StepKind::Load => worker.writer.borrow().loaded(),
            _ => worker.writer.borrow_mut().next_stamp(),
        };
        let (partition, record) = (step.partition(), step.record());
        let value_bytes = worker.value_bytes(record, stamp);
        let epoch = self.epoch(partition);
        let Some(room) = frame.put(partition, epoch, wire_key(key), value_bytes) else {
            return false;
        };
        values::write(key.hash(), stamp, room);
        self.worker.wrote(key.as_bytes().len() + value_bytes);
        if step.kind() != StepKind::Load {
            self.write_sent(index, record, stamp.sequence);
        }
        if let Some(presence) = &self.worker.presence {
            self.memory.certainties.push(presence.put_sent(record));
        }
        true
    }

    /// A delete is a write that leaves nothing; its sequence is no value's.
    fn delete_sent(&mut self, index: usize, record: u64) {
        let sequence = self.worker.writer.borrow_mut().next_stamp().sequence;
        self.write_sent(index, record, sequence);
        if let Some(presence) = &self.worker.presence {
            presence.delete_sent(record);
            self.memory.certainties.push(Certainty::default());
        }
        if let Some(recorder) = &self.worker.recorder {
            let mut recorder = recorder.borrow_mut();
            recorder.deleted(record, index, self.sending);
        }
    }

    #[inline]
    fn take_value(&mut self, index: usize, step: Step, value: &[u8]) {
        self.gain.counts.hits += 1;
        self.worker.read(value.len());
        if !self.worker.verify {
            return;
        }
        let record = step.record();
        let mut key = KeyBuf::default();
        step.set_key(self.worker.key_style, &mut key);
        match values::check(key.hash(), value) {
            Ok(Some(stamp)) => {
                self.check_stale(self.floor(index), record, stamp);
                self.record(index, record, Deed::Read(Some(stamp.into())));
            }
            Ok(None) => {}
            Err(fault) => {
                self.gain.checks.damaged += 1;
                let mut tally = self.worker.tally.borrow_mut();
                tally.example(|| format!("record {record}: {fault}"));
            }
        }
    }

    #[inline]
    fn check_stale(&mut self, floor: Floor, record: u64, stamp: Stamp) {
        let worker = &self.worker;
        self.gain.checks.compared += u64::from(floor.is_known());
        if floor.forbids(worker.run, worker.writer_number, stamp) {
            self.gain.checks.stale += 1;
            worker
                .tally
                .borrow_mut()
                .example(|| stale(record, stamp, worker.run));
        } else if stamp.run != worker.run {
            self.gain.checks.foreign += 1;
        }
    }

    #[inline]
    fn take_missing(&mut self, index: usize, step: Step) {
        let record = step.record();
        self.gain.counts.misses += 1;
        self.gain.checks.misses += 1;
        let is_lost = match &self.worker.presence {
            Some(presence) => presence.is_lost(record, self.certainty(index)),
            // Nobody deletes, and my own write was there.
            None => !self.worker.deletes && self.floor(index).is_known(),
        };
        if is_lost {
            self.gain.checks.lost += 1;
            let mut tally = self.worker.tally.borrow_mut();
            tally.example(|| format!("record {record} was there, and is not found"));
        }
        self.record(index, record, Deed::Read(None));
    }

    #[inline]
    fn floor(&self, index: usize) -> Floor {
        self.memory.floors.get(index).copied().unwrap_or_default()
    }

    /// Records an operation that was answered, if its record is listed. Most runs have no list, and an
    /// answer must not pay a call for it.
    #[inline(always)]
    fn record(&self, index: usize, record: u64, deed: Deed) {
        if let Some(recorder) = &self.worker.recorder {
            let mut recorder = recorder.borrow_mut();
            recorder.answered(record, deed, index, self.sending);
        }
    }

    /// Records the writes of sampled records that may have reached a server which was lost.
    fn record_unknown(&self, sent: usize) {
        let Some(recorder) = &self.worker.recorder else {
            return;
        };
        let mut recorder = recorder.borrow_mut();
        for noted in &self.memory.notes {
            let index = noted.index as usize;
            if index < sent && self.memory.steps[index].kind() != StepKind::Delete {
                let deed = Deed::Write(self.worker.value_id(noted.sequence));
                let record = self.memory.steps[index].record();
                recorder.unknown(record, deed, index, self.sending);
            }
        }
    }

    #[inline]
    fn take_stored(&mut self, index: usize, step: Step) {
        let record = step.record();
        let counts = &mut self.gain.counts;
        self.answered.puts += 1;
        match step.kind() {
            StepKind::Insert => {
                counts.inserts += 1;
                self.worker.inserts.borrow_mut().acknowledged(record);
            }
            StepKind::ModifyPut => counts.read_modify_writes += 1,
            // The load has no kind of its own; it is in no measured second.
            _ => counts.updates += 1,
        }
        if step.kind() == StepKind::Load {
            return;
        }
        self.write_acknowledged(index, record);
        if let Some(presence) = &self.worker.presence {
            presence.put_acknowledged(record, self.certainty(index));
        }
        if let Some(sequence) = self.noted(index) {
            self.record(index, record, Deed::Write(self.worker.value_id(sequence)));
        }
    }

    /// Remembers an acknowledged write or delete until the frame's end, where all are told together.
    #[inline]
    fn write_acknowledged(&mut self, index: usize, record: u64) {
        let frames = &self.memory.frames;
        let frame = frames[frames.partition_point(|frame| frame.end <= index)];
        self.memory.acknowledged.push((record, frame.write_floor));
    }

    fn tell_acknowledged(&mut self) {
        let mut witness = self.worker.witness.borrow_mut();
        for (record, floor) in self.memory.acknowledged.drain(..) {
            witness.write_acknowledged(record, floor);
        }
    }

    #[inline]
    fn take_deleted(&mut self, index: usize, step: Step) {
        self.answered.deletes += 1;
        self.gain.counts.deletes += 1;
        self.write_acknowledged(index, step.record());
        if let Some(presence) = &self.worker.presence {
            presence.delete_acknowledged(step.record());
        }
    }

    #[cold]
    fn take_refusal(&mut self, index: usize, step: Step, answer: Answer<'_>) {
        self.gain.checks.errors += 1;
        let record = step.record();
        self.answered.count(step.kind().operation());
        if let Answer::WrongOwner(known) = answer {
            self.worker.routes.live().offer(step.partition(), known);
        }
        // It certainly did not happen: should the connection be lost, it is none of the unknown writes.
        self.memory
            .notes
            .retain(|noted| noted.index != index as u32);
        // A write that was not done is never acknowledged, nor what was sent behind it.
        self.ticket = None;
        let mut tally = self.worker.tally.borrow_mut();
        tally.example(|| match &answer {
            Answer::Refused(reason) => format!("record {record}: {reason}"),
            other => format!("record {record}: {other:?}"),
        });
        drop(tally);
        if step.kind() == StepKind::Load {
            self.worker.load_refused(self.lane.server, &answer);
        }
    }

    /// Notes the latencies of a closed loop's `operations` that `steps` answers at `now` completed. The
    /// answers are taken to come in send order: where groups overtake each other inside a batch, its
    /// frames' queue and service times change places, and their sums stay.
    fn take_times(
        &mut self,
        now: Instant,
        steps: usize,
        operations: u64,
        latencies: &mut Latencies,
    ) {
        let ready = self.ready;
        let starts = &mut self.memory.starts;
        starts.take(operations);
        starts.groups(ready, GROUPS_IN_FILL, |fill, count| {
            latencies.record(LatencyPart::Fill, fill, count);
        });
        starts.groups(now, GROUPS_IN_TOTAL, |total, count| {
            latencies.record(LatencyPart::Total, total, count);
        });
        let (mut begin, end) = (self.answered_steps, self.answered_steps + steps);
        self.answered_steps = end;
        let frames = &self.memory.frames;
        let first = frames.partition_point(|frame| frame.end <= begin);
        let mut left = operations;
        for frame in &frames[first..] {
            if begin == end {
                break;
            }
            // A read-modify-write is two steps.
            let of_frame = frame.end.min(end) - begin;
            let count = left * of_frame as u64 / (end - begin) as u64;
            let [_, queue, service] = self.way(now, frame).parts(ready);
            latencies.record(LatencyPart::Queue, queue, count);
            self.take_service(service, count, latencies);
            left -= count;
            begin += of_frame;
        }
    }

    fn way(&self, now: Instant, frame: &Frame) -> Way {
        Way {
            ready: self.ready,
            written: frame.written,
            answered: now,
        }
    }

    fn take_service(&self, service: Duration, count: u64, latencies: &mut Latencies) {
        latencies.record(LatencyPart::Service, service, count);
        if let Some(server) = self.server_time {
            latencies.record(LatencyPart::Server, server, count);
            latencies.record(LatencyPart::Network, service.saturating_sub(server), count);
        }
    }

    /// Notes the latencies of an open loop's operations whose answers came by `now`: each from its own
    /// intended time, if that is in the window.
    fn take_own_times(&mut self, now: Instant, begin: Instant, tally: &mut Tally) {
        let span = tally.span();
        let (arrivals, latencies) = tally.arrivals();
        let fresh = mem::take(&mut self.memory.fresh);
        for index in fresh.iter().map(|&index| index as usize) {
            let nanos = mem::replace(&mut self.memory.intended[index], TAKEN);
            let start = begin + Duration::from_nanos(nanos);
            if !self.memory.steps[index].is_operation() || !counts(start, span) {
                continue;
            }
            let frames = &self.memory.frames;
            let frame = frames.partition_point(|frame| frame.end <= index);
            let Some(frame) = frames.get(frame) else {
                continue;
            };
            let [fill, queue, service] = self.way(now, frame).parts(start);
            latencies.record(LatencyPart::Fill, fill, 1);
            latencies.record(LatencyPart::Queue, queue, 1);
            self.take_service(service, 1, latencies);
            latencies.record(LatencyPart::Total, now.saturating_duration_since(start), 1);
            arrivals.late += u64::from(span.is_some_and(|(_, end)| now >= end));
        }
        self.memory.fresh = fresh;
        self.memory.fresh.clear();
    }

    /// What an open loop gives up took at least until now.
    fn give_up_times(&mut self, sent: usize) {
        let Some(begin) = self.schedule_begin else {
            return;
        };
        let now = Instant::now();
        self.worker.close_seconds(now);
        let mut tally = self.worker.tally.borrow_mut();
        let span = tally.span();
        let (arrivals, latencies) = tally.arrivals();
        let times = self.memory.steps.iter().zip(&self.memory.intended);
        for (index, (step, &nanos)) in times.enumerate() {
            let start = begin + Duration::from_nanos(nanos.min(u64::MAX / 2));
            if nanos == TAKEN || !step.is_operation() || !counts(start, span) {
                continue;
            }
            latencies.record(LatencyPart::Total, now.saturating_duration_since(start), 1);
            match index < sent {
                true => arrivals.unanswered += 1,
                false => arrivals.dropped += 1,
            }
        }
    }

    /// Operations of `steps` that were not answered, by kind.
    fn unanswered(&self, sent: usize) -> Kinds {
        let mut asked = Kinds::default();
        for step in &self.memory.steps[..sent] {
            asked.count(step.kind().operation());
        }
        Kinds {
            gets: asked.gets - self.answered.gets,
            hits: 0,
            puts: asked.puts - self.answered.puts,
            deletes: asked.deletes - self.answered.deletes,
        }
    }
}

/// A read that no store which keeps its promises gives.
#[cold]
fn stale(record: u64, stamp: Stamp, run: u16) -> String {
    let what = match (stamp.run == run, stamp.sequence) {
        (false, _) => "another run's value".into(),
        (true, 0) => "the loaded value".into(),
        (true, sequence) => format!("write {sequence} of this worker"),
    };
    format!(
        "stale read of record {record}: it returned {what} although a later write or delete had been \
         acknowledged before it was sent"
    )
}

/// Whether an arrival is of the window, as far as that is known.
fn counts(start: Instant, span: Option<(Instant, Instant)>) -> bool {
    span.is_none_or(|(begin, end)| begin <= start && start < end)
}
