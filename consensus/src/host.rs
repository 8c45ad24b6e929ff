//! The groups of one node, on the thread that runs them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::mpsc;

use crate::calls::{Calls, Note};
use crate::error::StartError;
use crate::group::{self, GroupHandle, Running, Start};
use crate::machine::StateMachine;
use crate::transport::Transport;

/// All groups of one node; lives in a `LocalSet`, within [`crate::task::seeded`].
pub(crate) struct Host {
    node: u64,
    calls: Rc<Calls>,
    /// `None` while a group starts.
    groups: RefCell<BTreeMap<u32, Option<Box<dyn Stop>>>>,
}

/// A group of any state machine, to be stopped.
trait Stop {
    fn stop(self: Box<Self>) -> LocalBoxFuture<'static, ()>;
}

impl<S: StateMachine> Stop for Running<S> {
    fn stop(self: Box<Self>) -> LocalBoxFuture<'static, ()> {
        Running::stop(*self).boxed_local()
    }
}

impl Host {
    pub(crate) fn new(node: u64, transport: Rc<dyn Transport>) -> Rc<Self> {
        Rc::new(Self {
            node,
            calls: Calls::new(transport),
            groups: RefCell::default(),
        })
    }

    pub(crate) fn node(&self) -> u64 {
        self.node
    }

    pub(crate) fn learn(&self, node: u64, address: &str) {
        self.calls.learn(node, address);
    }

    pub(crate) fn tell(&self, to: u64, note: Bytes) {
        self.calls.tell(to, note);
    }

    pub(crate) fn take_notes(&self, notes: mpsc::Sender<Note>) {
        self.calls.take_notes(notes);
    }

    pub(crate) async fn start<S: StateMachine>(
        &self,
        start: Start<S>,
    ) -> Result<GroupHandle<S>, StartError> {
        let id = start.group;
        if self.groups.borrow().contains_key(&id) {
            return Err(StartError::GroupExists(id));
        }
        self.groups.borrow_mut().insert(id, None);
        let (handle, ends) = group::channels(self.node, id);
        match group::start(&self.calls, start, ends).await {
            Ok(running) => {
                self.groups.borrow_mut().insert(id, Some(Box::new(running)));
                Ok(handle)
            }
            Err(error) => {
                self.groups.borrow_mut().remove(&id);
                Err(error)
            }
        }
    }

    /// Stops one group and forgets all that it held.
    pub(crate) async fn stop_group(&self, group: u32) {
        let running = self.groups.borrow_mut().remove(&group);
        if let Some(Some(running)) = running {
            running.stop().await;
        }
    }

    /// Stops all groups and closes the transport.
    pub(crate) async fn stop(&self) {
        self.calls.close();
        let groups = self.groups.take();
        for running in groups.into_values().flatten() {
            running.stop().await;
        }
    }
}
