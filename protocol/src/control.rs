//! The frames around the data path: hello both ways, counters, status, errors.
//!
//! A connection begins with a [hello](mod@crate::hello), which tells the role of whoever connects; the server
//! answers with its own, or with an error when it speaks no version of the other's range. Of the features
//! that both name, those are in force; unknown ones are ignored.
//!
//! Before it closes, a client asks for the connection's counters; the answer comes behind the
//! answers of every request before it, so both sides' counts can be compared exactly.
//!
//! Where the feature [`FEATURE_STATUS`] is in force, a client may ask for the server's status at any
//! time: its clock, its machine and the CPU time of its threads.
//!
//! Where [`FEATURE_SERVER_TIME`] is in force, every answer frame tells how long the server took, see
//! [`answer`](crate::answer).
//!
//! Where [`FEATURE_MAP`] is in force, the server may send its map at any time between two frames of answers:
//! whole, when something of it has changed. Who hears of a partition from several servers believes the highest
//! epoch. `version` is a count of that one server's: on each connection its maps come in their order, and the
//! addresses that it says are those of its last. Versions of several servers, or from before a server was started
//! anew, have nothing to do with each other.
//!
//! Where [`FEATURE_CLUSTER`] is in force, groups may ask for what [`options`](crate::options) says, and who
//! connected as an operator may send [`Control::OperatorRequest`]: each is answered with one
//! [`Control::OperatorAnswer`], in their order. See [`operator`](crate::operator).
//!
//! An error frame is the last on its connection: the server closes behind it.

use crate::buffer::SendBuffer;
use crate::frame::{LENGTH_BYTES, Malformed, TAG_OPERATOR_REQUEST};
use crate::hello::{ClientHello, OperatorHello, PeerHello, ServerHello};
use crate::join::{JoinAnswer, JoinRequest};
use crate::limits::{self, ADDRESS_BYTES_MAX, FRAME_BYTES, FRAME_BYTES_MAX, SERVERS_MAX};
use crate::map::{Ownership, PartitionMap};
use crate::operator::{OperatorAnswer, OperatorRequest};
use wincode::config::{Config, Configuration};
use wincode::{SchemaRead, SchemaWrite};

/// What the first bytes of both hellos must be.
pub const MAGIC: [u8; 4] = *b"bkv1";
/// The one version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// The server answers [`Control::StatusRequest`].
pub const FEATURE_STATUS: u64 = 1;
/// The server may answer with references back, see [`answer`](crate::answer).
pub const FEATURE_REFERENCES: u64 = 2;
/// Answer frames tell the server's time.
pub const FEATURE_SERVER_TIME: u64 = 4;
/// The server may send [`Control::Map`].
pub const FEATURE_MAP: u64 = 8;
/// The server is a member of a cluster: it takes groups with [options](crate::options), and what operators ask.
pub const FEATURE_CLUSTER: u64 = 16;

/// Operations by kind and outcome, over a connection's or a server's whole life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Counters {
    /// Gets that were executed.
    pub gets: u64,
    /// Gets that found a value.
    pub hits: u64,
    /// Puts that took effect.
    pub puts: u64,
    /// Deletes that were executed, with or without effect.
    pub deletes: u64,
    /// Operations that were refused.
    pub refused: u64,
    /// Operations of groups that another server owns.
    pub wrong_owner: u64,
}

impl Counters {
    /// Operations that were executed: gets, puts and deletes.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.gets + self.puts + self.deletes
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.gets += other.gets;
        self.hits += other.hits;
        self.puts += other.puts;
        self.deletes += other.deletes;
        self.refused += other.refused;
        self.wrong_owner += other.wrong_owner;
    }
}

impl std::ops::Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            gets: self.gets - earlier.gets,
            hits: self.hits - earlier.hits,
            puts: self.puts - earlier.puts,
            deletes: self.deletes - earlier.deletes,
            refused: self.refused - earlier.refused,
            wrong_owner: self.wrong_owner - earlier.wrong_owner,
        }
    }
}

/// A server as it is when it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Status {
    /// Nanoseconds since 1970 by the server's clock.
    pub unix_nanos: u64,
    /// The same for all programs on one machine, and hardly on any other; 0 when it is not known.
    pub machine: u64,
    /// CPU time of each thread that serves connections, in microseconds since its start.
    pub threads_cpu_micros: Vec<u64>,
}

