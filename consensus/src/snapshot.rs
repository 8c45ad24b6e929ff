//! A state on its way to a member, in chunks of up to [`CHUNK_BYTES`].
//!
//! ```text
//! leader                                        member
//! begin (vote, log id, members, time)  ------>  a vote above it? tells it, and that is all
//!                                      <------  next 0, or where the same transfer stood
//! chunk n with its CRC                 ------>  right number and right CRC: taken
//!                                      <------  next n + 1, or n again
//! end (how many)                       ------>  whole: replaces the state; entries go on from there
//!                                      <------  ended, with the member's vote
//! ```
//!
//! Each chunk waits for the one before to be taken, so neither end ever holds more than one: a chunk a round
//! trip. A chunk that is lost is sent again, over a new connection if need be; one that arrives damaged
//! [`CHUNK_TRIES_MAX`] times ends the transfer, and a later one begins with a new image.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;

use crate::calls::CallError;
use crate::limits::{CHUNK_BYTES, CHUNK_LOST_MAX, CHUNK_TRIES_MAX, IMPORT_IDLE_MAX};
use crate::machine::{Image, Import};
use crate::peer::{Line, strange};
use crate::steady;
use crate::task::Backoff;
use crate::transport::Lane;
use crate::types::Vote;
use crate::wire::{Begin, Refused, Reply, Request};

/// Sends a state; answers with the member's vote when it is in place there.
pub(crate) async fn send<I: Image>(
    line: &Line,
    begin: Begin,
    mut image: I,
    patience: Duration,
) -> Result<Vote, CallError> {
    let (vote, transfer) = (begin.vote, begin.transfer);
    let first = Request::Begin(Box::new(begin));
    match call(line, first, patience).await? {
        Reply::Next { number: 0 } => {}
        Reply::Ended { vote } => return Ok(vote),
        _ => return Err(CallError::Strange),
    }
    let mut number = 0;
    while let Some(bytes) = image.next().await {
        debug_assert!(bytes.len() <= CHUNK_BYTES, "a chunk of {}", bytes.len());
        send_chunk(line, transfer, number, bytes, patience).await?;
        number += 1;
    }
    let last = Request::End {
        vote,
        transfer,
        chunks: number,
    };
    end(line, last, number, patience).await
}

/// Waits until the state is in place: a member that is still at it asks for the chunk after the last.
async fn end(
    line: &Line,
    last: Request,
    chunks: u64,
    patience: Duration,
) -> Result<Vote, CallError> {
    loop {
        match call(line, last.clone(), patience).await {
            Ok(Reply::Ended { vote }) => return Ok(vote),
            Ok(Reply::Next { number }) if number == chunks => {
                tokio::time::sleep(patience / 16).await;
            }
            other => return Err(strange(other)),
        }
    }
}

async fn send_chunk(
    line: &Line,
    transfer: u64,
    number: u64,
    bytes: Bytes,
    patience: Duration,
) -> Result<(), CallError> {
    for _damaged in 0..CHUNK_TRIES_MAX {
        let chunk = Request::Chunk {
            transfer,
            number,
            crc: crc32c::crc32c(&bytes),
            bytes: bytes.clone(),
        };
        match call(line, chunk, patience).await {
            Ok(Reply::Next { number: next }) if next == number + 1 => return Ok(()),
            Ok(Reply::Next { number: next }) if next == number => {}
            other => return Err(strange(other)),
        }
    }
    Err(CallError::Strange)
}

/// Asks until there is a reply: what was lost on the way is sent again.
async fn call(line: &Line, request: Request, patience: Duration) -> Result<Reply, CallError> {
    let backoff = Backoff::new(patience / 16, patience);
    let mut tries = 1;
    loop {
        match line.call(Lane::Snapshot, request.clone(), patience).await {
            Err(CallError::Unsent(_) | CallError::Late(_)) if tries < CHUNK_LOST_MAX => {
                tries += 1;
                tokio::time::sleep(backoff.step()).await;
            }
            reply => return reply,
        }
    }
}

/// What becomes of a transfer whose end was announced.
pub(crate) enum End<I> {
    /// It is whole: install it, and say [`Receiver::installed`].
    Install { begin: Box<Begin>, import: I },
    /// It is being installed.
    Installing,
    /// It is in place.
    Installed,
    /// It is not known, or not whole.
    Unknown,
}

