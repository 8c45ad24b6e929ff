//! What is known of a run when it is judged.

use batchkv_telemetry::Usage;
use batchkv_workload::{Bucket, Mix, SkewSample};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Rate;
use crate::measured::counts::{Account, Checks, Counts, Offered};

/// What is known of a client's run. It stands in the client's summary, so that whoever merges the files of
/// several judges anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Of the measured window.
    pub(crate) counts: Counts,
    #[serde(with = "mix")]
    pub(crate) mix: Mix,
    /// The ranks that the client's streams draw.
    #[serde(with = "skew")]
    pub(crate) skew: SkewSample,
    /// Every record was loaded by this run's clients before anything was read.
    pub(crate) loaded: bool,
    pub(crate) verify: bool,
    /// Some values have no room for the whole checksum.
    pub(crate) short_values: bool,
    /// Whether it is known of a get that finds nothing if that can be right.
    pub(crate) misses_judged: bool,
    /// Records that were written or deleted, by worker.
    pub(crate) written: u64,
    /// From the first to the last request.
    pub(crate) checks: Checks,
    /// One of each kind of fault that was seen, in words.
    pub(crate) examples: Vec<String>,
    pub(crate) accounts: Vec<Account>,
    /// What failed, in sentences.
    pub(crate) failures: Vec<String>,
    pub(crate) interrupted: bool,
    /// Seconds by which the system's clock has come away from the steady one that measured.
    pub(crate) wall_strayed_secs: f64,
    /// What stood still.
    pub(crate) stalls: Stalls,
    /// The servers' clocks, and client 0's.
    pub(crate) clocks: Vec<ClockFacts>,
    /// Present where operations were to arrive at a rate.
    pub(crate) offered: Option<Offered>,
    /// Mean latency of an operation; `None` when nothing was measured.
    pub(crate) latency_mean_us: Option<f64>,
    /// A server answers repeated operations of a frame once.
    pub(crate) repeated_answers: bool,
    /// The part of the window, 0 to 1, that the busiest worker's thread was busy.
    pub(crate) busiest_worker: f64,
    pub(crate) servers: Vec<ServerFacts>,
}

/// What is known of the seconds of all clients.
#[derive(Debug, Clone)]
pub(crate) struct RunFacts {
    /// Operations answered in each second of the window.
    pub(crate) ops: Vec<u64>,
    /// The clients' windows.
    pub(crate) windows: Vec<Window>,
    /// Operations in progress on average, which are counted as they come and go, over throughput (in an
    /// open loop what arrived) times mean latency; `None` when nothing was measured.
    pub(crate) littles_law_ratio: Option<f64>,
    /// Address and share of all operations of each server.
    pub(crate) shares: Vec<(String, f64)>,
    /// Operations of the recorded histories that were checked; `None` when none were recorded.
    pub(crate) histories: Option<u64>,
    /// A recorded history that is not linearizable, in words.
    pub(crate) violation: Option<String>,
}

/// When a client measured, by the clock of client 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) client: String,
    /// Since 1970.
    pub(crate) start_secs: f64,
    /// How far the start may be off.
    pub(crate) bound_secs: f64,
}

/// What stood still in a client's window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stalls {
    /// Seconds in which hardly anything was answered.
    pub(crate) gaps: Vec<Gap>,
    pub(crate) batches: u64,
    /// Batches that waited for more than a second.
    pub(crate) long_waits: u64,
    /// The longest of these.
    pub(crate) longest: Option<LongestWait>,
    /// How late the client itself noticed that a second was over, at most.
    pub(crate) client_late_secs: f64,
    /// When, in seconds since the window's begin.
    pub(crate) client_late_at_secs: f64,
}

/// Seconds in a row in which less than a tenth of the median second was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// Whose answers: a server's address, or `every server`.
    pub(crate) who: String,
    /// From 1.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The batch that waited longest, from its queueing to its last answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LongestWait {
    pub(crate) secs: f64,
    pub(crate) server: String,
    /// When it ended, in seconds since the window's begin.
    pub(crate) ended_secs: f64,
}

/// What a client learnt of another clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClockFacts {
    /// Whose it is: an address, or `client 0`.
    pub(crate) name: String,
    /// How far the offset may be off over the run; `None` when it was not compared.
    pub(crate) bound_secs: Option<f64>,
    /// `None` when it was not compared at both ends.
    pub(crate) rate: Option<Rate>,
}

/// What a client learnt of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerFacts {
    pub(crate) address: String,
    /// Whether it runs on the client's machine; `None` when it did not tell its machine.
    pub(crate) on_client_machine: Option<bool>,
    /// The part of the window, 0 to 1, that its busiest thread was busy; `None` when it is not known.
    pub(crate) busiest_thread: Option<f64>,
}

/// What a node used in the window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// For the reason: `the client's machine`, `server-node0`.
    pub(crate) name: String,
    /// `None` when nobody looked, or not over the whole window.
    pub(crate) usage: Option<Usage>,
    /// Whether client and server share it, which is a reason of its own.
    pub(crate) shared: bool,
}

impl Node {
    pub(crate) fn new(name: &str, usage: Option<Usage>, shared: bool) -> Self {
        Self {
            name: name.into(),
            usage,
            shared,
        }
    }
}

/// A mix as the text that is typed for it.
mod mix {
    use super::{Deserialize, Deserializer, Mix, Serializer};

    pub(super) fn serialize<S: Serializer>(mix: &Mix, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(mix)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mix, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A sample as its buckets: first rank, end, expected share, draws; and its kinds.
mod skew {
    use super::{Bucket, Deserialize, Deserializer, Serialize, Serializer, SkewSample};

    type Plain = (Vec<(u64, u64, f64, u64)>, [u64; 5]);

    pub(super) fn serialize<S: Serializer>(
        sample: &SkewSample,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let plain = |b: &Bucket| (b.first, b.end, b.expected_share, b.observed);
        let plain: Plain = (sample.buckets.iter().map(plain).collect(), sample.kinds);
        plain.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SkewSample, D::Error> {
        let (buckets, kinds) = Plain::deserialize(deserializer)?;
        let bucket = |(first, end, expected_share, observed)| Bucket {
            first,
            end,
            expected_share,
            observed,
        };
        Ok(SkewSample {
            buckets: buckets.into_iter().map(bucket).collect(),
            kinds,
        })
    }
}
