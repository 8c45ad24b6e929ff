//! The library against servers of this process whose partitions change hands under load.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

use batchkv_client::protocol::limits::BUFFER_BYTES_MAX;
use batchkv_client::protocol::{Ownership, PartitionMap, ServerAddress};
use batchkv_client::{Batch, Client, Options, Outcome};
use batchkv_server::Handle;
use batchkv_server::config::{Config, EngineKind};
use batchkv_server::executor::Immediate;
use batchkv_server::stats::Snapshot;
use batchkv_store::Partitioned;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const PARTITIONS: u32 = 16;
/// What a test that hangs is ended behind.
const PATIENCE: Duration = Duration::from_secs(240);

struct Running {
    address: String,
    handle: Handle,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Snapshot>,
}

/// Servers of which the first `owners` share the partitions; all of them know where each is.
fn start(servers: u32, owners: u32) -> Vec<Running> {
    let listeners: Vec<TcpListener> = (0..servers)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses: Vec<ServerAddress> = (0..)
        .zip(&listeners)
        .map(|(id, listener)| ServerAddress {
            id,
            address: listener.local_addr().unwrap().to_string(),
        })
        .collect();
    (0..)
        .zip(listeners)
        .map(|(index, listener)| start_one(index, listener, owners, addresses.clone()))
        .collect()
}

fn start_one(
    index: u32,
    listener: TcpListener,
    owners: u32,
    addresses: Vec<ServerAddress>,
) -> Running {
    let config = Config {
        server_index: index,
        map: PartitionMap::fixed(PARTITIONS, owners).unwrap(),
        addresses,
        engine: EngineKind::Partitioned, // an executor is handed over
        threads: 1,
        max_memory_bytes: None,
        buffer_bytes_max: BUFFER_BYTES_MAX,
        max_connections: 100,
        idle_timeout: PATIENCE,
    };
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, handle) = mpsc::channel();
    let server = thread::spawn(move || {
        let executor = move |map| Immediate::new(Partitioned::new(PARTITIONS, None), map, index);
        let started = |handle| started.send(handle).unwrap();
        let stopped = async { drop(stopped.await) };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let serving = batchkv_server::serve_with(config, executor, listener, started, stopped);
        runtime.block_on(serving).unwrap()
    });
    Running {
        address,
        handle: handle.recv_timeout(PATIENCE).unwrap(),
        stop,
        server,
    }
}

impl Running {
    fn stop(self) -> Snapshot {
        self.stop.send(()).unwrap();
        self.server.join().unwrap()
    }
}

/// Gives partitions to servers, one a step, while operations go on in between, `steps` times.
fn move_owners(servers: &[Running], steps: u64) {
    let puts = || -> u64 {
        let snapshots = servers
            .iter()
            .map(|server| server.handle.observer().snapshot());
        snapshots.map(|snapshot| snapshot.counters.puts).sum()
    };
    for step in 1..=steps {
        let partition = (step as u32 * 7) % PARTITIONS;
        let owner = (step + step / u64::from(PARTITIONS)) as u32 % servers.len() as u32;
        let epoch = step + 1;
        for server in servers {
            let change = [(partition, Ownership { owner, epoch })];
            assert_eq!(server.handle.map().offer(change), 1);
        }
        let (before, begin) = (puts(), Instant::now());
        while puts() == before {
            assert!(begin.elapsed() < PATIENCE, "nothing is stored");
            thread::yield_now();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_change_under_load_and_a_client_never_notices() {
    const STEPS: u64 = 300;
    const KEYS: u64 = 400;
    let servers = start(3, 2);
    // A seed is enough, and it need not own anything.
    let seeds = [&servers[2].address];
    let client = Client::connect(&seeds, Options::default()).await.unwrap();
    let moved = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..4_u64)
        .map(|task| {
            let (client, moved) = (client.clone(), moved.clone());
            tokio::spawn(async move {
                let mut puts = 0;
                while !moved.load(Relaxed) {
                    let mut batch = Batch::new();
                    for key in puts..puts + KEYS {
                        let key = (task << 40 | key).to_le_bytes();
                        batch.put(&key, &key).unwrap();
                    }
                    puts += KEYS;
                    let answers = client.execute(batch).await;
                    let other = answers.iter().find(|outcome| *outcome != Outcome::Stored);
                    assert_eq!(other, None, "{:?}", answers.lost());
                }
                puts
            })
        })
        .collect();
    let servers = tokio::task::spawn_blocking(move || {
        move_owners(&servers, STEPS);
        servers
    });
    let servers = servers.await.unwrap();
    moved.store(true, Relaxed);
    let mut puts = 0;
    for task in tasks {
        puts += task.await.unwrap();
    }
    let counts = client.close().await.unwrap();
    assert!(counts.iter().all(|counts| counts.served == counts.answered));
    let snapshots: Vec<Snapshot> = servers.into_iter().map(Running::stop).collect();
    let sum = |count: fn(&Snapshot) -> u64| snapshots.iter().map(count).sum::<u64>();
    // Keys are put once each: each is in one of the stores, put there once.
    assert_eq!(sum(|snapshot| snapshot.counters.puts), puts);
    assert_eq!(sum(|snapshot| snapshot.usage.records), puts);
    assert!(sum(|snapshot| snapshot.counters.wrong_owner) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_elsewhere_is_found_by_what_others_say() {
    let mut servers = start(2, 2);
    let seeds = [&servers[0].address, &servers[1].address];
    let client = Client::connect(&seeds, Options::default()).await.unwrap();
    // Server 1 ends, and is started anew at another address, of which only server 0 tells.
    servers.pop().unwrap().stop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [
        &servers[0].address,
        &listener.local_addr().unwrap().to_string(),
    ];
    let told: Vec<ServerAddress> = (0..)
        .zip(addresses.map(String::clone))
        .map(|(id, address)| ServerAddress { id, address })
        .collect();
    servers.push(start_one(1, listener, 2, told.clone()));
    servers[0].handle.map().set_servers(told);
    for key in 0..32_u32 {
        // Until the loss is noticed, what is sent there is unknown.
        let begin = Instant::now();
        loop {
            let mut batch = Batch::new();
            batch.put(&key.to_le_bytes(), b"value").unwrap();
            let answers = client.execute(batch).await;
            if answers.get(0) == Some(Outcome::Stored) {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{:?}", answers.lost());
        }
    }
    let counts = client.close().await.unwrap();
    assert!(counts.iter().all(|counts| counts.served.puts > 0));
    for server in servers {
        server.stop();
    }
}
