//! One connection's socket: what is read goes to its session, what that answers is written.
//!
//! While the socket has no room for answers nothing is read and nothing executed, so a peer that does
//! not read is pushed back instead of buffered: it costs the request frame that it waits for, what its
//! socket holds, and what one write left over; [`budget`](crate::budget) bounds them. Nothing but a peer
//! that is late with something already begun is ever timed out: a quiet connection stays.
//!
//! While groups are parked the connection reads on, until their bounds are reached; their completions wake it. A
//! connection whose peer is gone gives them up; a server that stops waits for them.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use batchkv_protocol::limits::{FRAME_BYTES, REQUEST_FRAME_BYTES};
use batchkv_protocol::{Counters, ReceiveBuffer, SendBuffer};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::budget::{Budget, Charge};
use crate::executor::Executor;
use crate::fault::write_error;
use crate::session::{Identity, Progress, Scratch, Session};
use crate::stats::{ClientMark, Closed, Delta, Open, Stats};

/// Room for requests: one full frame and the next.
const INPUT_BYTES: usize = 2 * REQUEST_FRAME_BYTES;
/// Buffers above this size are given back as soon as they are empty.
const KEPT_BYTES: usize = 4 * FRAME_BYTES;
/// A connection that is quiet for this long gives its buffers back.
const QUIET_TIME: Duration = Duration::from_secs(1);
/// Time and bytes that a closing peer gets to read the last answers; what it sends is discarded.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// What the connections of one thread share.
pub(crate) struct Context<X> {
    pub(crate) executor: Arc<X>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) thread: usize,
    pub(crate) budget: Arc<Budget>,
    /// The buffer that answers are written into, empty between two uses: it stays in the cache, and
    /// peers that stop reading hold none. A connection whose engine panics takes it along.
    pub(crate) answers: Cell<SendBuffer>,
    /// The same for windows of operations.
    pub(crate) scratch: Cell<Scratch>,
    /// [`Config::idle_timeout`](crate::config::Config::idle_timeout).
    pub(crate) patience: Duration,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The peer closed, or the socket failed.
    Gone,
    /// The server stops.
    Shutdown,
    /// The peer is told why: the error frame is in the output.
    Told(Closed),
    /// The peer did not take its answers in time.
    Stuck,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

struct Connection<'a, X: Executor> {
    context: &'a Context<X>,
    stream: TcpStream,
    session: Session<X::Resumption>,
    /// There when the client has said who it is.
    client: Option<ClientMark>,
    /// There where the client is told of maps.
    maps: Option<watch::Receiver<u64>>,
    input: ReceiveBuffer,
    /// Answers that the socket did not take at once.
    output: SendBuffer,
    charge: Charge<'a>,
    told: Counters,
    told_frames: u64,
    told_ruled_out: u64,
    /// Frames whose answers were written, parked ones aside, and when input was last read.
    served_frames: u64,
    read_at: Instant,
    bytes_received: u64,
    bytes_sent: u64,
    /// When the first byte of the incomplete frame in `input` came, or the connection opened.
    frame_since: Option<Instant>,
}

/// Serves one connection until it ends; what is owed to it when it is cut off counts as dropped.
pub(crate) async fn serve<X: Executor>(stream: TcpStream, mut open: Open, context: &Context<X>) {
    open.dropped = true;
    let mut connection = Connection::new(stream, context);
    let end = connection.converse().await;
    connection.tell();
    open.dropped = !matches!(end, End::Told(_)) && !connection.is_clean();
    if let End::Told(reason) = end {
        context.stats.closed(reason);
    }
    if matches!(end, End::Told(_) | End::Shutdown) {
        connection.linger().await;
    }
}

/// Tells a peer why it is not served.
pub(crate) async fn refuse<X: Executor>(stream: TcpStream, context: &Context<X>, text: &str) {
    let mut connection = Connection::new(stream, context);
    write_error(text, &mut connection.output);
    connection.linger().await;
}

impl<'a, X: Executor> Connection<'a, X> {
    fn new(stream: TcpStream, context: &'a Context<X>) -> Self {
        Self {
            context,
            stream,
            session: Session::new(context.identity.clone(), context.budget.clone()),
            client: None,
            maps: None,
            input: ReceiveBuffer::default(),
            output: SendBuffer::default(),
            charge: context.budget.charge(),
            told: Counters::default(),
            told_frames: 0,
            told_ruled_out: 0,
            served_frames: 0,
            read_at: Instant::now(),
            bytes_received: 0,
            bytes_sent: 0,
            frame_since: Some(Instant::now()),
        }
    }

