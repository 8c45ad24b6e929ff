//! What was asked for, checked: no option is left open, and every default stands here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use batchkv_cli::listen::address;
use batchkv_cli::values::{count, millis, number, whole_seconds};
use batchkv_protocol::limits::{OPERATIONS_PER_REQUEST_MAX, REQUESTS_UNANSWERED_MAX, SERVERS_MAX};
use batchkv_workload::{Kind, Options, Share, Spec, SpecError, WatchList};

use crate::command::args::RunArgs;
use crate::command::offer::{Arrivals, Offer};
use crate::screen::counted;

const HOSTS_DEFAULT: &str = "127.0.0.1:8080";
const TASKS_DEFAULT: u32 = 128;
const BATCH_SIZE_DEFAULT: usize = 8192;
const WINDOW_DEFAULT: usize = 1;
const MEASURED_SECS_DEFAULT: u64 = 30;
const WARMUP_SECS_DEFAULT: u64 = 5;
const SEED_DEFAULT: u64 = 1;
const LINGER_DEFAULT: Duration = Duration::from_millis(1);
/// Records that the closing part of a checked run is about.
const CLOSING_RECORDS: usize = 16;

const TASKS_MAX: u32 = 1 << 16;
const THREADS_MAX: usize = 1024;
const CONNECTIONS_MAX: usize = 1 << 16;
const MEASURED_SECS_MAX: u64 = 86_400;
const WARMUP_SECS_MAX: u64 = 3_600;
/// Operations a second. A client that could do more would have 1,000 cores.
const RATE_MAX: f64 = 1e10;
const RATE_MIN: f64 = 0.01;
const LINGER_MAX: Duration = Duration::from_secs(60);

/// A flag whose value is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{flag} {value}: {allowed}")]
pub(crate) struct ConfigError {
    flag: &'static str,
    value: String,
    /// What is wrong and what is allowed.
    allowed: String,
}

impl ConfigError {
    /// The hosts, when the servers say that they are others.
    pub(crate) fn hosts(hosts: &[String], fault: &str) -> Self {
        wrong("hosts", &hosts.join(","), fault.into())
    }

    /// The directory for results, when nothing can be written there.
    pub(crate) fn output(dir: &Path, fault: &std::io::Error) -> Self {
        let allowed = format!("{fault}; allowed is a directory to write in, or to make");
        wrong("output", &dir.display().to_string(), allowed)
    }
}

/// A measured run, as it will be done.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `host:port` of each server, by its index.
    pub(crate) hosts: Vec<String>,
    pub(crate) spec: Spec,
    /// Selects the random streams.
    pub(crate) seed: u64,
    pub(crate) tasks: u32,
    /// Operations in a request, over the wire: a read-modify-write is two.
    pub(crate) batch_size: usize,
    /// Unanswered requests of a task to each server.
    pub(crate) window: usize,
    /// Present in an open loop.
    pub(crate) offer: Option<Offer>,
    pub(crate) connections: Connections,
    /// Workers; at most as many as tasks.
    pub(crate) threads: usize,
    pub(crate) measured_secs: u64,
    pub(crate) warmup_secs: u64,
    pub(crate) load: bool,
    pub(crate) verify: bool,
    /// Whether all that was written is read back at the end, and not only a sample.
    pub(crate) audit: bool,
    /// Repeated answers may be references.
    pub(crate) dedup_answers: bool,
    /// Whether servers tell how long they took.
    pub(crate) server_time: bool,
    pub(crate) member: Membership,
    pub(crate) output: Option<PathBuf>,
    /// Where figures for Prometheus are served.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Records whose histories are checked.
    pub(crate) watch_list: Option<Arc<WatchList>>,
}

/// How many connections each server gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// As many as the server has threads, at least one a worker.
    CoverServer,
    /// So many; not fewer than workers.
    Total(usize),
}

/// Which client of the run this one is, and where all meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) client: u32,
    pub(crate) clients: u32,
    /// Present when there are several clients.
    pub(crate) barrier: Option<String>,
}

impl Membership {
    /// What this client of the run of this id is called on all its connections.
    pub(crate) fn client_id(&self, run: u64) -> [u8; 16] {
        (u128::from(run) << 64 | u128::from(self.client)).to_le_bytes()
    }
}

