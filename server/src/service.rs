//! The server as a function of what it is handed.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use batchkv_protocol::Status;
use batchkv_store::{Dashmap, Engine, Partitioned};
use batchkv_telemetry::sample::unix_time;
use batchkv_telemetry::{machine, threads_cpu};
use tokio::sync::watch;

use crate::accept::Acceptor;
use crate::budget::Budget;
use crate::config::{Config, EngineKind};
use crate::connection::Context;
use crate::executor::{Executor, Immediate};
use crate::handle::{Handle, Observer};
use crate::session::Identity;
use crate::shared_map::SharedMap;
use crate::stats::{Snapshot, Stats};
use crate::threads::{THREAD_NAME, Thread};

/// Serves connections of `listener` until `shutdown` is ready; then accepts no more, answers the
/// frames that were read, within [`DRAIN_TIME_MAX`](batchkv_protocol::limits::DRAIN_TIME_MAX), and gives the final
/// counters. `started` is called once, when connections are accepted.
///
/// # Errors
/// When the threads or the listener cannot be set up.
pub async fn run(
    config: Config,
    listener: std::net::TcpListener,
    started: impl FnOnce(Handle),
    shutdown: impl Future<Output = ()>,
) -> io::Result<Snapshot> {
    let partitions = config.map.partitioning().partitions();
    match config.engine {
        EngineKind::Partitioned => {
            let engine = Partitioned::new(partitions, config.max_memory_bytes);
            serve(config, engine, listener, started, shutdown).await
        }
        EngineKind::Dashmap => {
            let engine = Dashmap::new(partitions, config.max_memory_bytes);
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
    started: impl FnOnce(Handle),
    shutdown: impl Future<Output = ()>,
) -> io::Result<Snapshot> {
    let server_index = config.server_index;
    let executor = |map| Immediate::new(engine, map, server_index);
    serve_with(config, executor, listener, started, shutdown).await
}

/// [`run`] with an executor of the caller's, made for the map that the server tells of.
///
/// # Errors
/// As [`run`].
pub async fn serve_with<X: Executor>(
    config: Config,
    executor: impl FnOnce(Arc<SharedMap>) -> X,
    listener: std::net::TcpListener,
    started: impl FnOnce(Handle),
    shutdown: impl Future<Output = ()>,
) -> io::Result<Snapshot> {
    let map = Arc::new(SharedMap::new(&config.map, config.addresses.clone()));
    let executor = Arc::new(executor(map.clone()));
    let stats = Arc::new(Stats::new(config.threads));
    let budget = Arc::new(Budget::new(config.buffer_bytes_max));
    let observer = Observer {
        stats: stats.clone(),
        usage: {
            let executor = executor.clone();
            Arc::new(move || executor.usage())
        },
        budget: budget.clone(),
    };
    let identity = Arc::new(Identity {
        server_index: config.server_index,
        threads: config.threads as u32,
        map: map.clone(),
        status,
        clock: Instant::now,
    });
    let (stop, stopped) = watch::channel(false);
    let context = |thread| Context {
        executor: executor.clone(),
        identity: identity.clone(),
        stats: stats.clone(),
        thread,
        budget: budget.clone(),
        answers: Cell::default(),
        scratch: Cell::default(),
        patience: config.idle_timeout,
        shutdown: stopped.clone(),
    };
    let threads = (0..config.threads).map(|thread| Thread::start(context(thread)));
    let threads = threads.collect::<io::Result<Vec<_>>>()?;
    let mut acceptor = Acceptor::new(listener, &threads, &stats, config.max_connections)?;
    started(Handle::new(observer.clone(), map));
    acceptor.accept_until(shutdown).await;
    drop(acceptor);
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
