//! The async rim: moves bytes between a socket and a [`Session`], reading and writing polled together.

use crate::connection::{FinalCounts, Shared, State, Stop, Traffic};
use crate::error::Loss;
use crate::exchange::Exchange;
use crate::routes::Routes;
use crate::session::Session;
use batchkv_protocol::limits::FRAME_BYTES;
use batchkv_protocol::{ReceiveBuffer, SendBuffer, Status};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior};

/// Bytes to encode before the socket is offered them: what was just encoded is still in the cache.
const SEND_BYTES: usize = FRAME_BYTES;

/// Looks at a connection that are due within the time of silence that is allowed.
const SILENCE_CHECKS: u32 = 4;

/// Shortest time between two such looks.
const CHECK_TIME_MIN: Duration = Duration::from_millis(1);

/// The work of one connection, as a future that the caller spawns; it ends when the connection does.
///
/// Reading waits for nothing but the socket, so two full directions cannot block each other.
/// Requests are encoded only when the bytes before them have gone, so no buffer grows with the
/// queue. Dropping the future loses the connection.
#[must_use = "nothing is sent unless this future is polled"]
pub struct Pump<X: Exchange> {
    shared: Arc<Shared<X>>,
    session: Session<X>,
    /// Who waits for a status, in the order in which they were asked for.
    asking: VecDeque<oneshot::Sender<Status>>,
    /// Who learns from the maps that the server pushes.
    routes: Option<Arc<Routes>>,
    stream: TcpStream,
    receive: ReceiveBuffer,
    send: SendBuffer,
    traffic: Traffic,
    /// Why writing failed; what the server sent before may name the reason, so it is read first.
    write_error: Option<io::Error>,
    silence: Silence,
    over: bool,
}

/// Tells a silent server from a slow one without a clock read a frame.
struct Silence {
    checks: Interval,
    allowed: Duration,
    /// Bytes moved, up to the last check.
    bytes_moved: u64,
    silent_checks: u32,
}

impl<X: Exchange> Pump<X> {
    /// Takes over a stream behind both hellos; `receive` holds what came after them.
    pub(crate) fn new(
        shared: Arc<Shared<X>>,
        stream: TcpStream,
        receive: ReceiveBuffer,
        silence_time: Duration,
        routes: Option<Arc<Routes>>,
    ) -> Self {
        let traffic = shared.state().traffic;
        let features = shared.hello.features;
        Self {
            shared,
            traffic,
            session: Session::new(features),
            asking: VecDeque::new(),
            routes,
            stream,
            receive,
            send: SendBuffer::default(),
            write_error: None,
            silence: Silence::new(silence_time),
            over: false,
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        self.check_silence(cx)?;
        self.take_received()?;
        loop {
            let submitted = self.take_submitted(cx);
            let written = self.write(cx);
            let read = self.read(cx)?;
            if self.is_done() {
                return Poll::Ready(Ok(()));
            }
            if !(submitted || written || read) {
                return Poll::Pending;
            }
        }
    }

    /// Takes what was submitted since the last look, and publishes the counts.
    fn take_submitted(&mut self, cx: &mut Context<'_>) -> bool {
        let mut state = self.shared.state();
        match &mut state.pump {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        publish(&mut state, &self.session, self.traffic);
        if matches!(state.stop, Stop::Counted(_)) {
            self.session.ask_counters();
        }
        let any = !state.submitted.is_empty() || !state.asking.is_empty();
        for asking in state.asking.drain(..) {
            self.session.ask_status();
            self.asking.push_back(asking);
        }
        self.session.enqueue_all(&mut state.submitted);
        any
    }

    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.write_error.is_some() {
            return false;
        }
        if self.send.is_empty() {
            self.session.produce(&mut self.send, SEND_BYTES);
        }
        if self.send.is_empty() {
            return false;
        }
        match Pin::new(&mut self.stream).poll_write(cx, self.send.pending()) {
            Poll::Pending => return false,
            Poll::Ready(Ok(bytes)) => {
                self.send.sent(bytes);
                self.traffic.bytes_sent += bytes as u64;
            }
            Poll::Ready(Err(error)) => self.write_error = Some(error),
        }
        true
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Loss> {
        let mut room = ReadBuf::new(self.receive.spare());
        match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                let write_error = self.write_error.take().map(Loss::Write);
                return Err(write_error.unwrap_or(Loss::Read(error)));
            }
        }
        let bytes = room.filled().len();
        if bytes == 0 {
            return Err(self.end_of_stream());
        }
        self.receive.filled(bytes);
        self.traffic.bytes_received += bytes as u64;
        self.take_received()?;
        Ok(true)
    }

