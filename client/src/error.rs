//! Why there is no connection, or none any more.
//!
//! Each message is whole: it ends with what caused it, so no cause is given as a `source` besides,
//! and a printed chain of errors says nothing twice.

use crate::kind::WrongKind;
use crate::system::SystemLimit;
use batchkv_protocol::{Malformed, MapError};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a connection ended. What was not answered by then is unknown or not sent, see
/// [`Lost`](crate::exchange::Lost).
#[derive(Debug, thiserror::Error)]
#[error("connection to {address}: {loss}")]
pub struct ConnectionError {
    /// The server, as the caller named it.
    pub address: String,
    /// What happened.
    pub loss: Loss,
}

/// What ends a connection.
#[derive(Debug, thiserror::Error)]
pub enum Loss {
    /// This client has closed the connection.
    #[error("closed by this client")]
    ClosedHere,
    /// The future that moves the connection's bytes was dropped, with its runtime for instance.
    #[error("the future that moves its bytes was dropped")]
    Dropped,
    /// It is being made for the first time.
    #[error("not made yet")]
    NotMade,
    /// It was lost before, and is being made again; this is what the last attempt ended with.
    #[error("lost, and not made again yet: {0}")]
    NotBack(Arc<ConnectError>),
    /// Nobody has said where this server is.
    #[error("it owns partitions, and nobody has said where it is")]
    NoAddress,
    /// For this long nothing has come that settles what was asked of the cluster.
    #[error("nothing settled it within {0:?}")]
    Unsettled(Duration),
    /// The server closed the connection between two frames.
    #[error("closed by the server")]
    ClosedByServer,
    /// The server closed the connection inside a frame.
    #[error("closed by the server in the middle of a frame")]
    CutOff,
    /// The server reported an error, which is always the last that it says.
    #[error("the server says: {0}")]
    Reported(String),
    /// Reading failed.
    #[error("reading failed: {0}")]
    Read(io::Error),
    /// Writing failed.
    #[error("writing failed: {0}")]
    Write(io::Error),
    /// Requests are unanswered, and for this long no byte has moved either way.
    #[error("no byte moved for {0:?} although answers are due")]
    Silent(Duration),
    /// Bytes that the protocol does not allow.
    #[error("the server sent a malformed frame: {0}")]
    Malformed(Malformed),
    /// A frame that is well formed and has no business here.
    #[error("the server sent {0} unasked")]
    Unasked(&'static str),
    /// Answers that do not answer what was asked.
    #[error("the server answered wrongly: {0}")]
    Answer(AnswerError),
}

impl From<Malformed> for Loss {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<AnswerError> for Loss {
    fn from(error: AnswerError) -> Self {
        Self::Answer(error)
    }
}

/// How answers can fail to answer each operation exactly once, in order within its group. Groups and
/// operations are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No request with this id is unanswered.
    #[error("no request {id} is unanswered")]
    Request {
        /// The id in the answer.
        id: u64,
    },
    /// The request has no such group.
    #[error("group {group} of request {id}, which has {groups} so far")]
    Group {
        /// The request.
        id: u64,
        /// The group in the answer.
        group: u32,
        /// Groups that were written by then.
        groups: usize,
    },
    /// An operation was answered twice.
    #[error("operation {first} in group {group} of request {id} again: {expected} is next")]
    Repeated {
        /// The request.
        id: u64,
        /// The group.
        group: u32,
        /// The first operation in the answer.
        first: u32,
        /// The first unanswered one.
        expected: u32,
    },
    /// Operations were left out.
    #[error("operation {first} in group {group} of request {id} too early: {expected} is next")]
    Gap {
        /// The request.
        id: u64,
        /// The group.
        group: u32,
        /// The first operation in the answer.
        first: u32,
        /// The first unanswered one.
        expected: u32,
    },
    /// A group got more answers than it has operations.
    #[error("{answers} answers where group {group} of request {id} has {left} operations left")]
    TooMany {
        /// The request.
        id: u64,
        /// The group.
        group: u32,
        /// Answers in the piece.
        answers: u16,
        /// Unanswered operations in the group.
        left: usize,
    },
    /// The last mark is missing, or stands where answers are still due.
    #[error(
        "request {id} is {}marked as done with {unanswered} operations unanswered",
        if *marked { "" } else { "not " }
    )]
    Last {
        /// The request.
        id: u64,
        /// Whether the frame had the mark.
        marked: bool,
        /// Operations unanswered behind that frame.
        unanswered: usize,
    },
    /// An oversize frame that holds more than one answer.
    #[error("an oversize frame of {answers} answers to request {id}: allowed is 1")]
    Oversize {
        /// The request.
        id: u64,
        /// Answers in the frame.
        answers: usize,
    },
    /// The answer does not fit its operation.
    #[error("operation {index} of request {id}: {wrong}")]
    Kind {
        /// The request.
        id: u64,
        /// The operation, in send order.
        index: usize,
        /// Both kinds.
        wrong: WrongKind,
    },
}

