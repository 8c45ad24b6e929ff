//! What can be asked of the directory, and what it answers.

use crate::codec::{self, Malformed};
use crate::limits::{ADDRESS_BYTES_MAX, PARTITIONS_MAX, REPLICAS_MAX, SERVERS_MAX};
use crate::placement::ServerState;
use wincode::{SchemaRead, SchemaWrite};

const FORMAT: u8 = 1;

/// How a server introduces itself, at each start anew.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Arrival {
    /// Drawn at random at each start: who asks again with the same token is given the same id.
    pub token: u128,
    /// Where clients reach it, `host:port`, 1 to [`ADDRESS_BYTES_MAX`] bytes.
    pub address: String,
    /// Where its peers reach it, likewise.
    pub peer_address: String,
    /// The same number for servers that fail together.
    pub machine: u64,
}

/// A change that is proposed to the directory's group.
///
/// As bytes, in format 1: the number of the command in this list, from 0, and its fields in their order.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Command {
    /// Begins a cluster; the first entry of its directory.
    Bootstrap {
        /// The cluster's id, drawn at random.
        cluster: u128,
        /// Into how many partitions keys are split, for the cluster's life.
        partitions: u32,
        /// Wanted replicas of each.
        replicas: u32,
        /// The first server.
        server: Arrival,
    },
    /// Takes a server in.
    Join {
        /// The cluster that the server belongs to already, if it does.
        cluster: Option<u128>,
        /// The server.
        server: Arrival,
    },
    /// A server is ready, drains, or no longer drains.
    SetState {
        /// Its id.
        server: u64,
        /// [`Up`](ServerState::Up) or [`Draining`](ServerState::Draining).
        state: ServerState,
    },
    /// A server is gone, for ever. The directory knows only where partitions should be: whoever asks
    /// has seen that their groups have other members.
    Remove {
        /// Its id.
        server: u64,
        /// Also when nobody else holds some of its partitions.
        accept_data_loss: bool,
    },
    /// Changes how many replicas are wanted.
    SetReplicas {
        /// From 1 to [`REPLICAS_MAX`].
        replicas: u32,
    },
    /// Changes where a partition should be.
    Place {
        /// The partition.
        partition: u32,
        /// Where it should be so far.
        before: Vec<u64>,
        /// Where it should be from now on.
        after: Vec<u64>,
    },
    /// Begins a partition anew from what one server has of it, after the others are lost.
    Reset {
        /// The partition.
        partition: u32,
        /// Its incarnation so far.
        incarnation: u64,
        /// Who has what is left.
        server: u64,
    },
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Reply {
    /// The server is in.
    Joined {
        /// The cluster's id.
        cluster: u128,
        /// The server's id.
        server: u64,
        /// Whether it was given just now.
        is_new: bool,
    },
    /// Changed.
    Done,
    /// It was so already.
    Unchanged,
}

impl Reply {
    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::Done | Self::Joined { is_new: true, .. })
    }
}

/// Why a command changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite, thiserror::Error)]
pub enum Refusal {
    /// No cluster has been bootstrapped here.
    #[error("there is no cluster yet: start its first server with --bootstrap")]
    NotBootstrapped,
    /// The cluster exists.
    #[error("there is a cluster already, {cluster:032x}: join it")]
    AlreadyBootstrapped {
        /// Its id.
        cluster: u128,
    },
    /// The server's data belong to another cluster.
    #[error("this is cluster {cluster:032x}, and the server has data of another")]
    OtherCluster {
        /// This cluster's id.
        cluster: u128,
    },
    /// All indexes are taken.
    #[error("a cluster has at most {SERVERS_MAX} servers: remove one that is gone")]
    TooManyServers,
    /// There never was such a server, or it is gone.
    #[error("there is no server {server}")]
    UnknownServer {
        /// The id that was named.
        server: u64,
    },
    /// There is no such partition.
    #[error("there is no partition {partition}")]
    UnknownPartition {
        /// The number that was named.
        partition: u32,
    },
    /// The server's state cannot change like that.
    #[error("a server that is {before:?} cannot become {after:?} by this command")]
    NotFromHere {
        /// Its state.
        before: ServerState,
        /// The state asked for.
        after: ServerState,
    },
    /// Only servers that are up get partitions.
    #[error("server {server} is not up")]
    NotUp {
        /// Its id.
        server: u64,
    },
    /// Two replicas on one server.
    #[error("server {server} is named twice")]
    NamedTwice {
        /// Its id.
        server: u64,
    },
    /// Nobody else holds some of its partitions.
    #[error("nobody else holds {partitions} of the server's partitions: their data would be lost")]
    LastCopy {
        /// How many.
        partitions: u32,
    },
    /// Somebody changed it in between: look again.
    #[error("it was changed meanwhile: look again")]
    Changed,
    /// No number of partitions.
    #[error("{0} partitions: must be a power of two, from 1 to {PARTITIONS_MAX}")]
    Partitions(u32),
    /// No number of replicas.
    #[error("{0} replicas: must be from 1 to {REPLICAS_MAX}")]
    Replicas(u32),
    /// The command does not decode: a newer program proposed it.
    #[error("the command is not known here")]
    Malformed,
    /// An address is empty or too long.
    #[error("an address has 1 to {ADDRESS_BYTES_MAX} bytes, not {0}")]
    Address(u32),
}

impl Arrival {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        for address in [&self.address, &self.peer_address] {
            if !(1..=ADDRESS_BYTES_MAX).contains(&address.len()) {
                return Err(Refusal::Address(address.len() as u32));
            }
        }
        Ok(())
    }
}

impl Command {
    /// The command as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(FORMAT, self)
    }

    /// The command that was [encoded](Self::encode).
    ///
    /// # Errors
    /// When the bytes are of another format, cut, damaged or followed by others.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        codec::decode("command to the directory", FORMAT, bytes)
    }
}
