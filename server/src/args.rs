//! The command line: what was typed becomes [`Settings`], or a usage error with exit code 2.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster_args::{ClusterArgs, ClusterSettings};
use batchkv_cli::listen::address;
use batchkv_cli::{parse_with_config, values};
use batchkv_protocol::PartitionMap;
use batchkv_protocol::limits::{BUFFER_BYTES_MAX, PARTITIONS_DEFAULT, PARTITIONS_MAX, SERVERS_MAX};
use batchkv_server::config::{Config, EngineKind};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

/// A key-value store that is driven by batches.
#[derive(Debug, Parser)]
#[command(name = "batchkv-server", version)]
pub(crate) struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Changes only the port of --listen
    #[arg(long)]
    port: Option<u16>,
    /// Allow --listen and --metrics-listen to be an address that machines outside the private network may
    /// reach
    #[arg(long)]
    pub(crate) allow_public: bool,
    /// Serve figures for Prometheus there, at /metrics; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    metrics_listen: Option<String>,
    /// This server's number among --servers, from 0
    #[arg(long, value_name = "I", default_value_t = 0, value_parser = values::count(0, SERVERS_MAX - 1))]
    pub(crate) server_index: u32,
    /// Number of servers that share the keys
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::count(1, SERVERS_MAX))]
    pub(crate) servers: u32,
    /// Number of partitions, a power of two; the same on every server, and in a cluster for its life [default: 256;
    /// 16 in a cluster]
    #[arg(long, value_name = "P", value_parser = values::count(1, PARTITIONS_MAX))]
    pub(crate) partitions: Option<u32>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Which store keeps the records
    #[arg(long, value_enum, default_value_t = EngineName::Partitioned)]
    engine: EngineName,
    /// Threads that serve connections [default: one a core]
    #[arg(long, value_name = "T", value_parser = values::count(1_usize, 1024))]
    threads: Option<usize>,
    /// Most bytes of slabs and tables; puts that need more are refused [default: what the engine can address:
    /// 64 GiB with partitioned, no limit with dashmap]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = values::bytes(MEMORY_BYTES_PER_PARTITION_MIN, u64::MAX))]
    max_memory: Option<u64>,
    /// Most connections open at a time; fewer where the limit of open files says so (ulimit -n)
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = values::count(1_u64, 1_000_000))]
    max_connections: u64,
    /// Time for a hello to come, for an unfinished frame to end and for a peer to read some of its
    /// answers; a quiet client that has said hello is never closed
    #[arg(long, value_name = "SECS", allow_negative_numbers = true, default_value = "30", value_parser = values::seconds(IDLE_TIME_MIN, IDLE_TIME_MAX))]
    idle_timeout: Duration,
    /// Write one CSV row of counters a second to this file
    #[arg(long, value_name = "FILE")]
    stats_file: Option<PathBuf>,
    /// Write one CSV row a second of what the machine and the program use to this file
    #[arg(long, value_name = "FILE")]
    resources_file: Option<PathBuf>,
    /// Check the command line and do nothing else; exits 0, or 2 if it is wrong
    #[arg(long)]
    check: bool,
}

const IDLE_TIME_MIN: Duration = Duration::from_millis(10);
const IDLE_TIME_MAX: Duration = Duration::from_secs(86_400);
/// An empty partition's table, and room for a few records beside it.
const MEMORY_BYTES_PER_PARTITION_MIN: u64 = 8 << 10;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineName {
    /// batchkv's own tables
    Partitioned,
    /// DashMap with ahash, as a baseline
    Dashmap,
}

/// What the program was told, validated.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) stats_file: Option<PathBuf>,
    pub(crate) resources_file: Option<PathBuf>,
    /// Nothing but the command line is to be looked at.
    pub(crate) check: bool,
    /// How to become a member of a cluster, if that is wanted.
    pub(crate) cluster: Option<ClusterSettings>,
    pub(crate) config: Config,
}

/// Reads a command line, the program's name first.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Settings, clap::Error> {
    let args = parse_with_config::<Args>(arguments)?;
    validate(args).map_err(|text| Args::command().error(ErrorKind::ValueValidation, text))
}

