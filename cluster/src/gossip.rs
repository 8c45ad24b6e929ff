//! What a server tells all others by gossip: that it lives, how loaded it is, what it leads.
//!
//! Gossip starts things and decides none: it is late, it may be forged, and what it says of a group the group
//! itself knows better. It is carried as few short strings, each under a name, since these are what
//! is repeated to everybody:
//!
//! ```text
//! "cluster"   32 hexadecimal digits
//! "directory" its version, as far as the server has it
//! "load"      operations a second, records, bytes of memory: three numbers with a space between
//! "leads"     partition:epoch of each, with a space between
//! ```
//!
//! Numbers are decimal. Names that are not in this list are for others to read.

use crate::codec::{Malformed, within};
use crate::limits::PARTITIONS_MAX;
use std::fmt::Write;
use std::str::FromStr;

const CLUSTER: &str = "cluster";
const DIRECTORY: &str = "directory";
const LOAD: &str = "load";
const LEADS: &str = "leads";

/// What one server tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The cluster that it belongs to: what another cluster's servers tell is not for us.
    pub cluster: u128,
    /// The version of the directory that it has.
    pub directory: u64,
    /// What it does and holds.
    pub load: Load,
    /// The partitions that it leads, rising, with their [epochs](crate::map::epoch).
    pub leads: Vec<(u32, u64)>,
}

/// What a server does and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Operations a second, over the last seconds.
    pub operations_per_second: u64,
    /// Records.
    pub records: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Told {
    /// Names and texts.
    #[must_use]
    pub fn to_texts(&self) -> [(&'static str, String); 4] {
        let Load {
            operations_per_second,
            records,
            memory_bytes,
        } = self.load;
        let mut leads = String::new();
        for (partition, epoch) in &self.leads {
            let gap = if leads.is_empty() { "" } else { " " };
            write!(leads, "{gap}{partition}:{epoch}").expect("a string takes what it is given");
        }
        [
            (CLUSTER, format!("{:032x}", self.cluster)),
            (DIRECTORY, self.directory.to_string()),
            (
                LOAD,
                format!("{operations_per_second} {records} {memory_bytes}"),
            ),
            (LEADS, leads),
        ]
    }

    /// What was told, from whoever has the text of each name; `None` for what was not told yet.
    ///
    /// # Errors
    /// When a text is not what its name stands for. Nothing of it should be believed then.
    pub fn from_texts<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Malformed> {
        let cluster = text(CLUSTER).unwrap_or("0");
        let cluster = u128::from_str_radix(cluster, 16).map_err(|_| unreadable(CLUSTER))?;
        let directory = number(DIRECTORY, text(DIRECTORY).unwrap_or("0"))?;
        let load = text(LOAD).map_or(Ok(Load::default()), read_load)?;
        let leads = read_leads(text(LEADS).unwrap_or(""))?;
        Ok(Self {
            cluster,
            directory,
            load,
            leads,
        })
    }
}

fn read_load(text: &str) -> Result<Load, Malformed> {
    let mut numbers = text.split(' ');
    let mut next = || number(LOAD, numbers.next().unwrap_or(""));
    let load = Load {
        operations_per_second: next()?,
        records: next()?,
        memory_bytes: next()?,
    };
    numbers.next().map_or(Ok(load), |_| Err(unreadable(LOAD)))
}

fn read_leads(text: &str) -> Result<Vec<(u32, u64)>, Malformed> {
    let mut leads: Vec<(u32, u64)> = Vec::new();
    for one in text.split(' ').filter(|one| !one.is_empty()) {
        let (partition, epoch) = one.split_once(':').ok_or_else(|| unreadable(LEADS))?;
        let (partition, epoch) = (number(LEADS, partition)?, number(LEADS, epoch)?);
        within(
            "partition in gossip",
            partition as usize,
            0,
            PARTITIONS_MAX as usize - 1,
        )?;
        if leads.last().is_some_and(|(last, _)| *last >= partition) {
            return Err(unreadable(LEADS));
        }
        leads.push((partition, epoch));
    }
    Ok(leads)
}

fn number<N: FromStr>(name: &'static str, text: &str) -> Result<N, Malformed> {
    text.parse().map_err(|_| unreadable(name))
}

fn unreadable(name: &'static str) -> Malformed {
    Malformed::Content {
        what: "gossip",
        reason: format!("{name:?} is not what it should be"),
    }
}
