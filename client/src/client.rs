//! The client that programs embed: a batch in, typed answers out.

use crate::answers::Answers;
use crate::batch::Batch;
use crate::connect::{ConnectOptions, greet_all, random_id};
use crate::connection::{Connection, FinalCounts};
use crate::error::{ConnectError, ConnectionError};
use crate::hosts::check_hosts;
use crate::router::{Request, Router};
use std::iter;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a [`Client`] connects.
#[derive(Debug, Clone)]
pub struct Options {
    /// How each connection is made and kept.
    pub connect: ConnectOptions,
    /// Connections to each server; batches take turns. A server serves one connection on one of its
    /// threads, so more connections than it has threads gain nothing.
    pub connections_per_server: NonZeroUsize,
}

impl Default for Options {
    /// One connection to each server.
    fn default() -> Self {
        Self {
            connect: ConnectOptions::default(),
            connections_per_server: NonZeroUsize::MIN,
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
/// such, never as done, and never sent again.
#[derive(Debug, Clone)]
pub struct Client {
    id: [u8; 16],
    servers: Arc<[Server]>,
    router: Arc<Router>,
}

#[derive(Debug)]
struct Server {
    connections: Vec<Connection<Request>>,
    /// Counts batches; the connections take turns.
    turn: AtomicUsize,
}

impl Client {
    /// Connects to the servers at `hosts` (`host:port`, in the order of their indices) and checks
    /// that they fit this list and each other. Needs a tokio runtime with time and network enabled,
    /// of any kind: it spawns one task a connection.
    ///
    /// # Errors
    /// When a server cannot be reached or does not fit; the error names it, and both sides.
    pub async fn connect(
        hosts: &[impl AsRef<str>],
        mut options: Options,
    ) -> Result<Self, ConnectError> {
        let id = options.connect.client_id.unwrap_or_else(random_id);
        options.connect.client_id = Some(id);
        let each = options.connections_per_server.get();
        let all: Vec<&str> = hosts
            .iter()
            .flat_map(|host| iter::repeat_n(host.as_ref(), each))
            .collect();
        let mut greetings = greet_all(&all, &options.connect).await?.into_iter();
        let mut servers = Vec::with_capacity(hosts.len());
        for _ in hosts {
            let mut connections = Vec::new();
            for greeting in greetings.by_ref().take(each) {
                let (connection, pump) = greeting.into_connection();
                tokio::spawn(pump);
                connections.push(connection);
            }
            let turn = AtomicUsize::new(0);
            servers.push(Server { connections, turn });
        }
        let first = servers.first().ok_or(ConnectError::NoHosts)?;
        let map = first.connections[0].map().clone();
        for index in 0..options.connections_per_server.get() {
            let hellos: Vec<_> = servers
                .iter()
                .map(|server| server.connections[index].hello())
                .collect();
            check_hosts(hosts, &hellos, &map)?;
        }
        Ok(Self {
            id,
            servers: servers.into(),
            router: Arc::new(Router::new(map)),
        })
    }

    /// What this client is called on all its connections.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Executes the batch and gives the outcome of each operation. This never fails as a whole,
    /// because parts may have taken effect: where a connection was lost, the operations that it
    /// carried say so, and [`Answers::lost`] says why.
    ///
    /// Dropping the future does not take the batch back: what was submitted is executed.
    pub async fn execute(&self, batch: Batch) -> Answers {
        let mut answers = Answers::with_operations(batch.len());
        let routed = Arc::new(self.router.route(batch));
        let mut routes: Vec<_> = self
            .servers
            .iter()
            .enumerate()
            .map(|(server, connections)| (connections.next(), routed.requests(server)))
            .collect();
        loop {
            let round: Vec<_> = routes
                .iter_mut()
                .filter_map(|(connection, requests)| {
                    let range = requests.next()?;
                    let (request, part) = Request::new(Arc::clone(&routed), range.clone());
                    connection.submit(request);
                    Some((range, part))
                })
                .collect();
            if round.is_empty() {
                return answers;
            }
            for (range, part) in round {
                let part = part.await.expect("a request is always told its end");
                answers.add(&routed.order()[range], part);
            }
        }
    }

    /// Closes all connections once everything submitted is answered, and gives the counts of both
    /// sides per server, in the order of the hosts. Batches executed later are not sent.
    ///
    /// # Errors
    /// The first connection that was lost, or closed before.
    pub async fn close(&self) -> Result<Vec<FinalCounts>, Arc<ConnectionError>> {
        let mut counts = Vec::with_capacity(self.servers.len());
        let mut first_error = None;
        for server in self.servers.iter() {
            let mut sum = FinalCounts::default();
            for connection in &server.connections {
                match connection.close().await {
                    Ok(counts) => sum += counts,
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
            counts.push(sum);
        }
        first_error.map_or(Ok(counts), Err)
    }
}

impl Server {
    fn next(&self) -> &Connection<Request> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.connections[turn % self.connections.len()]
    }
}
