//! What servers say of themselves, asked over a connection of its own: their clocks, their machines,
//! and how busy their threads are.

use std::time::Duration;

use batchkv_client::connect::{ConnectOptions, greet};
use batchkv_client::connection::Connection;
use batchkv_client::exchange::NoExchange;
use batchkv_protocol::control::FEATURE_STATUS;
use tokio::time::timeout;

use crate::clock::{Clock, Offset, READINGS};

/// Time for one server to say all it is asked.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// A connection for asking a server.
#[derive(Debug)]
pub(crate) struct StatusLine {
    connection: Connection<NoExchange>,
}

/// A server's answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerStatus {
    /// The server's clock against ours.
    pub(crate) clock: Offset,
    pub(crate) machine: u64,
    /// When, by our clock.
    asked_secs: f64,
    threads_cpu_secs: Vec<f64>,
}

impl StatusLine {
    /// Connects as client `client_id`; `None` when the server does not answer such questions, which is no fault.
    pub(crate) async fn open(address: &str, client_id: [u8; 16]) -> Option<Self> {
        let options = ConnectOptions {
            connect_time: ANSWER_TIME,
            client_id: Some(client_id),
            status: true,
            ..ConnectOptions::default()
        };
        let greeting = greet(address, &options).await.ok()?;
        if greeting.hello().features & FEATURE_STATUS == 0 {
            return None;
        }
        let (connection, pump) = greeting.into_connection();
        tokio::spawn(pump);
        Some(Self { connection })
    }

    /// Asks several times, to compare the clocks; what else is said is of the last answer.
    pub(crate) async fn status(&self, clock: &Clock) -> Option<ServerStatus> {
        timeout(ANSWER_TIME, self.readings(clock))
            .await
            .ok()
            .flatten()
    }

    async fn readings(&self, clock: &Clock) -> Option<ServerStatus> {
        let mut offsets = Vec::with_capacity(READINGS);
        let mut last = ServerStatus::default();
        for _ in 0..READINGS {
            let asked_secs = clock.now();
            let status = self.connection.status().await.ok()??;
            let said_secs = status.unix_nanos as f64 / 1e9;
            offsets.push(Offset::reading(asked_secs, said_secs, clock.now()));
            last.machine = status.machine;
            last.asked_secs = asked_secs;
            let cpu_secs = |micros: &u64| *micros as f64 / 1e6;
            last.threads_cpu_secs = status.threads_cpu_micros.iter().map(cpu_secs).collect();
        }
        last.clock = Offset::best(offsets)?;
        Some(last)
    }
}

impl ServerStatus {
    /// The part of the time since `before`, 0 to 1, that the busiest thread was busy.
    pub(crate) fn busiest_since(&self, before: &Self) -> Option<f64> {
        let secs = self.asked_secs - before.asked_secs;
        busiest(&before.threads_cpu_secs, &self.threads_cpu_secs, secs)
    }
}

/// The part of `secs` that the busiest of the same threads was busy between two looks at them.
pub(crate) fn busiest(before: &[f64], after: &[f64], secs: f64) -> Option<f64> {
    let same = !after.is_empty() && before.len() == after.len() && secs > 0.0;
    let grown = before
        .iter()
        .zip(after)
        .map(|(before, after)| after - before);
    same.then(|| grown.fold(0.0, f64::max) / secs)
}

#[cfg(test)]
mod tests {
    use super::busiest;

    #[test]
    fn the_busiest_thread_counts() {
        assert_eq!(busiest(&[1.0, 2.0], &[1.5, 3.5], 2.0), Some(0.75));
        assert_eq!(busiest(&[1.0], &[1.5, 3.5], 2.0), None);
        assert_eq!(busiest(&[], &[], 2.0), None);
    }
}
