//! A run's directory: the files of its clients and servers, and what is wrong with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use batchkv_telemetry::{Series as Samples, table};

use crate::measured::counts::Kinds;
use crate::results::Results;
use crate::results::files::{ReadError, parse};
use crate::results::nodes::{NodeSeries, Role};
use crate::results::summary::Summary;

/// A server's samples are in a file of this name, behind it the node's.
pub(super) const RESOURCES_PREFIX: &str = "resources-";

/// A client's id begins with its run's.
const RUN_DIGITS: usize = 16;

/// One client's directory, and what is in it.
pub(super) struct Client {
    /// The directory's name, `client-node1`.
    pub(super) name: String,
    pub(super) results: Results,
}

/// The last row of a server's statistics.
#[derive(Debug, PartialEq)]
pub(super) struct Served {
    /// The file's name, `server-node0.csv`.
    pub(super) name: String,
    pub(super) kinds: Kinds,
    /// The run whose client came to it last.
    pub(super) run: u64,
}

/// Why there is nothing to merge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error("{0} cannot be read: {1}")]
    Directory(PathBuf, io::Error),
    #[error(
        "no client's results can be read in {0}: expected are client-*/summary.json, throughput.csv and latency.hlog. {1}"
    )]
    NoClient(PathBuf, String),
}

/// All nodes' samples by the clock of client 0, with the operations of each. Servers whose clock is not
/// known stay on their own.
pub(super) fn read_nodes(
    dir: &Path,
    clients: &[Client],
    summary: &Summary,
    faults: &mut Vec<String>,
) -> Result<Vec<(NodeSeries, u64)>, MergeError> {
    let mut nodes = Vec::new();
    let names = entries(dir, RESOURCES_PREFIX, ".csv")?;
    // Without all of them nobody knows which is whose.
    let whole = names.len() == summary.per_server.len();
    for (name, part) in names.iter().zip(&summary.per_server).filter(|_| whole) {
        match parse(dir, name, Samples::from_csv) {
            Ok(mut samples) => {
                samples.shift(part.told.map_or(0.0, |told| told.clock.secs));
                let node = NodeSeries {
                    name: name[RESOURCES_PREFIX.len()..]
                        .trim_end_matches(".csv")
                        .into(),
                    role: Role::Server,
                    samples,
                };
                nodes.push((node, (part.share * summary.counts.ops() as f64) as u64));
            }
            Err(error) => faults.push(unreadable(name, &error)),
        }
    }
    for client in clients {
        let samples = client.results.resources.clone();
        nodes.extend(samples.map(|samples| {
            let node = NodeSeries {
                name: client.name.trim_start_matches("client-").into(),
                role: Role::Client,
                samples,
            };
            (node, client.results.summary.counts.ops())
        }));
    }
    Ok(nodes)
}

pub(super) fn read_clients(
    dir: &Path,
    faults: &mut Vec<String>,
) -> Result<Vec<Client>, MergeError> {
    let mut clients = Vec::new();
    for name in entries(dir, "client-", "")? {
        match Results::read(&dir.join(&name)) {
            Ok(results) => clients.push(Client { name, results }),
            Err(error) => faults.push(unreadable(&name, &error)),
        }
    }
    Ok(clients)
}

pub(super) fn read_servers(
    dir: &Path,
    faults: &mut Vec<String>,
) -> Result<Vec<Option<Served>>, MergeError> {
    let mut servers = Vec::new();
    for name in entries(dir, "server-", ".csv")? {
        let told = parse(dir, &name, served);
        if let Err(error) = &told {
            faults.push(unreadable(&name, error));
        }
        servers.push(told.ok().map(|(kinds, run)| Served { name, kinds, run }));
    }
    Ok(servers)
}

fn unreadable(name: &str, error: &ReadError) -> String {
    format!("The results of {name} are needed, but {error}; look at its log.")
}

/// Names in `dir` between prefix and suffix, in the order of their numbers.
fn entries(dir: &Path, prefix: &str, suffix: &str) -> Result<Vec<String>, MergeError> {
    let failed = |error| MergeError::Directory(dir.into(), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(suffix) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (number_in(name), name.clone()));
    Ok(names)
}

/// The digits of a name as a number, so that node10 comes behind node9.
pub(super) fn number_in(name: &str) -> u64 {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(u64::MAX)
}

/// What a server executed, and the run whose client came last, from the last row of its statistics.
fn served(csv: &str) -> Result<(Kinds, u64), String> {
    let lines = table::lines(csv)?;
    let (header, rows) = lines.split_first().ok_or("it has no line")?;
    let last = rows.last().ok_or("it has no row")?;
    let text = |name: &str| {
        let at = header.iter().position(|column| column == name);
        let at = at.ok_or_else(|| format!("it has no column {name}"))?;
        let field = last.get(at);
        field.ok_or_else(|| format!("its last row has no column {name}"))
    };
    let column = |name: &str| {
        let count = text(name)?.parse();
        count.map_err(|_| format!("its last row has no number in column {name}"))
    };
    let kinds = Kinds {
        gets: column("gets")?,
        hits: column("hits")?,
        puts: column("puts")?,
        deletes: column("deletes")?,
    };
    let run = text("newest_client")?.get(..RUN_DIGITS);
    let run = run.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    Ok((kinds, run.ok_or("its last row has no client's id")?))
}
