//! How a request frame is cut into windows of operations: across group borders, up to where a group is refused or
//! taken away.

use batchkv_protocol::request::GroupHeader;
use batchkv_protocol::{
    Answer, Answers, Counters, Malformed, Position, RequestCursor, RequestFrame,
};
use batchkv_store::{Placed, WINDOW_OPERATIONS};

use crate::executor::{Executor, Group, Ruling};

/// Memory for one window, which the sessions of a thread share.
#[derive(Debug, Default)]
pub struct Scratch {
    window: Vec<Placed<'static>>,
}

impl Scratch {
    /// The empty window; to be given back.
    pub(crate) fn take<'a>(&mut self) -> Vec<Placed<'a>> {
        let mut window = std::mem::take(&mut self.window);
        window.reserve(WINDOW_OPERATIONS);
        window
    }

    /// Keeps the window's memory. Collecting nothing into the same memory is how a vector of one lifetime becomes
    /// one of another; a test counts that nothing is allocated.
    pub(crate) fn give_back(&mut self, mut window: Vec<Placed<'_>>) {
        window.clear();
        let emptied = window.into_iter().map(|_| unreachable!("it was cleared"));
        self.window = emptied.collect();
    }
}

/// Where the next operation of a frame stands, or of a group that was taken out of one: plain numbers, good for
/// the body that they came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowCursor {
    cursor: RequestCursor,
    next: Position,
    partition: u32,
    /// The number that the frame's next group has in its request.
    next_group: u32,
    held: Option<Held>,
}

/// A group in front of which the cursor stops.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// The answer to what is left of a refused group, and how many operations that is.
    Refused(Answer<'static>, u16),
    /// A group that is to be taken away.
    Later(GroupHeader),
}

impl WindowCursor {
    /// Before the first group of `frame`, which has the number `first_group` in its request.
    pub(crate) fn of_frame(frame: &RequestFrame<'_>, first_group: u32) -> Self {
        Self {
            cursor: frame.cursor(),
            next: Position {
                group: first_group,
                operation: 0,
            },
            partition: 0,
            next_group: first_group,
            held: None,
        }
    }

    /// Before the first operation of `group`, which was ruled on already.
    pub(crate) fn of_group(group: &Group<'_>) -> Self {
        Self {
            cursor: group.cursor(),
            next: Position {
                group: group.number,
                operation: 0,
            },
            partition: group.header.partition,
            next_group: group.number + 1,
            held: None,
        }
    }

    /// Whether what is next is left of a refused group.
    #[inline]
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.held, Some(Held::Refused(..)))
    }

    /// The group in front of the cursor that is to be taken away, if that is what is next.
    #[inline]
    pub(crate) fn later<'a>(&self, body: &'a [u8]) -> Option<Group<'a>> {
        match self.held {
            Some(Held::Later(header)) => Some(Group {
                header,
                number: self.next.group,
                bytes: self.cursor.group_body(body),
            }),
            _ => None,
        }
    }

    /// Goes over the group that was taken away.
    pub(crate) fn taken_away(&mut self) {
        self.held = None;
        self.cursor.skip_group();
    }

    /// Whether a group stops the cursor.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Reads operations into `window` until it is full, the frame ends, or a group is refused or is to be
    /// taken away.
    #[inline]
    pub(crate) fn fill<'a>(
        &mut self,
        executor: &impl Executor,
        body: &'a [u8],
        window: &mut Vec<Placed<'a>>,
    ) -> Result<(), Malformed> {
        loop {
            self.fill_from_group(body, window)?;
            let full = window.len() == WINDOW_OPERATIONS;
            if full || !self.begin_group(executor, body)? || self.held.is_some() {
                return Ok(());
            }
        }
    }

    /// Reads operations of the present group into `window`. Works on copies, which stay in registers.
    #[inline]
    fn fill_from_group<'a>(
        &mut self,
        body: &'a [u8],
        window: &mut Vec<Placed<'a>>,
    ) -> Result<(), Malformed> {
        let (mut cursor, mut next) = (self.cursor, self.next);
        while window.len() < WINDOW_OPERATIONS
            && let Some(operation) = cursor.next_operation(body)?
        {
            window.push(Placed {
                position: next,
                partition: self.partition,
                operation,
            });
            next.operation += 1;
        }
        (self.cursor, self.next) = (cursor, next);
        Ok(())
    }

    /// Goes to the next group and has it ruled on; `false` behind the last.
    fn begin_group(&mut self, executor: &impl Executor, body: &[u8]) -> Result<bool, Malformed> {
        let Some(group) = self.enter_group(body)? else {
            return Ok(false);
        };
        match executor.rule(&group) {
            Ruling::Now => {}
            Ruling::Refused(answer) => self.refuse_all(answer),
            Ruling::Later => self.held = Some(Held::Later(group.header)),
        }
        Ok(true)
    }

    #[inline]
    fn enter_group<'a>(&mut self, body: &'a [u8]) -> Result<Option<Group<'a>>, Malformed> {
        let Some(header) = self.cursor.next_group(body)? else {
            return Ok(None);
        };
        let number = self.next_group;
        self.next = Position {
            group: number,
            operation: 0,
        };
        self.next_group += 1;
        self.partition = header.partition;
        Ok(Some(Group {
            header,
            number,
            bytes: self.cursor.group_body(body),
        }))
    }

    /// Has the whole group, of which nothing was read, answered with `answer`.
    pub(crate) fn refuse_all(&mut self, answer: Answer<'static>) {
        self.held = Some(Held::Refused(answer, self.cursor.operations_left()));
        self.cursor.skip_group();
    }

    /// Goes over `operations` that were applied: their groups have begun, and are not ruled on again.
    pub(crate) fn skip(&mut self, body: &[u8], operations: usize) -> Result<(), Malformed> {
        for _ in 0..operations {
            while self.cursor.next_operation(body)?.is_none() {
                self.enter_group(body)?;
            }
            self.next.operation += 1;
        }
        Ok(())
    }

    /// Answers what is left of the refused group; `false` when an answer did not fit.
    pub(crate) fn answer_refused(
        &mut self,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> bool {
        while let Some(Held::Refused(answer, left)) = self.held {
            if !answers.answer(self.next, answer) {
                return false;
            }
            match answer {
                Answer::WrongOwner(_) => counters.wrong_owner += 1,
                _ => counters.refused += 1,
            }
            self.next.operation += 1;
            self.held = (left > 1).then_some(Held::Refused(answer, left - 1));
        }
        true
    }
}
