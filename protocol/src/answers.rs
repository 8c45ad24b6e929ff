//! What receives answers: the seam between whoever executes operations and whoever sends what came of them.
//!
//! [`AnswerWriter`] writes them straight into a frame; [`KeptAnswers`](crate::KeptAnswers) keeps them for a frame
//! that comes later.

use crate::answer::{Answer, AnswerWriter, Mark, Position};

/// Receives answers one by one, as long as there is room for them.
///
/// Where an answer without a value has room, any other without a value has it too. An empty receiver has room
/// for any answer.
pub trait Answers {
    /// A state to go back to.
    type Mark: Copy;

    /// The present state; see [`rewind`](Self::rewind).
    fn mark(&self) -> Self::Mark;

    /// Takes back every answer since `mark`.
    fn rewind(&mut self, mark: Self::Mark);

    /// Takes an answer; a value is copied. `false` when there is no room: nothing is answered then.
    fn answer(&mut self, position: Position, answer: Answer<'_>) -> bool;

    /// Answers a get with a value of `value_bytes`, whose room is given to be filled in place, all of it; `None`
    /// when there is no room. Room that is shorter than the value is filled with the value's beginning.
    fn value(&mut self, position: Position, value_bytes: usize) -> Option<&mut [u8]>;

    /// Says whose value the answer just given is, so that a repeated one may be sent once: any number that is
    /// the same for the same record, and seldom for others.
    fn refer(&mut self, record: u64);
}

impl Answers for AnswerWriter<'_> {
    type Mark = Mark;

    #[inline(always)]
    fn mark(&self) -> Mark {
        self.mark()
    }

    #[inline(always)]
    fn rewind(&mut self, mark: Mark) {
        self.rewind(mark);
    }

    #[inline(always)]
    fn answer(&mut self, position: Position, answer: Answer<'_>) -> bool {
        self.answer(position, answer)
    }

    #[inline(always)]
    fn value(&mut self, position: Position, value_bytes: usize) -> Option<&mut [u8]> {
        self.value(position, value_bytes)
    }

    #[inline(always)]
    fn refer(&mut self, record: u64) {
        self.refer(record);
    }
}
