//! The client that programs embed: a batch in, typed answers out.

use crate::answers::{Answers, Reply};
use crate::batch::Batch;
use crate::connect::{ConnectOptions, Greeting, greet_all, random_id};
use crate::connection::{Connection, FinalCounts};
use crate::error::{ConnectError, ConnectionError, Loss};
use crate::hosts::{check_hosts, check_seeds};
use crate::line::{Line, Target};
use crate::router::{Request, Routed};
use crate::routes::Routes;
use crate::together::Together;
use std::collections::BTreeMap;
use std::iter;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// Time that a batch has to find the owners of its partitions.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Pauses before refused groups are sent again where nothing new is known: the first, and the longest.
const PAUSE_TIMES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// How a [`Client`] connects.
#[derive(Debug, Clone)]
pub struct Options {
    /// How each connection is made and kept. The client sets `maps` and, where it is `None`, `client_id`.
    pub connect: ConnectOptions,
    /// Connections to each server; batches take turns. A server serves one connection on one of its
    /// threads, so more connections than it has threads gain nothing.
    pub connections_per_server: NonZeroUsize,
    /// How long a batch waits for a connection that is being made again, and how long groups that were
    /// refused by a server that no longer owns their partition are sent to the next owner.
    pub deadline: Duration,
}

impl Default for Options {
    /// One connection to each server, and [`DEADLINE`].
    fn default() -> Self {
        Self {
            connect: ConnectOptions::default(),
            connections_per_server: NonZeroUsize::MIN,
            deadline: DEADLINE,
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
    options: Options,
    is_dynamic: bool,
    routes: Arc<Routes>,
    /// By the servers' numbers.
    lines: Mutex<BTreeMap<u32, Arc<Line>>>,
    /// Tells the lines that the client is closed; they end with it, too.
    closing: watch::Sender<bool>,
}

/// What became of a request: its place in the send order, and its answers.
type Answered = (Range<usize>, Reply);

impl Client {
    /// Connects to the servers at `hosts` (`host:port`) and checks that they fit each other. Servers with a
    /// fixed map are all given, in the order of their numbers; of servers that push maps a few will do, in
    /// any order. Needs a tokio runtime with time and network enabled, of any kind: it spawns one task a
    /// connection.
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
        let each = options.connections_per_server.get();
        let all: Vec<&str> = hosts
            .iter()
            .flat_map(|host| iter::repeat_n(host.as_ref(), each))
            .collect();
        let greetings = greet_all(&all, &options.connect).await?;
        let first = greetings.first().ok_or(ConnectError::NoHosts)?;
        let is_dynamic = greetings.iter().all(Greeting::pushes_maps);
        let map = first.map().clone();
        let routes = Routes::new(&map);
        if is_dynamic {
            check_seeds(&all, &greetings)?;
            greetings
                .iter()
                .for_each(|greeting| routes.hear(greeting.map().partitions()));
        } else {
            for connection in 0..each {
                let each_host = greetings.iter().skip(connection).step_by(each);
                let hellos: Vec<_> = each_host.map(Greeting::hello).collect();
                check_hosts(hosts, &hellos, &map)?;
            }
        }
        let shared = Shared {
            id,
            options,
            is_dynamic,
            routes: Arc::new(routes),
            lines: Mutex::default(),
            closing: watch::Sender::new(false),
        };
        let mut greetings = greetings.into_iter().map(Some);
        for host in hosts {
            let of_host: Vec<_> = greetings.by_ref().take(each).collect();
            shared.start(host.as_ref(), of_host);
        }
        Ok(Self {
            shared: Arc::new(shared),
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
    pub async fn execute(&self, batch: Batch) -> Answers {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.options.deadline;
        let mut answers = Answers::with_operations(batch.len());
        let mut operations: Vec<u32> = (0..batch.len() as u32).collect();
        let batch = Arc::new(batch);
        let mut pause = PAUSE_TIMES[0];
        loop {
            let news = shared.routes.news();
            let routed = Arc::new(shared.routes.plan().route(&batch, &operations));
            shared.send(&routed, deadline, &mut answers).await;
            operations = shared.refused(&batch, &answers);
            if operations.is_empty() || Instant::now() >= deadline {
                return answers;
            }
            tokio::select! {
                () = shared.routes.more_than(news) => {}
                () = sleep(pause) => pause = (pause * 2).min(PAUSE_TIMES[1]),
            }
        }
    }

    /// Closes all connections once everything submitted is answered, and gives the counts of both
    /// sides per server, in the order of their numbers, of the connections that stand. Batches executed
    /// later are not sent.
    ///
    /// # Errors
    /// The first connection that is lost, or closed before.
    pub async fn close(&self) -> Result<Vec<FinalCounts>, Arc<ConnectionError>> {
        self.shared.closing.send_replace(true);
        let lines: Vec<Arc<Line>> = self.shared.lines().values().cloned().collect();
        let mut counts = Vec::with_capacity(lines.len());
        let mut first_error = None;
        for line in lines {
            match line.close().await {
                Ok(sum) => counts.push(sum),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(counts), Err)
    }
}

impl Shared {
    fn lines(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Arc<Line>>> {
        self.lines
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// Starts the line over `greetings`, all from the server at `address`.
    fn start(&self, address: &str, greetings: Vec<Option<Greeting>>) {
        let server = greetings.iter().flatten().next();
        let Some(server) = server.map(|greeting| greeting.hello().server_index) else {
            return;
        };
        // Of two hosts that are the same server, the first serves.
        self.lines().entry(server).or_insert_with(|| {
            let target = self.target(server, address.into());
            Arc::new(Line::start(&target, greetings, &self.closing.subscribe()))
        });
    }

    fn target(&self, server: u32, address: String) -> Target {
        Target {
            server,
            seed: address.clone(),
            address,
            options: self.options.connect.clone(),
            routes: Arc::clone(&self.routes),
            is_dynamic: self.is_dynamic,
        }
    }

    /// The line to `server`; begun when a map has named the server.
    async fn line(
        &self,
        server: u32,
        deadline: Instant,
    ) -> Result<Arc<Line>, Arc<ConnectionError>> {
        if let Some(line) = self.lines().get(&server) {
            return Ok(Arc::clone(line));
        }
        let address = timeout_at(deadline, self.routes.address(server)).await;
        let address = address.map_err(|_| {
            let address = format!("server {server}");
            let loss = Loss::NoAddress;
            Arc::new(ConnectionError { address, loss })
        })?;
        let missing = (0..self.options.connections_per_server.get()).map(|_| None);
        let start = || {
            let target = self.target(server, address);
            Arc::new(Line::start(
                &target,
                missing.collect(),
                &self.closing.subscribe(),
            ))
        };
        Ok(Arc::clone(self.lines().entry(server).or_insert_with(start)))
    }

    /// Sends a routed batch, to all owners side by side, and adds what they answer.
    async fn send(&self, routed: &Arc<Routed>, deadline: Instant, answers: &mut Answers) {
        let mut sending = Together::new();
        for server in routed.owners() {
            sending.add(self.send_to(server, routed, deadline));
        }
        while let Some(answered) = sending.next().await {
            for (range, reply) in answered {
                answers.add(&routed.order()[range], reply);
            }
        }
    }

    /// Sends one server's requests, each behind the answers to the one before. Behind one that was lost nothing
    /// is sent: what the server has of it may yet take effect, and must not come behind what follows it.
    async fn send_to(&self, server: u32, routed: &Arc<Routed>, deadline: Instant) -> Vec<Answered> {
        let mut answered: Vec<Answered> = Vec::new();
        for range in routed.requests(server) {
            let lost = answered.last().and_then(|(_, reply)| reply.lost());
            let connection = match lost {
                Some(cause) => Err(Arc::clone(cause)),
                None => self.connection(server, deadline).await,
            };
            let (request, reply) = Request::new(Arc::clone(routed), range.clone());
            let reply = match connection {
                Ok(connection) => {
                    connection.submit(request);
                    reply.await.expect("a request is always told its end")
                }
                Err(cause) => Reply::not_sent(range.len(), cause),
            };
            answered.push((range, reply));
        }
        answered
    }

    async fn connection(
        &self,
        server: u32,
        deadline: Instant,
    ) -> Result<Arc<Connection<Request>>, Arc<ConnectionError>> {
        let line = self.line(server, deadline).await?;
        line.connection(deadline).await
    }

    /// The operations that are to be sent to another owner, which the refusals name. With a fixed map there
    /// are none.
    fn refused(&self, batch: &Batch, answers: &Answers) -> Vec<u32> {
        if !self.is_dynamic {
            return Vec::new();
        }
        let refused = answers.wrong_owners().map(|(index, known)| {
            let key = batch.operation(index as usize).key();
            self.routes
                .offer(self.routes.live().partition_of(key), known);
            index
        });
        refused.collect()
    }
}
