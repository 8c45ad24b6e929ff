//! The batchkv server: applies whole batches to a sharded concurrent map.
//!
//! ```text
//!  net: accept -> the thread with the fewest connections (one current-thread runtime each)
//!       read -> ReceiveBuffer -> session::Session::advance -> SendBuffer -> write
//!                                     |  windows of operations, across group borders
//!                                     v
//!                               store::Engine (shared by all threads)
//! ```
//!
//! Start at [`run`]; [`session`] is the conversation without sockets, [`store`] the engines,
//! [`stats`] what is counted. The `net` module holds all socket code.

mod budget;
pub mod config;
mod net;
pub mod session;
pub mod stats;

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use batchkv_protocol::Status;
use batchkv_protocol::limits::{DRAIN_TIME_MAX, SOCKET_SEND_BYTES, SOCKET_UNSENT_BYTES};
use batchkv_telemetry::sample::unix_time;
use batchkv_telemetry::{machine, threads_cpu};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use batchkv_store::{Dashmap, Engine, Partitioned};
use budget::Budget;
use config::{Config, EngineKind};
use net::Context;
use session::Identity;
use stats::{Open, Snapshot, Stats};

/// Names of the threads that serve connections begin with this.
const THREAD_NAME: &str = "server-";
/// Time between two attempts to accept when the process has no file descriptor left.
const ACCEPT_RETRY_TIME: Duration = Duration::from_millis(50);

/// Looks at a running server's counters.
#[derive(Clone)]
pub struct Observer {
    stats: Arc<Stats>,
    engine: Arc<dyn Engine>,
}

impl Observer {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            usage: self.engine.usage(),
            ..self.stats.snapshot()
        }
    }
}

/// Serves connections of `listener` until `shutdown` is ready; then accepts no more, answers the
/// frames that were read, within [`DRAIN_TIME_MAX`], and gives the final counters. `started` is
/// called once, when connections are accepted.
///
/// # Errors
/// When the threads or the listener cannot be set up.
pub async fn run(
    config: Config,
    listener: std::net::TcpListener,
    started: impl FnOnce(Observer),
    shutdown: impl Future<Output = ()>,
) -> io::Result<Snapshot> {
    let partitions = config.map.partitions().len() as u32;
    match config.engine {
        EngineKind::Partitioned => {
            let engine = Partitioned::new(partitions, config.max_memory_bytes);
            serve(config, engine, listener, started, shutdown).await
        }
        EngineKind::Dashmap => {
            let engine = Dashmap::new(config.max_memory_bytes);
            serve(config, engine, listener, started, shutdown).await
        }
    }
}

/// [`run`] with an engine of the caller's.
///
/// # Errors
/// As [`run`].
pub async fn serve<E: Engine>(
    config: Config,
    engine: E,
    listener: std::net::TcpListener,
    started: impl FnOnce(Observer),
    shutdown: impl Future<Output = ()>,
) -> io::Result<Snapshot> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let stats = Arc::new(Stats::new(config.threads));
    let engine = Arc::new(engine);
    let observer = Observer {
        stats: stats.clone(),
        engine: engine.clone(),
    };
    let (stop, stopped) = watch::channel(false);
    let identity = Arc::new(Identity {
        server_index: config.server_index,
        threads: config.threads as u32,
        map: config.map,
        status,
        clock: Instant::now,
    });
    let budget = Arc::new(Budget::new(config.buffer_bytes_max));
    let mut threads = Vec::with_capacity(config.threads);
    for thread in 0..config.threads {
        let context = Context {
            engine: engine.clone(),
            identity: identity.clone(),
            stats: stats.clone(),
            thread,
            budget: budget.clone(),
            answers: Cell::default(),
            patience: config.idle_timeout,
            shutdown: stopped.clone(),
        };
        threads.push(Thread::start(context)?);
    }
    started(observer.clone());
    let mut shutdown = pin!(shutdown);
    loop {
        let receive_bytes = budget::socket_receive_bytes(stats.connections());
        // Where it fails, more memory is used.
        let _ = SockRef::from(&listener).set_recv_buffer_size(receive_bytes);
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => hand_over(stream, &threads, &stats, config.max_connections),
                Err(_) => tokio::time::sleep(ACCEPT_RETRY_TIME).await,
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    let mut panics = 0;
    for thread in threads {
        panics += thread.join().await;
    }
    Ok(Snapshot {
        panics,
        ..observer.snapshot()
    })
}

