//! How busy both sides' threads are, looked at when the window begins and when it ends.

use batchkv_telemetry::{machine, threads_cpu};
use serde::{Deserialize, Serialize};

use super::status::{ServerStatus, StatusLine, busiest};
use crate::clock::{Clock, Offset};

/// The looks that were taken.
#[derive(Debug)]
pub(crate) struct Snapshots {
    clock: Clock,
    worker_name: &'static str,
    /// By server; `None` where one does not say.
    lines: Vec<Option<StatusLine>>,
    taken: Vec<Snapshot>,
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
}

impl Snapshots {
    /// Of the threads whose names begin with `worker_name`, and of the servers.
    pub(crate) fn new(clock: Clock, worker_name: &'static str) -> Self {
        Self {
            clock,
            worker_name,
            lines: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Makes the connections for asking; the servers are there, or were a moment ago.
    pub(crate) async fn connect(&mut self, hosts: &[String]) {
        for host in hosts {
            self.lines.push(StatusLine::open(host).await);
        }
    }

    /// Snapshots at all threads. A server that does not answer is not asked again.
    pub(crate) async fn look(&mut self) {
        let secs = self.clock.now();
        let workers_cpu_secs = threads_cpu(self.worker_name);
        let mut servers = Vec::with_capacity(self.lines.len());
        for line in &mut self.lines {
            let status = match line {
                Some(asked) => asked.status(&self.clock).await,
                None => None,
            };
            if status.is_none() {
                *line = None;
            }
            servers.push(status);
        }
        self.taken.push(Snapshot {
            secs,
            workers_cpu_secs,
            servers,
        });
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
        let mut said = self
            .taken
            .iter()
            .filter_map(|taken| taken.servers.get(server)?.as_ref());
        let (first, last) = (said.clone().next()?, said.next_back()?);
        let window = self.window();
        let busiest_thread = window.and_then(|(before, after)| {
            let (before, after) = (
                before.servers[server].as_ref()?,
                after.servers[server].as_ref()?,
            );
            after.busiest_since(before)
        });
        let known = last.machine != 0 && machine() != 0;
        Some(Told {
            on_client_machine: known.then(|| last.machine == machine()),
            busiest_thread,
            clock: first.clock.covering(last.clock).back_to(offset),
        })
    }

    fn window(&self) -> Option<(&Snapshot, &Snapshot)> {
        match self.taken.as_slice() {
            [before, .., after] => Some((before, after)),
            _ => None,
        }
    }
}
