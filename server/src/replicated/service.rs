//! The server as a member of a cluster, as a function of what it is handed.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use batchkv_cluster::gossip::Load;
use batchkv_cluster::node::{Entry, Settings, StartError};
use batchkv_consensus::ReadBy;
use batchkv_store::{Dashmap, Movable, Partitioned};
use batchkv_telemetry::machine;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::{Member, Replicated};
use crate::config::{Config, EngineKind};
use crate::handle::{Handle, Observer};
use crate::service::serve_with;
use crate::shared_map::SharedMap;
use crate::stats::Snapshot;

/// How often other servers are told anew what this one does.
const LOAD_TIME: Duration = Duration::from_secs(1);

/// How the server becomes a member, and what it keeps to as one.
pub struct Membership {
    /// How it becomes one.
    pub entry: Entry,
    /// Where other servers reach it.
    pub peers: TcpListener,
    /// How reads get their points.
    pub read_by: ReadBy,
    /// How long a server is silent before its replicas are replaced.
    pub dead_after: Duration,
    /// Told what whoever runs the server should know.
    pub notice: Arc<dyn Fn(String) + Send + Sync>,
}

/// Why a member does not serve, or serves no more.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// It did not become a member.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It cannot be a member any more; its connections were drained.
    #[error("{0}")]
    Lost(String),
    /// The threads or the listener could not be set up.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Becomes a member of a cluster and serves as [`run`](crate::run) does; of `config` the map, its addresses and the
/// server's number come from the cluster. `started` is called once any client can be answered usefully. When
/// `shutdown` is ready what is led here is handed over first.
///
/// # Errors
/// When the server does not become a member, or cannot be one any more; `None` as totals when it was to stop before.
pub async fn run_member(
    config: Config,
    membership: Membership,
    listener: TcpListener,
    started: impl FnOnce(Handle),
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Snapshot>, MemberError> {
    let max_memory_bytes = config.max_memory_bytes;
    match config.engine {
        EngineKind::Partitioned => {
            let engine = |partitions| Partitioned::new(partitions, max_memory_bytes);
            serve_member(config, membership, engine, listener, started, shutdown).await
        }
        EngineKind::Dashmap => {
            let engine = |partitions| Dashmap::new(partitions, max_memory_bytes);
            serve_member(config, membership, engine, listener, started, shutdown).await
        }
    }
}

async fn serve_member<E: Movable>(
    mut config: Config,
    membership: Membership,
    engine: impl FnOnce(u32) -> E,
    listener: TcpListener,
    started: impl FnOnce(Handle),
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Snapshot>, MemberError> {
    let mut shutdown = std::pin::pin!(shutdown);
    let read_by = membership.read_by;
    let settings = Settings {
        address: listener.local_addr()?.to_string(),
        peers: membership.peers,
        machine: machine(),
        entry: membership.entry,
        dead_after: membership.dead_after,
        workers: config.threads,
        notice: membership.notice,
    };
    let member: Arc<Member<E>> = tokio::select! {
        member = Member::start(settings, engine) => Arc::new(member?),
        () = &mut shutdown => return Ok(None),
    };
    (config.server_index, config.map) = member.first_map()?;
    config.addresses = member.servers();
    let (index, max_memory_bytes) = (config.server_index, config.max_memory_bytes);
    let executor = |map: Arc<SharedMap>| {
        member.tell(map.clone());
        Replicated::new(&member, map, index, read_by, max_memory_bytes)
    };
    let (handle_sender, handle) = oneshot::channel();
    let mut lost = None;
    let ends = async {
        tokio::select! {
            () = &mut shutdown => member.hand_over().await,
            reason = member.failed() => lost = Some(reason),
        }
    };
    let accepting = |handle| {
        let _listens = handle_sender.send(handle);
    };
    let serving = serve_with(config, executor, listener, accepting, ends);
    let beside = async {
        if let Ok(handle) = handle.await {
            member.ready().await;
            let observer = handle.observer().clone();
            started(handle);
            tell_load(&member, &observer).await;
        }
        std::future::pending().await
    };
    let totals = tokio::select! {
        biased;
        totals = serving => totals?,
        never = beside => never,
    };
    match lost {
        Some(reason) => Err(MemberError::Lost(reason)),
        None => Ok(Some(totals)),
    }
}

/// Tells the member what the server does and holds, again and again.
async fn tell_load<E: Movable>(member: &Member<E>, observer: &Observer) {
    let mut turns = interval(LOAD_TIME);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = observer.snapshot();
    let mut at = turns.tick().await;
    loop {
        let now = turns.tick().await;
        let snapshot = observer.snapshot();
        let served = snapshot.counters - before.counters;
        let seconds = (now - at).as_secs_f64().max(f64::EPSILON);
        member.set_load(Load {
            operations_per_second: (served.executed() as f64 / seconds) as u64,
            records: snapshot.usage.records,
            memory_bytes: snapshot.usage.memory_bytes,
        });
        (before, at) = (snapshot, now);
    }
}
