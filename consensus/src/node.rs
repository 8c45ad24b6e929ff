//! A node: one thread that runs all groups of a server.

use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::config::Config;
use crate::error::StartError;
use crate::group::{GroupHandle, Start};
use crate::host::Host;
use crate::machine::StateMachine;
use crate::task;
use crate::transport::Transport;

/// Something to be done on the consensus thread.
type Errand = Box<dyn FnOnce(Rc<Host>) -> LocalBoxFuture<'static, ()> + Send>;

/// A node and its thread. Dropping it ends the thread as a killed process ends: nobody is told.
pub struct Node {
    id: u64,
    errands: Option<mpsc::UnboundedSender<Errand>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts the thread of node `id`. `transport` makes the node's transport on that thread. `seed` decides
    /// election timeouts; it should differ between nodes and starts.
    ///
    /// A node that kept nothing must never start again under an id that it had: the crate root says why.
    pub fn start<T>(id: u64, seed: u64, transport: T) -> Result<Self, StartError>
    where
        T: FnOnce() -> io::Result<Rc<dyn Transport>> + Send + 'static,
    {
        let (errands, orders) = mpsc::unbounded_channel();
        let (ready, readied) = std::sync::mpsc::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name(format!("consensus-{id}"))
            .spawn(move || {
                let run = async move {
                    match transport() {
                        Ok(transport) => {
                            let _starter_waits = ready.send(Ok(()));
                            serve(Host::new(id, transport), orders).await;
                        }
                        Err(error) => drop(ready.send(Err(error))),
                    }
                };
                LocalSet::new().block_on(&runtime, task::seeded(seed, run));
            })?;
        readied.recv().map_err(|_| StartError::Stopped)??;
        Ok(Self {
            id,
            errands: Some(errands),
            thread: Some(thread),
        })
    }

    /// The node's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Starts a group on this node, empty: it is founded by [`GroupHandle::bootstrap`] on one node, and told
    /// of by its leader on every other. `machine` is made on the consensus thread.
    pub async fn start_group<S, M>(
        &self,
        group: u32,
        config: Config,
        machine: M,
    ) -> Result<GroupHandle<S>, StartError>
    where
        S: StateMachine,
        M: FnOnce() -> S + Send + 'static,
    {
        let (reply, started) = oneshot::channel();
        self.order(move |host| {
            async move {
                let start = Start {
                    node: host.node(),
                    group,
                    config,
                    machine: machine(),
                    #[cfg(test)]
                    mutants: Default::default(),
                };
                let _starter_left = reply.send(host.start(start).await);
            }
            .boxed_local()
        })?;
        started.await.map_err(|_| StartError::Stopped)?
    }

    /// Stops a group on this node and forgets what it held. It must have left the group's members, or they
    /// will wait for it.
    pub async fn stop_group(&self, group: u32) -> Result<(), StartError> {
        let (reply, stopped) = oneshot::channel();
        self.order(move |host| {
            async move {
                host.stop_group(group).await;
                let _caller_left = reply.send(());
            }
            .boxed_local()
        })?;
        stopped.await.map_err(|_| StartError::Stopped)
    }

    /// Tells the transport where a node is reached. Members of groups are known from the groups' entries.
    pub fn learn(&self, node: u64, address: &str) -> Result<(), StartError> {
        let address = address.to_owned();
        self.order(move |host| async move { host.learn(node, &address) }.boxed_local())
    }

    /// Tells a node something that belongs to no group. It may be lost, and is not answered.
    pub fn tell(&self, to: u64, note: Bytes) -> Result<(), StartError> {
        self.order(move |host| async move { host.tell(to, note) }.boxed_local())
    }

    /// What other nodes [tell](Self::tell) this one from now on, with their ids. What `notes` has no room for is
    /// lost.
    pub fn take_notes(&self, notes: mpsc::Sender<(u64, Bytes)>) -> Result<(), StartError> {
        self.order(move |host| async move { host.take_notes(notes) }.boxed_local())
    }

    /// Stops all groups and ends the thread. Hand leaderships over first.
    pub async fn stop(mut self) {
        let (reply, stopped) = oneshot::channel();
        let ordered = self.order(move |host| {
            async move {
                host.stop().await;
                let _caller_left = reply.send(());
            }
            .boxed_local()
        });
        if ordered.is_ok() {
            let _thread_ended = stopped.await;
        }
        self.end();
    }

    fn order<F>(&self, errand: F) -> Result<(), StartError>
    where
        F: FnOnce(Rc<Host>) -> LocalBoxFuture<'static, ()> + Send + 'static,
    {
        let errands = self.errands.as_ref().ok_or(StartError::Stopped)?;
        errands
            .send(Box::new(errand))
            .map_err(|_| StartError::Stopped)
    }

    fn end(&mut self) {
        self.errands = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "node {}", self.id)
    }
}

/// Does errands, several at a time, until the node is dropped.
async fn serve(host: Rc<Host>, mut orders: mpsc::UnboundedReceiver<Errand>) {
    while let Some(errand) = orders.recv().await {
        task::spawn(errand(Rc::clone(&host)));
    }
}
