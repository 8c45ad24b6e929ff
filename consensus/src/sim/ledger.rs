//! The state machine of the simulations: all operations in order.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Buf, Bytes};

use super::book::Book;
use crate::{Committed, Image, Import, StateMachine};

/// Operations of one chunk of an image: small, so that a transfer has many.
const CHUNK_OPERATIONS: usize = 16;

/// All operations that a member applied. Shared with the test, which reads it.
pub(super) type Operations = Rc<RefCell<Vec<u64>>>;

/// A member's state, and the referee who sees all of them.
pub(super) struct Ledger {
    pub(super) node: u64,
    pub(super) operations: Operations,
    pub(super) book: Rc<RefCell<Book>>,
}

/// An operation's proposal.
pub(super) fn proposal(operation: u64) -> Bytes {
    Bytes::copy_from_slice(&operation.to_le_bytes())
}

impl StateMachine for Ledger {
    type Parked = ();
    /// The operation's position; `None` is what a mutant answers.
    type Answer = Option<usize>;
    type Image = Pages;
    type Import = Vec<u64>;

    async fn apply(&mut self, entries: Vec<Committed<()>>) -> Vec<Option<usize>> {
        let mut answers = Vec::new();
        let (mut operations, mut book) = (self.operations.borrow_mut(), self.book.borrow_mut());
        for entry in entries {
            let position = operations.len();
            book.entry(
                self.node,
                entry.index,
                position,
                entry.term,
                entry.time_millis,
            );
            for mut proposal in entry.proposals {
                let (position, operation) = (operations.len(), proposal.bytes.get_u64_le());
                book.applied(self.node, position, operation);
                operations.push(operation);
                answers.extend(proposal.parked.map(|()| Some(position)));
            }
        }
        answers
    }

    fn image(&mut self) -> Pages {
        let operations = self.operations.borrow();
        let mut pages: Vec<Bytes> = operations
            .chunks(CHUNK_OPERATIONS)
            .map(|page| page.iter().flat_map(|it| it.to_le_bytes()).collect())
            .collect();
        pages.reverse();
        Pages(pages)
    }

    fn import(&mut self) -> Vec<u64> {
        Vec::new()
    }

    async fn install(&mut self, import: Vec<u64>) -> Result<(), String> {
        self.book.borrow_mut().installed(self.node, &import);
        self.operations.replace(import);
        Ok(())
    }
}

/// What is left of an image, last page first.
pub(super) struct Pages(Vec<Bytes>);

impl Image for Pages {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.pop()
    }
}

impl Import for Vec<u64> {
    async fn take(&mut self, mut chunk: Bytes) -> Result<(), String> {
        while chunk.has_remaining() {
            self.push(chunk.try_get_u64_le().map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}
