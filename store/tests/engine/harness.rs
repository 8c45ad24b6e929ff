//! Windows in, answers out, for any engine.

use batchkv_protocol::{
    Answer, AnswerFrame, AnswerWriter, Counters, Operation, Position, Refusal, SendBuffer,
    placement,
};
use batchkv_store::{Engine, Placed};

pub(crate) const PARTITIONS: u32 = 64;

/// An answer that outlives its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    Value(Vec<u8>),
    Missing,
    Stored,
    Deleted { existed: bool },
    Refused(Refusal),
}

pub(crate) fn get(key: &[u8]) -> Operation<'_> {
    Operation::Get { key: key.into() }
}

pub(crate) fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Operation<'a> {
    Operation::Put {
        key: key.into(),
        value,
    }
}

pub(crate) fn delete(key: &[u8]) -> Operation<'_> {
    Operation::Delete { key: key.into() }
}

/// One thread's side of an engine: its buffer and counters.
pub(crate) struct Session<'e, E> {
    pub(crate) engine: &'e E,
    pub(crate) counters: Counters,
    buffer: SendBuffer,
}

impl<'e, E: Engine> Session<'e, E> {
    pub(crate) fn new(engine: &'e E) -> Self {
        Self {
            engine,
            counters: Counters::default(),
            buffer: SendBuffer::default(),
        }
    }

    /// Hands over one window, and gives the answers that fitted one frame.
    pub(crate) fn apply(&mut self, operations: &[Operation<'_>]) -> Vec<Answered> {
        let window: Vec<_> = (0u32..).zip(operations).map(place).collect();
        let mut answers = AnswerWriter::begin(&mut self.buffer, 1);
        let applied = self.engine.apply(&window, &mut answers, &mut self.counters);
        answers.finish(true);
        let answered = read_frame(&self.buffer.pending()[4..]);
        assert_eq!(answered.len(), applied);
        self.buffer.sent(self.buffer.pending().len());
        answered
    }

    /// As many windows as it takes.
    pub(crate) fn apply_all(&mut self, operations: &[Operation<'_>]) -> Vec<Answered> {
        let mut answered = Vec::new();
        while answered.len() < operations.len() {
            let rest = &operations[answered.len()..];
            let more = self.apply(&rest[..rest.len().min(64)]);
            assert!(!more.is_empty(), "the first answer of a frame fits");
            answered.extend(more);
        }
        answered
    }

    pub(crate) fn one(&mut self, operation: Operation<'_>) -> Answered {
        self.apply(&[operation]).remove(0)
    }
}

fn place<'a>((number, operation): (u32, &Operation<'a>)) -> Placed<'a> {
    Placed {
        position: Position {
            group: 0,
            operation: number,
        },
        partition: placement(operation.key()) as u32 % PARTITIONS,
        operation: *operation,
    }
}

fn read_frame(body: &[u8]) -> Vec<Answered> {
    let mut frame = AnswerFrame::parse(body).unwrap();
    let mut answered = Vec::new();
    while let Some(piece) = frame.next_piece().unwrap() {
        assert_eq!(piece.first.operation as usize, answered.len());
        while let Some(answer) = frame.next_answer().unwrap() {
            answered.push(match answer {
                Answer::Value(value) => Answered::Value(value.to_vec()),
                Answer::Missing => Answered::Missing,
                Answer::Stored => Answered::Stored,
                Answer::Deleted { existed } => Answered::Deleted { existed },
                Answer::Refused(reason) => Answered::Refused(reason),
                other => panic!("no engine answers {other:?}"),
            });
        }
    }
    answered
}

/// A small generator with a fixed stream (splitmix64), for tests that need no more.
pub(crate) struct Stream(pub(crate) u64);

impl Stream {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
