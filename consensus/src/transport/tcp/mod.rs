//! The transport between servers: one TCP connection a pair of nodes, for all groups.
//!
//! A node dials when it has something to say to a node that it has no connection with, whoever of the two
//! that is; it writes to the newest connection with a peer and reads from all (two meet only where both
//! dialed at once). What waits for a peer waits in bounded lanes (`frames`); it is forgotten when the
//! peer cannot be reached, or takes nothing for `STALL_MAX`: whoever asked asks again.

mod frames;
mod hello;
mod link;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::AsyncRuntime;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::{Deliver, Lane, Transport, Unsent};
use crate::task::{self, Backoff};
use crate::types::Runtime;

use frames::Outbox;
use link::Link;

/// Within which a connection is made and both have said who they are.
const HELLO_PATIENCE: Duration = Duration::from_secs(2);
/// Within which a peer must take some of what waits for it, and complete a frame that it began.
const STALL_MAX: Duration = Duration::from_secs(5);
/// Most connections that have not said yet who they are.
const STRANGERS_MAX: usize = 64;
/// What a socket may keep of bytes to send, and of those that the network cannot take yet: what waits
/// there can be overtaken by no beat.
const SOCKET_SEND_BYTES: usize = 256 << 10;
const SOCKET_UNSENT_BYTES: u32 = 16 << 10;

/// A connection that ended, or never began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The node at its other end; `None` if it never said so.
    pub peer: Option<u64>,
    /// Its address, as text.
    pub address: String,
    /// Why it ended.
    pub reason: String,
}

/// Told of every connection that ends. Called on the consensus thread: must not wait.
pub type OnClosed = Arc<dyn Fn(Closed) + Send + Sync>;

/// Who a node is to its peers.
#[derive(Clone)]
pub struct TcpConfig {
    /// The cluster's id: nodes of others are refused.
    pub cluster: u128,
    /// The node's id.
    pub node: u64,
    /// Told of connections that end.
    pub on_closed: OnClosed,
}

/// The TCP transport of one node.
pub struct TcpTransport(Rc<Hub>);

/// What all connections of a node share.
struct Hub {
    config: TcpConfig,
    deliver: RefCell<Option<Deliver>>,
    peers: RefCell<BTreeMap<u64, Rc<Peer>>>,
    strangers: Cell<usize>,
    random: RefCell<Xoshiro256PlusPlus>,
    closed: Cell<bool>,
    closing: Notify,
}

/// A node that this one speaks with.
struct Peer {
    id: u64,
    address: RefCell<Option<Arc<str>>>,
    outbox: RefCell<Outbox>,
    /// Told when the outbox has something, and when `newest` changes.
    wake: Notify,
    /// The connection to write to.
    newest: RefCell<Option<Rc<Link>>>,
    dialing: Cell<bool>,
    /// No new attempt before this moment.
    down_until: Cell<Option<Instant>>,
    backoff: Backoff,
}

impl TcpTransport {
    /// Listens on a socket that was bound elsewhere; returns the transport, for the thread that it is made on.
    pub fn listen(config: TcpConfig, listener: TcpListener) -> io::Result<Rc<dyn Transport>> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let hub = Rc::new(Hub {
            config,
            deliver: RefCell::default(),
            peers: RefCell::default(),
            strangers: Cell::new(0),
            random: RefCell::new(Xoshiro256PlusPlus::from_rng(&mut Runtime::thread_rng())),
            closed: Cell::new(false),
            closing: Notify::new(),
        });
        task::spawn(accept(Rc::clone(&hub), listener));
        Ok(Rc::new(Self(hub)))
    }
}

impl Transport for TcpTransport {
    fn attach(&self, deliver: Deliver) {
        self.0.deliver.replace(Some(deliver));
    }

    fn learn(&self, node: u64, address: &str) {
        let peer = self.0.peer(node);
        if peer.address.borrow().as_deref() != Some(address) {
            peer.address.replace(Some(address.into()));
            peer.down_until.set(None);
        }
    }

    fn send(&self, to: u64, lane: Lane, message: Bytes) -> Result<(), Unsent> {
        if self.0.closed.get() {
            return Err(Unsent);
        }
        let peer = self.0.peer(to);
        if peer.newest.borrow().is_none() && !peer.dialing.get() {
            self.0.dial(&peer)?;
        }
        peer.outbox.borrow_mut().push(lane, message)?;
        peer.wake.notify_waiters();
        Ok(())
    }

    fn close(&self) {
        self.0.closed.set(true);
        self.0.peers.borrow_mut().clear();
        self.0.deliver.replace(None);
        self.0.closing.notify_waiters();
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.close();
    }
}

