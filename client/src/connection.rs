//! The handle of one connection: requests go in here and are moved by its [`Pump`](crate::pump::Pump).

use crate::error::{ConnectionError, Loss};
use crate::exchange::{Exchange, Lost};
use batchkv_protocol::control::FEATURE_STATUS;
use batchkv_protocol::{Counters, PartitionMap, References, ServerHello, Status};
use std::collections::VecDeque;
use std::fmt;
use std::ops::{AddAssign, Sub};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use tokio::sync::oneshot;

/// A connection to one server, made by [`open`](crate::connect::open).
///
/// Requests are sent in the order of submission, at most
/// [`REQUESTS_UNANSWERED_MAX`](batchkv_protocol::limits::REQUESTS_UNANSWERED_MAX) unanswered at a
/// time; later ones wait in a queue without a bound of its own, so a caller keeps its own window.
/// Dropping the handle lets what was submitted finish, then closes the connection.
pub struct Connection<X: Exchange> {
    shared: Arc<Shared<X>>,
}

/// Bytes that a connection has moved, both hellos included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Handed to the socket.
    pub bytes_sent: u64,
    /// Read from it.
    pub bytes_received: u64,
    /// Answers that came as references, and what was not received because of it.
    pub references: References,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.references += other.references;
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
            bytes_received: self.bytes_received - earlier.bytes_received,
            references: self.references - earlier.references,
        }
    }
}

/// Both sides' counts of one connection over its whole life; equal, unless one side miscounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FinalCounts {
    /// What the server says that it served.
    pub served: Counters,
    /// The answers that this client took.
    pub answered: Counters,
}

impl AddAssign for FinalCounts {
    fn add_assign(&mut self, other: Self) {
        self.served += other.served;
        self.answered += other.answered;
    }
}

/// What handle and pump share. The lock is held for a few moves a request, never while an exchange
/// is called.
pub(crate) struct Shared<X> {
    pub(crate) address: String,
    pub(crate) hello: ServerHello,
    map: PartitionMap,
    state: Mutex<State<X>>,
}

pub(crate) struct State<X> {
    pub(crate) submitted: VecDeque<X>,
    /// Who waits for a status that is not asked for yet.
    pub(crate) asking: Vec<oneshot::Sender<Status>>,
    /// Wakes the pump; taken by whoever wakes it.
    pub(crate) pump: Option<Waker>,
    pub(crate) stop: Stop,
    /// Set when nothing is taken any more.
    pub(crate) end: Option<Arc<ConnectionError>>,
    pub(crate) traffic: Traffic,
    pub(crate) answered: Counters,
}

/// What the handle wants to happen once everything submitted is answered.
pub(crate) enum Stop {
    /// Go on.
    No,
    /// Close: the handle was dropped.
    Quietly,
    /// Ask for the counters, hand them to who waits, close.
    Counted(oneshot::Sender<FinalCounts>),
}

impl<X> Shared<X> {
    pub(crate) fn new(
        address: String,
        hello: ServerHello,
        map: PartitionMap,
        traffic: Traffic,
    ) -> Self {
        let state = State {
            submitted: VecDeque::new(),
            asking: Vec::new(),
            pump: None,
            stop: Stop::No,
            end: None,
            traffic,
            answered: Counters::default(),
        };
        Self {
            address,
            hello,
            map,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<X>> {
        self.state
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    pub(crate) fn error(&self, loss: Loss) -> Arc<ConnectionError> {
        let address = self.address.clone();
        Arc::new(ConnectionError { address, loss })
    }
}

impl<X: Exchange> Connection<X> {
    pub(crate) fn new(shared: Arc<Shared<X>>) -> Self {
        Self { shared }
    }

    /// Hands a request over for sending. It is told [`ended`](Exchange::ended) exactly once; at once
    /// and as not sent when the connection is closed or lost.
    ///
    /// # Panics
    /// When the number of its operations is not allowed, which is a fault of the program.
    pub fn submit(&self, exchange: X) {
        crate::session::check_operations(exchange.operations());
        let mut state = self.shared.state();
        if let Some(cause) = state.end.clone() {
            drop(state);
            exchange.ended(Err(Lost {
                sent: 0,
                answered: 0,
                cause,
            }));
            return;
        }
        state.submitted.push_back(exchange);
        wake_pump(state);
    }

    /// Closes the connection once everything submitted before is answered, and gives both sides'
    /// counts. What is submitted later is not sent.
    ///
    /// # Errors
    /// When the connection was lost before, or is closed already.
    pub async fn close(&self) -> Result<FinalCounts, Arc<ConnectionError>> {
        let (sender, receiver) = oneshot::channel();
        self.stop(Stop::Counted(sender))?;
        receiver.await.map_err(|_| self.end_cause())
    }

    /// What the server says of itself, between the answers to what was submitted; `None` when it does not answer
    /// such a question, or [was not asked](crate::connect::ConnectOptions::status) whether it does.
    ///
    /// # Errors
    /// When the connection is lost or closed before the answer has come.
    pub async fn status(&self) -> Result<Option<Status>, Arc<ConnectionError>> {
        if self.shared.hello.features & FEATURE_STATUS == 0 {
            return Ok(None);
        }
        let (sender, receiver) = oneshot::channel();
        self.ask_status(sender)?;
        receiver.await.map(Some).map_err(|_| self.end_cause())
    }

    fn ask_status(&self, sender: oneshot::Sender<Status>) -> Result<(), Arc<ConnectionError>> {
        let mut state = self.shared.state();
        if let Some(cause) = &state.end {
            return Err(Arc::clone(cause));
        }
        state.asking.push(sender);
        wake_pump(state);
        Ok(())
    }

    fn stop(&self, stop: Stop) -> Result<(), Arc<ConnectionError>> {
        let mut state = self.shared.state();
        if let Some(cause) = &state.end {
            return Err(Arc::clone(cause));
        }
        state.stop = stop;
        state.end = Some(self.shared.error(Loss::ClosedHere));
        wake_pump(state);
        Ok(())
    }

    /// Why nothing is taken any more.
    fn end_cause(&self) -> Arc<ConnectionError> {
        let end = self.shared.state().end.clone();
        end.unwrap_or_else(|| self.shared.error(Loss::Dropped))
    }

    /// The server, as the caller named it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// What the server said of itself.
    #[must_use]
    pub fn hello(&self) -> &ServerHello {
        &self.shared.hello
    }

    /// The server's partition map.
    #[must_use]
    pub fn map(&self) -> &PartitionMap {
        &self.shared.map
    }

    /// Bytes moved so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.state().traffic
    }

    /// Operations answered so far, counted as the server counts them.
    #[must_use]
    pub fn answered(&self) -> Counters {
        self.shared.state().answered
    }

    /// Why the connection takes nothing any more, or `None` while it does.
    #[must_use]
    pub fn lost(&self) -> Option<Arc<ConnectionError>> {
        self.shared.state().end.clone()
    }
}

/// Wakes the pump with the lock released.
fn wake_pump<X>(mut state: MutexGuard<'_, State<X>>) {
    let pump = state.pump.take();
    drop(state);
    if let Some(pump) = pump {
        pump.wake();
    }
}

impl<X: Exchange> Drop for Connection<X> {
    fn drop(&mut self) {
        // An error says that the connection is over already.
        let _ = self.stop(Stop::Quietly);
    }
}

impl<X: Exchange> fmt::Debug for Connection<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.shared.address)
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}