    /// Uses the frames that are there; the first may have come with the hello.
    fn take_received(&mut self) -> Result<(), Loss> {
        self.session.feed(&mut self.receive)?;
        self.traffic.references = self.session.references();
        self.tell_statuses();
        self.learn_maps()
    }

    fn tell_statuses(&mut self) {
        while let Some(status) = self.session.take_status() {
            if let Some(asking) = self.asking.pop_front() {
                // Whoever asked may have gone away since.
                let _ = asking.send(status);
            }
        }
    }

    fn learn_maps(&mut self) -> Result<(), Loss> {
        let Some(routes) = &self.routes else {
            return Ok(());
        };
        for map in self.session.take_maps() {
            if map.partitions.len() != routes.live().partitioning().partitions() as usize {
                return Err(Loss::Unasked("a map with another number of partitions"));
            }
            routes.learn(self.shared.hello.server_index, &map);
        }
        Ok(())
    }

    fn end_of_stream(&mut self) -> Loss {
        match self.write_error.take() {
            Some(error) => Loss::Write(error),
            None if self.receive.is_empty() => Loss::ClosedByServer,
            None => Loss::CutOff,
        }
    }

    fn is_done(&self) -> bool {
        if !self.session.is_idle() || !self.send.is_empty() {
            return false;
        }
        let state = self.shared.state();
        match &state.stop {
            Stop::No => false,
            Stop::Quietly => state.submitted.is_empty(),
            Stop::Counted(_) => self.session.served().is_some(),
        }
    }

    fn check_silence(&mut self, cx: &mut Context<'_>) -> Result<(), Loss> {
        while self.silence.checks.poll_tick(cx).is_ready() {
            let bytes_moved = self.traffic.bytes_sent + self.traffic.bytes_received;
            self.silence.check(bytes_moved, self.session.is_waiting())?;
        }
        Ok(())
    }

    fn finish(&mut self) {
        let mut state = self.shared.state();
        publish(&mut state, &self.session, self.traffic);
        let asking = std::mem::take(&mut state.asking);
        let stop = std::mem::replace(&mut state.stop, Stop::No);
        drop(state);
        drop(asking);
        if let (Stop::Counted(sender), Some(served)) = (stop, self.session.served()) {
            let answered = self.session.answered();
            // Whoever asked may have gone away since.
            let _ = sender.send(FinalCounts { served, answered });
        }
    }

    fn lose(&mut self, loss: Loss) {
        let cause = self.shared.error(loss);
        let mut state = self.shared.state();
        publish(&mut state, &self.session, self.traffic);
        state.end = Some(Arc::clone(&cause));
        self.session.enqueue_all(&mut state.submitted);
        // Dropped with the lock released: it wakes whoever waits for the counters, or for a status.
        let asking = std::mem::take(&mut state.asking);
        let stop = std::mem::replace(&mut state.stop, Stop::No);
        drop(state);
        self.session.lose(&cause);
        self.asking.clear();
        drop((stop, asking));
    }
}

fn publish<X: Exchange>(state: &mut State<X>, session: &Session<X>, traffic: Traffic) {
    state.answered = session.answered();
    state.traffic = traffic;
}

impl Silence {
    fn new(allowed: Duration) -> Self {
        let mut checks = tokio::time::interval((allowed / SILENCE_CHECKS).max(CHECK_TIME_MIN));
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            checks,
            allowed,
            bytes_moved: 0,
            silent_checks: 0,
        }
    }

    fn check(&mut self, bytes_moved: u64, waiting: bool) -> Result<(), Loss> {
        let silent = waiting && bytes_moved == self.bytes_moved;
        self.silent_checks = if silent { self.silent_checks + 1 } else { 0 };
        self.bytes_moved = bytes_moved;
        if self.silent_checks > SILENCE_CHECKS {
            return Err(Loss::Silent(self.allowed));
        }
        Ok(())
    }
}

// Nothing in a pump is ever pinned in place.
impl<X: Exchange> Unpin for Pump<X> {}

impl<X: Exchange> Future for Pump<X> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.advance(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => self.finish(),
            Poll::Ready(Err(loss)) => self.lose(loss),
        }
        self.over = true;
        Poll::Ready(())
    }
}

impl<X: Exchange> Drop for Pump<X> {
    fn drop(&mut self) {
        if !self.over {
            self.lose(Loss::Dropped);
        }
    }
}
