//! What a connection asks its server beside operations: counters, once, at the end; its status, at any time.

use crate::error::Loss;
use batchkv_protocol::{Control, Counters, SendBuffer, Status};
use std::collections::VecDeque;

/// Questions to write, questions without an answer, and answers that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    counters: Asked,
    /// Questions that are not written yet.
    statuses_to_ask: usize,
    /// Questions that are written and not answered.
    statuses_due: usize,
    statuses: VecDeque<Status>,
}

/// How far the question for the connection's counters is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Asked {
    #[default]
    No,
    ToAsk,
    Due,
    Known(Counters),
}

impl Questions {
    /// Whether the server owes an answer.
    pub(crate) fn are_unanswered(&self) -> bool {
        self.counters == Asked::Due || self.statuses_due > 0
    }

    pub(crate) fn ask_counters(&mut self) {
        if self.counters == Asked::No {
            self.counters = Asked::ToAsk;
        }
    }

    pub(crate) fn ask_status(&mut self) {
        self.statuses_to_ask += 1;
    }

    pub(crate) fn counters(&self) -> Option<Counters> {
        match self.counters {
            Asked::Known(counters) => Some(counters),
            _ => None,
        }
    }

    pub(crate) fn take_status(&mut self) -> Option<Status> {
        self.statuses.pop_front()
    }

    pub(crate) fn write_status_requests(&mut self, out: &mut SendBuffer) {
        for _ in 0..self.statuses_to_ask {
            Control::StatusRequest.write(out);
        }
        self.statuses_due += self.statuses_to_ask;
        self.statuses_to_ask = 0;
    }

    /// Nothing may be unanswered before it.
    pub(crate) fn write_counters_request(&mut self, out: &mut SendBuffer) {
        if self.counters == Asked::ToAsk {
            Control::CountersRequest.write(out);
            self.counters = Asked::Due;
        }
    }

    pub(crate) fn counters_came(&mut self, counters: Counters) -> Result<(), Loss> {
        if self.counters != Asked::Due {
            return Err(Loss::Unasked("counters"));
        }
        self.counters = Asked::Known(counters);
        Ok(())
    }

    pub(crate) fn status_came(&mut self, status: Status) -> Result<(), Loss> {
        if self.statuses_due == 0 {
            return Err(Loss::Unasked("a status"));
        }
        self.statuses_due -= 1;
        self.statuses.push_back(status);
        Ok(())
    }
}
