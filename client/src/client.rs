//! The client that programs embed: a batch in, typed answers out.

use crate::answers::Answers;
use crate::batch::Batch;
use crate::cluster::{Cluster, Reads, Retries};
use crate::connect::{ConnectOptions, Greeting, greet_each, random_id};
use crate::connection::FinalCounts;
use crate::error::{ConnectError, ConnectionError};
use crate::exchange::Exchange;
use crate::hosts::{check_hosts, check_seeds};
use crate::lines::Lines;
use crate::once::Once;
use crate::routes::Routes;
use batchkv_protocol::{Ack, Refusal};
use std::iter;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Time that a batch has to be settled, or to find the owners of its partitions.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How a [`Client`] connects.
#[derive(Debug, Clone)]
pub struct Options {
    /// How each connection is made and kept. The client sets `maps`, `cluster` and, where it is `None`,
    /// `client_id`.
    pub connect: ConnectOptions,
    /// Connections to each server; batches take turns. A server serves one connection on one of its
    /// threads, so more connections than it has threads gain nothing.
    pub connections_per_server: NonZeroUsize,
    /// How long a batch waits for a connection that is being made again, and how long groups that were
    /// refused by a server that no longer owns their partition are sent to the next owner. In a cluster, how long
    /// whatever is not settled is sent again.
    pub deadline: Duration,
    /// From where a cluster's groups without writes are read. Other servers have one copy of each record.
    pub reads: Reads,
    /// When a cluster answers groups with writes.
    pub ack: Ack,
}

impl Default for Options {
    /// One connection to each server, [`DEADLINE`], and the levels that lose nothing.
    fn default() -> Self {
        Self {
            connect: ConnectOptions::default(),
            connections_per_server: NonZeroUsize::MIN,
            deadline: DEADLINE,
            reads: Reads::default(),
            ack: Ack::default(),
        }
    }
}

/// Connections to all servers. Clones share them; any number of batches may be in flight.
///
/// What is promised: each operation takes effect at most once, atomically, between
/// [`execute`](Self::execute) and its answer (linearizable per key). Operations of one batch on the
/// same key apply in order. A batch is not atomic and may take effect in part; batches in flight at
/// the same time have no order: wait for one's answers before sending what must come after.
/// Refused and "wrong owner" mean certainly not applied. When a connection is lost, what it had not
/// sent was certainly not applied, and what it had sent without an answer is unknown: reported as
/// such, never as done, and never sent again. The connection is made again meanwhile.
///
/// In a cluster, a group whose connection is lost, or whose leader has changed, is sent again until
/// [`Options::deadline`], to whoever leads its partition then, with a number by which it takes effect once. Only what
/// is not settled by then is unknown. Behind it nothing more of the batch's operations on its partition is sent.
///
/// Where servers push maps, partitions may change their owner: a group that was refused for it is sent to
/// the next owner, servers are connected to as maps name them, and a connection that was lost is made again
/// where the newest maps say that its server is.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: [u8; 16],
    way: Way,
}

/// How batches are sent.
#[derive(Debug)]
enum Way {
    /// What may have taken effect is never sent again.
    Once(Once),
    /// It is, until it is settled.
    Cluster(Cluster),
}

impl Client {
    /// Connects to the servers at `hosts` (`host:port`) and checks that they fit each other. Servers with a
    /// fixed map are all given, in the order of their numbers; of servers that push maps a few will do, in
    /// any order, and of a cluster's those that do not answer are done without as long as one does. Needs a tokio
    /// runtime with time and network enabled, of any kind: it spawns one task a connection.
    ///
    /// # Errors
    /// When a server cannot be reached or does not fit; the error names it, and both sides.
    pub async fn connect(
        hosts: &[impl AsRef<str>],
        mut options: Options,
    ) -> Result<Self, ConnectError> {
        let id = options.connect.client_id.unwrap_or_else(random_id);
        options.connect.client_id = Some(id);
        options.connect.maps = true;
        options.connect.cluster = true;
        let found = Found::greet(hosts, &options).await?;
        let way = match found.is_of_cluster {
            true => Way::Cluster(Cluster::new(found.lines(&options), options)),
            false => Way::Once(Once::new(found.lines(&options), options.deadline)),
        };
        Ok(Self {
            shared: Arc::new(Shared { id, way }),
        })
    }

