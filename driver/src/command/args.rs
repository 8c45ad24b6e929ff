//! What was typed: each flag with its default, and the values that it takes by itself. What flags must be to fit
//! each other is `config`'s.

use std::path::PathBuf;
use std::time::Duration;

use batchkv_cli::values::{count, millis, number, whole_seconds};
use batchkv_protocol::limits::{OPERATIONS_PER_REQUEST_MAX, REQUESTS_UNANSWERED_MAX, SERVERS_MAX};
use batchkv_protocol::options::ANY_VERSION;
use batchkv_workload::spec::RECORDS_MAX;
use batchkv_workload::{ChooserName, KeyStyle, Mix, Options, ValueSizes, Workload};
use clap::{Parser, Subcommand};

use crate::command::address::{Hosts, Place, address, hosts, place};
use crate::command::offer::Arrivals;

const TASKS_MAX: u32 = 1 << 16;
const THREADS_MAX: usize = 1024;
const CONNECTIONS_MAX: usize = 1 << 16;
const MEASURED_SECS_MAX: u64 = 86_400;
const WARMUP_SECS_MAX: u64 = 3_600;
/// Operations a second. A client that could do more would have 1,000 cores.
const RATE_MAX: f64 = 1e10;
const RATE_MIN: f64 = 0.01;
const LINGER_MAX: Duration = Duration::from_secs(60);

/// Loads a batchkv cluster, runs a YCSB workload on it and measures.
#[derive(Debug, Parser)]
#[command(name = "batchkv-client", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Everything but a measured run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints the value of KEY.
    Get {
        /// The key, as text.
        key: String,
        /// Prints the record's version behind the value; only clusters have versions
        #[arg(long)]
        with_version: bool,
        #[command(flatten)]
        hosts: HostsArgs,
    },
    /// Stores VALUE under KEY.
    Put {
        /// The key, as text.
        key: String,
        /// The value, as text.
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Stores it only if the record has this version, 0 = if there is none; only clusters have versions
        #[arg(long, value_name = "VERSION", value_parser = number_of_version)]
        if_version: Option<u64>,
        #[command(flatten)]
        hosts: HostsArgs,
    },
    /// Removes KEY.
    Delete {
        /// The key, as text.
        key: String,
        #[command(flatten)]
        hosts: HostsArgs,
    },
    /// Makes DIR's summary.json, throughput.csv, latency.hlog and nodes.csv from its nodes' files.
    Merge {
        /// A run's directory, with client-*/, server-*.csv and resources-*.csv.
        dir: PathBuf,
        /// Exits 3 if the run is only QUALIFIED
        #[arg(long)]
        strict: bool,
    },
    /// Prints the page of rules: when each speaks, and what it does not see.
    Rules,
    /// Draws the workload that the flags ask for, without servers, and tests it.
    VerifyWorkload {
        #[command(flatten)]
        run: Box<RunArgs>,
        /// Servers that share the keys, for their shares
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(1, SERVERS_MAX))]
        servers: u32,
    },
}

/// Any number but the one that stands for all of them.
fn number_of_version(text: &str) -> Result<u64, String> {
    count(0, ANY_VERSION - 1)(text)
}

/// Which servers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HostsArgs {
    /// The servers, in the order of their indices
    #[arg(long, value_name = "HOST:PORT,...", default_value = "127.0.0.1:8080", value_parser = hosts)]
    pub(crate) hosts: Hosts,
}

