//! A server as a member of its cluster: what ties directory, groups, placement and gossip together.
//!
//! ```text
//!  the directory ----> what should be  --.
//!  gossip -----------> what others lead --+--> duties: start, found, stop a group; the next step of one that is
//!  groups here ------> what is          --'            led here; a change of the directory, by its leader
//!                           |
//!                           '----> owners: who leads what, for the server's map and its clients
//! ```
//!
//! [`duties`] decides, and is a pure function; [`view`] remembers what was heard; [`Node`] has the clock, the
//! threads and the connections.

pub mod duties;
mod entry;
mod groups;
mod join;
mod run;
mod status;
pub mod view;

pub use self::groups::{Groups, Running};

use self::duties::Picture;
use self::entry::{Introduced, found, introduce, join_at, start_consensus};
use self::run::Loop;
use self::view::View;
use crate::directory::{Directory, Refusal};
use crate::gossip::Load;
use crate::host::{DirectoryMachine, Parked, Slots, Workers};
use crate::map;
use batchkv_consensus::{Config, GroupHandle, Node as Consensus};
use batchkv_protocol::map::Ownership;
use batchkv_protocol::operator::{ClusterStatus, OperatorAnswer, OperatorRequest};
use batchkv_protocol::{JoinAnswer, JoinRequest, PartitionMap, ServerAddress};
use batchkv_store::Movable;
use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The directory's group; partitions' groups have their own numbers.
const DIRECTORY_GROUP: u32 = u32::MAX;
/// Notes of other servers that wait to be read.
const NOTES_MAX: usize = 256;
/// How long a hand-over may take in all.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(3);

/// What a server is told before it is a member.
pub struct Settings {
    /// Where clients reach it, `host:port`.
    pub address: String,
    /// Where its peers reach it.
    pub peers: TcpListener,
    /// The same number for servers that fail together.
    pub machine: u64,
    /// How it becomes a member.
    pub entry: Entry,
    /// How long a server is silent before its replicas are replaced.
    pub dead_after: Duration,
    /// Threads that apply entries.
    pub workers: usize,
    /// Told what whoever runs the server should know.
    pub notice: Arc<dyn Fn(String) + Send + Sync>,
}

/// How a server becomes a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It founds a cluster.
    Bootstrap {
        /// Into how many partitions keys are split, for the cluster's life: a power of two.
        partitions: u32,
        /// Wanted replicas of each.
        replicas: u32,
    },
    /// It joins one.
    Join {
        /// Where members are reached by clients, `host:port`; any will do.
        seeds: Vec<String>,
    },
}