impl Hub {
    fn peer(&self, id: u64) -> Rc<Peer> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.entry(id).or_insert_with(|| {
            Rc::new(Peer {
                id,
                address: RefCell::default(),
                outbox: RefCell::default(),
                wake: Notify::new(),
                newest: RefCell::default(),
                dialing: Cell::new(false),
                down_until: Cell::new(None),
                backoff: Backoff::new(Duration::from_millis(20), Duration::from_millis(300)),
            })
        });
        Rc::clone(peer)
    }

    /// Starts to dial a peer, unless its address is unknown or it could not be reached a moment ago.
    fn dial(self: &Rc<Self>, peer: &Rc<Peer>) -> Result<(), Unsent> {
        let address = peer.address.borrow().clone().ok_or(Unsent)?;
        let down = peer.down_until.get();
        if down.is_some_and(|moment| moment > Instant::now()) {
            return Err(Unsent);
        }
        peer.dialing.set(true);
        let (hub, peer) = (Rc::clone(self), Rc::clone(peer));
        task::spawn(async move {
            let met = timeout(HELLO_PATIENCE, link::dial(&hub.config, peer.id, &address)).await;
            peer.dialing.set(false);
            match met {
                Ok(Ok(stream)) => hub.run(peer, stream, address.to_string()).await,
                Ok(Err(reason)) => hub.unreachable(&peer, &address, reason.to_string()),
                Err(_) => hub.unreachable(&peer, &address, "it does not answer".to_owned()),
            }
        });
        Ok(())
    }

    fn unreachable(&self, peer: &Peer, address: &str, reason: String) {
        peer.down_until
            .set(Some(Instant::now() + peer.backoff.step()));
        if peer.newest.borrow().is_none() {
            peer.outbox.borrow_mut().clear();
        }
        self.report(Some(peer.id), address.to_owned(), reason);
    }

    fn report(&self, peer: Option<u64>, address: String, reason: String) {
        (self.config.on_closed)(Closed {
            peer,
            address,
            reason,
        });
    }

    /// Serves a connection whose ends know each other, until it ends.
    async fn run(self: Rc<Self>, peer: Rc<Peer>, stream: TcpStream, address: String) {
        if self.closed.get() {
            return;
        }
        peer.backoff.reset();
        let link = Rc::new(Link::new(stream));
        peer.newest.replace(Some(Rc::clone(&link)));
        peer.outbox.borrow_mut().restart();
        peer.wake.notify_waiters();
        let reason = tokio::select! {
            biased;
            () = self.closing.notified() => return,
            reason = link.read(self.config.node, |message| self.arrived(peer.id, message)) => reason,
            reason = link.write(&peer) => reason,
        };
        let newest = peer
            .newest
            .borrow()
            .as_ref()
            .is_some_and(|it| Rc::ptr_eq(it, &link));
        if newest {
            peer.newest.replace(None);
            peer.outbox.borrow_mut().clear();
        }
        self.report(Some(peer.id), address, reason);
    }

    fn arrived(&self, from: u64, message: Bytes) -> Result<(), String> {
        let deliver = self.deliver.borrow().as_ref().map(Rc::clone);
        deliver.map_or(Ok(()), |deliver| {
            deliver(from, message).map_err(|malformed| malformed.to_string())
        })
    }

    /// Serves a connection that somebody else made.
    async fn receive(self: Rc<Self>, stream: TcpStream, address: SocketAddr) {
        self.strangers.set(self.strangers.get() + 1);
        let nonce = self.random.borrow_mut().next_u64();
        let met = timeout(HELLO_PATIENCE, link::receive(&self.config, stream, nonce)).await;
        self.strangers.set(self.strangers.get() - 1);
        match met {
            Ok(Ok((from, stream))) => {
                let peer = self.peer(from);
                self.run(peer, stream, address.to_string()).await;
            }
            Ok(Err(reason)) => self.report(None, address.to_string(), reason.to_string()),
            Err(_) => self.report(None, address.to_string(), "it says no hello".to_owned()),
        }
    }
}

/// Takes connections until the transport is closed.
async fn accept(hub: Rc<Hub>, listener: tokio::net::TcpListener) {
    while !hub.closed.get() {
        let accepted = tokio::select! {
            biased;
            () = hub.closing.notified() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) if hub.strangers.get() < STRANGERS_MAX => {
                task::spawn(Rc::clone(&hub).receive(stream, address));
            }
            Ok((_, address)) => {
                hub.report(None, address.to_string(), "too many strangers".to_owned());
            }
            // Out of files, most likely: others end meanwhile.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}