fn validate(args: Args) -> Result<Settings, String> {
    let address = |flag: &str, text: &String| {
        let address = address(text, args.allow_public);
        address.map_err(|reason| format!("{flag} {text}: {reason}"))
    };
    let mut listen = address("--listen", &args.listen)?;
    if let Some(port) = args.port {
        listen.set_port(port);
    }
    let metrics_listen = args.metrics_listen.as_ref();
    let metrics_listen = metrics_listen
        .map(|text| address("--metrics-listen", text))
        .transpose()?;
    let cluster = args.cluster.validate(&args, listen)?;
    let partitions_default = match cluster {
        Some(_) => batchkv_cluster::limits::PARTITIONS_DEFAULT,
        None => PARTITIONS_DEFAULT,
    };
    let partitions = args.partitions.unwrap_or(partitions_default);
    let map = PartitionMap::fixed(partitions, args.servers).map_err(|error| {
        format!(
            "--partitions {partitions} --servers {}: {error}",
            args.servers
        )
    })?;
    if args.server_index >= args.servers {
        let last = args.servers - 1;
        return Err(format!(
            "--server-index {}: with --servers {} allowed are 0 to {last}",
            args.server_index, args.servers
        ));
    }
    let memory_bytes_min = MEMORY_BYTES_PER_PARTITION_MIN * u64::from(partitions);
    if args
        .max_memory
        .is_some_and(|bytes| bytes < memory_bytes_min)
    {
        return Err(format!(
            "--max-memory {}: with --partitions {partitions} allowed are {memory_bytes_min} bytes and more",
            args.max_memory.unwrap_or(0)
        ));
    }
    let threads = match args.threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    Ok(Settings {
        listen,
        metrics_listen,
        stats_file: args.stats_file,
        resources_file: args.resources_file,
        check: args.check,
        cluster,
        config: Config {
            server_index: args.server_index,
            map,
            addresses: Vec::new(),
            engine: match args.engine {
                EngineName::Partitioned => EngineKind::Partitioned,
                EngineName::Dashmap => EngineKind::Dashmap,
            },
            threads,
            max_memory_bytes: args.max_memory,
            buffer_bytes_max: BUFFER_BYTES_MAX,
            max_connections: args.max_connections,
            idle_timeout: args.idle_timeout,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchkv_protocol::limits::FRAME_TIME_MAX;

    fn parse_line(line: &str) -> Result<Settings, clap::Error> {
        parse(
            std::iter::once("batchkv-server")
                .chain(line.split_whitespace())
                .map(OsString::from),
        )
    }

    #[test]
    #[cfg(unix)]
    fn an_argument_that_is_no_text_is_a_usage_error_or_a_path() {
        use std::os::unix::ffi::OsStringExt as _;
        let line = |flag: &str| {
            let odd = OsString::from_vec(vec![b'o', 0xFF]);
            parse(["batchkv-server".into(), flag.into(), odd].into_iter())
        };
        assert_eq!(line("--listen").unwrap_err().exit_code(), 2);
        assert!(line("-stats-file").unwrap().stats_file.is_some());
    }

    #[test]
    fn the_default_is_loopback() {
        let settings = parse_line("").unwrap();
        assert_eq!(settings.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(settings.config.map, PartitionMap::fixed(256, 1).unwrap());
    }

    #[test]
    fn numbers_are_taken_in_every_clear_form() {
        let config = |line| parse_line(line).unwrap().config;
        let defaults = config("");
        assert_eq!(defaults.idle_timeout, FRAME_TIME_MAX);
        assert_eq!(
            config("--idle-timeout 500ms").idle_timeout,
            Duration::from_millis(500)
        );
        assert_eq!(
            config("--idle-timeout 1.5").idle_timeout,
            Duration::from_millis(1500)
        );
        assert_eq!(
            config("--max-memory 1.5GB").max_memory_bytes,
            Some(1_500_000_000)
        );
        assert_eq!(
            config("--max-memory 1e9").max_memory_bytes,
            Some(1_000_000_000)
        );
        assert_eq!(config("--max-connections 1_000").max_connections, 1000);
        assert_eq!(config("-max-connections 1e5").max_connections, 100_000);
    }

    #[test]
    fn one_dash_and_port_work_as_in_the_course() {
        assert_eq!(
            parse_line("-port 9000").unwrap().listen,
            "127.0.0.1:9000".parse().unwrap()
        );
        assert_eq!(
            parse_line("--listen 10.1.2.3:1 -port 2").unwrap().listen,
            "10.1.2.3:2".parse().unwrap()
        );
    }

    #[test]
    fn a_public_address_must_be_asked_for() {
        for address in ["0.0.0.0:1", "8.8.8.8:1", "[::]:1", "[2001:db8::1]:1"] {
            let error = parse_line(&format!("--listen {address}"))
                .unwrap_err()
                .to_string();
            assert!(error.contains("--allow-public"), "{error}");
            assert!(parse_line(&format!("--listen {address} --allow-public")).is_ok());
            let error = parse_line(&format!("--metrics-listen {address}")).unwrap_err();
            assert!(error.to_string().contains("--metrics-listen"), "{error}");
        }
        for address in [
            "127.0.0.1:1",
            "192.168.1.1:1",
            "10.10.1.1:1",
            "[::1]:1",
            "[fd00::1]:1",
        ] {
            assert!(parse_line(&format!("--listen {address}")).is_ok());
        }
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        for (line, named) in [
            ("--partitions 3", "power of two"),
            ("--partitions 0", "whole numbers from 1 to 4096"),
            ("--servers 0", "whole numbers from 1 to 1024"),
            ("--servers 300", "1 to 256"),
            ("--servers 2 --server-index 2", "0 to 1"),
            ("--threads 0", "1 to 1024"),
            ("--idle-timeout -1", "10ms to 86400s"),
            ("--max-memory 0", "8192 bytes and more"),
            ("--max-memory 64KiB", "allowed are 2097152 bytes"),
            ("--max-memory 64M", "64MiB"),
            ("--max-memory -1", "--max-memory"),
            ("--engine redis", "partitioned"),
            ("--listen nowhere", "HOST:PORT"),
            ("--frobnicate", "--frobnicate"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.to_string().contains(named), "{line}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
