//! The client's half of a connection as a value that is fed bytes and produces bytes: no socket, no
//! clock, no lock.
//!
//! Invariants:
//! 1. A request is in the queue, or in one slot, or over; it is told [`ended`](Exchange::ended) once.
//! 2. Requests are written in the order of [`enqueue`](Session::enqueue), one after the other.
//! 3. An answer is handed over only when its operation was written and is the next unanswered one
//!    of its group; anything else ends the session.

use crate::error::{AnswerError, ConnectionError, Loss};
use crate::exchange::{Exchange, Lost};
use crate::questions::Questions;
use batchkv_protocol::answer::Piece;
use batchkv_protocol::control::{
    FEATURE_CLUSTER, FEATURE_MAP, FEATURE_REFERENCES, FEATURE_SERVER_TIME,
};
use batchkv_protocol::frame::{self, Kind, LENGTH_BYTES};
use batchkv_protocol::limits::{FRAME_BYTES, OPERATIONS_PER_REQUEST_MAX, REQUESTS_UNANSWERED_MAX};
use batchkv_protocol::{
    Answer, AnswerFrame, Control, Counters, MapFrame, ReceiveBuffer, References, RequestWriter,
    SendBuffer, Status,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The queue, the unanswered requests and the counts of one connection.
#[derive(Debug)]
pub struct Session<X> {
    queue: VecDeque<X>,
    slots: Vec<Slot<X>>,
    /// Indices of the slots without a request.
    free: Vec<usize>,
    /// The slot whose request has been written in part.
    writing: Option<usize>,
    answered: Counters,
    references: References,
    /// Whether answers may be references, as the hellos say.
    may_refer: bool,
    questions: Questions,
    /// Whether answer frames tell the server's time.
    timed: bool,
    /// Whether the server may push maps.
    takes_maps: bool,
    /// Whether answers may tell how fresh they are.
    takes_freshness: bool,
    /// Maps that were pushed and not taken out.
    maps: Vec<MapFrame>,
}

/// An unanswered request. A slot outlives its request, so that `groups` keeps its memory.
#[derive(Debug)]
struct Slot<X> {
    /// Congruent to the slot's index modulo [`REQUESTS_UNANSWERED_MAX`], and different for each
    /// request that the slot holds, so that a late answer is never taken for another request's.
    id: u64,
    exchange: Option<X>,
    operations: usize,
    written: usize,
    answered: usize,
    groups: Vec<Group>,
}

/// A group that was written. It ends where the next begins, or at the request's `written`.
#[derive(Debug, Clone, Copy)]
struct Group {
    start: u32,
    answered: u32,
}

impl<X> Default for Session<X> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            slots: Vec::new(),
            free: Vec::new(),
            writing: None,
            answered: Counters::default(),
            references: References::default(),
            may_refer: false,
            questions: Questions::default(),
            timed: false,
            takes_maps: false,
            takes_freshness: false,
            maps: Vec::new(),
        }
    }
}

impl<X: Exchange> Session<X> {
    /// A session of a connection on which `features` are in force.
    #[must_use]
    pub fn new(features: u64) -> Self {
        Self {
            may_refer: features & FEATURE_REFERENCES != 0,
            timed: features & FEATURE_SERVER_TIME != 0,
            takes_maps: features & FEATURE_MAP != 0,
            takes_freshness: features & FEATURE_CLUSTER != 0,
            ..Self::default()
        }
    }

    /// Puts a request at the end of the queue.
    ///
    /// # Panics
    /// When the number of its operations is not allowed, which is a fault of the program.
    pub fn enqueue(&mut self, exchange: X) {
        check_operations(exchange.operations());
        self.queue.push_back(exchange);
    }

    /// Moves checked requests to the end of the queue.
    pub(crate) fn enqueue_all(&mut self, exchanges: &mut VecDeque<X>) {
        self.queue.append(exchanges);
    }

