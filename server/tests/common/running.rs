//! A server that runs in the test's own process.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use batchkv_protocol::PartitionMap;
use batchkv_protocol::limits::BUFFER_BYTES_MAX;
use batchkv_server::Handle;
use batchkv_server::config::{Config, EngineKind};
use batchkv_server::executor::Executor;
use batchkv_server::shared_map::SharedMap;
use batchkv_server::stats::Snapshot;
use tokio::sync::oneshot;

pub fn config() -> Config {
    Config {
        server_index: 0,
        map: PartitionMap::fixed(256, 1).unwrap(),
        addresses: Vec::new(),
        engine: EngineKind::Partitioned, // an executor is handed over
        threads: 1,
        max_memory_bytes: None,
        buffer_bytes_max: BUFFER_BYTES_MAX,
        max_connections: 100,
        idle_timeout: Duration::from_secs(60),
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A server and what it is looked at by.
pub struct Running {
    pub address: SocketAddr,
    pub handle: Handle,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Snapshot>,
}

impl Running {
    pub fn start<X: Executor>(
        listener: TcpListener,
        config: Config,
        executor: impl FnOnce(Arc<SharedMap>) -> X + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, handle) = mpsc::channel();
        let server = std::thread::spawn(move || {
            let started = |handle| started.send(handle).unwrap();
            let stopped = async { drop(stopped.await) };
            let serving = batchkv_server::serve_with(config, executor, listener, started, stopped);
            runtime().block_on(serving).unwrap()
        });
        Self {
            address,
            handle: handle.recv().unwrap(),
            stop,
            server,
        }
    }

    /// Tells it to stop, and does not wait.
    pub fn stopping(self) -> JoinHandle<Snapshot> {
        self.stop.send(()).unwrap();
        self.server
    }

    /// Stops it and gives its totals.
    pub fn stop(self) -> Snapshot {
        self.stopping().join().unwrap()
    }
}
