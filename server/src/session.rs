//! One connection's conversation, bytes in and bytes out: no socket, no thread, and no clock but the one
//! that it is handed for peers who want to know how long the server takes.
//!
//! [`Session::advance`] uses the frames that have come and writes answers until its input, or the
//! room that it was given for output, runs out. A request frame is checked whole before anything of
//! it is applied; then its operations go to the executor in windows, and each answer is written
//! straight into the send buffer. Between two calls the session holds a place in a frame, never a
//! lock and never a value: a get is executed when there is room for its answer.
//!
//! A group that the executor takes away is [parked](crate::parked): its answers come in frames of their own when
//! it is completed, in front of whatever is answered next.

use std::sync::Arc;
use std::time::Instant;

use batchkv_protocol::frame::Kind;
use batchkv_protocol::{
    Control, Counters, KeptAnswers, KeptCursor, ReceiveBuffer, RequestFrame, Role, Seen,
    SendBuffer, frame,
};

use crate::answering::{Answering, Head, Stop, Turn};
use crate::budget::Budget;
use crate::desk::may_ask;
use crate::executor::Executor;
use crate::fault::{Fault, write_error};
use crate::greeting::Greeted;
pub use crate::greeting::Identity;
use crate::parked::{Completion, Parking, Taken};
use crate::requests::{Requests, Unparked};
pub use crate::windows::Scratch;
use crate::windows::WindowCursor;

/// Why [`Session::advance`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Every complete frame was used: more input is needed, or a parked group's completion.
    Idle,
    /// The output limit was reached: call again once some of it is gone.
    More,
    /// What comes next must wait until parked groups are completed: call again then, and read no more input.
    Waiting,
    /// The peer broke the protocol: an error frame is the last in the output; close behind it.
    Failed,
}

/// One connection's conversation; see the module. `R` is its executor's [`Resumption`](Executor::Resumption).
#[derive(Debug)]
pub struct Session<R = ()> {
    identity: Arc<Identity>,
    /// There when the hello has come.
    greeted: Option<Greeted>,
    failed: bool,
    /// When the last byte of the input's complete frames was read.
    read_at: Option<Instant>,
    answering: Answering,
    frames: u64,
    /// Frames of `frames` that have groups still parked, or had when they were used.
    frames_late: u64,
    /// Frames wholly answered since they were last asked for, of those.
    unparked: Vec<Unparked>,
    requests: Requests,
    current: Option<CurrentFrame>,
    parking: Parking<R>,
    /// The parked group that is being answered.
    completed: Option<Completed<R>>,
    /// Whether the [desk](crate::desk) owes an answer.
    asked: bool,
    /// The version of the map that the client was sent last.
    map_version: u64,
}

/// The request frame at the front of the input that is being answered.
#[derive(Debug, Clone, Copy)]
struct CurrentFrame {
    id: u64,
    last: bool,
    cursor: WindowCursor,
}

/// A parked group that is being answered.
#[derive(Debug)]
enum Completed<R> {
    Answered(Taken<R>, KeptAnswers, KeptCursor),
    Resumed(Taken<R>, R, WindowCursor),
}

/// What a step of a session came to.
enum Step {
    /// There may be more to do.
    Done,
    /// There is no complete frame.
    Starved,
    /// Parked groups must be completed first.
    Blocked,
}