    /// Whether nothing is queued and nothing unanswered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.unanswered() == 0
    }

    /// Whether the server owes anything.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.unanswered() > 0 || self.questions.are_unanswered()
    }

    /// Number of requests that were written, at least in part, and are not wholly answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The operations answered so far, counted as the server counts them.
    #[must_use]
    pub fn answered(&self) -> Counters {
        self.answered
    }

    /// Answers that came as references so far.
    #[must_use]
    pub fn references(&self) -> References {
        self.references
    }

    /// The maps that the server has pushed since the last call.
    pub fn take_maps(&mut self) -> Vec<MapFrame> {
        std::mem::take(&mut self.maps)
    }

    /// Asks for the server's counters of this connection, once everything queued is answered.
    pub fn ask_counters(&mut self) {
        self.questions.ask_counters();
    }

    /// The server's counters, once they have come.
    #[must_use]
    pub fn served(&self) -> Option<Counters> {
        self.questions.counters()
    }

    /// Asks for the server's status, behind what is written already.
    pub fn ask_status(&mut self) {
        self.questions.ask_status();
    }

    /// The next status that has come, in the order in which they were asked for.
    pub fn take_status(&mut self) -> Option<Status> {
        self.questions.take_status()
    }

    /// Writes frames until `bytes_limit` or more wait in `out`, or there is nothing to write.
    pub fn produce(&mut self, out: &mut SendBuffer, bytes_limit: usize) {
        self.questions.write_status_requests(out);
        while out.pending().len() < bytes_limit {
            let Some(index) = self.writing.or_else(|| self.begin_request()) else {
                break;
            };
            let complete = self.slots[index].write_frame(out);
            self.writing = (!complete).then_some(index);
        }
        if self.is_idle() {
            self.questions.write_counters_request(out);
        }
    }

    fn begin_request(&mut self) -> Option<usize> {
        if self.unanswered() == REQUESTS_UNANSWERED_MAX {
            return None;
        }
        let exchange = self.queue.pop_front()?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::new(self.slots.len() as u64));
            self.slots.len() - 1
        });
        self.slots[index].begin(exchange);
        Some(index)
    }

    /// Hands over what the complete frames in `received` say, and consumes them.
    ///
    /// # Errors
    /// When the server reports an error or says what it must not; call [`lose`](Self::lose) then.
    pub fn feed(&mut self, received: &mut ReceiveBuffer) -> Result<(), Loss> {
        while let Some(body) = received.body()? {
            match frame::kind(body)? {
                Kind::Answer => self.take_answers(body)?,
                Kind::Control => self.take_control(body)?,
                Kind::Request => return Err(Loss::Unasked("a request")),
            }
            received.consume();
        }
        Ok(())
    }

    fn take_control(&mut self, body: &[u8]) -> Result<(), Loss> {
        match Control::decode(body)? {
            Control::Error(error) => Err(Loss::Reported(error.text)),
            Control::Counters(counters) => self.questions.counters_came(counters),
            Control::Status(status) => self.questions.status_came(status),
            Control::ServerHello(_)
            | Control::ClientHello(_)
            | Control::PeerHello(_)
            | Control::OperatorHello(_) => Err(Loss::Unasked("a hello")),
            Control::Map(map) if self.takes_maps => {
                self.maps.push(map);
                Ok(())
            }
            Control::Map(_) => Err(Loss::Unasked("a map")),
            Control::JoinRequest(_) | Control::JoinAnswer(_) => {
                Err(Loss::Unasked("a frame of a newcomer"))
            }
            Control::CountersRequest => Err(Loss::Unasked("a request for counters")),
            Control::StatusRequest => Err(Loss::Unasked("a request for a status")),
            Control::OperatorRequest(_) | Control::OperatorAnswer(_) => {
                Err(Loss::Unasked("what operators are told"))
            }
        }
    }

    fn take_answers(&mut self, body: &[u8]) -> Result<(), Loss> {
        let mut frame = AnswerFrame::parse(body)?;
        if frame.server_time.is_some() != self.timed {
            match (self.timed, frame.freshness) {
                (true, _) => return Err(Loss::Unasked("answers without its time")),
                (false, None) => return Err(Loss::Unasked("answers with its time")),
                (false, Some(_)) => frame.server_time = None,
            }
        }
        if frame.freshness.is_some() && !self.takes_freshness {
            return Err(Loss::Unasked("answers with their freshness"));
        }
        let index = frame.id as usize % REQUESTS_UNANSWERED_MAX;
        let slot = self
            .slots
            .get_mut(index)
            .filter(|slot| slot.id == frame.id && slot.exchange.is_some())
            .ok_or(AnswerError::Request { id: frame.id })?;
        let mut tally = Tally::default();
        let outcome = slot.take_pieces(&mut frame, &mut tally);
        tally.add_to(&mut self.answered);
        self.references += frame.references;
        if frame.references.answers > 0 && !self.may_refer {
            return Err(Loss::Unasked("a reference"));
        }
        slot.tell_answered(tally.answers(), frame.server_time);
        outcome?;
        if let (Some(freshness), Some(exchange)) = (frame.freshness, &mut slot.exchange) {
            exchange.fresh(freshness);
        }
        slot.check_end(frame.last, tally.answers(), body.len())?;
        if frame.last {
            slot.end(Ok(()));
            self.free.push(index);
        }
        Ok(())
    }

    /// Ends every request that is not over: the connection is gone.
    pub fn lose(&mut self, cause: &Arc<ConnectionError>) {
        self.writing = None;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.exchange.is_some() {
                slot.end(Err(cause));
                self.free.push(index);
            }
        }
        for exchange in self.queue.drain(..) {
            exchange.ended(Err(Lost {
                sent: 0,
                answered: 0,
                cause: Arc::clone(cause),
            }));
        }
    }
}

