//! Operations that were counted, by kind and by what became of them.

use batchkv_client::kind::OperationKind;
use batchkv_protocol::Counters;
use serde::{Deserialize, Serialize};

/// Operations of the measured window by kind, and what the gets among them found. A
/// read-modify-write counts as one operation, when its put was answered; its get counts among hits
/// and misses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    pub(crate) updates: u64,
    pub(crate) inserts: u64,
    pub(crate) read_modify_writes: u64,
    pub(crate) deletes: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl Counts {
    /// Operations of all kinds.
    pub(crate) fn ops(&self) -> u64 {
        self.reads + self.writes()
    }

    /// Operations on the wire: a read-modify-write is two.
    pub(crate) fn asked(&self) -> u64 {
        self.ops() + self.read_modify_writes
    }

    /// Operations that change something.
    pub(crate) fn writes(&self) -> u64 {
        self.updates + self.inserts + self.read_modify_writes + self.deletes
    }

    /// Operations by the workload's kind.
    pub(crate) fn by_kind(&self) -> [u64; 5] {
        [
            self.reads,
            self.updates,
            self.inserts,
            self.read_modify_writes,
            self.deletes,
        ]
    }

    /// Gets that found a value, of all gets.
    pub(crate) fn hit_rate(&self) -> Option<f64> {
        let gets = self.hits + self.misses;
        (gets > 0).then(|| self.hits as f64 / gets as f64)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.updates += other.updates;
        self.inserts += other.inserts;
        self.read_modify_writes += other.read_modify_writes;
        self.deletes += other.deletes;
        self.hits += other.hits;
        self.misses += other.misses;
    }
}

/// Executed operations by kind, over a connection's or a client's whole life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kinds {
    pub(crate) gets: u64,
    /// Gets that found a value.
    pub(crate) hits: u64,
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
}

impl Kinds {
    /// Operations of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.gets + self.puts + self.deletes
    }

    /// Counts an operation.
    pub(crate) fn count(&mut self, kind: OperationKind) {
        match kind {
            OperationKind::Get => self.gets += 1,
            OperationKind::Put => self.puts += 1,
            OperationKind::Delete => self.deletes += 1,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.gets += other.gets;
        self.hits += other.hits;
        self.puts += other.puts;
        self.deletes += other.deletes;
    }
}

impl From<Counters> for Kinds {
    fn from(counters: Counters) -> Self {
        Self {
            gets: counters.gets,
            hits: counters.hits,
            puts: counters.puts,
            deletes: counters.deletes,
        }
    }
}

/// One connection's, or one server's, operations as both sides counted them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Whose counts these are, for the reason: `10.10.1.1:8080, connection 3`.
    pub(crate) name: String,
    /// What the client got answers to.
    pub(crate) answered: Kinds,
    /// What the client sent and got no answer to.
    pub(crate) unknown: Kinds,
    /// What the server executed; `None` when it cannot be asked any more.
    pub(crate) served: Option<Kinds>,
}

impl Account {
    /// Whether everything that was sent was answered, so that the server can be asked.
    pub(crate) fn is_whole(&self) -> bool {
        self.unknown.total() == 0
    }
}

/// What became of the values that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checks {
    /// Values that were looked at.
    pub(crate) verified: u64,
    /// Damaged, or another key's.
    pub(crate) damaged: u64,
    /// Older than a write of ours that had been acknowledged, or another run's in its place.
    pub(crate) stale: u64,
    /// Values that were compared with a write of the same worker, which had been acknowledged before.
    pub(crate) compared: u64,
    /// Written by another run.
    pub(crate) foreign: u64,
    /// Gets after the load that found nothing.
    pub(crate) misses: u64,
    /// Of these, of records that were certainly there.
    pub(crate) lost: u64,
    /// Gets behind the window, of records that were written.
    pub(crate) read_back: u64,
    /// Operations that were refused.
    pub(crate) errors: u64,
}

impl Checks {
    pub(crate) fn add(&mut self, other: &Self) {
        self.verified += other.verified;
        self.damaged += other.damaged;
        self.stale += other.stale;
        self.foreign += other.foreign;
        self.compared += other.compared;
        self.misses += other.misses;
        self.lost += other.lost;
        self.read_back += other.read_back;
        self.errors += other.errors;
    }

    /// Values that make the run invalid; another run's do when this one has `loaded`.
    pub(crate) fn failures(&self, loaded: bool) -> u64 {
        self.damaged + self.stale + if loaded { self.foreign } else { 0 }
    }
}

/// An open loop's arrivals, of a second or of the window; all of them are in the latencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offered {
    /// That were to arrive by the rate; known of a window alone.
    pub(crate) intended: u64,
    /// That arrived by the schedule.
    pub(crate) arrived: u64,
    /// Of these, answered behind the window's end.
    pub(crate) late: u64,
    /// Sent, and not answered as long as was waited: their latency is at least that.
    pub(crate) unanswered: u64,
    /// Never sent, because too much was unanswered as long as was waited: their latency is at least that.
    pub(crate) dropped: u64,
    /// How long ready batches waited for room in the window, times their operations.
    pub(crate) blocked_micros: u64,
    /// How long ready batches that had room waited for the client itself, times their operations.
    pub(crate) tardy_micros: u64,
}

impl Offered {
    pub(crate) fn add(&mut self, other: &Self) {
        self.intended += other.intended;
        self.arrived += other.arrived;
        self.late += other.late;
        self.unanswered += other.unanswered;
        self.dropped += other.dropped;
        self.blocked_micros += other.blocked_micros;
        self.tardy_micros += other.tardy_micros;
    }

    /// How long an operation waited on average, in microseconds: for room, and for the client itself.
    pub(crate) fn waits_us(&self) -> (f64, f64) {
        let each = |micros: u64| micros as f64 / (self.arrived as f64).max(1.0);
        (each(self.blocked_micros), each(self.tardy_micros))
    }
}
