//! The flags of a cluster's member.

use std::net::SocketAddr;
use std::time::Duration;

use batchkv_cli::listen::address;
use batchkv_cli::values;
use batchkv_cluster::limits::{PARTITIONS_DEFAULT, REPLICAS_MAX};
use batchkv_cluster::node::Entry;
use batchkv_consensus::ReadBy;
use clap::ValueEnum;

use crate::args::Args;

/// How often at least a server is silent before it is taken for dead: elections take a second.
const DEAD_TIME_MIN: Duration = Duration::from_secs(2);
const DEAD_TIME_MAX: Duration = Duration::from_secs(86_400);
const DEAD_TIME_DEFAULT: Duration = Duration::from_secs(5);
const REPLICAS_DEFAULT: u32 = 3;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "As a member of a cluster")]
pub(crate) struct ClusterArgs {
    /// Be a member of a replicated cluster: every acknowledged write is held by a majority of its partition's
    /// replicas, in memory
    #[arg(long)]
    cluster: bool,
    /// Found a new cluster, as its first server
    #[arg(long)]
    bootstrap: bool,
    /// Join the cluster of the servers there; any of its members will do, and one is waited for
    #[arg(long, value_name = "HOST:PORT[,..]", value_delimiter = ',')]
    join: Vec<String>,
    /// Replicas of each partition, from 1 to 7, when the cluster is founded; as many servers are needed [default: 3]
    #[arg(long, value_name = "N", value_parser = values::count(1, REPLICAS_MAX))]
    replicas: Option<u32>,
    /// How a partition's leader makes sure, before it reads, that it still leads [default: confirm]
    #[arg(long, value_enum)]
    reads: Option<Reads>,
    /// How long a server is silent before its replicas are placed elsewhere [default: 5]
    #[arg(long, value_name = "SECS", allow_negative_numbers = true, value_parser = values::seconds(DEAD_TIME_MIN, DEAD_TIME_MAX))]
    dead_secs: Option<Duration>,
    /// Where other servers of the cluster reach this one [default: the host of --listen, and a free port]
    #[arg(long, value_name = "HOST:PORT")]
    peer_listen: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reads {
    /// A majority confirms it after the read came; relies on no clock
    Confirm,
    /// A majority has confirmed it so lately that no other can lead; relies on clocks of all servers that run
    /// equally fast
    Lease,
}

/// How to become a member, validated.
#[derive(Debug)]
pub(crate) struct ClusterSettings {
    pub(crate) entry: Entry,
    pub(crate) read_by: ReadBy,
    pub(crate) dead_after: Duration,
    pub(crate) peer_listen: SocketAddr,
}

impl ClusterArgs {
    /// `None` where no member of a cluster is wanted; the rest of the command line says what else there is.
    pub(crate) fn validate(
        &self,
        args: &Args,
        listen: SocketAddr,
    ) -> Result<Option<ClusterSettings>, String> {
        if !self.cluster {
            return self.nothing_without_cluster().map(|()| None);
        }
        if args.servers != 1 || args.server_index != 0 {
            return Err(
                "--servers and --server-index are for servers outside a cluster; \
                        in a cluster the directory knows its servers"
                    .to_owned(),
            );
        }
        if listen.ip().is_unspecified() {
            return Err(format!(
                "--listen {listen}: members and clients are told this address; name one that they reach"
            ));
        }
        let mut peer_listen = SocketAddr::new(listen.ip(), 0);
        if let Some(text) = &self.peer_listen {
            peer_listen = address(text, args.allow_public)
                .map_err(|reason| format!("--peer-listen {text}: {reason}"))?;
        }
        Ok(Some(ClusterSettings {
            entry: self.entry(args, listen)?,
            read_by: match self.reads {
                Some(Reads::Lease) => ReadBy::Lease,
                Some(Reads::Confirm) | None => ReadBy::Confirm,
            },
            dead_after: self.dead_secs.unwrap_or(DEAD_TIME_DEFAULT),
            peer_listen,
        }))
    }

    fn nothing_without_cluster(&self) -> Result<(), String> {
        let flags = [
            ("--bootstrap", self.bootstrap),
            ("--join", !self.join.is_empty()),
            ("--replicas", self.replicas.is_some()),
            ("--reads", self.reads.is_some()),
            ("--dead-secs", self.dead_secs.is_some()),
            ("--peer-listen", self.peer_listen.is_some()),
        ];
        match flags.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(format!("{flag} is for members of a cluster: add --cluster")),
            None => Ok(()),
        }
    }

    fn entry(&self, args: &Args, listen: SocketAddr) -> Result<Entry, String> {
        match (self.bootstrap, self.join.is_empty()) {
            (true, true) => Ok(Entry::Bootstrap {
                partitions: args.partitions.unwrap_or(PARTITIONS_DEFAULT),
                replicas: self.replicas.unwrap_or(REPLICAS_DEFAULT),
            }),
            (true, false) => Err(
                "--bootstrap founds a cluster and --join joins one: give --bootstrap to its first server alone"
                    .to_owned(),
            ),
            (false, true) => Err(
                "--cluster: add --bootstrap for the first server of a cluster, or --join HOST:PORT of a member"
                    .to_owned(),
            ),
            (false, false) => self.join_entry(args, listen),
        }
    }

    fn join_entry(&self, args: &Args, listen: SocketAddr) -> Result<Entry, String> {
        if args.partitions.is_some() {
            return Err(
                "--partitions with --join: the cluster was founded with a number of partitions; \
                        leave it out"
                    .to_owned(),
            );
        }
        if self.replicas.is_some() {
            return Err(
                "--replicas with --join: the cluster was founded with a number of replicas; \
                        leave it out"
                    .to_owned(),
            );
        }
        for seed in &self.join {
            let reached =
                address(seed, true).map_err(|reason| format!("--join {seed}: {reason}"))?;
            if reached == listen {
                return Err(format!(
                    "--join {seed} is this server's own --listen: name another member"
                ));
            }
        }
        Ok(Entry::Join {
            seeds: self.join.clone(),
        })
    }
}
