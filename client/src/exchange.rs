//! What a connection carries: requests that write themselves and take their own answers.

use crate::error::ConnectionError;
use crate::kind::WrongKind;
use batchkv_protocol::{Answer, Freshness, RequestWriter};
use std::sync::Arc;
use std::time::Duration;

/// A request on its way: the connection asks it to write its operations and hands it the answers.
///
/// The connection is generic over this trait, so that nothing is called through a pointer and
/// nothing is allocated per operation. The calls come in this order: `write` for 0, 1, 2, ..., and
/// `written` behind each frame's; in between and after, `answer` for each written operation exactly
/// once, and behind each frame's `served`, where the server tells its time, and `answered`; at last
/// `ended`.
pub trait Exchange {
    /// Number of operations, from 1 to
    /// [`OPERATIONS_PER_REQUEST_MAX`](batchkv_protocol::limits::OPERATIONS_PER_REQUEST_MAX); never changes.
    fn operations(&self) -> usize;

    /// Writes operation `index`, counted in send order, and nothing else; `false` says that it does
    /// not fit this frame and will be asked for again in the next. The first operation of a frame
    /// always fits. Operations of one partition should stand together: they share a group.
    fn write(&mut self, index: usize, frame: &mut RequestWriter<'_>) -> bool;

    /// A frame with `operations` more operations of this request has been written: the place for what
    /// is done once a frame, such as reading a clock.
    fn written(&mut self, _operations: usize) {}

    /// Takes the answer to operation `index`.
    ///
    /// # Errors
    /// When the answer does not fit its operation; the connection is lost then.
    fn answer(&mut self, index: usize, answer: Answer<'_>) -> Result<(), WrongKind>;

    /// The server took so long for a frame of answers, from reading the last byte of the request's frame
    /// to finishing that of the answers; see
    /// [`ConnectOptions::server_time`](crate::connect::ConnectOptions::server_time).
    fn served(&mut self, _server_time: Duration) {}

    /// A group's answers, of which some have come, are as fresh as that: where the group asked for it.
    fn fresh(&mut self, _freshness: Freshness) {}

    /// A frame with `operations` answers to this request has been handed over: the place for what
    /// is done once a frame, such as reading a clock.
    fn answered(&mut self, operations: usize);

    /// The request is over: every operation was answered, or its connection was lost.
    fn ended(self, outcome: Result<(), Lost>);
}

/// What a connection carries that sends no operations: there is none of it.
#[derive(Debug, Clone, Copy)]
pub enum NoExchange {}

impl Exchange for NoExchange {
    fn operations(&self) -> usize {
        match *self {}
    }

    fn write(&mut self, _index: usize, _frame: &mut RequestWriter<'_>) -> bool {
        match *self {}
    }

    fn answer(&mut self, _index: usize, _answer: Answer<'_>) -> Result<(), WrongKind> {
        match *self {}
    }

    fn answered(&mut self, _operations: usize) {
        match *self {}
    }

    fn ended(self, _outcome: Result<(), Lost>) {
        match self {}
    }
}

/// How far a request had come when its connection was lost. It is never sent again.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Operations that may have reached the server, in send order: of those with an index below
    /// this, the unanswered ones are unknown; those from this index on were certainly not applied.
    pub sent: usize,
    /// Operations that were answered.
    pub answered: usize,
    /// Why the connection was lost.
    pub cause: Arc<ConnectionError>,
}

impl Lost {
    /// Number of operations of which nobody knows whether they took effect.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.sent - self.answered
    }
}