/// Why a server did not become a member.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Whoever was asked will never take it in.
    #[error("{seed} does not take this server in: {reason}")]
    Refused {
        /// Who was asked.
        seed: String,
        /// What it said.
        reason: String,
    },
    /// The directory refused its own bootstrap.
    #[error("the cluster cannot be founded: {0}")]
    Founding(Refusal),
    /// Consensus did not start.
    #[error(transparent)]
    Consensus(#[from] batchkv_consensus::StartError),
    /// The group of the directory went wrong.
    #[error("the directory: {0}")]
    Directory(String),
    /// The system refused a socket or a thread.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Told who owns what. Calls must not wait.
pub trait Owners: Send + Sync {
    /// Who leads partitions, as far as it is known; nothing is changed by an epoch that is not higher.
    fn offer(&self, heard: &[(u32, Ownership)]);
    /// The servers of the cluster, which have changed.
    fn servers(&self, servers: Vec<ServerAddress>);
}

/// A member of a cluster. `P` is what waits beside a proposal, see [`Parked`].
pub struct Node<E: Movable, P: Parked> {
    shared: Arc<Shared<E, P>>,
    running: JoinHandle<()>,
}

/// What the node's loop and all others that hold the node share.
struct Shared<E: Movable, P: Parked> {
    id: u64,
    peer_address: String,
    consensus: Consensus,
    directory_group: GroupHandle<DirectoryMachine>,
    directory: watch::Receiver<Arc<Directory>>,
    engine: Arc<E>,
    slots: Arc<Slots>,
    workers: Arc<Workers>,
    groups: Arc<Groups<E, P>>,
    view: Mutex<View>,
    /// What times in the view count from.
    began: Instant,
    load: Mutex<Load>,
    owners: OnceLock<Arc<dyn Owners>>,
    dead_after: Duration,
    notice: Arc<dyn Fn(String) + Send + Sync>,
    is_leaving: AtomicBool,
    /// Told when something is worth a look at once.
    kick: Notify,
    is_ready: watch::Sender<bool>,
    failure: watch::Sender<Option<String>>,
}

impl<E: Movable, P: Parked> Shared<E, P> {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.borrow())
    }

    /// Looks at everything from outside the loop.
    fn look<T>(&self, look: impl FnOnce(&Picture<'_>) -> T) -> T {
        let (directory, statuses) = (self.directory(), self.groups.statuses());
        let directory_group = self.directory_group.status();
        look(&Picture {
            me: self.id,
            directory: &directory,
            view: &self.view(),
            now: self.began.elapsed(),
            dead_after: self.dead_after,
            groups: &statuses,
            directory_group: &directory_group,
            founded: &BTreeSet::new(),
        })
    }
}

impl<E: Movable, P: Parked> Node<E, P> {
    /// Becomes a member, which takes as long as it takes; then does its duties as a task of the present runtime.
    /// `engine` makes the store, for as many partitions as it is told; nobody else may write to it.
    ///
    /// # Errors
    /// When it will never be a member.
    pub async fn start(
        settings: Settings,
        engine: impl FnOnce(u32) -> E,
    ) -> Result<Self, StartError> {
        let introduced = introduce(&settings).await?;
        let consensus = start_consensus(&introduced, settings.peers, &settings.notice)?;
        let (notes_sender, notes) = mpsc::channel(NOTES_MAX);
        consensus.take_notes(notes_sender)?;
        let (machine, mut directory) = DirectoryMachine::new();
        let directory_group = consensus
            .start_group(DIRECTORY_GROUP, Config::default(), move || machine)
            .await?;
        if let Entry::Bootstrap {
            partitions,
            replicas,
        } = settings.entry
        {
            found(&directory_group, &introduced, partitions, replicas).await?;
        }
        let Introduced { arrival, id, .. } = introduced;
        let known = directory.wait_for(|directory| directory.server(id).is_some());
        let stopped = |_| StartError::Directory("its group has stopped".to_owned());
        let partitions = known.await.map_err(stopped)?.partitions().len();
        let slots = Arc::new(Slots::new(partitions as u32));
        let shared = Arc::new(Shared {
            id,
            peer_address: arrival.peer_address,
            consensus,
            directory_group,
            directory,
            engine: Arc::new(engine(slots.engine_partitions())),
            slots,
            workers: Arc::new(Workers::start(settings.workers)?),
            groups: Arc::new(Groups::new(partitions)),
            view: Mutex::default(),
            began: Instant::now(),
            load: Mutex::default(),
            owners: OnceLock::new(),
            dead_after: settings.dead_after,
            notice: settings.notice,
            is_leaving: AtomicBool::new(false),
            kick: Notify::new(),
            is_ready: watch::Sender::new(false),
            failure: watch::Sender::new(None),
        });
        let running = tokio::spawn(Loop::new(Arc::clone(&shared)).run(notes));
        Ok(Self { shared, running })
    }

    /// The server's node id, for this start of it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// The number by which maps name this server, and the map as the directory wants it.
    ///
    /// # Errors
    /// When the directory does not know this server any more.
    pub fn first_map(&self) -> Result<(u32, PartitionMap), StartError> {
        let directory = self.shared.directory();
        let server = directory.server(self.shared.id);
        let lost = || StartError::Directory("it has dropped this server".to_owned());
        let index = server.ok_or_else(lost)?.index;
        Ok((index, map::wanted(&directory).ok_or_else(lost)?))
    }

