//! What a running server is looked at and changed by.

use std::sync::Arc;

use batchkv_store::Usage;

use crate::budget::Budget;
use crate::shared_map::SharedMap;
use crate::stats::{Snapshot, Stats};

/// A running server, for as long as it runs and afterwards.
#[derive(Clone)]
pub struct Handle {
    observer: Observer,
    map: Arc<SharedMap>,
}

impl Handle {
    /// The server's counters.
    #[must_use]
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Who owns which partition: what is [offered](SharedMap::offer) there holds from the next group on, and is
    /// sent to the clients.
    #[must_use]
    pub fn map(&self) -> &Arc<SharedMap> {
        &self.map
    }

    pub(crate) fn new(observer: Observer, map: Arc<SharedMap>) -> Self {
        Self { observer, map }
    }
}

/// Looks at a running server's counters.
#[derive(Clone)]
pub struct Observer {
    pub(crate) stats: Arc<Stats>,
    pub(crate) usage: Arc<dyn Fn() -> Usage + Send + Sync>,
    pub(crate) budget: Arc<Budget>,
}

impl Observer {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            usage: (self.usage)(),
            parked_bytes: self.budget.parked_bytes(),
            ..self.stats.snapshot()
        }
    }
}