/// The server as it is now, for a client that asks.
fn status() -> Status {
    let threads = threads_cpu(THREAD_NAME);
    Status {
        unix_nanos: u64::try_from(unix_time().as_nanos()).unwrap_or(u64::MAX),
        machine: machine(),
        threads_cpu_micros: threads.iter().map(|secs| (secs * 1e6) as u64).collect(),
    }
}

/// A connection on its way to the thread that serves it, or refuses it with a reason.
struct Accepted {
    stream: std::net::TcpStream,
    admission: Result<Open, String>,
}

struct Thread {
    accepted: mpsc::UnboundedSender<Accepted>,
    handle: std::thread::JoinHandle<u64>,
}

fn hand_over(stream: TcpStream, threads: &[Thread], stats: &Arc<Stats>, max_connections: u64) {
    // All of these fail only for a socket that is already dead.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(&stream);
    let _ = socket.set_send_buffer_size(SOCKET_SEND_BYTES);
    let _ = socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES);
    let Ok(stream) = stream.into_std() else {
        return;
    };
    let index = stats.idlest();
    let admission = if stats.connections() < max_connections {
        Ok(Open::new(stats.clone(), index))
    } else {
        Err(format!(
            "{max_connections} connections are open, and no more are allowed"
        ))
    };
    // A thread that is gone leaves the connection closed.
    let _ = threads[index].accepted.send(Accepted { stream, admission });
}

impl Thread {
    fn start<E: Engine>(context: Context<E>) -> io::Result<Self> {
        let (accepted, inbox) = mpsc::unbounded_channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = std::thread::Builder::new()
            .name(format!("{THREAD_NAME}{}", context.thread))
            .spawn(move || LocalSet::new().block_on(&runtime, serve_connections(context, inbox)))?;
        Ok(Self { accepted, handle })
    }

    /// Waits for the thread's end, and gives the number of panics on it.
    async fn join(self) -> u64 {
        drop(self.accepted);
        let joined = tokio::task::spawn_blocking(|| self.handle.join()).await;
        // The thread itself panics only with its runtime.
        joined.map_or(1, |panics| panics.unwrap_or(1))
    }
}

/// Serves what comes in `inbox` until the server stops; gives the number of connections that ended in a
/// panic, which is a fault of the server and harms no other connection.
async fn serve_connections<E: Engine>(
    context: Context<E>,
    mut inbox: mpsc::UnboundedReceiver<Accepted>,
) -> u64 {
    let context = std::rc::Rc::new(context);
    let mut connections = tokio::task::JoinSet::new();
    let mut shutdown = context.shutdown.clone();
    let mut panics = 0;
    loop {
        let accepted = tokio::select! {
            accepted = inbox.recv() => accepted,
            Some(ended) = connections.join_next() => {
                panics += u64::from(ended.is_err());
                continue;
            }
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let Some(Accepted { stream, admission }) = accepted else {
            break;
        };
        let context = context.clone();
        connections.spawn_local(async move {
            let Ok(stream) = TcpStream::from_std(stream) else {
                return;
            };
            match admission {
                Ok(open) => net::serve(stream, open, &context).await,
                Err(text) => net::refuse(stream, &context, &text).await,
            }
        });
    }
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            panics += u64::from(ended.is_err());
        }
    };
    // What is not done by then is cut off and counts as dropped, when its `Open` goes.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, drained).await;
    panics
}
