//! A worker's connections.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use batchkv_client::connect::{ConnectOptions, Greeting, greet_all};
use batchkv_client::connection::{Connection, Traffic};
use batchkv_client::error::ConnectError;
use batchkv_client::hosts::check_hosts;
use batchkv_client::routes::Routes;
use tokio::task::JoinSet;

use crate::command::config::{Config, Connections};
use crate::load::request::Request;
use crate::load::worker::Worker;
use crate::measured::counts::{Account, Kinds};

/// A worker's connections, ordered by server; each server has at least one.
#[derive(Clone)]
pub(crate) struct Links {
    links: Rc<[Link]>,
    routes: Arc<Routes>,
    /// Workers of the client.
    threads: usize,
    servers: usize,
}

struct Link {
    server: usize,
    connection: Connection<Request>,
}

impl Links {
    /// Makes the connections of worker `index` in the run of this id; their pumps run among `pumps`.
    ///
    /// # Errors
    /// When a server cannot be reached, or the servers are not those that the hosts make them.
    pub(crate) async fn connect(
        config: &Config,
        run: u64,
        index: usize,
        pumps: &mut JoinSet<()>,
    ) -> Result<Self, ConnectError> {
        let options = ConnectOptions {
            client_id: Some(config.member.client_id(run)),
            dedup_answers: config.dedup_answers,
            server_time: config.server_time,
            maps: true,
            ..ConnectOptions::default()
        };
        let firsts = greet_all(&config.hosts, &options).await?;
        let hellos: Vec<_> = firsts.iter().map(Greeting::hello).collect();
        let map = firsts[0].map();
        check_hosts(&config.hosts, &hellos, map)?;
        let routes = Arc::new(Routes::new(map));
        let mut links = Vec::new();
        for (server, (host, first)) in config.hosts.iter().zip(firsts).enumerate() {
            let count = connections_of(config, index, first.hello().threads as usize);
            let others = vec![host; count.saturating_sub(1)];
            let others = greet_all(&others, &options).await?;
            for greeting in [first].into_iter().chain(others) {
                let (connection, pump) = greeting.into_learning(Arc::clone(&routes));
                pumps.spawn_local(pump);
                links.push(Link { server, connection });
            }
        }
        Ok(Self {
            links: links.into(),
            routes,
            threads: config.threads,
            servers: config.hosts.len(),
        })
    }

    /// Number of connections.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn servers(&self) -> usize {
        self.servers
    }

    /// Who owns which partition, as the connections learn it.
    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// What all connections have moved.
    pub(crate) fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        for link in &*self.links {
            sum += link.connection.traffic();
        }
        sum
    }

    /// The connection to `server` that `task` uses: tasks go round the workers first, then round a
    /// worker's connections.
    pub(crate) fn link_of(&self, server: usize, task: u32) -> usize {
        let first = self.links.partition_point(|link| link.server < server);
        let count = self.links[first..].partition_point(|link| link.server == server);
        first + (task as usize / self.threads) % count
    }

    pub(crate) fn submit(&self, link: usize, request: Request) {
        self.links[link].connection.submit(request);
    }

    /// Closes the connections, within `limit` each, and gives both sides' counts with the server's
    /// index.
    pub(crate) async fn settle(&self, worker: &Worker, limit: Duration) -> Vec<(usize, Account)> {
        let mut accounts = Vec::with_capacity(self.links.len());
        for (number, link) in self.links.iter().enumerate() {
            let counts = tokio::time::timeout(limit, link.connection.close()).await;
            let counts = counts.ok().and_then(Result::ok);
            let answered = counts.map_or_else(|| link.connection.answered(), |c| c.answered);
            let (address, worker_index) = (link.connection.address(), worker.index());
            let account = Account {
                name: format!("{address}, connection {number} of worker {worker_index}"),
                answered: Kinds::from(answered),
                unknown: worker.unknown(number),
                served: counts.map(|counts| Kinds::from(counts.served)),
            };
            accounts.push((link.server, account));
        }
        accounts
    }
}

/// How many of the client's connections to a server of so many threads worker `index` makes.
fn connections_of(config: &Config, index: usize, server_threads: usize) -> usize {
    let total = match config.connections {
        Connections::CoverServer => server_threads.max(config.threads),
        Connections::Total(total) => total,
    };
    total / config.threads + usize::from(index < total % config.threads)
}