/// Why a connection, or the set of connections to all servers, could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The list of hosts is empty.
    #[error("the list of hosts is empty: name at least one server as host:port")]
    NoHosts,
    /// Nothing could be reached at the address.
    #[error("no batchkv server at {address}: {error}")]
    Unreachable {
        /// As the caller named it.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// A limit of the system on this side is reached, whatever there is at the address.
    #[error("cannot connect to {address}: {limit}")]
    Limit {
        /// As the caller named it.
        address: String,
        /// Which limit.
        limit: SystemLimit,
    },
    /// Nothing answered in time.
    #[error("no batchkv server at {address}: no {missing} within {time:?}")]
    TimedOut {
        /// As the caller named it.
        address: String,
        /// What did not come: an address of the name, a connection, or a hello.
        missing: &'static str,
        /// Time given.
        time: Duration,
    },
    /// Something is there and does not say hello as a batchkv server does.
    #[error("no batchkv server at {address}: {loss}")]
    Handshake {
        /// As the caller named it.
        address: String,
        /// What came instead.
        loss: Loss,
    },
    /// The server's hello cannot be worked with.
    #[error("the server at {address} does not fit this client: {fault}")]
    Hello {
        /// As the caller named it.
        address: String,
        /// What does not fit.
        fault: HelloError,
    },
    /// Another server is where one was that this client was connected to, or its map is another.
    #[error(
        "{address} was server {meant}; now server {found} is there, or its partition map is another"
    )]
    Another {
        /// As the caller named it, or a server.
        address: String,
        /// The server's number.
        meant: u32,
        /// The number of the one that answered.
        found: u32,
    },
    /// The servers do not fit the list of hosts.
    #[error(
        "the list of hosts does not fit the servers: {address} is number {index} of {hosts} (from 0) \
         in the list, and says that it is server {server_index} of {servers}"
    )]
    Order {
        /// The server's address.
        address: String,
        /// Its place in the list.
        index: usize,
        /// Length of the list.
        hosts: usize,
        /// The place that it names.
        server_index: u32,
        /// The number of servers that it names.
        servers: u32,
    },
    /// Two servers have different partition maps.
    #[error(
        "the servers do not fit together: {first_address} has {first_partitions} partitions (map \
         {first_fingerprint:016x}), {address} has {partitions} (map {fingerprint:016x})"
    )]
    Maps {
        /// The first server of the list.
        first_address: String,
        /// Its number of partitions.
        first_partitions: usize,
        /// Its map's fingerprint.
        first_fingerprint: u64,
        /// The first server that differs from it.
        address: String,
        /// Its number of partitions.
        partitions: usize,
        /// Its map's fingerprint.
        fingerprint: u64,
    },
}

impl ConnectError {
    /// The system's `error` on the way to `address`.
    pub(crate) fn unreachable(address: &str, error: io::Error) -> Self {
        match SystemLimit::behind(&error) {
            Some(limit) => Self::limit(address, limit),
            None => Self::Unreachable {
                address: address.to_owned(),
                error,
            },
        }
    }

    pub(crate) fn limit(address: &str, limit: SystemLimit) -> Self {
        Self::Limit {
            address: address.to_owned(),
            limit,
        }
    }
}

/// What in a server's hello this client cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The first bytes are not the protocol's.
    #[error("its hello begins with {0:?}, not with \"bkv1\"")]
    Magic([u8; 4]),
    /// It chose a version that was not offered.
    #[error("it speaks version {server}, this client version {client}")]
    Version {
        /// The server's.
        server: u16,
        /// The client's.
        client: u16,
    },
    /// It put features into force that were not offered.
    #[error("it put features {0:#x} into force, which were not offered")]
    Features(u64),
    /// It lacks features that were asked for.
    #[error(
        "it lacks the features {0:#x} that were asked for: 2 is repeated answers sent once, 4 the server's time"
    )]
    MissingFeatures(u64),
    /// It accepts less than this client may send.
    #[error("it accepts {what} up to {server}, this client sends up to {client}")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// The server's.
        server: u32,
        /// The client's.
        client: u32,
    },
    /// Its partition map is none.
    #[error("its partition map is wrong: {0}")]
    Map(MapError),
    /// Its fingerprint is not that of its map.
    #[error("it calls its map {said:016x}, which has the fingerprint {actual:016x}")]
    Fingerprint {
        /// In the hello.
        said: u64,
        /// Of the map in the hello.
        actual: u64,
    },
}
