//! What connections to members of a cluster carry: a unit, or the opening of a stream.

use crate::answers::Reply;
use crate::batch::Batch;
use crate::cluster::unit::Unit;
use crate::exchange::{Exchange, Lost};
use crate::kind::WrongKind;
use batchkv_protocol::map::Ownership;
use batchkv_protocol::options::VERSION_BYTES;
use batchkv_protocol::{Answer, Freshness, GroupOptions, Refusal, RequestWriter};
use std::sync::Arc;
use tokio::sync::oneshot;

/// One request, of one group.
#[derive(Debug)]
pub(crate) enum Request {
    Unit(Sending),
    Opening(Opening),
}

/// A unit that is sent, once.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) batch: Arc<Batch>,
    pub(crate) unit: Arc<Unit>,
    /// Of the partition, as it is known.
    pub(crate) epoch: u64,
    pub(crate) options: GroupOptions,
    reply: Reply,
    done: oneshot::Sender<Reply>,
}

/// The opening of a stream.
#[derive(Debug)]
pub(crate) struct Opening {
    partition: u32,
    epoch: u64,
    opened: Result<u64, NotOpened>,
    done: oneshot::Sender<Result<u64, NotOpened>>,
}

/// Why there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// No answer came.
    Unanswered,
    WrongOwner(Ownership),
    Refused(Refusal),
}

impl Sending {
    /// A sending, and where its reply will come.
    pub(crate) fn new(
        batch: &Arc<Batch>,
        unit: &Arc<Unit>,
        epoch: u64,
        options: GroupOptions,
    ) -> (Self, oneshot::Receiver<Reply>) {
        let (done, reply) = oneshot::channel();
        let sending = Self {
            batch: Arc::clone(batch),
            unit: Arc::clone(unit),
            epoch,
            options,
            reply: Reply::with_operations(unit.operations.len()),
            done,
        };
        (sending, reply)
    }

    fn index(&self, index: usize) -> usize {
        self.unit.operations[index] as usize
    }

    fn write(&self, index: usize, frame: &mut RequestWriter<'_>) -> bool {
        let operation = self.batch.operation(self.index(index));
        let (partition, epoch) = (self.unit.partition, self.epoch);
        if index == 0 {
            let bytes = self.unit.bytes;
            return frame.begin_group((partition, epoch), &self.options, &operation, bytes);
        }
        frame.operation(partition, epoch, operation)
    }

    fn answer(&mut self, index: usize, answer: Answer<'_>) -> Result<(), WrongKind> {
        let kind = self.batch.kind(self.index(index));
        kind.check_with_versions(&answer, self.unit.versions)?;
        match answer {
            Answer::Value(stored) if self.unit.versions => {
                let (value, version) = stored.split_at(stored.len() - VERSION_BYTES);
                self.reply.take_version(index, value, version);
            }
            answer => self.reply.take(index, answer),
        }
        Ok(())
    }
}

impl Opening {
    /// An opening in `partition`, at `epoch` as it is known, and where it will be told what came of it.
    pub(crate) fn new(
        partition: u32,
        epoch: u64,
    ) -> (Self, oneshot::Receiver<Result<u64, NotOpened>>) {
        let (done, opened) = oneshot::channel();
        let opening = Self {
            partition,
            epoch,
            opened: Err(NotOpened::Unanswered),
            done,
        };
        (opening, opened)
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Result<(), WrongKind> {
        self.opened = match *answer {
            Answer::Opened { stream } => Ok(stream),
            Answer::WrongOwner(known) => Err(NotOpened::WrongOwner(known)),
            Answer::Refused(reason) => Err(NotOpened::Refused(reason)),
            _ => return Err(WrongKind::of_opening(answer)),
        };
        Ok(())
    }
}

impl Exchange for Request {
    fn operations(&self) -> usize {
        match self {
            Self::Unit(sending) => sending.unit.operations.len(),
            Self::Opening(_) => 1,
        }
    }

    fn write(&mut self, index: usize, frame: &mut RequestWriter<'_>) -> bool {
        match self {
            Self::Unit(sending) => sending.write(index, frame),
            Self::Opening(opening) => frame.open_stream(opening.partition, opening.epoch),
        }
    }

    fn answer(&mut self, index: usize, answer: Answer<'_>) -> Result<(), WrongKind> {
        match self {
            Self::Unit(sending) => sending.answer(index, answer),
            Self::Opening(opening) => opening.answer(&answer),
        }
    }

    fn fresh(&mut self, freshness: Freshness) {
        if let Self::Unit(sending) = self {
            sending.reply.freshness = Some(freshness);
        }
    }

    fn answered(&mut self, _operations: usize) {}

    fn ended(self, outcome: Result<(), Lost>) {
        // Whoever sent it may have stopped waiting.
        match self {
            Self::Unit(mut sending) => {
                if let Err(lost) = outcome {
                    sending.reply.lose(lost.sent, lost.cause);
                }
                let _ = sending.done.send(sending.reply);
            }
            Self::Opening(opening) => {
                let _ = opening.done.send(opening.opened);
            }
        }
    }
}
