//! A request as the client library drives it: it is written, answered and ended.

use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use batchkv_client::exchange::{Exchange, Lost};
use batchkv_client::kind::WrongKind;
use batchkv_protocol::{Answer, RequestWriter};
use batchkv_workload::KeyBuf;

use super::Request;
use crate::load::memory::Frame;
use crate::load::step::{StepKind, wire_key};
use crate::load::tally::Stage;

impl Exchange for Request {
    fn operations(&self) -> usize {
        self.memory.steps.len()
    }

    #[inline]
    fn write(&mut self, index: usize, frame: &mut RequestWriter<'_>) -> bool {
        let step = self.memory.steps[index];
        let mut key = KeyBuf::default();
        step.set_key(self.worker.key_style, &mut key);
        let partition = step.partition();
        let epoch = self.epoch(partition);
        match step.kind() {
            StepKind::Get | StepKind::ModifyGet => {
                let fits = frame.get(partition, epoch, wire_key(&key));
                if fits {
                    self.worker.wrote(key.as_bytes().len());
                    if let Some(presence) = &self.worker.presence {
                        let certainty = presence.get_sent(step.record());
                        self.memory.certainties.push(certainty);
                    }
                }
                fits
            }
            StepKind::Delete => {
                let fits = frame.delete(partition, epoch, wire_key(&key));
                if fits {
                    self.worker.wrote(key.as_bytes().len());
                    self.delete_sent(index, step.record());
                }
                fits
            }
            _ => self.write_put(index, step, &key, frame),
        }
    }

    #[inline(always)]
    fn answer(&mut self, index: usize, answer: Answer<'_>) -> Result<(), WrongKind> {
        let step = self.memory.steps[index];
        let kind = step.kind();
        if self.schedule_begin.is_some() {
            self.memory.fresh.push(index as u32);
        }
        match answer {
            Answer::Value(value) => {
                kind.operation().check(&answer)?;
                self.gain.counts.reads += u64::from(kind == StepKind::Get);
                self.take_value(index, step, value);
            }
            Answer::Missing => {
                kind.operation().check(&answer)?;
                self.gain.counts.reads += u64::from(kind == StepKind::Get);
                self.take_missing(index, step);
            }
            Answer::Stored | Answer::Deleted { .. } => {
                kind.operation().check(&answer)?;
                match kind {
                    StepKind::Delete => self.take_deleted(index, step),
                    _ => self.take_stored(index, step),
                }
            }
            Answer::Refused(_)
            | Answer::WrongOwner(_)
            | Answer::Opened { .. }
            | Answer::StoredAs { .. } => {
                kind.operation().check(&answer)?;
                self.take_refusal(index, step, answer);
            }
        }
        Ok(())
    }

    fn written(&mut self, operations: usize) {
        let before = self.memory.frames.last().map_or(0, |frame| frame.end);
        let end = before + operations;
        self.memory.frames.push(Frame {
            end,
            written: Instant::now(),
            write_floor: self.write_floor.take().unwrap_or_default(),
        });
        if self.is_watched {
            // None of the frame is sent yet, and none of its writes is acknowledged.
            let records = self.memory.steps[before..end]
                .iter()
                .map(|step| step.record());
            let witness = self.worker.witness.borrow();
            witness.reads_sent(records, &mut self.memory.floors);
        }
    }

    fn served(&mut self, server_time: Duration) {
        self.server_time = Some(server_time);
    }

    fn answered(&mut self, operations: usize) {
        let now = Instant::now();
        self.tell_acknowledged();
        let mut gain = mem::take(&mut self.gain);
        self.answered.gets += gain.counts.hits + gain.counts.misses;
        self.answered.hits += gain.counts.hits;
        if self.worker.verify {
            gain.checks.verified = gain.counts.hits;
        }
        if self.worker.is_reading_back() {
            gain.checks.read_back = gain.counts.hits + gain.counts.misses;
        }
        let worker = Rc::clone(&self.worker);
        worker.close_seconds(now);
        let mut tally = worker.tally.borrow_mut();
        let stage = tally.stage();
        let latencies = tally.add(now, self.lane.server, &gain);
        match self.schedule_begin {
            Some(begin) => self.take_own_times(now, begin, &mut tally),
            // Behind a closed loop's window nothing is timed.
            None if stage == Stage::Over => {}
            None => self.take_times(now, operations, gain.counts.ops(), latencies),
        }
        drop(tally);
        if let Some(recorder) = &worker.recorder {
            recorder.borrow_mut().frame(now);
        }
    }

    fn ended(mut self, outcome: Result<(), Lost>) {
        if let (Ok(()), Some(ticket)) = (&outcome, self.ticket) {
            self.worker.witness.borrow_mut().end(ticket);
        }
        if let Err(lost) = outcome {
            let unknown = self.unanswered(lost.sent);
            self.record_unknown(lost.sent);
            self.give_up_times(lost.sent);
            self.worker
                .lost(self.lane.server, self.lane.link, &unknown, &lost.cause);
        }
        self.memory.clear();
        self.worker.spare.borrow_mut().push(self.memory);
        let now = Instant::now();
        let mut tally = self.worker.tally.borrow_mut();
        tally.batch_ended(self.lane.server, self.sending.queued, now);
        drop(tally);
        self.lane.leave(now);
    }
}
