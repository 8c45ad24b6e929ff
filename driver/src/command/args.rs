//! What was typed. Values stay text here, so that every complaint about one comes from
//! `config` in the same form.

use clap::{Parser, Subcommand};

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
        dir: String,
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
        /// Servers that share the keys, for their shares [default: 1]
        #[arg(long, value_name = "N")]
        servers: Option<String>,
    },
}

/// Which servers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HostsArgs {
    /// The servers, in the order of their indices.
    #[arg(long, value_name = "HOST:PORT,...")]
    pub(crate) hosts: Option<String>,
}

/// The flags of a measured run; what is not given is the standard job.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RunArgs {
    /// The servers, in the order of their indices [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT,...")]
    pub(crate) hosts: Option<String>,
    /// YCSB workload: A, B, C, D or F [default: B]
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Option<String>,
    /// Replaces the workload's mix, like read=0.9,update=0.1
    #[arg(long, value_name = "KIND=SHARE,...")]
    pub(crate) mix: Option<String>,
    /// Replaces the workload's key chooser: zipf, ycsb, uniform, latest, hotspot[:RECORDS:OPERATIONS]
    #[arg(long, value_name = "NAME")]
    pub(crate) chooser: Option<String>,
    /// Skew of zipf, ycsb and latest; 0 is uniform [default: 0.99]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) theta: Option<String>,
    /// Records that are loaded [default: 1000000]
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pub(crate) records: Option<String>,
    /// Key style: decimal or user [default: decimal]
    #[arg(long, value_name = "STYLE")]
    pub(crate) keys: Option<String>,
    /// Permutes ranks, so that hot records do not have small numbers
    #[arg(long)]
    pub(crate) scatter: bool,
    /// Value lengths: 128, 100..1000 or 100:0.5,1000:0.5 [default: 128]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) value_bytes: Option<String>,
    /// Tasks of this client, each with its own buffers and windows [default: 128]
    #[arg(
        long,
        alias = "numClients",
        value_name = "COUNT",
        allow_hyphen_values = true
    )]
    pub(crate) tasks: Option<String>,
    /// Operations in a request [default: 8192]
    #[arg(
        long,
        alias = "batchSize",
        value_name = "COUNT",
        allow_hyphen_values = true
    )]
    pub(crate) batch_size: Option<String>,
    /// Unanswered requests of a task to each server [default: 1]
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pub(crate) window: Option<String>,
    /// Offers so many operations a second, of all tasks: an open loop [default: a closed loop]
    #[arg(long, value_name = "OPS_PER_SEC", allow_hyphen_values = true)]
    pub(crate) rate: Option<String>,
    /// How the operations of --rate arrive: constant or poisson [default: constant]
    #[arg(long, value_name = "LAW")]
    pub(crate) arrivals: Option<String>,
    /// Milliseconds after which a batch of --rate is sent even if it is not full [default: 1]
    #[arg(long, value_name = "MILLIS", allow_hyphen_values = true)]
    pub(crate) linger: Option<String>,
    /// Connections to each server [default: as many as it has threads, at least one a worker]
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pub(crate) connections: Option<String>,
    /// Worker threads [default: the cores]
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pub(crate) threads: Option<String>,
    /// Seconds that are measured [default: 30]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) secs: Option<String>,
    /// Seconds before the measured ones [default: 5]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) warmup_secs: Option<String>,
    /// Loads the records first (the default)
    #[arg(long, overrides_with = "no_load")]
    pub(crate) load: bool,
    /// Takes what the servers hold
    #[arg(long, overrides_with = "load")]
    pub(crate) no_load: bool,
    /// Selects the random streams [default: 1]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) seed: Option<String>,
    /// Which of the run's clients this is, from 0 [default: 0/1]
    #[arg(long, value_name = "I/N")]
    pub(crate) client: Option<String>,
    /// Where the run's clients meet; client 0 listens there
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) barrier: Option<String>,
    /// Writes summary.json, throughput.csv, latency.hlog, nodes.csv and resources.csv there; created if
    /// absent
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<String>,
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
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub(crate) check_linearizability: Option<String>,
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