impl<R: Send + 'static> Session<R> {
    /// A session that waits for a hello. What it parks counts in `budget`.
    #[must_use]
    pub fn new(identity: Arc<Identity>, budget: Arc<Budget>) -> Self {
        Self {
            identity,
            greeted: None,
            failed: false,
            read_at: None,
            answering: Answering {
                seen: None,
                clock: None,
                counters: Counters::default(),
                ruled_out: 0,
            },
            frames: 0,
            frames_late: 0,
            unparked: Vec::new(),
            requests: Requests::default(),
            current: None,
            parking: Parking::new(budget),
            completed: None,
            asked: false,
            map_version: 0,
        }
    }

    /// Whether a hello has come.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.greeted.is_some()
    }

    /// The client at the other end, when it has said hello.
    #[must_use]
    pub fn client(&self) -> Option<[u8; 16]> {
        match self.greeted?.role {
            Role::Client { id } => Some(id),
            Role::Peer { .. } | Role::Operator => None,
        }
    }

    /// Whether the client is sent maps.
    pub(crate) fn is_told_of_maps(&self) -> bool {
        self.greeted.is_some_and(|greeted| greeted.maps)
    }

    /// Takes note of when the input's last bytes were read. A peer is read from again only when none of
    /// its frames is complete, so this is the time of all that are.
    pub fn read_at(&mut self, time: Instant) {
        self.read_at = Some(time);
    }

    /// What was served on this connection so far; of parked groups, what was completed.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.answering.counters
    }

    /// Operations that were refused without asking the engine, so far.
    pub(crate) fn ruled_out(&self) -> u64 {
        self.answering.ruled_out
    }

    /// Complete frames that were used so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Those of [`frames`](Self::frames) of which no group was parked when they had been used.
    pub(crate) fn frames_answered_at_once(&self) -> u64 {
        self.frames - self.frames_late
    }

    /// Frames with parked groups that were wholly answered since the last call.
    pub(crate) fn take_unparked(&mut self) -> Vec<Unparked> {
        std::mem::take(&mut self.unparked)
    }

    /// Whether a request frame or a parked group is answered in part.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.current.is_some() || self.completed.is_some()
    }

    /// Whether groups are parked, or completed and not yet answered.
    #[must_use]
    pub fn has_parked(&self) -> bool {
        !self.requests.none_parked()
    }

    /// Ready when a parked group was completed since the last time.
    pub fn completed(&self) -> impl Future<Output = ()> + use<R> {
        self.parking.completed()
    }

    /// Uses complete frames of `input` and appends answers to `out`, in frames of up to `frame_bytes`,
    /// until the input runs out or more than half a frame waits there.
    pub fn advance(
        &mut self,
        executor: &impl Executor<Resumption = R>,
        scratch: &mut Scratch,
        input: &mut ReceiveBuffer,
        out: &mut SendBuffer,
        frame_bytes: usize,
    ) -> Progress {
        let turn = &mut Turn {
            executor,
            scratch,
            out,
            frame_bytes,
        };
        while !self.failed {
            if turn.is_full() {
                return Progress::More;
            }
            match self.step(turn, input) {
                Ok(Step::Done) => {}
                Ok(Step::Starved) => return Progress::Idle,
                Ok(Step::Blocked) => return Progress::Waiting,
                Err(fault) => {
                    self.failed = true;
                    write_error(&fault.to_string(), turn.out);
                }
            }
        }
        Progress::Failed
    }

    /// Answers a completed group, or uses one frame, or a part of one of them.
    fn step(
        &mut self,
        turn: &mut Turn<'_, impl Executor<Resumption = R>>,
        input: &mut ReceiveBuffer,
    ) -> Result<Step, Fault> {
        if (self.has_parked() || self.asked) && self.answer_completed(turn)? {
            return Ok(Step::Done);
        }
        if self.is_told_of_maps() && self.identity.map.version() > self.map_version {
            self.map_version = self.identity.map.write(turn.out);
            return Ok(Step::Done);
        }
        let Some(body) = input.body()? else {
            return Ok(Step::Starved);
        };
        let step = match (frame::kind(body)?, self.greeted) {
            (Kind::Control, _) => self.control(body, turn)?,
            (Kind::Request, Some(greeted)) => self.request(turn, body, greeted)?,
            (Kind::Request, None) => return Err(Fault::NoHello),
            (Kind::Answer, _) => return Err(Fault::Unexpected),
        };
        if matches!(step, Step::Done) && self.current.is_none() {
            self.frames += 1;
            input.consume();
        }
        Ok(step)
    }

    fn control(
        &mut self,
        body: &[u8],
        turn: &mut Turn<'_, impl Executor<Resumption = R>>,
    ) -> Result<Step, Fault> {
        let out = &mut *turn.out;
        let desk = turn.executor.desk();
        let Some(greeted) = self.greeted else {
            let greeted = self.identity.greet(body, desk.is_some(), out)?;
            self.answering.seen = greeted.references.then(Seen::default);
            self.answering.clock = greeted.timed.then_some(self.identity.clock);
            self.greeted = Some(greeted);
            return Ok(Step::Done);
        };
        match Control::decode(body)? {
            // They come behind the answers to every request before them.
            Control::CountersRequest if self.has_parked() => return Ok(Step::Blocked),
            Control::CountersRequest => Control::Counters(self.counters()).write(out),
            Control::StatusRequest => Control::Status((self.identity.status)()).write(out),
            question => {
                let desk = desk.filter(|_| may_ask(greeted.role, &question));
                let desk = desk.ok_or(Fault::Unexpected)?;
                if self.asked {
                    return Ok(Step::Blocked);
                }
                desk.ask(question, Box::new(self.parking.desk_reply()));
                self.asked = true;
            }
        }
        Ok(Step::Done)
    }

    /// Answers as much of a request frame as the output takes.
    fn request(
        &mut self,
        turn: &mut Turn<'_, impl Executor<Resumption = R>>,
        body: &[u8],
        greeted: Greeted,
    ) -> Result<Step, Fault> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.accept(body, greeted)?,
        };
        let (id, last) = (current.id, current.last);
        let head = Head {
            id,
            read_at: self.read_at,
        };
        loop {
            let (requests, late) = (&mut self.requests, &mut self.frames_late);
            let is_last = || {
                let is_late = !requests.none_parked() && requests.frame_read(id, last);
                *late += u64::from(is_late);
                last && !is_late
            };
            let cursor = &mut current.cursor;
            let answering = &mut self.answering;
            match answering.execute(turn, body, cursor, head, None, is_last)? {
                Stop::End => return Ok(Step::Done),
                Stop::Full => {
                    self.current = Some(current);
                    return Ok(Step::Done);
                }
                Stop::Later if self.park(turn.executor, body, &mut current) => {}
                Stop::Later => {
                    self.current = Some(current);
                    return Ok(Step::Blocked);
                }
            }
        }
    }

    /// Checks a new request frame before anything of it is applied.
    fn accept(&mut self, body: &[u8], greeted: Greeted) -> Result<CurrentFrame, Fault> {
        if greeted.role == Role::Operator {
            return Err(Fault::OperatorRequest);
        }
        let frame = RequestFrame::parse(body)?;
        let content = frame.validate(self.identity.map.live().partitioning())?;
        let first_group = self.requests.accept(&frame, content)?;
        Ok(CurrentFrame {
            id: frame.id,
            last: frame.last,
            cursor: WindowCursor::of_frame(&frame, first_group),
        })
    }

    /// Has the group in front of the cursor taken away; `false` when the bounds have no room for it.
    #[cold]
    fn park(
        &mut self,
        executor: &impl Executor<Resumption = R>,
        body: &[u8],
        current: &mut CurrentFrame,
    ) -> bool {
        let Some(group) = current.cursor.later(body) else {
            return true;
        };
        let client = self.client().unwrap_or_default();
        if !self.requests.may_park(current.id) || !self.parking.has_room(&group) {
            return false;
        }
        self.requests.park(current.id, self.read_at);
        let parked = self.parking.park(&group, current.id, client, self.read_at);
        executor.submit(parked);
        current.cursor.taken_away();
        true
    }

    /// Answers of what was parked as much as the output takes; `false` when nothing was completed.
    #[cold]
    fn answer_completed(
        &mut self,
        turn: &mut Turn<'_, impl Executor<Resumption = R>>,
    ) -> Result<bool, Fault> {
        let Some(mut completed) = self.next_completed(turn.out)? else {
            return Ok(false);
        };
        let (Completed::Answered(taken, ..) | Completed::Resumed(taken, ..)) = &completed;
        let id = taken.request;
        let head = Head {
            id,
            read_at: taken.read_at,
        };
        let is_last = self.requests.is_last(id);
        let stop = match &mut completed {
            Completed::Answered(_, kept, cursor) => {
                self.answering.hand_on(turn, kept, cursor, head, is_last)
            }
            Completed::Resumed(taken, resumption, cursor) => {
                let body = taken.group().bytes;
                let answering = &mut self.answering;
                answering.execute(turn, body, cursor, head, Some(resumption), || is_last)?
            }
        };
        match stop {
            Stop::End => self.unparked.extend(self.requests.answered(id)),
            Stop::Full | Stop::Later => self.completed = Some(completed),
        }
        Ok(true)
    }

    /// The parked group that is to be answered next, or further. What the desk said is written on the way.
    fn next_completed(&mut self, out: &mut SendBuffer) -> Result<Option<Completed<R>>, Fault> {
        if let Some(completed) = self.completed.take() {
            return Ok(Some(completed));
        }
        match self.parking.next() {
            Some(Completion::Said(said)) => {
                said.write(out);
                self.asked = false;
                Ok(None)
            }
            None => Ok(None),
            Some(Completion::Answered(taken, kept, counters, ruled_out)) => {
                if kept.len() != usize::from(taken.group().header.operations) {
                    return Err(Fault::Abandoned(taken.request));
                }
                self.answering.counters += counters;
                self.answering.ruled_out += ruled_out;
                let cursor = KeptCursor::default();
                Ok(Some(Completed::Answered(taken, kept, cursor)))
            }
            Some(Completion::Resumed(taken, resumption)) => {
                let cursor = WindowCursor::of_group(&taken.group());
                Ok(Some(Completed::Resumed(taken, resumption, cursor)))
            }
            Some(Completion::Abandoned(request)) => Err(Fault::Abandoned(request)),
        }
    }
}
