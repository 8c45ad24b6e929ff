//! Keeps a member's log within its bytes.
//!
//! Openraft drops entries only behind a snapshot. In memory a snapshot is a mark (see
//! [`crate::machine::Adapter`]), so both cost nothing: the mark is set at what is applied, and what lies
//! before it and beyond `log_bytes_keep` is dropped. A follower that needs what was dropped gets an image.

use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use crate::config::Config;
use crate::log::{MemoryLog, SharedLog};
use crate::machine::{Adapter, StateMachine};
use crate::types::Types;

/// How long openraft has for a mark or a purge before it is asked again.
const PURGE_PATIENCE: Duration = Duration::from_millis(500);

/// Purges the log of one group until it stops.
pub(crate) async fn keep_bounded<S: StateMachine>(
    raft: Raft<Types, Adapter<S>>,
    log: SharedLog<MemoryLog>,
    config: Config,
    mut applied: watch::Receiver<u64>,
) {
    while applied.changed().await.is_ok() {
        if log.bytes() <= config.log_bytes_max {
            continue;
        }
        let applied = *applied.borrow_and_update();
        let Some(last) = log.purgeable(config.log_bytes_keep) else {
            continue;
        };
        if purge(&raft, last.min(applied)).await.is_none() {
            return;
        }
    }
}

/// Marks a snapshot at `last` or later, and purges up to it. `None` when the group stops.
async fn purge<S: StateMachine>(raft: &Raft<Types, Adapter<S>>, last: u64) -> Option<()> {
    let snapshot = |metrics: &openraft::RaftMetrics<Types>| metrics.snapshot.map(|id| id.index);
    let marked = snapshot(&raft.metrics().borrow_watched()).is_some_and(|at| at >= last);
    if !marked {
        raft.trigger().snapshot().await.ok()?;
        let wait = raft.wait(Some(PURGE_PATIENCE));
        let _late = wait
            .metrics(|metrics| snapshot(metrics) >= Some(last), "mark")
            .await;
    }
    raft.trigger().purge_log(last).await.ok()
}