impl<X: Exchange> Slot<X> {
    /// A free slot; its first request will have the id that equals its index.
    fn new(index: u64) -> Self {
        Self {
            id: index.wrapping_sub(REQUESTS_UNANSWERED_MAX as u64),
            exchange: None,
            operations: 0,
            written: 0,
            answered: 0,
            groups: Vec::new(),
        }
    }

    fn begin(&mut self, exchange: X) {
        self.id = self.id.wrapping_add(REQUESTS_UNANSWERED_MAX as u64);
        self.operations = exchange.operations();
        self.written = 0;
        self.answered = 0;
        self.groups.clear();
        self.exchange = Some(exchange);
    }

    /// Writes the request's next frame and says whether it was the last.
    fn write_frame(&mut self, out: &mut SendBuffer) -> bool {
        let exchange = self.exchange.as_mut().expect("a slot that writes is taken");
        let mut frame = RequestWriter::begin(out, self.id);
        let mut groups = 0;
        let mut index = self.written;
        while index < self.operations && exchange.write(index, &mut frame) {
            if frame.groups() != groups {
                groups = frame.groups();
                self.groups.push(Group {
                    start: index as u32,
                    answered: 0,
                });
            }
            index += 1;
        }
        assert!(index > self.written, "the first operation of a frame fits");
        exchange.written(index - self.written);
        self.written = index;
        let last = index == self.operations;
        frame.finish(last);
        last
    }

    /// Hands over a frame's answers; `tally` counts them, up to the first fault.
    fn take_pieces(&mut self, frame: &mut AnswerFrame<'_>, tally: &mut Tally) -> Result<(), Loss> {
        while let Some(piece) = frame.next_piece()? {
            let mut index = self.expect_piece(piece)?;
            let exchange = self.exchange.as_mut().expect("checked by the caller");
            while let Some(answer) = frame.next_answer()? {
                let id = self.id;
                exchange
                    .answer(index, answer)
                    .map_err(|wrong| AnswerError::Kind { id, index, wrong })?;
                tally.add(&answer);
                index += 1;
            }
        }
        Ok(())
    }

