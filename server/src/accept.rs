//! The accept loop: each connection goes to the thread with the fewest.
//!
//! When the process may open no more files, the one descriptor that is kept for it accepts a connection to
//! tell its client so; without it the client would wait in the listener's queue and hear nothing.

use std::fs::File;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use batchkv_protocol::SendBuffer;
use batchkv_protocol::limits::{SOCKET_SEND_BYTES, SOCKET_UNSENT_BYTES};
use nix::sys::resource::{Resource, getrlimit};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::budget::socket_receive_bytes;
use crate::fault::write_error;
use crate::stats::{Closed, Open, Stats};
use crate::threads::{Accepted, Thread};

/// Time between two attempts to accept where it failed and nobody could be told.
const RETRY_TIME: Duration = Duration::from_millis(50);
/// Time that a client gets to read why it is not served when there is no descriptor for the next one.
const TURN_AWAY_TIME: Duration = Duration::from_millis(200);

/// What connections are accepted with.
pub(crate) struct Acceptor<'a> {
    listener: TcpListener,
    threads: &'a [Thread],
    stats: &'a Arc<Stats>,
    max_connections: u64,
    /// A descriptor to give up when there is no other.
    reserve: Option<File>,
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl<'a> Acceptor<'a> {
    pub(crate) fn new(
        listener: std::net::TcpListener,
        threads: &'a [Thread],
        stats: &'a Arc<Stats>,
        max_connections: u64,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            threads,
            stats,
            max_connections,
            reserve: reserve(),
        })
    }

    pub(crate) async fn accept_until(&mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        loop {
            let receive_bytes = socket_receive_bytes(self.stats.connections());
            // Where it fails, more memory is used.
            let _ = SockRef::from(&self.listener).set_recv_buffer_size(receive_bytes);
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.hand_over(stream),
                Err(error) => tokio::select! {
                    () = &mut shutdown => return,
                    () = self.failed(&error) => {}
                },
            }
        }
    }

    fn hand_over(&self, stream: TcpStream) {
        // All of these fail only for a socket that is already dead.
        let _ = stream.set_nodelay(true);
        let socket = SockRef::from(&stream);
        let _ = socket.set_send_buffer_size(SOCKET_SEND_BYTES);
        let _ = socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES);
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let index = self.stats.idlest();
        let max_connections = self.max_connections;
        let open = if self.stats.connections() < max_connections {
            Ok(Open::new(self.stats.clone(), index))
        } else {
            self.stats.closed(Closed::Crowded);
            Err(format!(
                "{max_connections} connections are open, and no more are allowed"
            ))
        };
        self.threads[index].hand_over(Accepted { stream, open });
    }

    /// Nobody could be accepted; when that is for want of a descriptor, the first in the queue is told so.
    async fn failed(&mut self, error: &io::Error) {
        let out_of_descriptors = [nix::libc::EMFILE, nix::libc::ENFILE].map(Some);
        if !out_of_descriptors.contains(&error.raw_os_error()) {
            return sleep(RETRY_TIME).await;
        }
        drop(self.reserve.take());
        match timeout(RETRY_TIME, self.listener.accept()).await {
            Ok(Ok((stream, _))) => {
                self.stats.closed(Closed::NoDescriptor);
                // A client that does not read it in time is closed all the same.
                let _ = timeout(TURN_AWAY_TIME, turn_away(stream)).await;
            }
            Ok(Err(_)) => sleep(RETRY_TIME).await,
            Err(_) => {}
        }
        self.reserve = reserve();
    }
}

/// Says why, and waits for the peer to close, so that unread input does not destroy what was said.
async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let text = format!(
        "the server has no file descriptor left for a connection: its limit of open files is {files} (ulimit -n)"
    );
    let mut out = SendBuffer::default();
    write_error(&text, &mut out);
    stream.write_all(out.pending()).await?;
    stream.shutdown().await?;
    let mut discarded = [0; 1024];
    while stream.read(&mut discarded).await? > 0 {}
    Ok(())
}