/// The flags of a measured run; what is not given is the standard job.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) servers: HostsArgs,
    /// YCSB workload: A, B, C, D or F
    #[arg(long, value_name = "NAME", default_value_t)]
    pub(crate) workload: Workload,
    /// Replaces the workload's mix, like read=0.9,update=0.1
    #[arg(long, value_name = "KIND=SHARE,...")]
    pub(crate) mix: Option<Mix>,
    /// Replaces the workload's key chooser: zipf, ycsb, uniform, latest, hotspot[:RECORDS:OPERATIONS]
    #[arg(long, value_name = "NAME")]
    pub(crate) chooser: Option<ChooserName>,
    /// Skew of zipf, ycsb and latest; 0 is uniform
    #[arg(long, value_name = "NUMBER", default_value_t = Options::default().theta, allow_negative_numbers = true, value_parser = number(0.0, f64::MAX))]
    pub(crate) theta: f64,
    /// Records that are loaded
    #[arg(long, value_name = "COUNT", default_value_t = Options::default().records, allow_negative_numbers = true, value_parser = count(1, RECORDS_MAX))]
    pub(crate) records: u64,
    /// Key style: decimal or user
    #[arg(long, value_name = "STYLE", default_value_t)]
    pub(crate) keys: KeyStyle,
    /// Permutes ranks, so that hot records do not have small numbers
    #[arg(long)]
    pub(crate) scatter: bool,
    /// Value lengths: 128, 100..1000 or 100:0.5,1000:0.5
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t,
        allow_negative_numbers = true
    )]
    pub(crate) value_bytes: ValueSizes,
    /// Tasks of this client, each with its own buffers and windows
    #[arg(long, alias = "numClients", value_name = "COUNT", default_value_t = 128, allow_negative_numbers = true, value_parser = count(1, TASKS_MAX))]
    pub(crate) tasks: u32,
    /// Operations in a request
    #[arg(long, alias = "batchSize", value_name = "COUNT", default_value_t = 8192, allow_negative_numbers = true, value_parser = count(1, OPERATIONS_PER_REQUEST_MAX))]
    pub(crate) batch_size: usize,
    /// Unanswered requests of a task to each server
    #[arg(long, value_name = "COUNT", default_value_t = 1, allow_negative_numbers = true, value_parser = count(1, REQUESTS_UNANSWERED_MAX))]
    pub(crate) window: usize,
    /// Offers so many operations a second, of all tasks: an open loop [default: a closed loop]
    #[arg(long, value_name = "OPS_PER_SEC", allow_negative_numbers = true, value_parser = number(RATE_MIN, RATE_MAX))]
    pub(crate) rate: Option<f64>,
    /// How the operations of --rate arrive: constant or poisson
    #[arg(long, value_name = "LAW", requires = "rate", default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Milliseconds after which a batch of --rate is sent even if it is not full
    #[arg(long, value_name = "MILLIS", requires = "rate", default_value = "1", allow_negative_numbers = true, value_parser = millis(Duration::ZERO, LINGER_MAX))]
    pub(crate) linger: Duration,
    /// Connections to each server [default: as many as it has threads, at least one a worker]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = count(1, CONNECTIONS_MAX))]
    pub(crate) connections: Option<usize>,
    /// Worker threads [default: the cores]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = count(1, THREADS_MAX))]
    pub(crate) threads: Option<usize>,
    /// Seconds that are measured
    #[arg(long, value_name = "SECONDS", default_value_t = 30, allow_negative_numbers = true, value_parser = whole_seconds(1, MEASURED_SECS_MAX))]
    pub(crate) secs: u64,
    /// Seconds before the measured ones
    #[arg(long, value_name = "SECONDS", default_value_t = 5, allow_negative_numbers = true, value_parser = whole_seconds(0, WARMUP_SECS_MAX))]
    pub(crate) warmup_secs: u64,
    /// Loads the records first (the default)
    #[arg(long, overrides_with = "no_load")]
    pub(crate) load: bool,
    /// Takes what the servers hold
    #[arg(long, overrides_with = "load")]
    pub(crate) no_load: bool,
    /// Selects the random streams
    #[arg(long, value_name = "NUMBER", default_value_t = 1, allow_negative_numbers = true, value_parser = count(0, u64::MAX))]
    pub(crate) seed: u64,
    /// Which of the run's clients this is, from 0
    #[arg(long, value_name = "I/N", default_value = "0/1", value_parser = place)]
    pub(crate) client: Place,
    /// Where the run's clients meet; client 0 listens there
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) barrier: Option<String>,
    /// Writes summary.json, throughput.csv, latency.hlog, nodes.csv and resources.csv there; created if
    /// absent
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Does not check the values that are read; qualifies the run
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Reads back all that was written when the window is over, not only a sample of 65,536 records
    #[arg(long)]
    pub(crate) audit: bool,
    /// Lets servers answer a repeated get by a reference to the value that its frame holds already;
    /// qualifies the run
    #[arg(long)]
    pub(crate) dedup_answers: bool,
    /// Serves figures for Prometheus there, at /metrics; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metrics_listen: Option<String>,
    /// Allows --metrics-listen to be an address that machines outside the private network may reach
    #[arg(long)]
    pub(crate) allow_public: bool,
    /// Records the history of records that get at most this share of all operations, closes the run
    /// with small batches on the hottest sampled ones, and checks that each can be of an atomic register
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number(0.0, 1.0))]
    pub(crate) check_linearizability: Option<f64>,
    /// Lets the servers tell in their answers how long they took, so that the service time is split into
    /// the servers' and the network's
    #[arg(long)]
    pub(crate) server_time: bool,
    /// Exits 3 if the run is only QUALIFIED
    #[arg(long)]
    pub(crate) strict: bool,
    /// Checks the other flags and does nothing else: exit code 0, or 2 and what is wrong
    #[arg(long)]
    pub(crate) check: bool,
}