    /// The index of the piece's first operation, if the piece continues its group.
    fn expect_piece(&mut self, piece: Piece) -> Result<usize, AnswerError> {
        let (id, groups, answers) = (self.id, self.groups.len(), piece.answers);
        let (group, first) = (piece.first.group, piece.first.operation);
        let next = self.groups.get(group as usize + 1);
        let end = next.map_or(self.written, |next| next.start as usize);
        let Some(entry) = self.groups.get_mut(group as usize) else {
            return Err(AnswerError::Group { id, group, groups });
        };
        let expected = entry.answered;
        if first != expected {
            return Err(if first < expected {
                AnswerError::Repeated {
                    id,
                    group,
                    first,
                    expected,
                }
            } else {
                AnswerError::Gap {
                    id,
                    group,
                    first,
                    expected,
                }
            });
        }
        let start = (entry.start + expected) as usize;
        let left = end - start;
        if usize::from(answers) > left {
            return Err(AnswerError::TooMany {
                id,
                group,
                answers,
                left,
            });
        }
        entry.answered += u32::from(answers);
        Ok(start)
    }

    fn tell_answered(&mut self, answers: usize, server_time: Option<Duration>) {
        let exchange = self.exchange.as_mut().expect("checked by the caller");
        if answers > 0 {
            self.answered += answers;
            if let Some(server_time) = server_time {
                exchange.served(server_time);
            }
            exchange.answered(answers);
        }
    }

    fn check_end(
        &self,
        marked: bool,
        answers: usize,
        body_bytes: usize,
    ) -> Result<(), AnswerError> {
        let (id, unanswered) = (self.id, self.operations - self.answered);
        if body_bytes + LENGTH_BYTES > FRAME_BYTES && answers > 1 {
            return Err(AnswerError::Oversize { id, answers });
        }
        if marked != (unanswered == 0) {
            return Err(AnswerError::Last {
                id,
                marked,
                unanswered,
            });
        }
        Ok(())
    }

    fn end(&mut self, outcome: Result<(), &Arc<ConnectionError>>) {
        let exchange = self.exchange.take().expect("checked by the caller");
        exchange.ended(outcome.map_err(|cause| Lost {
            sent: self.written,
            answered: self.answered,
            cause: Arc::clone(cause),
        }));
    }
}

/// Refuses a request that no server would take.
pub(crate) fn check_operations(operations: usize) {
    assert!(
        (1..=OPERATIONS_PER_REQUEST_MAX).contains(&operations),
        "a request has {operations} operations: allowed are 1 to {OPERATIONS_PER_REQUEST_MAX}"
    );
}

/// Answers of one frame by kind: an increment an answer, added up once a frame.
#[derive(Default)]
struct Tally([usize; 8]);

impl Tally {
    #[inline]
    fn add(&mut self, answer: &Answer<'_>) {
        let kind = match answer {
            Answer::Value(_) => 0,
            Answer::Missing => 1,
            Answer::Stored => 2,
            Answer::Deleted { .. } => 3,
            Answer::Refused(_) => 4,
            Answer::WrongOwner(_) => 5,
            Answer::Opened { .. } => 6,
            Answer::StoredAs { .. } => 7,
        };
        self.0[kind] += 1;
    }

    fn answers(&self) -> usize {
        self.0.iter().sum()
    }

    fn add_to(&self, counters: &mut Counters) {
        let [
            values,
            missing,
            stored,
            deleted,
            refused,
            wrong_owner,
            _opened,
            stored_as,
        ] = self.0.map(|n| n as u64);
        *counters += Counters {
            gets: values + missing,
            hits: values,
            puts: stored + stored_as,
            deletes: deleted,
            refused,
            wrong_owner,
        };
    }
}