    /// Where the cluster's servers are.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerAddress> {
        map::addresses(&self.shared.directory())
    }

    /// From now on `owners` is told who owns what. Once.
    pub fn tell(&self, owners: Arc<dyn Owners>) {
        let _told_already = self.shared.owners.set(owners);
        self.shared.kick.notify_one();
    }

    /// Takes note of what the server does and holds, to be told to others.
    pub fn set_load(&self, load: Load) {
        let mut known = self
            .shared
            .load
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = load;
    }

    /// The store.
    #[must_use]
    pub fn engine(&self) -> &Arc<E> {
        &self.shared.engine
    }

    /// Where in the store each partition is.
    #[must_use]
    pub fn slots(&self) -> &Arc<Slots> {
        &self.shared.slots
    }

    /// The groups that run here.
    #[must_use]
    pub fn groups(&self) -> &Arc<Groups<E, P>> {
        &self.shared.groups
    }

    /// Ready once any client can be answered usefully: for each partition somebody is known to lead it.
    pub async fn ready(&self) {
        let mut is_ready = self.shared.is_ready.subscribe();
        let _never_dropped = is_ready.wait_for(|is_ready| *is_ready).await;
    }

    /// Ready when the server cannot be a member any more: why.
    pub async fn failed(&self) -> String {
        let mut failure = self.shared.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        failed.map_or_else(
            |_| String::new(),
            |reason| reason.clone().unwrap_or_default(),
        )
    }

    /// Takes a newcomer in, or tells it who can.
    pub async fn join(&self, request: JoinRequest) -> JoinAnswer {
        join_at(
            &self.shared.directory_group,
            &self.shared.directory(),
            request,
        )
        .await
    }

    /// Answers an operator.
    pub async fn operate(&self, request: OperatorRequest) -> OperatorAnswer {
        match request {
            OperatorRequest::Status => OperatorAnswer::status(self.status()),
            OperatorRequest::Transfer { partition, to } => self.transfer(partition, to).await,
        }
    }

    fn status(&self) -> ClusterStatus {
        let shared = &self.shared;
        let load = *shared.load.lock().unwrap_or_else(PoisonError::into_inner);
        shared.look(|picture| picture.status(load))
    }

    async fn transfer(&self, partition: u32, to: u64) -> OperatorAnswer {
        let refused = |reason: String| OperatorAnswer::Refused { reason };
        let directory = self.shared.directory();
        let Some(known) = self.shared.look(|picture| {
            let mut leaderships = picture.leaderships();
            let known = leaderships.get_mut(partition as usize)?;
            Some(known.take().map(|known| known.leader))
        }) else {
            return refused(format!("there is no partition {partition}"));
        };
        let Some(leader) = known.and_then(|leader| directory.server(leader)) else {
            return refused(format!("partition {partition} has no leader at the moment"));
        };
        match self.shared.groups.of(partition) {
            Some(group) if leader.id == self.shared.id => {
                match group.transfer(to, HAND_OVER_PATIENCE).await {
                    Ok(()) => OperatorAnswer::Done,
                    Err(error) => refused(error.to_string()),
                }
            }
            _ => OperatorAnswer::NotHere {
                address: leader.arrival.address.clone(),
            },
        }
    }

    /// Hands over all that is led here, as far as there are others to lead it. Returns when that is done, or given up.
    pub async fn hand_over(&self) {
        self.shared.is_leaving.store(true, Ordering::Relaxed);
        self.shared.kick.notify_one();
        run::hand_over(&self.shared, HAND_OVER_PATIENCE).await;
    }
}

impl<E: Movable, P: Parked> Drop for Node<E, P> {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl<E: Movable, P: Parked> std::fmt::Debug for Node<E, P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "server {}", self.shared.id)
    }
}
