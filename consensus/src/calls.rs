//! Requests and their replies over a transport that promises nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::task;
use crate::transport::{Lane, Transport, Unsent};
use crate::wire::{self, Body, Envelope, Malformed, Refused, Reply, Request};

/// Who told something, and what.
pub(crate) type Note = (u64, Bytes);

/// Serves the requests that members of a group send to this one.
pub(crate) trait Door {
    fn serve(self: Rc<Self>, from: u64, request: Request) -> LocalBoxFuture<'static, Reply>;
}

/// Why a request has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Unsent(#[from] Unsent),
    #[error("no reply within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Refused(Refused),
    #[error("a reply of another kind")]
    Strange,
}

/// Requests under way from this node, and the groups that serve those of others.
pub(crate) struct Calls {
    transport: Rc<dyn Transport>,
    last_call: Cell<u64>,
    /// By number: who must answer, and who waits for it.
    waiting: RefCell<HashMap<u64, (u64, oneshot::Sender<Reply>)>>,
    doors: RefCell<HashMap<u32, Rc<dyn Door>>>,
    notes: RefCell<Option<mpsc::Sender<Note>>>,
}

impl Calls {
    pub(crate) fn new(transport: Rc<dyn Transport>) -> Rc<Self> {
        let calls = Rc::new(Self {
            transport,
            last_call: Cell::new(0),
            waiting: RefCell::default(),
            doors: RefCell::default(),
            notes: RefCell::default(),
        });
        let weak = Rc::downgrade(&calls);
        calls.transport.attach(Rc::new(move |from, message| {
            weak.upgrade()
                .map_or(Ok(()), |calls| calls.deliver(from, message))
        }));
        calls
    }

    pub(crate) fn learn(&self, node: u64, address: &str) {
        self.transport.learn(node, address);
    }

    pub(crate) fn open(&self, group: u32, door: Rc<dyn Door>) {
        self.doors.borrow_mut().insert(group, door);
    }

    pub(crate) fn shut(&self, group: u32) {
        self.doors.borrow_mut().remove(&group);
    }

    pub(crate) fn close(&self) {
        self.doors.borrow_mut().clear();
        self.waiting.borrow_mut().clear();
        self.notes.replace(None);
        self.transport.close();
    }

    /// A number that no other call or transfer of this node has.
    pub(crate) fn number(&self) -> u64 {
        self.last_call.set(self.last_call.get() + 1);
        self.last_call.get()
    }

    /// Asks `to`, and waits for the reply up to `patience`.
    pub(crate) async fn call(
        &self,
        to: u64,
        lane: Lane,
        group: u32,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, CallError> {
        let call = self.number();
        let (reply, replied) = oneshot::channel();
        let message = wire::write(Envelope { group, call }, &Body::Request(request));
        self.waiting.borrow_mut().insert(call, (to, reply));
        let _forgotten = Forget { calls: self, call };
        self.transport.send(to, lane, message)?;
        match tokio::time::timeout(patience, replied).await {
            Ok(Ok(Reply::Refused(refused))) => Err(CallError::Refused(refused)),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_closed)) => Err(CallError::Unsent(Unsent)),
            Err(_elapsed) => Err(CallError::Late(patience)),
        }
    }

    fn deliver(self: &Rc<Self>, from: u64, message: Bytes) -> Result<(), Malformed> {
        let (envelope, body) = wire::read(message)?;
        match body {
            Body::Request(request) => self.serve(from, envelope, request),
            Body::Reply(reply) => self.replied(from, envelope, reply),
            Body::Note(bytes) => self.noted(from, bytes),
        }
        Ok(())
    }

    /// Tells a node something beside all groups.
    pub(crate) fn tell(&self, to: u64, note: Bytes) {
        let message = wire::write(Envelope { group: 0, call: 0 }, &Body::Note(note));
        let _lost = self.transport.send(to, Lane::Urgent, message);
    }

    /// Whom notes go to from now on.
    pub(crate) fn take_notes(&self, notes: mpsc::Sender<Note>) {
        self.notes.replace(Some(notes));
    }

    /// What its receiver has no room for is lost.
    fn noted(&self, from: u64, bytes: Bytes) {
        if let Some(notes) = &*self.notes.borrow() {
            let _lost = notes.try_send((from, bytes));
        }
    }

    /// Takes a reply to a call that still waits and was made to the node that replies.
    fn replied(&self, from: u64, envelope: Envelope, reply: Reply) {
        let mut waiting = self.waiting.borrow_mut();
        let asked = waiting.get(&envelope.call).map(|(asked, _)| *asked);
        if asked == Some(from)
            && let Some((_, waiter)) = waiting.remove(&envelope.call)
        {
            let _gave_up = waiter.send(reply);
        }
    }

    fn serve(self: &Rc<Self>, from: u64, envelope: Envelope, request: Request) {
        let door = self.doors.borrow().get(&envelope.group).map(Rc::clone);
        let Some(door) = door else {
            self.answer(from, envelope, Reply::Refused(Refused::NoGroup));
            return;
        };
        let calls = Rc::clone(self);
        task::spawn(async move {
            let reply = door.serve(from, request).await;
            calls.answer(from, envelope, reply);
        });
    }

    /// A reply that cannot be sent is lost: whoever waits asks again.
    fn answer(&self, to: u64, envelope: Envelope, reply: Reply) {
        let message = wire::write(envelope, &Body::Reply(reply));
        let _lost = self.transport.send(to, Lane::Urgent, message);
    }
}

/// Forgets a call when its caller leaves.
struct Forget<'a> {
    calls: &'a Calls,
    call: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.calls.waiting.borrow_mut().remove(&self.call);
    }
}
