//! A request that notes what it is told, and what passes between a session and a server, as bytes.

use batchkv_client::error::{AnswerError, ConnectionError, Loss};
use batchkv_client::exchange::{Exchange, Lost};
use batchkv_client::kind::{OperationKind, WrongKind};
use batchkv_client::protocol::{
    Answer, AnswerWriter, Control, Position, ReceiveBuffer, RequestWriter, SendBuffer,
};
use batchkv_client::session::Session;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What an exchange was told.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Answers per operation.
    pub(crate) answers: Vec<Vec<String>>,
    /// Answers per frame.
    pub(crate) frames: Vec<usize>,
    pub(crate) server_times: Vec<Duration>,
    pub(crate) ended: Option<Result<(), Lost>>,
}

/// A request that puts or gets keys of one byte, and notes what it is told.
pub(crate) struct Recorder {
    /// Partition and value of each operation; no value is a get.
    operations: Vec<(u32, Option<Vec<u8>>)>,
    log: Rc<RefCell<Log>>,
}

impl Recorder {
    pub(crate) fn new(operations: Vec<(u32, Option<Vec<u8>>)>) -> (Self, Rc<RefCell<Log>>) {
        let log = Rc::new(RefCell::new(Log::default()));
        let answers = vec![Vec::new(); operations.len()];
        log.borrow_mut().answers = answers;
        let recorder = Self {
            operations,
            log: Rc::clone(&log),
        };
        (recorder, log)
    }

    /// Gets, one for each partition named.
    pub(crate) fn gets(partitions: &[u32]) -> (Self, Rc<RefCell<Log>>) {
        Self::new(partitions.iter().map(|&p| (p, None)).collect())
    }
}

impl Exchange for Recorder {
    fn operations(&self) -> usize {
        self.operations.len()
    }

    fn write(&mut self, index: usize, frame: &mut RequestWriter<'_>) -> bool {
        match &self.operations[index] {
            (partition, None) => frame.get(*partition, 1, b"k"),
            (partition, Some(value)) => frame
                .put(*partition, 1, b"k", value.len())
                .map(|room| room.copy_from_slice(value))
                .is_some(),
        }
    }

    fn answer(&mut self, index: usize, answer: Answer<'_>) -> Result<(), WrongKind> {
        let kind = match self.operations[index].1 {
            None => OperationKind::Get,
            Some(_) => OperationKind::Put,
        };
        kind.check(&answer)?;
        self.log.borrow_mut().answers[index].push(format!("{answer:?}"));
        Ok(())
    }

    fn served(&mut self, server_time: Duration) {
        self.log.borrow_mut().server_times.push(server_time);
    }

    fn answered(&mut self, operations: usize) {
        self.log.borrow_mut().frames.push(operations);
    }

    fn ended(self, outcome: Result<(), Lost>) {
        let before = self.log.borrow_mut().ended.replace(outcome);
        assert!(before.is_none(), "ended twice");
    }
}

/// Everything that a session has to say, taken by the socket.
pub(crate) fn sent(session: &mut Session<Recorder>) -> Vec<u8> {
    let mut out = SendBuffer::default();
    session.produce(&mut out, usize::MAX);
    out.pending().to_vec()
}

pub(crate) fn feed(session: &mut Session<Recorder>, mut bytes: &[u8]) -> Result<(), Loss> {
    let mut received = ReceiveBuffer::default();
    while !bytes.is_empty() {
        received.fill_from(&mut bytes);
        session.feed(&mut received)?;
    }
    Ok(())
}

/// A frame of answers to request `id`: group, operation, answer.
pub(crate) fn answers(id: u64, last: bool, answers: &[(u32, u32, Answer<'_>)]) -> Vec<u8> {
    let mut out = SendBuffer::default();
    let mut writer = AnswerWriter::begin(&mut out, id);
    for &(group, operation, answer) in answers {
        assert!(writer.answer(Position { group, operation }, answer));
    }
    writer.finish(last);
    out.pending().to_vec()
}

/// One answer to request `id`, whose server took so long.
pub(crate) fn timed_answer(id: u64, server_time: Duration) -> Vec<u8> {
    let mut out = SendBuffer::default();
    let mut writer = AnswerWriter::begin(&mut out, id).timed();
    let first = Position {
        group: 0,
        operation: 0,
    };
    assert!(writer.answer(first, Answer::Missing));
    writer.took(server_time);
    writer.finish(true);
    out.pending().to_vec()
}

pub(crate) fn control(control: &Control) -> Vec<u8> {
    let mut out = SendBuffer::default();
    control.write(&mut out);
    out.pending().to_vec()
}

pub(crate) fn lost(session: &mut Session<Recorder>) {
    let loss = Loss::ClosedByServer;
    let address = "here".to_owned();
    session.lose(&Arc::new(ConnectionError { address, loss }));
}

/// A session with one request of two groups, (0: two gets, 1: one get), sent and unanswered.
pub(crate) fn asked() -> (Session<Recorder>, Rc<RefCell<Log>>) {
    let mut session = Session::default();
    let (recorder, log) = Recorder::gets(&[3, 3, 5]);
    session.enqueue(recorder);
    sent(&mut session);
    (session, log)
}

/// What feeding `bytes` to [`asked`] fails with.
pub(crate) fn fault(bytes: &[u8]) -> AnswerError {
    match feed(&mut asked().0, bytes) {
        Err(Loss::Answer(error)) => error,
        other => panic!("expected a wrong answer, got {other:?}"),
    }
}
