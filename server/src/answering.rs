//! Operations in, frames of answers out: how a session has windows of a body executed.

use std::time::Instant;

use batchkv_protocol::{
    AnswerWriter, Counters, KeptAnswers, KeptCursor, Malformed, Seen, SendBuffer,
};

use crate::executor::Executor;
use crate::windows::{Scratch, WindowCursor};

/// What one call of [`Session::advance`](crate::session::Session::advance) works with.
pub(crate) struct Turn<'t, X> {
    pub(crate) executor: &'t X,
    pub(crate) scratch: &'t mut Scratch,
    pub(crate) out: &'t mut SendBuffer,
    /// Longest frame of several answers.
    pub(crate) frame_bytes: usize,
}

impl<X> Turn<'_, X> {
    /// Whether more than half a frame waits to be sent.
    pub(crate) fn is_full(&self) -> bool {
        is_full(self.out, self.frame_bytes)
    }
}

fn is_full(out: &SendBuffer, frame_bytes: usize) -> bool {
    out.pending().len() > frame_bytes / 2
}

/// Why answering stops.
pub(crate) enum Stop {
    /// Everything is answered, or parked.
    End,
    /// The output has no room for more.
    Full,
    /// A group is to be taken away.
    Later,
}

/// Which frames answers are written in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) id: u64,
    pub(crate) read_at: Option<Instant>,
}

/// How a connection's answers are written, and what they add up to.
#[derive(Debug)]
pub(crate) struct Answering {
    /// There where the client understands references.
    pub(crate) seen: Option<Seen>,
    /// Read for each frame of answers, where they tell the server's time.
    pub(crate) clock: Option<fn() -> Instant>,
    pub(crate) counters: Counters,
    /// Those of the refused operations that the executor's ruling refused, the others being the engine's.
    pub(crate) ruled_out: u64,
}

impl Answering {
    /// Executes the operations of `body` from where `cursor` stands, over as many answer frames as the output
    /// takes; those of a group that was taken away with its `resumption`. At the end `is_last` says whether the request has no more answers to come.
    pub(crate) fn execute<X: Executor>(
        &mut self,
        turn: &mut Turn<'_, X>,
        body: &[u8],
        cursor: &mut WindowCursor,
        head: Head,
        resumption: Option<&X::Resumption>,
        is_last: impl FnOnce() -> bool,
    ) -> Result<Stop, Malformed> {
        let mut window = turn.scratch.take();
        let (clock, frame_bytes) = (self.clock, turn.frame_bytes);
        let mut writer = begin(turn.out, head, frame_bytes, clock, &mut self.seen);
        let stop = loop {
            let fits = if cursor.is_refused() {
                let before = self.counters.refused;
                let fits = cursor.answer_refused(&mut writer, &mut self.counters);
                self.ruled_out += self.counters.refused - before;
                fits
            } else if cursor.is_held() {
                finish(writer, false, head, clock);
                break Stop::Later;
            } else {
                let start = *cursor;
                window.clear();
                cursor.fill(turn.executor, body, &mut window)?;
                if window.is_empty() && !cursor.is_held() {
                    finish(writer, is_last(), head, clock);
                    break Stop::End;
                }
                let (executor, counters) = (turn.executor, &mut self.counters);
                let applied = match resumption {
                    None => executor.apply(&window, &mut writer, counters),
                    Some(resumption) => executor.resume(resumption, &window, &mut writer, counters),
                };
                let fits = applied == window.len();
                if !fits {
                    *cursor = start;
                    cursor.skip(body, applied)?;
                }
                fits
            };
            if !fits {
                finish(writer, false, head, clock);
                if is_full(turn.out, frame_bytes) {
                    break Stop::Full;
                }
                writer = begin(turn.out, head, frame_bytes, clock, &mut self.seen);
            }
        };
        turn.scratch.give_back(window);
        Ok(stop)
    }

    /// Writes answers that were kept, from `cursor` on, as [`execute`](Self::execute) does.
    pub(crate) fn hand_on<X>(
        &mut self,
        turn: &mut Turn<'_, X>,
        kept: &KeptAnswers,
        cursor: &mut KeptCursor,
        head: Head,
        is_last: bool,
    ) -> Stop {
        let (clock, frame_bytes) = (self.clock, turn.frame_bytes);
        loop {
            let mut writer = begin(turn.out, head, frame_bytes, clock, &mut self.seen);
            if kept.hand_on(cursor, &mut writer) {
                finish(writer, is_last, head, clock);
                return Stop::End;
            }
            finish(writer, false, head, clock);
            if turn.is_full() {
                return Stop::Full;
            }
        }
    }
}

/// Begins a frame of answers as the connection's features want it.
#[inline]
fn begin<'a>(
    out: &'a mut SendBuffer,
    head: Head,
    frame_bytes: usize,
    clock: Option<fn() -> Instant>,
    seen: &'a mut Option<Seen>,
) -> AnswerWriter<'a> {
    let writer = AnswerWriter::begin(out, head.id)
        .within(frame_bytes)
        .referring(seen.as_mut());
    match clock {
        Some(_) => writer.timed(),
        None => writer,
    }
}

/// Ends a frame, unless nothing was answered in it.
#[inline]
fn finish(mut writer: AnswerWriter<'_>, last: bool, head: Head, clock: Option<fn() -> Instant>) {
    if writer.is_empty() {
        debug_assert!(!last, "a request's last answer is in a frame");
        return writer.discard();
    }
    if let Some(clock) = clock {
        // Whoever feeds a session by hand may not tell when its input came.
        let now = clock();
        writer.took(now.saturating_duration_since(head.read_at.unwrap_or(now)));
    }
    writer.finish(last);
}