/// What is arriving for one group: one transfer at a time, the newest.
pub(crate) struct Receiver<I> {
    arriving: RefCell<Option<Arriving<I>>>,
    /// The transfer that ended last: from whom, its number, and whether it is in place.
    ended: Cell<Option<(u64, u64, bool)>>,
}

struct Arriving<I> {
    from: u64,
    begin: Begin,
    next: u64,
    /// Not there while it takes a chunk.
    import: Option<I>,
    touched: Duration,
}

impl<I> Default for Receiver<I> {
    fn default() -> Self {
        Self {
            arriving: RefCell::new(None),
            ended: Cell::new(None),
        }
    }
}

impl<I: Import> Receiver<I> {
    /// Where a transfer stands that began before, if it is this one.
    pub(crate) fn resumed(&self, from: u64, begin: &Begin) -> Option<Reply> {
        let arriving = self.arriving.borrow();
        let arriving = arriving.as_ref()?;
        let same = arriving.from == from && arriving.begin == *begin;
        same.then_some(Reply::Next {
            number: arriving.next,
        })
    }

    /// Begins a transfer; one that was arriving is dropped.
    pub(crate) fn begin(&self, from: u64, begin: Begin, import: I) -> Reply {
        self.arriving.replace(Some(Arriving {
            from,
            begin,
            next: 0,
            import: Some(import),
            touched: steady::now(),
        }));
        Reply::Next { number: 0 }
    }

    /// Takes the next chunk; says which one is wanted after it.
    pub(crate) async fn chunk(
        &self,
        from: u64,
        transfer: u64,
        number: u64,
        crc: u32,
        bytes: Bytes,
    ) -> Reply {
        let (next, import) = match &mut *self.arriving.borrow_mut() {
            Some(arriving) if arriving.is(from, transfer) => {
                arriving.touched = steady::now();
                let wanted = arriving.next == number && crc32c::crc32c(&bytes) == crc;
                let import = if wanted { arriving.import.take() } else { None };
                (arriving.next, import)
            }
            _ => return Reply::Refused(Refused::NoTransfer),
        };
        let Some(mut import) = import else {
            return Reply::Next { number: next };
        };
        let taken = import.take(bytes).await;
        let mut slot = self.arriving.borrow_mut();
        match slot.as_mut() {
            Some(arriving) if arriving.is(from, transfer) && taken.is_ok() => {
                arriving.import = Some(import);
                arriving.next += 1;
                Reply::Next {
                    number: arriving.next,
                }
            }
            Some(arriving) if arriving.is(from, transfer) => {
                *slot = None;
                Reply::Refused(Refused::Failed)
            }
            _ => Reply::Refused(Refused::NoTransfer),
        }
    }

    /// Ends a transfer of `chunks` chunks, if all of them are there.
    pub(crate) fn end(&self, from: u64, transfer: u64, chunks: u64) -> End<I> {
        match self.ended.get() {
            Some((node, number, done)) if (node, number) == (from, transfer) => {
                return if done {
                    End::Installed
                } else {
                    End::Installing
                };
            }
            _ => {}
        }
        let mut slot = self.arriving.borrow_mut();
        match slot.take() {
            Some(Arriving {
                begin,
                next,
                import: Some(import),
                from: sender,
                ..
            }) if (sender, begin.transfer, next) == (from, transfer, chunks) => {
                self.ended.set(Some((from, transfer, false)));
                End::Install {
                    begin: Box::new(begin),
                    import,
                }
            }
            other => {
                *slot = other;
                End::Unknown
            }
        }
    }

    /// The state of the transfer that ended last is in place, or could not be installed.
    pub(crate) fn installed(&self, well: bool) {
        let ended = self.ended.get().filter(|_| well);
        self.ended
            .set(ended.map(|(from, transfer, _)| (from, transfer, true)));
    }

    /// Drops a transfer whose sender has gone silent.
    pub(crate) fn tidy(&self) {
        let mut slot = self.arriving.borrow_mut();
        let silent = |arriving: &Arriving<I>| {
            steady::now().saturating_sub(arriving.touched) > IMPORT_IDLE_MAX
        };
        if slot.as_ref().is_some_and(silent) {
            *slot = None;
        }
    }
}

impl<I> Arriving<I> {
    fn is(&self, from: u64, transfer: u64) -> bool {
        self.from == from && self.begin.transfer == transfer
    }
}
