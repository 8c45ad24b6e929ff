//! What a worker's thread says to the main thread.

use batchkv_protocol::PartitionMap;

use crate::history::recorder::Recording;
use crate::load::tally::Closed;
use crate::measured::counts::{Account, Checks};
use crate::measured::interval::{Interval, Standstill};

/// What a worker says.
#[derive(Debug)]
pub(crate) enum Message {
    /// All connections are made; so many.
    Connected(usize),
    /// A second is over.
    Second(Box<Closed>),
    /// Every task of the stage has ended.
    Done,
    /// The servers do not fit the list of hosts; what differs.
    WrongHosts(String),
    /// Something went wrong; a sentence.
    Failed(String),
    /// The last message.
    Finished(Box<WorkerTotals>),
}

/// A worker's number, and what it says.
pub(crate) type Report = (usize, Message);

/// What a worker's life came to.
#[derive(Debug)]
pub(crate) struct WorkerTotals {
    /// As the servers told it.
    pub(crate) map: PartitionMap,
    /// By connection, with the server's index.
    pub(crate) accounts: Vec<(usize, Account)>,
    pub(crate) checks: Checks,
    pub(crate) examples: Vec<String>,
    /// What stood still in the window.
    pub(crate) standstill: Standstill,
    /// Records that it wrote or deleted.
    pub(crate) written: u64,
    /// What belongs to an open loop's window beyond its whole seconds.
    pub(crate) rest: Option<Interval>,
    /// The worker's number, and what it recorded of listed records.
    pub(crate) recording: Option<(usize, Recording)>,
}