impl Config {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first flag whose value is not allowed.
    pub(crate) fn new(args: &RunArgs) -> Result<Self, ConfigError> {
        let hosts = hosts(args.hosts.as_deref())?;
        let spec = spec(args)?;
        let tasks = read("tasks", &args.tasks, TASKS_DEFAULT, count(1, TASKS_MAX))?;
        let batch_size = batch_size(args, &spec)?;
        let window = read(
            "window",
            &args.window,
            WINDOW_DEFAULT,
            count(1, REQUESTS_UNANSWERED_MAX),
        )?;
        let member = member(args)?;
        let (threads, connections) = threads(args, tasks)?;
        check_workers(&member, threads)?;
        let watch_list = watch_list(args, &spec)?.map(Arc::new);
        let secs = (&args.secs, MEASURED_SECS_DEFAULT, MEASURED_SECS_MAX);
        let warmup = (&args.warmup_secs, WARMUP_SECS_DEFAULT, WARMUP_SECS_MAX);
        Ok(Self {
            hosts,
            spec,
            seed: read("seed", &args.seed, SEED_DEFAULT, count(0, u64::MAX))?,
            tasks,
            batch_size,
            window,
            offer: offer(args)?,
            connections,
            threads,
            measured_secs: read("secs", secs.0, secs.1, whole_seconds(1, secs.2))?,
            warmup_secs: read(
                "warmup-secs",
                warmup.0,
                warmup.1,
                whole_seconds(0, warmup.2),
            )?,
            load: !args.no_load,
            verify: !args.no_verify,
            audit: args.audit,
            dedup_answers: args.dedup_answers,
            server_time: args.server_time,
            member,
            output: args.output.as_ref().map(PathBuf::from),
            metrics_listen: metrics_listen(args)?,
            watch_list,
        })
    }

    /// What the run was done with, by the names of the flags, for result files.
    pub(crate) fn flags(&self) -> Vec<(&'static str, String)> {
        let connections = match self.connections {
            Connections::CoverServer => "as many as the server has threads".into(),
            Connections::Total(total) => total.to_string(),
        };
        let mut flags = vec![
            ("hosts", self.hosts.join(",")),
            ("tasks", self.tasks.to_string()),
            ("batch-size", self.batch_size.to_string()),
            ("window", self.window.to_string()),
            ("connections", connections),
            ("threads", self.threads.to_string()),
            ("secs", self.measured_secs.to_string()),
            ("warmup-secs", self.warmup_secs.to_string()),
            ("load", self.load.to_string()),
            ("verify", self.verify.to_string()),
            ("audit", self.audit.to_string()),
            ("dedup-answers", self.dedup_answers.to_string()),
            ("check-linearizability", self.watched_share()),
            ("seed", self.seed.to_string()),
            (
                "client",
                format!("{}/{}", self.member.client, self.member.clients),
            ),
        ];
        if let Some(offer) = &self.offer {
            flags.push(("rate", offer.ops_per_sec.to_string()));
            flags.push(("arrivals", offer.arrivals.to_string()));
            let linger_millis = offer.linger.as_secs_f64() * 1e3;
            flags.push(("linger", linger_millis.to_string()));
        }
        if self.server_time {
            flags.push(("server-time", "true".into()));
        }
        flags
    }

    /// When operations begin, in words.
    pub(crate) fn pacing(&self) -> String {
        let (window, tasks, batch_size) = (self.window, self.tasks, self.batch_size);
        let tasks = counted(tasks as usize, "task");
        let sizes = format!(
            "window {window} (unanswered batches of a task at a server), {tasks}, batch size {batch_size}"
        );
        let Some(offer) = &self.offer else {
            return format!("closed loop, {sizes}");
        };
        format!(
            "open loop, {} arrivals at {} ops/s a client, batches sent when full or after {} ms, {sizes}",
            offer.arrivals,
            offer.ops_per_sec,
            offer.linger.as_secs_f64() * 1e3,
        )
    }

    fn watched_share(&self) -> String {
        let list = self.watch_list.as_ref();
        list.map_or("off".into(), |list| format!("{:.6}", list.share()))
    }

    /// The place of worker `worker` among all workers of the run.
    pub(crate) fn share(&self, worker: usize) -> Share {
        let Membership {
            client, clients, ..
        } = self.member;
        let share = Share::new(client, clients, worker as u32, self.threads as u32);
        share.expect("checked for worker 0, and the others have the same client and counts")
    }

