//! What was asked for, with no option left open, once it is known that the flags fit each other. What each takes by
//! itself, and its default, stands in `args`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use batchkv_cli::listen::address;
use batchkv_workload::{Kind, Options, Share, Spec, SpecError, WatchList};

use crate::command::address::{Hosts, Place};
use crate::command::args::RunArgs;
use crate::command::offer::Offer;
use crate::screen::counted;

/// Records that the closing part of a checked run is about.
const CLOSING_RECORDS: usize = 16;

/// A flag whose value is not allowed, said as the reader of the command line says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value '{value}' for '--{flag}': {allowed}")]
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
    /// From 0.
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
        let spec = spec(args)?;
        check_batch_size(args.batch_size, &spec)?;
        let member = member(args)?;
        let (threads, connections) = threads(args)?;
        check_workers(args.client, threads)?;
        let watch_list = watch_list(args, &spec)?.map(Arc::new);
        let Hosts(hosts) = args.servers.hosts.clone();
        Ok(Self {
            hosts,
            spec,
            seed: args.seed,
            tasks: args.tasks,
            batch_size: args.batch_size,
            window: args.window,
            offer: args.rate.map(|ops_per_sec| Offer {
                ops_per_sec,
                arrivals: args.arrivals,
                linger: args.linger,
            }),
            connections,
            threads,
            measured_secs: args.secs,
            warmup_secs: args.warmup_secs,
            load: !args.no_load,
            verify: !args.no_verify,
            audit: args.audit,
            dedup_answers: args.dedup_answers,
            server_time: args.server_time,
            member,
            output: args.output.clone(),
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

fn spec(args: &RunArgs) -> Result<Spec, ConfigError> {
    let options = Options {
        workload: args.workload,
        mix: args.mix,
        chooser: args.chooser,
        theta: args.theta,
        records: args.records,
        key_style: args.keys,
        scatter: args.scatter,
        value_sizes: args.value_bytes.clone(),
    };
    Spec::new(options).map_err(|error| match error {
        SpecError::Scatter(ref chooser) => wrong("chooser", chooser, error.to_string()),
        _ => wrong("theta", &args.theta.to_string(), error.to_string()),
    })
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
    let Some(share) = args.check_linearizability else {
        return Ok(None);
    };
    // By the seed alone for now: whether there are such records hardly depends on it.
    let list = WatchList::new(spec, share, CLOSING_RECORDS, 0);
    let reason = if args.no_verify {
        "what is not checked cannot be compared; leave --no-verify out"
    } else if spec.has_short_values() {
        "shorter values than 16 bytes do not say which write they are of; allowed with longer ones"
    } else if list.is_empty() && share == 1.0 {
        "there is no sampled record; allowed with more --records"
    } else if list.is_empty() {
        "no sampled record gets so little; allowed are larger shares, or more --records"
    } else {
        return Ok(Some(list));
    };
    let share = share.to_string();
    Err(wrong("check-linearizability", &share, reason.into()))
}

/// A read-modify-write is a get and a put in the same batch.
fn check_batch_size(batch_size: usize, spec: &Spec) -> Result<(), ConfigError> {
    if batch_size > 1 || spec.mix().share(Kind::ReadModifyWrite) == 0.0 {
        return Ok(());
    }
    let allowed = "allowed are 2 and more where a read-modify-write is two operations of a batch";
    Err(wrong("batch-size", &batch_size.to_string(), allowed.into()))
}

fn member(args: &RunArgs) -> Result<Membership, ConfigError> {
    let Place { client, clients } = args.client;
    let barrier = args.barrier.clone().filter(|_| clients > 1);
    if clients > 1 && barrier.is_none() {
        let reason = "several clients need --barrier HOST:PORT, where client 0 listens";
        return Err(wrong("client", &args.client.to_string(), reason.into()));
    }
    Ok(Membership {
        client,
        clients,
        barrier,
    })
}

/// Workers and connections, which limit each other.
fn threads(args: &RunArgs) -> Result<(usize, Connections), ConfigError> {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or_else(cores).min(args.tasks as usize);
    let Some(total) = args.connections else {
        return Ok((threads, Connections::CoverServer));
    };
    let threads = match args.threads {
        Some(_) => threads,
        None => threads.min(total),
    };
    if total < threads {
        let reason =
            format!("each of the {threads} workers needs one; allowed are {threads} and more");
        return Err(wrong("connections", &total.to_string(), reason));
    }
    Ok((threads, Connections::Total(total)))
}

fn check_workers(place: Place, threads: usize) -> Result<(), ConfigError> {
    let share = Share::new(place.client, place.clients, 0, threads as u32);
    share
        .map(drop)
        .map_err(|error| wrong("client", &place.to_string(), error.to_string()))
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
