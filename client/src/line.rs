//! The connections to one server, each made again when it is lost.
//!
//! A task of its own keeps each connection: it moves the bytes, and when the connection ends it greets the
//! server again, after a pause that doubles and is drawn, so that many clients do not come back at once.
//! What was on its way when a connection was lost stays lost: nothing is sent again from here.

use crate::connect::{ConnectOptions, Greeting, greet, random_id};
use crate::connection::{Connection, FinalCounts};
use crate::error::{ConnectError, ConnectionError, Loss};
use crate::exchange::Exchange;
use crate::pump::Pump;
use crate::routes::Routes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// Longest pause before the first attempt to make a lost connection again.
const PAUSE_TIME_MIN: Duration = Duration::from_millis(20);
/// Longest pause before any later one.
const PAUSE_TIME_MAX: Duration = Duration::from_secs(1);

/// Which server a line leads to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The server's number.
    pub(crate) server: u32,
    /// Where it was found first.
    pub(crate) seed: String,
    /// Where it is, as far as is known.
    pub(crate) address: String,
    pub(crate) options: ConnectOptions,
    pub(crate) routes: Arc<Routes>,
    /// Whether owners may change, so that a server that comes back may know another map.
    pub(crate) is_dynamic: bool,
}

/// The connections to one server; batches take turns.
#[derive(Debug)]
pub(crate) struct Line<X: Exchange> {
    slots: Vec<watch::Receiver<Slot<X>>>,
    turn: AtomicUsize,
}

/// Where one connection stands.
#[derive(Debug)]
enum Slot<X: Exchange> {
    Up(Arc<Connection<X>>),
    /// It is being made again.
    Down(Arc<ConnectionError>),
    /// The client was closed.
    Closed(Arc<ConnectionError>),
}

