//! Read points: one at a time is asked for, for all groups of the partition that wait.

use std::sync::Arc;
use std::time::Duration;

use batchkv_cluster::map;
use batchkv_consensus::{ReadBy, ReadError, Role};
use batchkv_store::Movable;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Parked, Resumption, Shared, Turn};

/// How long a leader may take to be confirmed before its readers are sent away: an election's length.
const POINT_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried meanwhile.
const POINT_STEP: Duration = Duration::from_millis(5);
/// How long what was agreed on may take to be applied.
const APPLY_PATIENCE: Duration = Duration::from_secs(5);

/// Gives the reads of one partition their points.
pub(super) struct Reader<E: Movable> {
    shared: Arc<Shared<E>>,
    partition: u32,
    read_by: ReadBy,
}

impl<E: Movable> Reader<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, partition: u32, read_by: ReadBy) -> Self {
        Self {
            shared,
            partition,
            read_by,
        }
    }

    pub(super) async fn run(self, mut queue: mpsc::UnboundedReceiver<(Parked<E>, Turn<E>)>) {
        while let Some(first) = queue.recv().await {
            let mut groups = vec![first];
            while let Ok(more) = queue.try_recv() {
                groups.push(more);
            }
            let led = self.point().await;
            for (group, turn) in groups {
                // A group of an earlier term may stand behind writes of its connection that were refused.
                let term = map::term(group.group().header.epoch);
                match led == Some(term) {
                    true => {
                        let versions = group.group().options().versions;
                        group.resume(Resumption {
                            _turn: turn,
                            versions,
                        });
                    }
                    false => self.shared.send_away(group),
                }
            }
        }
    }

    /// Ready when all that was acknowledged before is applied here: the term in which this member leads; `None` when it
    /// does not.
    async fn point(&self) -> Option<u64> {
        let began = Instant::now();
        loop {
            let group = self.shared.groups.of(self.partition)?;
            match group.read_point(self.read_by).await {
                Ok(index) => {
                    let applied = timeout(APPLY_PATIENCE, group.wait_applied(index)).await;
                    return applied.ok()?.ok().map(|()| group.status().term);
                }
                // A new leader is confirmed in a moment; one without a majority steps down.
                Err(ReadError::NoQuorum)
                    if group.status().role == Role::Leader && began.elapsed() < POINT_PATIENCE =>
                {
                    sleep(POINT_STEP).await;
                }
                Err(_) => return None,
            }
        }
    }
}
