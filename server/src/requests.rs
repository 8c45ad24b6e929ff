//! Which of a connection's requests are under way: begun and not wholly read, or read and not wholly answered.

use std::time::Instant;

use batchkv_protocol::RequestFrame;
use batchkv_protocol::limits::{
    GROUPS_PER_REQUEST_MAX, OPERATIONS_PER_REQUEST_MAX, REQUESTS_OPEN_MAX, REQUESTS_UNANSWERED_MAX,
};
use batchkv_protocol::request::FrameContent;

use crate::fault::Fault;

/// A connection's requests under way.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    open: Vec<OpenRequest>,
    parked: Vec<ParkedRequest>,
}

/// A request of which the last frame has not come.
#[derive(Debug)]
struct OpenRequest {
    id: u64,
    groups: usize,
    operations: usize,
}

/// A request with parked groups.
#[derive(Debug)]
struct ParkedRequest {
    id: u64,
    groups: u32,
    /// Whether all that is not parked was answered: its last parked group has the last answer.
    is_read: bool,
    /// Its frames that were used and have parked groups.
    frames: u64,
    read_at: Option<Instant>,
}

/// What the answer to a parked group was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unparked {
    /// Frames of the request that are wholly answered now, and when the first of them was read.
    pub(crate) frames: u64,
    pub(crate) read_at: Option<Instant>,
}

impl Requests {
    /// Takes note of a frame; the number of its first group in its request.
    pub(crate) fn accept(
        &mut self,
        frame: &RequestFrame<'_>,
        content: FrameContent,
    ) -> Result<u32, Fault> {
        let found = self.open.iter().position(|open| open.id == frame.id);
        if found.is_none() && self.parked.iter().any(|parked| parked.id == frame.id) {
            return Err(Fault::NumberInUse(frame.id));
        }
        let known = found.map_or(0, |at| self.open[at].groups);
        let operations = content.operations + found.map_or(0, |at| self.open[at].operations);
        let groups = content.groups + known;
        if operations > OPERATIONS_PER_REQUEST_MAX || groups > GROUPS_PER_REQUEST_MAX {
            return Err(Fault::RequestTooLong);
        }
        let now = OpenRequest {
            id: frame.id,
            groups,
            operations,
        };
        match found {
            Some(at) if frame.last => drop(self.open.swap_remove(at)),
            Some(at) => self.open[at] = now,
            None if frame.last => {}
            None if self.open.len() == REQUESTS_OPEN_MAX => return Err(Fault::TooManyOpen),
            None => self.open.push(now),
        }
        Ok(known as u32)
    }

    /// Whether no group of any request is parked.
    #[inline]
    pub(crate) fn none_parked(&self) -> bool {
        self.parked.is_empty()
    }

    /// Whether a group of this request may be parked, as far as the number of requests decides.
    pub(crate) fn may_park(&self, id: u64) -> bool {
        self.parked.len() < REQUESTS_UNANSWERED_MAX || self.parked_at(id).is_some()
    }

    /// Counts a group as parked.
    pub(crate) fn park(&mut self, id: u64, read_at: Option<Instant>) {
        match self.parked_at(id) {
            Some(at) => self.parked[at].groups += 1,
            None => self.parked.push(ParkedRequest {
                id,
                groups: 1,
                is_read: false,
                frames: 0,
                read_at,
            }),
        }
    }

    /// A frame was used up to its end. Whether groups of its request are still parked: it is then not counted as
    /// answered, and a `last` frame's last answer comes later.
    pub(crate) fn frame_read(&mut self, id: u64, last: bool) -> bool {
        match self.parked_at(id) {
            Some(at) => {
                self.parked[at].frames += 1;
                self.parked[at].is_read = last;
                true
            }
            None => false,
        }
    }

    /// Whether the parked group to be answered next has the request's last answer.
    pub(crate) fn is_last(&self, id: u64) -> bool {
        let at = self.parked_at(id);
        at.is_some_and(|at| self.parked[at].groups == 1 && self.parked[at].is_read)
    }

    /// A parked group was answered.
    pub(crate) fn answered(&mut self, id: u64) -> Option<Unparked> {
        let at = self.parked_at(id)?;
        self.parked[at].groups -= 1;
        if self.parked[at].groups > 0 {
            return None;
        }
        let ParkedRequest {
            frames, read_at, ..
        } = self.parked.swap_remove(at);
        Some(Unparked { frames, read_at })
    }

    fn parked_at(&self, id: u64) -> Option<usize> {
        self.parked.iter().position(|parked| parked.id == id)
    }
}
