//! A worker's connections.

use std::rc::Rc;
use std::time::Duration;

use batchkv_client::connect::{ConnectOptions, open};
use batchkv_client::connection::{Connection, Traffic};
use batchkv_client::error::ConnectError;
use batchkv_client::hosts::check_hosts;
use batchkv_client::pump::Pump;
use batchkv_protocol::PartitionMap;
use tokio::task::JoinSet;

use crate::command::config::{Config, Connections};
use crate::load::request::Request;
use crate::load::worker::Worker;
use crate::measured::counts::{Account, Kinds};

/// A worker's connections, ordered by server; each server has at least one.
#[derive(Clone)]
pub(crate) struct Links {
    links: Rc<[Link]>,
    /// Workers of the client.
    threads: usize,
    servers: usize,
}

struct Link {
    server: usize,
    connection: Connection<Request>,
}

type Opened = Result<(Connection<Request>, Pump<Request>), ConnectError>;

impl Links {
    /// Makes the connections of worker `index`; their pumps run among `pumps`.
    ///
    /// # Errors
    /// When a server cannot be reached, or the servers are not those that the hosts make them.
    pub(crate) async fn connect(
        config: &Config,
        index: usize,
        pumps: &mut JoinSet<()>,
    ) -> Result<Self, ConnectError> {
        let options = ConnectOptions {
            dedup_answers: config.dedup_answers,
            server_time: config.server_time,
            ..ConnectOptions::default()
        };
        let firsts = open_all(&config.hosts, &options, pumps).await?;
        let hosts: Vec<&str> = config.hosts.iter().map(String::as_str).collect();
        let hellos: Vec<_> = firsts.iter().map(|first| first.hello()).collect();
        check_hosts(&hosts, &hellos, firsts[0].map())?;
        let mut links = Vec::new();
        for (server, (host, first)) in config.hosts.iter().zip(firsts).enumerate() {
            let count = connections_of(config, index, first.hello().threads as usize);
            let others = vec![host.clone(); count.saturating_sub(1)];
            let others = open_all(&others, &options, pumps).await?;
            let all = [first].into_iter().chain(others);
            links.extend(all.map(|connection| Link { server, connection }));
        }
        Ok(Self {
            links: links.into(),
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

    /// The partition map that all servers have.
    pub(crate) fn map(&self) -> &PartitionMap {
        self.links[0].connection.map()
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

/// Makes a connection to each of the hosts, all at the same time.
async fn open_all(
    hosts: &[String],
    options: &ConnectOptions,
    pumps: &mut JoinSet<()>,
) -> Result<Vec<Connection<Request>>, ConnectError> {
    let mut opening = JoinSet::new();
    for (number, host) in hosts.iter().enumerate() {
        let (host, options) = (host.clone(), options.clone());
        opening.spawn_local(async move { (number, open(&host, &options).await) });
    }
    let mut opened: Vec<(usize, Opened)> = opening.join_all().await;
    opened.sort_by_key(|(number, _)| *number);
    let mut connections = Vec::with_capacity(hosts.len());
    for (_, opened) in opened {
        let (connection, pump) = opened?;
        pumps.spawn_local(pump);
        connections.push(connection);
    }
    Ok(connections)
}
/// How many of the client's connections to a server of so many threads worker `index` makes.
fn connections_of(config: &Config, index: usize, server_threads: usize) -> usize {
    let total = match config.connections {
        Connections::CoverServer => server_threads.max(config.threads),
        Connections::Total(total) => total,
    };
    total / config.threads + usize::from(index < total % config.threads)
}
