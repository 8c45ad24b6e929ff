//! One connection's conversation, bytes in and bytes out: no socket, no thread, and no clock but the one
//! that it is handed for peers who want to know how long the server takes.
//!
//! [`Session::advance`] uses the frames that have come and writes answers until its input, or the
//! room that it was given for output, runs out. A request frame is checked whole before anything of
//! it is applied; then its operations go to the engine in windows, and each answer is written
//! straight into the send buffer. Between two calls the session holds a place in a frame, never a
//! lock and never a value: a get is executed when there is room for its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use batchkv_protocol::control::{
    FEATURE_REFERENCES, FEATURE_SERVER_TIME, FEATURE_STATUS, MAGIC, VERSION,
};
use batchkv_protocol::frame::Kind;
use batchkv_protocol::limits::{
    ERROR_TEXT_BYTES_MAX, GROUPS_PER_REQUEST_MAX, OPERATIONS_PER_REQUEST_MAX, REQUESTS_OPEN_MAX,
};
use batchkv_protocol::request::GroupHeader;
use batchkv_protocol::{
    Answer, AnswerWriter, ClientHello, Control, Counters, ErrorFrame, Malformed, PartitionMap,
    Position, ReceiveBuffer, Refusal, RequestCursor, RequestFrame, Seen, SendBuffer, ServerHello,
    ServerLimits, Status, frame,
};

use batchkv_store::{Engine, Placed, WINDOW_OPERATIONS};

/// What this server can do for a client that offers it.
const FEATURES: u64 = FEATURE_STATUS | FEATURE_REFERENCES | FEATURE_SERVER_TIME;

/// What a server says of itself to every client.
#[derive(Debug)]
pub struct Identity {
    /// The server's index among the owners of the map.
    pub server_index: u32,
    /// Threads that serve connections.
    pub threads: u32,
    /// Who owns which partition.
    pub map: PartitionMap,
    /// Looks at clock, machine and threads when a client asks for them.
    pub status: fn() -> Status,
    /// Read once an answer frame, where it tells the server's time.
    pub clock: fn() -> Instant,
}

/// Why [`Session::advance`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Every complete frame was answered: more input is needed.
    Idle,
    /// The output limit was reached: call again once some of it is gone.
    More,
    /// The peer broke the protocol: an error frame is the last in the output; close behind it.
    Failed,
}

/// Why a session ends, told to the peer in an error frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("the first frame must be a hello with the magic \"bkv1\"")]
    NoHello,
    #[error("the client speaks versions {min} to {max}; this server speaks version {VERSION}")]
    Version { min: u16, max: u16 },
    #[error("a client may send hello once, then requests, and ask for counters and status")]
    Unexpected,
    #[error("a request has more than {OPERATIONS_PER_REQUEST_MAX} operations")]
    RequestTooLong,
    #[error("more than {REQUESTS_OPEN_MAX} requests were begun and not finished")]
    TooManyOpen,
}

/// One connection's conversation; see the module.
#[derive(Debug)]
pub struct Session {
    identity: Arc<Identity>,
    greeted: bool,
    failed: bool,
    /// Whether answer frames tell the server's time.
    timed: bool,
    /// When the last byte of the input's complete frames was read.
    read_at: Option<Instant>,
    counters: Counters,
    frames: u64,
    /// There where the client understands references.
    seen: Option<Seen>,
    open: Vec<OpenRequest>,
    current: Option<CurrentFrame>,
}

/// A request of which the last frame has not come.
#[derive(Debug)]
struct OpenRequest {
    id: u64,
    groups: usize,
    operations: usize,
}

/// The request frame at the front of the input that is being answered.
#[derive(Debug, Clone, Copy)]
struct CurrentFrame {
    id: u64,
    last: bool,
    place: Place,
}

/// Where in a request frame the next operation stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    cursor: RequestCursor,
    next: Position,
    partition: u32,
    /// The number that the frame's next group has in its request.
    next_group: u32,
    /// The answer to what is left of a refused group, and how many operations that is.
    refused: Option<(Answer<'static>, u16)>,
}

impl Session {
    /// A session that waits for the client's hello.
    #[must_use]
    pub fn new(identity: Arc<Identity>) -> Self {
        Self {
            identity,
            greeted: false,
            failed: false,
            timed: false,
            read_at: None,
            counters: Counters::default(),
            frames: 0,
            seen: None,
            open: Vec::new(),
            current: None,
        }
    }

    /// Whether the client's hello has come.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Takes note of when the input's last bytes were read. A peer is read from again only when none of
    /// its frames is complete, so this is the time of all that are.
    pub fn read_at(&mut self, time: Instant) {
        self.read_at = Some(time);
    }