    /// Whether nothing begun is left undone.
    fn is_clean(&self) -> bool {
        let session = &self.session;
        let is_answered = !session.is_mid_frame() && !session.has_parked();
        is_answered && self.input.is_empty() && self.output.is_empty()
    }

    async fn converse(&mut self) -> End {
        loop {
            let progress = self.answer();
            self.tell();
            if !self
                .charge
                .set(self.input.capacity() + self.output.capacity())
            {
                write_error(
                    "the server's memory for connections is used up; try again later",
                    &mut self.output,
                );
                return End::Told(Closed::Exhausted);
            }
            let step = match progress {
                Progress::Failed => return End::Told(Closed::Broken),
                Progress::More => self.flush().await,
                Progress::Waiting => self.await_completions().await,
                Progress::Idle => self.receive().await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Uses what has come and writes as much as the socket takes; `Idle` and `Waiting` when nothing was to
    /// write.
    fn answer(&mut self) -> Progress {
        let mut answers = self.context.answers.take();
        let mut scratch = self.context.scratch.take();
        let mut progress = self.session.advance(
            &*self.context.executor,
            &mut scratch,
            &mut self.input,
            &mut answers,
            self.context.budget.answer_frame_bytes(),
        );
        self.context.scratch.set(scratch);
        if !answers.is_empty() {
            // A failed write fails again when the rest is written.
            let sent = self.stream.try_write(answers.pending()).unwrap_or(0);
            answers.sent(sent);
            self.bytes_sent += sent as u64;
            self.output.append(&mut answers);
            if progress != Progress::Failed {
                progress = Progress::More;
            }
        }
        if answers.capacity() <= KEPT_BYTES {
            self.context.answers.set(answers);
        }
        progress
    }

    /// Waits until the socket has taken everything and has room for more; then lets the thread's other
    /// connections have a turn.
    async fn flush(&mut self) -> Result<(), End> {
        let is_stalled = !self.output.is_empty() || !self.has_room();
        let stalled = is_stalled.then(|| self.context.budget.stalled());
        self.write_rest().await?;
        if is_stalled {
            self.await_room().await?;
        }
        drop(stalled);
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn write_rest(&mut self) -> Result<(), End> {
        while !self.output.is_empty() {
            let write = timeout(
                self.context.patience,
                self.stream.write(self.output.pending()),
            );
            let sent = write.await.map_err(|_| End::Stuck)??;
            if sent == 0 {
                return Err(End::Gone);
            }
            self.output.sent(sent);
            self.bytes_sent += sent as u64;
        }
        self.served();
        self.output.release();
        Ok(())
    }

    /// Whether the socket would take more, asked before anything more is executed.
    fn has_room(&self) -> bool {
        let socket = PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT);
        // An error shows when the socket is written to.
        poll(&mut [socket], PollTimeout::ZERO) != Ok(0)
    }

    #[cold]
    async fn await_room(&mut self) -> Result<(), End> {
        let room = self.stream.async_io(Interest::WRITABLE, || {
            let has_room = self.has_room();
            has_room
                .then_some(())
                .ok_or(io::ErrorKind::WouldBlock.into())
        });
        let room = timeout(self.context.patience, room).await;
        Ok(room.map_err(|_| End::Stuck)??)
    }

    /// Waits until a parked group is completed, or others' have gone, reading nothing.
    #[cold]
    async fn await_completions(&mut self) -> Result<(), End> {
        // Whatever goes from now on is noticed; what went before shows in another attempt.
        let unparked = self.context.budget.unparked();
        let completed = self.session.completed();
        match self.answer() {
            Progress::Waiting => {}
            Progress::Failed => return Err(End::Told(Closed::Broken)),
            Progress::More => return self.flush().await,
            Progress::Idle => return Ok(()),
        }
        tokio::select! {
            () = completed => {}
            () = unparked => {}
        }
        Ok(())
    }

    /// Waits for a client's maps to change, as far as it is told of them.
    async fn map_changed(maps: &mut Option<watch::Receiver<u64>>) {
        let gone = match maps {
            Some(maps) => maps.changed().await.is_err(),
            None => true,
        };
        if gone {
            std::future::pending().await
        }
    }

    /// Waits for more input, or something else to do: without limit between frames, bounded inside one.
    async fn receive(&mut self) -> Result<(), End> {
        let inside_frame = !self.input.is_empty();
        if inside_frame || !self.session.is_greeted() {
            self.frame_since.get_or_insert_with(Instant::now);
        } else {
            self.frame_since = None;
        }
        let deadline = match self.frame_since {
            Some(since) => since + self.context.patience,
            None => Instant::now() + QUIET_TIME,
        };
        if self.input.capacity() > KEPT_BYTES {
            self.input.release();
        }
        let mut shutdown = self.context.shutdown.clone();
        let completed = self.session.completed();
        let received = tokio::select! {
            // Shutdown first: a peer that always has more to say must not put it off.
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return self.shut_down().await,
            () = completed => return Ok(()),
            () = Self::map_changed(&mut self.maps) => return Ok(()),
            received = self.stream.read(self.input.spare_within(INPUT_BYTES)) => received?,
            () = sleep_until(deadline.into()) => return self.late().await,
        };
        self.take(received)
    }

    /// The server stops: parked groups are still answered.
    async fn shut_down(&mut self) -> Result<(), End> {
        if !self.session.has_parked() {
            return Err(End::Shutdown);
        }
        self.session.completed().await;
        Ok(())
    }

    /// Nothing came in time: a peer inside a frame or without a hello is told so, a quiet one costs no
    /// more buffers.
    async fn late(&mut self) -> Result<(), End> {
        if self.frame_since.is_some() {
            let seconds = self.context.patience.as_secs_f64();
            let text = if self.session.is_greeted() {
                format!("a frame was not complete within {seconds} s of its first byte")
            } else {
                format!("the hello was not complete within {seconds} s")
            };
            write_error(&text, &mut self.output);
            return Err(End::Told(Closed::Late));
        }
        self.input.release();
        self.charge.set(self.input.capacity());
        let mut shutdown = self.context.shutdown.clone();
        let completed = self.session.completed();
        tokio::select! {
            ready = self.stream.readable() => return Ok(ready?),
            () = completed => return Ok(()),
            () = Self::map_changed(&mut self.maps) => return Ok(()),
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        self.shut_down().await
    }

    fn take(&mut self, received: usize) -> Result<(), End> {
        if received == 0 {
            return Err(End::Gone);
        }
        self.read_at = Instant::now();
        self.session.read_at(self.read_at);
        self.input.filled(received);
        self.bytes_received += received as u64;
        Ok(())
    }

    /// Takes note of how long it took from reading to writing, for the frames that are done.
    fn served(&mut self) {
        let stats = self.context.stats.thread(self.context.thread);
        let frames = self.session.frames_answered_at_once() - self.served_frames;
        if frames > 0 {
            self.served_frames += frames;
            stats.served(frames, self.read_at.elapsed());
        }
        for unparked in self.session.take_unparked() {
            let read_at = unparked.read_at.unwrap_or(self.read_at);
            stats.served(unparked.frames, read_at.elapsed());
        }
    }

    /// Adds what was done since the last call to the thread's counters.
    fn tell(&mut self) {
        let (counters, frames) = (self.session.counters(), self.session.frames());
        let delta = Delta {
            counters: counters - self.told,
            frames: frames - self.told_frames,
            ruled_out: self.session.ruled_out() - self.told_ruled_out,
            bytes_received: std::mem::take(&mut self.bytes_received),
            bytes_sent: std::mem::take(&mut self.bytes_sent),
        };
        if frames != self.told_frames {
            self.frame_since = None;
            self.meet();
        }
        (self.told, self.told_frames) = (counters, frames);
        self.told_ruled_out += delta.ruled_out;
        self.context.stats.thread(self.context.thread).add(&delta);
    }

    /// Takes note of who is at the other end, once that is known.
    fn meet(&mut self) {
        if self.client.is_none() {
            let stats = &self.context.stats;
            self.client = self.session.client().map(|id| stats.meet(id));
        }
        if self.maps.is_none() && self.session.is_told_of_maps() {
            self.maps = Some(self.context.identity.map.subscribe());
        }
    }

    /// Sends what waits and half-closes; then discards what the peer still sends until it closes,
    /// because closing with unread input would reset the connection and destroy the last answers.
    async fn linger(&mut self) {
        let farewell = async {
            self.write_rest().await.ok();
            self.tell();
            self.stream.shutdown().await?;
            let mut discarded = 0;
            while discarded < LINGER_BYTES_MAX {
                match self.stream.read(self.input.spare()).await? {
                    0 => break,
                    received => discarded += received,
                }
            }
            io::Result::Ok(())
        };
        // Nothing is owed to a peer that does not close in time.
        let _ = timeout(LINGER_TIME, farewell).await;
    }
}