    /// What this client is called on all its connections.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.shared.id
    }

    /// Executes the batch and gives the outcome of each operation. This never fails as a whole,
    /// because parts may have taken effect: where a connection was lost, the operations that it
    /// carried say so, and [`Answers::lost`] says why. It waits for a connection that is being made
    /// again, and for the next owner of a partition, up to [`Options::deadline`].
    ///
    /// Dropping the future does not take the batch back: what was submitted is executed.
    ///
    /// Servers outside a cluster have no versions: there a batch that asks for some is refused as a whole, and
    /// not sent.
    pub async fn execute(&self, batch: Batch) -> Answers {
        match &self.shared.way {
            Way::Once(_) if batch.has_versions() => Answers::refused(&batch, Refusal::NoCluster),
            Way::Once(once) => once.execute(batch).await,
            Way::Cluster(cluster) => cluster.execute(batch).await,
        }
    }

    /// What was sent again so far, which only happens in a cluster.
    #[must_use]
    pub fn retries(&self) -> Retries {
        match &self.shared.way {
            Way::Once(_) => Retries::default(),
            Way::Cluster(cluster) => cluster.retries(),
        }
    }

    /// Closes all connections once everything submitted is answered, and gives the counts of both
    /// sides per server, in the order of their numbers, of the connections that stand. Batches executed
    /// later are not sent.
    ///
    /// # Errors
    /// The first connection that is lost, or closed before.
    pub async fn close(&self) -> Result<Vec<FinalCounts>, Arc<ConnectionError>> {
        match &self.shared.way {
            Way::Once(once) => once.lines().close().await,
            Way::Cluster(cluster) => cluster.lines().close().await,
        }
    }
}

/// Servers that were greeted, and fit each other.
struct Found {
    /// Each host's greetings, one a connection; `None` where a host did not answer.
    hosts: Vec<(String, Vec<Option<Greeting>>)>,
    routes: Arc<Routes>,
    is_dynamic: bool,
    is_of_cluster: bool,
}

impl Found {
    async fn greet(hosts: &[impl AsRef<str>], options: &Options) -> Result<Self, ConnectError> {
        let each = options.connections_per_server.get();
        let all: Vec<&str> = hosts
            .iter()
            .flat_map(|host| iter::repeat_n(host.as_ref(), each))
            .collect();
        let answered = greet_each(&all, &options.connect).await;
        let is_of_cluster = answered.iter().flatten().any(Greeting::is_of_cluster);
        let answered = match is_of_cluster {
            true => answered.into_iter().map(Result::ok).collect(),
            false => answered
                .into_iter()
                .map(|greeting| greeting.map(Some))
                .collect::<Result<Vec<_>, _>>()?,
        };
        let greetings: Vec<(&str, &Greeting)> = all
            .iter()
            .zip(&answered)
            .filter_map(|(host, greeting)| Some((*host, greeting.as_ref()?)))
            .collect();
        let (_, first) = greetings.first().ok_or(ConnectError::NoHosts)?;
        let is_dynamic = greetings.iter().all(|(_, greeting)| greeting.pushes_maps());
        let routes = Routes::new(first.map());
        if is_dynamic {
            check_seeds(&greetings)?;
            let maps = greetings.iter().map(|(_, greeting)| greeting.map());
            maps.for_each(|map| routes.hear(map.partitions()));
        } else {
            for connection in 0..each {
                let each_host = greetings.iter().skip(connection).step_by(each);
                let hellos: Vec<_> = each_host.map(|(_, greeting)| greeting.hello()).collect();
                check_hosts(hosts, &hellos, first.map())?;
            }
        }
        let mut answered = answered.into_iter();
        let mut of_host = |host: &dyn AsRef<str>| {
            let greetings = answered.by_ref().take(each).collect();
            (host.as_ref().to_owned(), greetings)
        };
        Ok(Self {
            hosts: hosts.iter().map(|host| of_host(host)).collect(),
            routes: Arc::new(routes),
            is_dynamic,
            is_of_cluster,
        })
    }

    /// Their lines, each begun over the greetings.
    fn lines<X: Exchange + Send + 'static>(self, options: &Options) -> Lines<X> {
        let (connect, each) = (options.connect.clone(), options.connections_per_server);
        let lines = Lines::new(connect, each, self.is_dynamic, self.routes);
        for (host, greetings) in self.hosts {
            lines.start(&host, greetings);
        }
        lines
    }
}