    /// What was served on this connection so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Complete frames that were used so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether a request frame is answered in part.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.current.is_some()
    }

    /// Uses complete frames of `input` and appends answers to `out`, in frames of up to `frame_bytes`,
    /// until the input runs out or more than half a frame waits there.
    pub fn advance(
        &mut self,
        engine: &impl Engine,
        input: &mut ReceiveBuffer,
        out: &mut SendBuffer,
        frame_bytes: usize,
    ) -> Progress {
        while !self.failed {
            if out.pending().len() > frame_bytes / 2 {
                return Progress::More;
            }
            match self.step(engine, input, out, frame_bytes) {
                Ok(true) => {}
                Ok(false) => return Progress::Idle,
                Err(fault) => {
                    self.failed = true;
                    write_error(&fault.to_string(), out);
                }
            }
        }
        Progress::Failed
    }

    /// Uses one frame, or a part of one; `false` when there is no complete one.
    fn step(
        &mut self,
        engine: &impl Engine,
        input: &mut ReceiveBuffer,
        out: &mut SendBuffer,
        frame_bytes: usize,
    ) -> Result<bool, Fault> {
        let Some(body) = input.body()? else {
            return Ok(false);
        };
        let done = match frame::kind(body)? {
            Kind::Control => self.control(body, out).map(|()| true)?,
            Kind::Request if self.greeted => self.request(engine, body, out, frame_bytes)?,
            Kind::Request => return Err(Fault::NoHello),
            Kind::Answer => return Err(Fault::Unexpected),
        };
        if done {
            self.frames += 1;
            input.consume();
        }
        Ok(true)
    }

    fn control(&mut self, body: &[u8], out: &mut SendBuffer) -> Result<(), Fault> {
        match Control::decode(body) {
            Ok(Control::ClientHello(hello)) if !self.greeted => {
                self.check_hello(&hello)?;
                self.greeted = true;
                self.seen = (hello.features & FEATURE_REFERENCES != 0).then(Seen::default);
                self.timed = hello.features & FEATURE_SERVER_TIME != 0;
                self.identity.answer_to(&hello).write(out);
            }
            Ok(Control::CountersRequest) if self.greeted => {
                Control::Counters(self.counters).write(out)
            }
            Ok(Control::StatusRequest) if self.greeted => {
                Control::Status((self.identity.status)()).write(out)
            }
            _ if !self.greeted => return Err(Fault::NoHello),
            Ok(_) => return Err(Fault::Unexpected),
            Err(malformed) => return Err(malformed.into()),
        }
        Ok(())
    }

    fn check_hello(&self, hello: &ClientHello) -> Result<(), Fault> {
        if hello.magic != MAGIC {
            return Err(Fault::NoHello);
        }
        let (min, max) = (hello.version_min, hello.version_max);
        if !(min..=max).contains(&VERSION) {
            return Err(Fault::Version { min, max });
        }
        Ok(())
    }

    /// Answers as much of a request frame as the output takes; `true` when all of it is answered.
    fn request(
        &mut self,
        engine: &impl Engine,
        body: &[u8],
        out: &mut SendBuffer,
        frame_bytes: usize,
    ) -> Result<bool, Fault> {
        let mut current = match self.current {
            Some(current) => current,
            None => self.accept(body)?,
        };
        let all = self.answer(engine, body, &mut current, out, frame_bytes)?;
        self.current = (!all).then_some(current);
        Ok(all)
    }

    /// Checks a new request frame before anything of it is applied.
    fn accept(&mut self, body: &[u8]) -> Result<CurrentFrame, Fault> {
        let frame = RequestFrame::parse(body)?;
        let content = frame.validate(self.identity.map.partitioning())?;
        let found = self.open.iter().position(|open| open.id == frame.id);
        let known = found.map_or(0, |at| self.open[at].groups);
        let operations = content.operations + found.map_or(0, |at| self.open[at].operations);
        let groups = content.groups + known;
        if operations > OPERATIONS_PER_REQUEST_MAX || groups > GROUPS_PER_REQUEST_MAX {
            return Err(Fault::RequestTooLong);
        }
        match found {
            Some(at) if frame.last => drop(self.open.swap_remove(at)),
            Some(at) => {
                self.open[at] = OpenRequest {
                    id: frame.id,
                    groups,
                    operations,
                }
            }
            None if frame.last => {}
            None if self.open.len() == REQUESTS_OPEN_MAX => return Err(Fault::TooManyOpen),
            None => self.open.push(OpenRequest {
                id: frame.id,
                groups,
                operations,
            }),
        }
        Ok(CurrentFrame {
            id: frame.id,
            last: frame.last,
            place: Place::new(frame.cursor(), known as u32),
        })
    }

    /// Answers from where `current` stands, over as many answer frames as the output takes.
    fn answer(
        &mut self,
        engine: &impl Engine,
        body: &[u8],
        current: &mut CurrentFrame,
        out: &mut SendBuffer,
        frame_bytes: usize,
    ) -> Result<bool, Fault> {
        let took = || {
            let read_at = self.read_at.filter(|_| self.timed)?;
            Some((self.identity.clock)().saturating_duration_since(read_at))
        };
        let place = &mut current.place;
        let mut window = Vec::with_capacity(WINDOW_OPERATIONS);
        let mut writer = begin(out, current.id, frame_bytes, self.timed, &mut self.seen);
        loop {
            let fits = if place.refused.is_some() {
                place.refuse(&mut writer, &mut self.counters)
            } else {
                let start = *place;
                window.clear();
                place.fill(&self.identity, body, &mut window)?;
                if window.is_empty() && place.refused.is_none() {
                    finish(writer, took(), current.last);
                    return Ok(true);
                }
                let applied = engine.apply(&window, &mut writer, &mut self.counters);
                let fits = applied == window.len();
                if !fits {
                    *place = start;
                    place.skip(&self.identity, body, applied)?;
                }
                fits
            };
            if !fits {
                finish(writer, took(), false);
                if out.pending().len() > frame_bytes / 2 {
                    return Ok(false);
                }
                writer = begin(out, current.id, frame_bytes, self.timed, &mut self.seen);
            }
        }
    }
}

