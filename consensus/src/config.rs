//! The settings of a group, and what openraft is told of them.

use std::sync::Arc;
use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::error::StartError;

/// Settings of a group. All members of a group should have the same times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// A follower that hears no leader for a time drawn from here to `election_max` asks for votes.
    pub election_min: Duration,
    /// See `election_min`. Also the leader's lease, and the time within which a message is answered or
    /// taken for lost. A dead leader is replaced after up to twice this time.
    pub election_max: Duration,
    /// A proposal that is not applied within this time is answered as unknown.
    pub propose_patience: Duration,
    /// When a log exceeds these bytes, entries that are applied are dropped from its front.
    pub log_bytes_max: usize,
    /// As many bytes of entries are kept, so that followers who lag a little need no snapshot.
    pub log_bytes_keep: usize,
}

impl Default for Config {
    /// A dead leader is replaced in about a second.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            propose_patience: Duration::from_secs(10),
            log_bytes_max: 32 << 20,
            log_bytes_keep: 8 << 20,
        }
    }
}

impl Config {
    /// What openraft is told. Snapshots and purges are the group's own business
    /// ([`crate::group`]): openraft bounds them by entries, we by bytes.
    pub(crate) fn openraft(&self, group: u32) -> Result<Arc<openraft::Config>, StartError> {
        if self.log_bytes_keep > self.log_bytes_max {
            return Err(StartError::Config(format!(
                "log_bytes_keep is {}, more than log_bytes_max, {}",
                self.log_bytes_keep, self.log_bytes_max
            )));
        }
        let config = openraft::Config {
            cluster_name: format!("group {group}"),
            heartbeat_interval: millis(self.heartbeat),
            // Beats are left out while entries flow; they show the same.
            heartbeat_min_interval: Some(millis(self.heartbeat)),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            install_snapshot_timeout: millis(self.election_max),
            max_payload_entries: 64,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            enable_pre_vote: Some(true),
            backoff: "50ms 100ms ...200ms".to_owned(),
            ..openraft::Config::default()
        };
        config
            .validate()
            .map(Arc::new)
            .map_err(|error| StartError::Config(error.to_string()))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
