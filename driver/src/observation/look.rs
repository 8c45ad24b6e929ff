//! How busy both sides' threads are, looked at when the window begins and when it ends.

use batchkv_telemetry::{machine, threads_cpu};

use crate::clock::{Clock, Offset};
use crate::load::control::WORKER_NAME;
use crate::observation::status::{ServerStatus, StatusLine, busiest};
use crate::results::summary::Told;
use crate::verdict::ServerFacts;

/// The looks that were taken.
#[derive(Debug)]
pub(crate) struct Looks {
    clock: Clock,
    /// By server; `None` where one does not say.
    lines: Vec<Option<StatusLine>>,
    taken: Vec<Look>,
}

#[derive(Debug)]
struct Look {
    /// By our clock.
    secs: f64,
    workers_cpu_secs: Vec<f64>,
    /// By server.
    servers: Vec<Option<ServerStatus>>,
}

impl Looks {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
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

    /// Looks at all threads. A server that does not answer is not asked again.
    pub(crate) async fn look(&mut self) {
        let secs = self.clock.now();
        let workers_cpu_secs = threads_cpu(WORKER_NAME);
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
        self.taken.push(Look {
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

    /// What server `server` told; `offset` is of our clock to client 0's.
    pub(crate) fn told(&self, server: usize, offset: Offset) -> Option<Told> {
        let last = self.taken.last()?.servers.get(server)?.as_ref()?;
        let before = self
            .window()
            .and_then(|(before, _)| before.servers[server].as_ref());
        let clock = match before {
            Some(before) => before.clock.covering(last.clock),
            None => last.clock,
        };
        Some(Told {
            on_client_machine: last.machine != 0 && last.machine == machine(),
            busiest_thread: before.and_then(|before| last.busiest_since(before)),
            clock: clock.back_to(offset),
        })
    }

    fn window(&self) -> Option<(&Look, &Look)> {
        match self.taken.as_slice() {
            [before, .., after] => Some((before, after)),
            _ => None,
        }
    }
}

/// What the verdict looks at.
pub(crate) fn server_facts(address: &str, told: Option<Told>) -> ServerFacts {
    ServerFacts {
        address: address.into(),
        on_client_machine: told.is_some_and(|told| told.on_client_machine),
        busiest_thread: told.and_then(|told| told.busiest_thread),
    }
}