/// Begins a frame of answers as the connection's features want it.
fn begin<'a>(
    out: &'a mut SendBuffer,
    id: u64,
    frame_bytes: usize,
    timed: bool,
    seen: &'a mut Option<Seen>,
) -> AnswerWriter<'a> {
    let writer = AnswerWriter::begin(out, id)
        .within(frame_bytes)
        .referring(seen.as_mut());
    if timed { writer.timed() } else { writer }
}

fn finish(mut writer: AnswerWriter<'_>, took: Option<Duration>, last: bool) {
    if let Some(took) = took {
        writer.took(took);
    }
    writer.finish(last);
}

impl Identity {
    fn answer_to(&self, hello: &ClientHello) -> Control {
        Control::ServerHello(ServerHello {
            magic: MAGIC,
            version: VERSION,
            features: hello.features & FEATURES,
            server_index: self.server_index,
            threads: self.threads,
            limits: ServerLimits::BUILT_IN,
            map_fingerprint: self.map.fingerprint(),
            partitions: self.map.partitions().to_vec(),
        })
    }

    /// The answer to every operation of a group that this server does not apply.
    fn refusal(&self, group: &GroupHeader) -> Option<Answer<'static>> {
        if group.flags != 0 {
            return Some(Answer::Refused(Refusal::UnknownFlag));
        }
        let known = self.map.ownership(group.partition)?;
        let ours = known.owner == self.server_index && known.epoch == group.epoch;
        (!ours).then_some(Answer::WrongOwner(known))
    }
}

impl Place {
    fn new(cursor: RequestCursor, first_group: u32) -> Self {
        let next = Position {
            group: first_group,
            operation: 0,
        };
        Self {
            cursor,
            next,
            partition: 0,
            next_group: first_group,
            refused: None,
        }
    }

    /// Reads operations into `window` until it is full, the frame ends, or a group is refused.
    fn fill<'a>(
        &mut self,
        identity: &Identity,
        body: &'a [u8],
        window: &mut Vec<Placed<'a>>,
    ) -> Result<(), Malformed> {
        loop {
            self.fill_from_group(body, window)?;
            let full = window.len() == WINDOW_OPERATIONS;
            if full || !self.enter_group(identity, body)? || self.refused.is_some() {
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

    /// Goes to the next group; `false` behind the last.
    fn enter_group(&mut self, identity: &Identity, body: &[u8]) -> Result<bool, Malformed> {
        let Some(group) = self.cursor.next_group(body)? else {
            return Ok(false);
        };
        self.next = Position {
            group: self.next_group,
            operation: 0,
        };
        self.next_group += 1;
        self.partition = group.partition;
        self.refused = identity
            .refusal(&group)
            .map(|answer| (answer, group.operations));
        if self.refused.is_some() {
            self.cursor.skip_group();
        }
        Ok(true)
    }

    /// Goes over `operations` that were applied, which lie before any refused group.
    fn skip(
        &mut self,
        identity: &Identity,
        body: &[u8],
        operations: usize,
    ) -> Result<(), Malformed> {
        for _ in 0..operations {
            while self.cursor.next_operation(body)?.is_none() {
                self.enter_group(identity, body)?;
            }
            self.next.operation += 1;
        }
        Ok(())
    }

    /// Answers what is left of the refused group; `false` when an answer did not fit.
    fn refuse(&mut self, writer: &mut AnswerWriter<'_>, counters: &mut Counters) -> bool {
        while let Some((answer, left)) = self.refused {
            if !writer.answer(self.next, answer) {
                return false;
            }
            match answer {
                Answer::WrongOwner(_) => counters.wrong_owner += 1,
                _ => counters.refused += 1,
            }
            self.next.operation += 1;
            self.refused = (left > 1).then_some((answer, left - 1));
        }
        true
    }
}

/// Appends an error frame; `text` is cut to what one may hold.
pub(crate) fn write_error(text: &str, out: &mut SendBuffer) {
    const UTF8_BYTES_MAX: usize = 4;
    let text = text
        .chars()
        .take(ERROR_TEXT_BYTES_MAX / UTF8_BYTES_MAX)
        .collect();
    Control::Error(ErrorFrame { text }).write(out);
}