impl<X: Exchange + Send + 'static> Line<X> {
    /// A line of as many connections as there are `greetings`; where one is missing, it is still to be made.
    /// The keepers end when `closing` is true or its sender is gone.
    pub(crate) fn start(
        target: &Target,
        greetings: Vec<Option<Greeting>>,
        closing: &watch::Receiver<bool>,
    ) -> Self {
        let keep = |greeting| Keeper::start(target.clone(), greeting, closing.clone());
        Self {
            slots: greetings.into_iter().map(keep).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The connection whose turn it is, of those that stand; waits for one until `deadline`.
    pub(crate) async fn connection(
        &self,
        deadline: Instant,
    ) -> Result<Arc<Connection<X>>, Arc<ConnectionError>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if let Some(connection) = self.standing(turn) {
            return Ok(connection);
        }
        let mut slot = self.slots[turn % self.slots.len()].clone();
        let ready = |slot: &Slot<X>| slot.up().is_some() || matches!(slot, Slot::Closed(_));
        // Neither a time that is over nor a keeper that is gone tells more than the slot does.
        let _ = timeout_at(deadline, slot.wait_for(ready)).await;
        let slot = slot.borrow().clone();
        match slot {
            Slot::Up(connection) => connection.lost().map_or(Ok(connection), Err),
            Slot::Down(cause) | Slot::Closed(cause) => Err(cause),
        }
    }

    /// A connection that stands, from number `turn` on.
    pub(crate) fn standing(&self, turn: usize) -> Option<Arc<Connection<X>>> {
        let standing = |offset: usize| self.slots[(turn + offset) % self.slots.len()].borrow().up();
        (0..self.slots.len()).find_map(standing)
    }

    /// Closes each connection that stands, once everything submitted is answered.
    pub(crate) async fn close(&self) -> Result<FinalCounts, Arc<ConnectionError>> {
        let mut sum = FinalCounts::default();
        let mut first_error = None;
        for slot in &self.slots {
            let slot = slot.borrow().clone();
            let closed = match slot {
                Slot::Up(connection) => connection.close().await,
                Slot::Down(cause) | Slot::Closed(cause) => Err(cause),
            };
            match closed {
                Ok(counts) => sum += counts,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(sum), Err)
    }
}

impl<X: Exchange> Slot<X> {
    /// The connection, if it takes requests.
    fn up(&self) -> Option<Arc<Connection<X>>> {
        match self {
            Self::Up(connection) if connection.lost().is_none() => Some(Arc::clone(connection)),
            _ => None,
        }
    }
}

impl<X: Exchange> Clone for Slot<X> {
    fn clone(&self) -> Self {
        match self {
            Self::Up(connection) => Self::Up(Arc::clone(connection)),
            Self::Down(cause) => Self::Down(Arc::clone(cause)),
            Self::Closed(cause) => Self::Closed(Arc::clone(cause)),
        }
    }
}

/// Keeps one connection of a line.
struct Keeper<X: Exchange> {
    target: Target,
    slot: watch::Sender<Slot<X>>,
    closing: watch::Receiver<bool>,
}

impl<X: Exchange + Send + 'static> Keeper<X> {
    fn start(
        target: Target,
        greeting: Option<Greeting>,
        closing: watch::Receiver<bool>,
    ) -> watch::Receiver<Slot<X>> {
        let standing = greeting.map(|greeting| greeting.into_learning(Arc::clone(&target.routes)));
        let (slot, pump) = match standing {
            Some((connection, pump)) => (Slot::Up(Arc::new(connection)), Some(pump)),
            None => (Slot::Down(target.error(Loss::NotMade)), None),
        };
        let (sender, receiver) = watch::channel(slot);
        let keeper = Self {
            target,
            slot: sender,
            closing,
        };
        tokio::spawn(keeper.keep(pump));
        receiver
    }

    async fn keep(mut self, mut pump: Option<Pump<X>>) {
        loop {
            if let Some(pump) = pump.take()
                && !self.stand(pump).await
            {
                return;
            }
            let Some(greeting) = self.reach().await else {
                self.set_closed();
                return;
            };
            let routes = Arc::clone(&self.target.routes);
            let (connection, next) = greeting.into_learning(routes);
            self.slot.send_replace(Slot::Up(Arc::new(connection)));
            pump = Some(next);
        }
    }

    /// Moves bytes until the connection ends; whether it is to be made again.
    async fn stand(&mut self, mut pump: Pump<X>) -> bool {
        let is_abandoned = tokio::select! {
            () = &mut pump => None,
            closing = self.closing.wait_for(|closing| *closing) => Some(closing.is_err()),
        };
        match is_abandoned {
            None => return self.lost(),
            // The connection's handle goes with the slot: it closes behind what was submitted.
            Some(true) => {
                self.set_closed();
                pump.await;
            }
            Some(false) => {
                pump.await;
                self.set_closed();
            }
        }
        false
    }

    fn set_closed(&self) {
        let cause = self.target.error(Loss::ClosedHere);
        self.slot.send_replace(Slot::Closed(cause));
    }

    /// Takes note of why the connection has ended; whether it is to be made again.
    fn lost(&self) -> bool {
        let lost = match &*self.slot.borrow() {
            Slot::Up(connection) => connection.lost(),
            Slot::Down(cause) | Slot::Closed(cause) => Some(Arc::clone(cause)),
        };
        let cause = lost.unwrap_or_else(|| self.target.error(Loss::Dropped));
        let is_closed = matches!(cause.loss, Loss::ClosedHere);
        self.slot.send_replace(match is_closed {
            true => Slot::Closed(cause),
            false => Slot::Down(cause),
        });
        !is_closed
    }

    /// Greets the server until it answers as it should; `None` when the client is closed first.
    async fn reach(&mut self) -> Option<Greeting> {
        let mut pause_max = PAUSE_TIME_MIN;
        let mut attempts = 0;
        loop {
            self.target.follow(attempts);
            let target = &self.target;
            let attempt = async {
                sleep(pause_max.mul_f64(random_share())).await;
                let greeting = greet(&target.address, &target.options).await?;
                target.check(&greeting).map(|()| greeting)
            };
            let reached = tokio::select! {
                reached = attempt => reached,
                _ = self.closing.wait_for(|closing| *closing) => return None,
            };
            match reached {
                Ok(greeting) => return Some(greeting),
                Err(error) => {
                    let cause = self.target.error(Loss::NotBack(Arc::new(error)));
                    self.slot.send_replace(Slot::Down(cause));
                }
            }
            pause_max = (pause_max * 2).min(PAUSE_TIME_MAX);
            attempts += 1;
        }
    }
}

impl Target {
    fn error(&self, loss: Loss) -> Arc<ConnectionError> {
        let address = self.address.clone();
        Arc::new(ConnectionError { address, loss })
    }

    /// Goes to where the server is said to be now; where several places are said, to each in turn.
    fn follow(&mut self, attempts: usize) {
        let mut addresses = self.routes.addresses(self.server);
        if !addresses.contains(&self.seed) {
            addresses.push(self.seed.clone());
        }
        let turn = attempts % addresses.len();
        self.address = addresses.swap_remove(turn);
    }

    /// Whether the server that answered is the one that was meant.
    fn check(&self, greeting: &Greeting) -> Result<(), ConnectError> {
        let (hello, map) = (greeting.hello(), greeting.map());
        let known = self.routes.live().snapshot();
        let fits = match self.is_dynamic {
            true => map.partitions().len() == known.partitions().len(),
            false => hello.map_fingerprint == known.fingerprint(),
        };
        if hello.server_index == self.server && fits {
            self.routes.hear(map.partitions());
            return Ok(());
        }
        Err(ConnectError::Another {
            address: self.address.clone(),
            meant: self.server,
            found: hello.server_index,
        })
    }
}

/// A number from 0 to 1 that differs from client to client and from time to time.
pub(crate) fn random_share() -> f64 {
    let [byte, ..] = random_id();
    f64::from(byte) / f64::from(u8::MAX)
}