    /// Draws anew which records' histories are checked, by the seed and the run's id.
    pub(crate) fn draw_watch_list(&mut self, run: u64) {
        let Some(list) = &self.watch_list else { return };
        let seed = self.seed ^ run;
        let drawn = WatchList::new(&self.spec, list.asked_share(), CLOSING_RECORDS, seed);
        if !drawn.is_empty() {
            self.watch_list = Some(Arc::new(drawn));
        }
    }

    /// What all clients of a run must agree on, as text that can be compared.
    pub(crate) fn agreement(&self) -> String {
        let own = ["connections", "threads", "client"];
        let flags = self.flags();
        let shared = flags.iter().filter(|(name, _)| !own.contains(name));
        shared
            .chain(&self.spec.description())
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The servers' addresses from `--hosts`.
///
/// # Errors
/// When one is no `HOST:PORT`, or stands there twice.
pub(crate) fn hosts(typed: Option<&str>) -> Result<Vec<String>, ConfigError> {
    let typed = typed.unwrap_or(HOSTS_DEFAULT);
    let wrong = |reason: String| wrong("hosts", typed, reason);
    let hosts: Vec<String> = typed.split(',').map(|host| host.trim().into()).collect();
    for (i, host) in hosts.iter().enumerate() {
        if !is_address(host) {
            let allowed = "allowed are HOST:PORT, separated by commas, ports 1 to 65535";
            return Err(wrong(format!("'{host}' is no address; {allowed}")));
        }
        if hosts[..i].contains(host) {
            let allowed = "each server is named once, in the order of the servers' indices";
            return Err(wrong(format!("'{host}' stands there twice; {allowed}")));
        }
    }
    if hosts.len() > SERVERS_MAX as usize {
        return Err(wrong(format!("at most {SERVERS_MAX} are allowed")));
    }
    Ok(hosts)
}

/// A number of servers from `--servers`.
///
/// # Errors
/// When it is none.
pub(crate) fn servers(typed: &Option<String>) -> Result<u32, ConfigError> {
    read("servers", typed, 1, count(1, SERVERS_MAX))
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn spec(args: &RunArgs) -> Result<Spec, ConfigError> {
    let defaults = Options::default();
    let options = Options {
        workload: of_workload("workload", &args.workload)?.unwrap_or(defaults.workload),
        mix: of_workload("mix", &args.mix)?,
        chooser: of_workload("chooser", &args.chooser)?,
        theta: read("theta", &args.theta, defaults.theta, number(0.0, f64::MAX))?,
        records: read(
            "records",
            &args.records,
            defaults.records,
            count(1, 1 << 40),
        )?,
        key_style: of_workload("keys", &args.keys)?.unwrap_or(defaults.key_style),
        scatter: args.scatter,
        value_sizes: of_workload("value-bytes", &args.value_bytes)?.unwrap_or(defaults.value_sizes),
    };
    let theta = options.theta;
    Spec::new(options).map_err(|error| match error {
        SpecError::Scatter(ref chooser) => wrong("chooser", chooser, error.to_string()),
        _ => wrong("theta", &theta.to_string(), error.to_string()),
    })
}

/// What was typed of the workload, read by its own parser.
fn of_workload<T: FromStr<Err = SpecError>>(
    flag: &'static str,
    typed: &Option<String>,
) -> Result<Option<T>, ConfigError> {
    let Some(typed) = typed else { return Ok(None) };
    let parsed = typed.parse();
    parsed
        .map(Some)
        .map_err(|error: SpecError| wrong(flag, typed, error.to_string()))
}

fn metrics_listen(args: &RunArgs) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(typed) = &args.metrics_listen else {
        return Ok(None);
    };
    let address = address(typed, args.allow_public);
    address
        .map(Some)
        .map_err(|reason| wrong("metrics-listen", typed, reason))
}

fn watch_list(args: &RunArgs, spec: &Spec) -> Result<Option<WatchList>, ConfigError> {
    let Some(typed) = &args.check_linearizability else {
        return Ok(None);
    };
    let share = &args.check_linearizability;
    let share: f64 = read("check-linearizability", share, 0.0, number(0.0, 1.0))?;
    // By the seed alone for now: whether there are such records hardly depends on it.
    let list = WatchList::new(spec, share, CLOSING_RECORDS, 0);
    let reason = if args.no_verify {
        "what is not checked cannot be compared; leave --no-verify out"
    } else if spec.has_short_values() {
        "shorter values than 16 bytes do not say which write they are of; allowed with longer ones"
    } else if list.is_empty() {
        "no sampled record gets so little; allowed are larger shares, or more --records"
    } else {
        return Ok(Some(list));
    };
    Err(wrong("check-linearizability", typed, reason.into()))
}

fn batch_size(args: &RunArgs, spec: &Spec) -> Result<usize, ConfigError> {
    // A read-modify-write is a get and a put in the same batch.
    let pairs = spec.mix().share(Kind::ReadModifyWrite) > 0.0;
    let min = if pairs { 2 } else { 1 };
    read(
        "batch-size",
        &args.batch_size,
        BATCH_SIZE_DEFAULT,
        count(min, OPERATIONS_PER_REQUEST_MAX),
    )
}

/// The offered load, or `None` for a closed loop.
fn offer(args: &RunArgs) -> Result<Option<Offer>, ConfigError> {
    if args.rate.is_none() {
        let alone = [("arrivals", &args.arrivals), ("linger", &args.linger)];
        let given = alone
            .into_iter()
            .find_map(|(flag, typed)| Some((flag, typed.as_ref()?)));
        return match given {
            None => Ok(None),
            Some((flag, typed)) => Err(wrong(flag, typed, "allowed only with --rate".into())),
        };
    }
    let ops_per_sec = read("rate", &args.rate, 0.0, number(RATE_MIN, RATE_MAX))?;
    let arrivals = match &args.arrivals {
        None => Arrivals::Constant,
        Some(typed) => typed
            .parse()
            .map_err(|()| wrong("arrivals", typed, "allowed are constant and poisson".into()))?,
    };
    let span = millis(Duration::ZERO, LINGER_MAX);
    let linger = read("linger", &args.linger, LINGER_DEFAULT, span)?;
    Ok(Some(Offer {
        ops_per_sec,
        arrivals,
        linger,
    }))
}

fn member(args: &RunArgs) -> Result<Membership, ConfigError> {
    let typed = args.client.as_deref().unwrap_or("0/1");
    let allowed = "allowed is I/N, client I (from 0) of N, like 0/2 and 1/2";
    let parts = typed
        .split_once('/')
        .and_then(|(client, clients)| Some((client.parse().ok()?, clients.parse().ok()?)));
    let Some((client, clients)) = parts.filter(|(client, clients): &(u32, u32)| client < clients)
    else {
        return Err(wrong("client", typed, allowed.into()));
    };
    let barrier = args.barrier.clone().filter(|_| clients > 1);
    if let Some(address) = &args.barrier
        && !is_address(address)
    {
        return Err(wrong("barrier", address, "allowed is HOST:PORT".into()));
    }
    if clients > 1 && barrier.is_none() {
        let reason = "several clients need --barrier HOST:PORT, where client 0 listens";
        return Err(wrong("client", typed, reason.into()));
    }
    Ok(Membership {
        client,
        clients,
        barrier,
    })
}

/// Workers and connections, which limit each other.
fn threads(args: &RunArgs, tasks: u32) -> Result<(usize, Connections), ConfigError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let typed = read("threads", &args.threads, cores, count(1, THREADS_MAX))?;
    let mut threads = typed.min(tasks as usize);
    let Some(connections) = &args.connections else {
        return Ok((threads, Connections::CoverServer));
    };
    let total = read(
        "connections",
        &args.connections,
        1,
        count(1, CONNECTIONS_MAX),
    )?;
    if args.threads.is_none() {
        threads = threads.min(total);
    }
    if total < threads {
        let reason =
            format!("each of the {threads} workers needs one; allowed are {threads} and more");
        return Err(wrong("connections", connections, reason));
    }
    Ok((threads, Connections::Total(total)))
}

fn check_workers(member: &Membership, threads: usize) -> Result<(), ConfigError> {
    let share = Share::new(member.client, member.clients, 0, threads as u32);
    share.map(drop).map_err(|error| {
        let typed = format!("{}/{}", member.client, member.clients);
        wrong("client", &typed, error.to_string())
    })
}

/// What was typed for `flag`, read by one of the parsers that all programs share; else the default.
fn read<T>(
    flag: &'static str,
    typed: &Option<String>,
    default: T,
    parser: impl Fn(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    let Some(text) = typed else {
        return Ok(default);
    };
    parser(text).map_err(|allowed| wrong(flag, text, allowed))
}

fn wrong(flag: &'static str, value: &str, allowed: String) -> ConfigError {
    ConfigError {
        flag,
        value: value.into(),
        allowed,
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
