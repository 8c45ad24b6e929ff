//! How busy both sides' threads are, looked at when the window begins and when it ends.

use batchkv_telemetry::{machine, threads_cpu};
use serde::{Deserialize, Serialize};

use super::status::{ServerStatus, StatusLine, busiest};
use crate::clock::{Clock, Offset, Rate};

/// The looks that were taken.
#[derive(Debug)]
pub(crate) struct Snapshots {
    clock: Clock,
    worker_name: &'static str,
    /// What this client is called on its connections.
    client_id: [u8; 16],
    hosts: Vec<String>,
    /// By server; `None` where one does not say.
    lines: Vec<Option<StatusLine>>,
    taken: Vec<Snapshot>,
    /// Before the load and behind the window, when nothing else is asked: our time, and each server's clock.
    compared: Vec<(f64, Vec<Option<ServerStatus>>)>,
}

#[derive(Debug)]
struct Snapshot {
    /// By our clock.
    secs: f64,
    workers_cpu_secs: Vec<f64>,
    /// By server.
    servers: Vec<Option<ServerStatus>>,
}

/// What a server tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Whether it runs on the machine of a client.
    pub(crate) on_client_machine: Option<bool>,
    /// The part of the window, 0 to 1, that its busiest thread was busy.
    pub(crate) busiest_thread: Option<f64>,
    /// What to add to the server's times to get those of these files.
    pub(crate) clock: Offset,
    /// How fast its clock goes against the client's, from before the load to behind the window; null when it
    /// was not compared at both ends.
    #[serde(default)]
    pub(crate) clock_rate: Option<Rate>,
}

impl Snapshots {
    /// Of the threads whose names begin with `worker_name`, and of the servers, which are asked as client
    /// `client_id`.
    pub(crate) fn new(clock: Clock, worker_name: &'static str, client_id: [u8; 16]) -> Self {
        Self {
            clock,
            worker_name,
            client_id,
            hosts: Vec::new(),
            lines: Vec::new(),
            taken: Vec::new(),
            compared: Vec::new(),
        }
    }

    /// Makes the connections for asking; the servers are there, or were a moment ago.
    pub(crate) async fn connect(&mut self, hosts: &[String]) {
        self.hosts = hosts.to_vec();
        for host in hosts {
            self.lines
                .push(StatusLine::open(host, self.client_id).await);
        }
    }

    /// Compares the clocks, while nothing else is asked of the servers.
    pub(crate) async fn compare_clocks(&mut self) {
        let secs = self.clock.now();
        let servers = self.ask().await;
        self.compared.push((secs, servers));
    }

    /// Looks at all threads.
    pub(crate) async fn look(&mut self) {
        let secs = self.clock.now();
        let workers_cpu_secs = threads_cpu(self.worker_name);
        let servers = self.ask().await;
        self.taken.push(Snapshot {
            secs,
            workers_cpu_secs,
            servers,
        });
    }

    /// Asks all servers. A connection that was lost meanwhile is made again.
    async fn ask(&mut self) -> Vec<Option<ServerStatus>> {
        let mut servers = Vec::with_capacity(self.lines.len());
        for (line, host) in self.lines.iter_mut().zip(&self.hosts) {
            let mut status = match line {
                Some(asked) => asked.status(&self.clock).await,
                None => None,
            };
            if status.is_none() && line.is_some() {
                *line = StatusLine::open(host, self.client_id).await;
                if let Some(asked) = line {
                    status = asked.status(&self.clock).await;
                }
            }
            servers.push(status);
        }
        servers
    }

    /// The part of the window, 0 to 1, that the busiest worker was busy; 0 without two looks.
    pub(crate) fn busiest_worker(&self) -> f64 {
        let Some((before, after)) = self.window() else {
            return 0.0;
        };
        let secs = after.secs - before.secs;
        busiest(&before.workers_cpu_secs, &after.workers_cpu_secs, secs).unwrap_or(0.0)
    }

    /// What server `server` told; `offset` is of our clock to client 0's. What it told once stays said,
    /// also when it does not answer any more.
    pub(crate) fn told(&self, server: usize, offset: Offset) -> Option<Told> {
        let clocks = self.compared.iter().map(|(_, servers)| servers);
        let looks = self.taken.iter().map(|taken| &taken.servers);
        let mut said = clocks
            .chain(looks)
            .filter_map(|servers| servers.get(server)?.as_ref());
        let any = said.next()?;
        let window = self.window();
        let busiest_thread = window.and_then(|(before, after)| {
            let before = before.servers[server].as_ref()?;
            after.servers[server].as_ref()?.busiest_since(before)
        });
        let known = any.machine != 0 && machine() != 0;
        let ends = self.clock_ends(server);
        let clock = ends.map_or(any.clock, |(first, last, _)| first.covering(last));
        Some(Told {
            on_client_machine: known.then(|| any.machine == machine()),
            busiest_thread,
            clock: clock.back_to(offset),
            clock_rate: ends.and_then(|(first, last, secs)| Rate::between(first, last, secs)),
        })
    }

    /// Whether each server has told that it runs on this machine.
    pub(crate) fn servers_are_here(&self) -> bool {
        let is_here = |server| self.told(server, Offset::default())?.on_client_machine;
        (0..self.lines.len()).all(|server| is_here(server) == Some(true))
    }

    /// A server's clock at the first and the last comparison, and the seconds between by ours.
    fn clock_ends(&self, server: usize) -> Option<(Offset, Offset, f64)> {
        let [(begin, before), .., (end, after)] = self.compared.as_slice() else {
            return None;
        };
        let (before, after) = (before.get(server)?.as_ref()?, after.get(server)?.as_ref()?);
        Some((before.clock, after.clock, end - begin))
    }

    fn window(&self) -> Option<(&Snapshot, &Snapshot)> {
        match self.taken.as_slice() {
            [before, .., after] => Some((before, after)),
            _ => None,
        }
    }
}
