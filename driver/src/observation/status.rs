//! What servers say of themselves, asked over a connection of its own: their clocks, their machines,
//! and how busy their threads are.

use std::io;
use std::time::Duration;

use batchkv_protocol::control::{FEATURE_STATUS, MAGIC, VERSION};
use batchkv_protocol::{ClientHello, Control, ReceiveBuffer, SendBuffer, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::{Clock, Offset, READINGS};

/// Time for one server to say all it is asked.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// A connection for asking a server, if that server has this feature.
#[derive(Debug)]
pub(crate) struct StatusLine {
    stream: TcpStream,
    input: ReceiveBuffer,
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
    /// Connects; `None` when the server does not answer such questions, which is no fault.
    pub(crate) async fn open(address: &str) -> Option<Self> {
        let opening = async {
            let stream = TcpStream::connect(address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let input = ReceiveBuffer::default();
            let mut line = Self { stream, input };
            let hello = Control::ClientHello(ClientHello {
                magic: MAGIC,
                version_min: VERSION,
                version_max: VERSION,
                features: FEATURE_STATUS,
                client_id: [0; 16],
            });
            let Control::ServerHello(hello) = line.ask(&hello).await.ok()? else {
                return None;
            };
            (hello.features & FEATURE_STATUS != 0).then_some(line)
        };
        timeout(ANSWER_TIME, opening).await.ok().flatten()
    }

    /// Asks several times, to compare the clocks; what else is said is of the last answer.
    pub(crate) async fn status(&mut self, clock: &Clock) -> Option<ServerStatus> {
        timeout(ANSWER_TIME, self.readings(clock))
            .await
            .ok()
            .flatten()
    }

    async fn readings(&mut self, clock: &Clock) -> Option<ServerStatus> {
        let mut offsets = Vec::with_capacity(READINGS);
        let mut last = ServerStatus::default();
        for _ in 0..READINGS {
            let asked_secs = clock.now();
            let Control::Status(status) = self.ask(&Control::StatusRequest).await.ok()? else {
                return None;
            };
            let Status {
                unix_nanos,
                machine,
                threads_cpu_micros,
            } = status;
            let said_secs = unix_nanos as f64 / 1e9;
            offsets.push(Offset::reading(asked_secs, said_secs, clock.now()));
            last.machine = machine;
            last.asked_secs = asked_secs;
            last.threads_cpu_secs = threads_cpu_micros
                .iter()
                .map(|us| *us as f64 / 1e6)
                .collect();
        }
        last.clock = Offset::best(offsets)?;
        Some(last)
    }

    async fn ask(&mut self, question: &Control) -> io::Result<Control> {
        let mut out = SendBuffer::default();
        question.write(&mut out);
        self.stream.write_all(out.pending()).await?;
        let damaged = |_| io::Error::from(io::ErrorKind::InvalidData);
        loop {
            if let Some(body) = self.input.body().map_err(damaged)? {
                let answer = Control::decode(body).map_err(damaged)?;
                self.input.consume();
                return Ok(answer);
            }
            match self.stream.read(self.input.spare()).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => self.input.filled(bytes),
            }
        }
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
