//! The lines to all servers that a client needs.

use crate::connect::{ConnectOptions, Greeting};
use crate::connection::{Connection, FinalCounts};
use crate::error::{ConnectionError, Loss};
use crate::exchange::Exchange;
use crate::line::{Line, Target};
use crate::routes::Routes;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// One [`Line`] a server, begun when it is first needed. `X` is what they carry.
#[derive(Debug)]
pub(crate) struct Lines<X: Exchange> {
    connect: ConnectOptions,
    /// Connections to each server.
    each: NonZeroUsize,
    is_dynamic: bool,
    routes: Arc<Routes>,
    /// By the servers' numbers.
    lines: Mutex<BTreeMap<u32, Arc<Line<X>>>>,
    /// Tells the lines that the client is closed; they end with it, too.
    closing: watch::Sender<bool>,
}

impl<X: Exchange + Send + 'static> Lines<X> {
    pub(crate) fn new(
        connect: ConnectOptions,
        each: NonZeroUsize,
        is_dynamic: bool,
        routes: Arc<Routes>,
    ) -> Self {
        Self {
            connect,
            each,
            is_dynamic,
            routes,
            lines: Mutex::default(),
            closing: watch::Sender::new(false),
        }
    }

    /// Who owns which partition, and where servers are.
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Whether owners may change.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.is_dynamic
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Line<X>>>> {
        self.lines
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// Starts the line over `greetings`, all from the server at `address`.
    pub(crate) fn start(&self, address: &str, greetings: Vec<Option<Greeting>>) {
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
            options: self.connect.clone(),
            routes: Arc::clone(&self.routes),
            is_dynamic: self.is_dynamic,
        }
    }

    /// The line to `server`; begun when a map has named the server.
    async fn line(
        &self,
        server: u32,
        deadline: Instant,
    ) -> Result<Arc<Line<X>>, Arc<ConnectionError>> {
        if let Some(line) = self.lines().get(&server) {
            return Ok(Arc::clone(line));
        }
        let address = timeout_at(deadline, self.routes.address(server)).await;
        let address = address.map_err(|_| {
            let address = format!("server {server}");
            let loss = Loss::NoAddress;
            Arc::new(ConnectionError { address, loss })
        })?;
        let missing = (0..self.each.get()).map(|_| None);
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

    /// A connection to `server`; waits for one until `deadline`.
    pub(crate) async fn connection(
        &self,
        server: u32,
        deadline: Instant,
    ) -> Result<Arc<Connection<X>>, Arc<ConnectionError>> {
        let line = self.line(server, deadline).await?;
        line.connection(deadline).await
    }

    /// A connection that stands, to any server: those of different turns are spread over all.
    pub(crate) fn any_standing(&self, turn: usize) -> Option<Arc<Connection<X>>> {
        let lines: Vec<_> = self.lines().values().cloned().collect();
        let at = |offset: usize| &lines[(turn + offset) % lines.len()];
        (0..lines.len()).find_map(|offset| at(offset).standing(turn / lines.len()))
    }

    /// See [`Client::close`](crate::Client::close).
    pub(crate) async fn close(&self) -> Result<Vec<FinalCounts>, Arc<ConnectionError>> {
        self.closing.send_replace(true);
        let lines: Vec<_> = self.lines().values().cloned().collect();
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