/// Who owns which partition, and where the owners are: always whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct MapFrame {
    /// Rises with every map that a server sends.
    pub version: u64,
    /// The servers that may own partitions, at most [`SERVERS_MAX`].
    pub servers: Vec<ServerAddress>,
    /// The owners, indexed by partition.
    pub partitions: Vec<Ownership>,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct ServerAddress {
    /// The number by which partitions name their owner, below [`SERVERS_MAX`].
    pub id: u32,
    /// `host:port`, at most [`ADDRESS_BYTES_MAX`] bytes.
    pub address: String,
}

impl MapFrame {
    fn check(&self) -> Result<(), Malformed> {
        let is_allowed = |server: &ServerAddress| {
            server.id < SERVERS_MAX && (1..=ADDRESS_BYTES_MAX).contains(&server.address.len())
        };
        let are_allowed =
            self.servers.len() <= SERVERS_MAX as usize && self.servers.iter().all(is_allowed);
        let partitions = PartitionMap::check(&self.partitions);
        if are_allowed && partitions.is_ok() {
            Ok(())
        } else {
            Err(Malformed::Control)
        }
    }
}

/// Why the server closes the connection.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct ErrorFrame {
    /// A sentence for a person, at most [`limits::ERROR_TEXT_BYTES_MAX`] bytes.
    pub text: String,
}

/// A frame that is no request and no answer to one.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Control {
    /// See [`ClientHello`].
    ClientHello(ClientHello),
    /// See [`ServerHello`].
    ServerHello(ServerHello),
    /// Asks for the connection's [`Counters`].
    CountersRequest,
    /// See [`Counters`].
    Counters(Counters),
    /// See [`ErrorFrame`].
    Error(ErrorFrame),
    /// Asks for the server's [`Status`].
    #[wincode(tag = 7)]
    StatusRequest,
    /// See [`Status`].
    #[wincode(tag = 8)]
    Status(Status),
    /// See [`PeerHello`].
    #[wincode(tag = 10)]
    PeerHello(PeerHello),
    /// See [`OperatorHello`].
    #[wincode(tag = 11)]
    OperatorHello(OperatorHello),
    /// See [`MapFrame`].
    #[wincode(tag = 12)]
    Map(MapFrame),
    /// See [`OperatorRequest`].
    #[wincode(tag = 14)]
    OperatorRequest(OperatorRequest),
    /// See [`OperatorAnswer`].
    #[wincode(tag = 15)]
    OperatorAnswer(OperatorAnswer),
    /// See [`JoinRequest`].
    #[wincode(tag = 20)]
    JoinRequest(JoinRequest),
    /// See [`JoinAnswer`].
    #[wincode(tag = 21)]
    JoinAnswer(JoinAnswer),
}

/// bincode's `standard()`; a forged count reserves at most `RESERVE_BYTES`.
fn standard<const RESERVE_BYTES: usize>() -> impl Config {
    Configuration::default()
        .with_varint_encoding()
        .with_preallocation_size_limit::<RESERVE_BYTES>()
}

impl Control {
    /// Appends the frame to what waits in `out`.
    pub fn write(&self, out: &mut SendBuffer) {
        let body = wincode::config::serialize(self, standard::<{ usize::MAX }>())
            .expect("control values have no encoding that fails");
        let frame_start = out.begin_frame(LENGTH_BYTES + body.len());
        out.put(&body);
        out.end_frame(frame_start);
    }

    /// Decodes a body of kind [`Control`](crate::frame::Kind::Control).
    ///
    /// # Errors
    /// When the body is not exactly one such value, a text is too long, or a map or a status cannot be.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let decoded = match body.first() {
            Some(&tag) if tag >= TAG_OPERATOR_REQUEST => {
                wincode::config::deserialize_exact(body, standard::<FRAME_BYTES_MAX>())
            }
            _ => wincode::config::deserialize_exact(body, standard::<FRAME_BYTES>()),
        };
        let control = decoded.map_err(|_| Malformed::Control)?;
        match &control {
            Self::Error(error) if error.text.len() > limits::ERROR_TEXT_BYTES_MAX => {
                Err(Malformed::Control)
            }
            Self::Map(map) => map.check().map(|()| control),
            Self::OperatorAnswer(answer) => answer.check().map(|()| control),
            Self::JoinRequest(request) => request.check().map(|()| control),
            _ => Ok(control),
        }
    }
}
