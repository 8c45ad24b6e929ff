//! What operators ask of a cluster, and what they are told.
//!
//! ```text
//! OperatorRequest := tag 14 | 0                         status
//!                           | 1 partition server        hand the partition's lead over to the server
//! OperatorAnswer  := tag 15 | 0 status                  how the cluster is, as this server knows
//!                           | 1                         done
//!                           | 2 text                    refused, and why
//!                           | 3 address                 ask the server there
//! ```
//!
//! Any server answers what it knows; what only one of them can do it leaves to that one.

use crate::frame::{LENGTH_BYTES, Malformed};
use crate::limits::{
    ADDRESS_BYTES_MAX, ERROR_TEXT_BYTES_MAX, FRAME_BYTES_MAX, MEMBERS_MAX, PARTITIONS_MAX,
    SERVERS_MAX,
};
use wincode::{SchemaRead, SchemaWrite};

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum OperatorRequest {
    /// To see how the cluster is.
    Status,
    /// To have another member lead a partition.
    Transfer {
        /// The partition.
        partition: u32,
        /// The node id of the member that is to lead it.
        to: u64,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum OperatorAnswer {
    /// How the cluster is.
    Status(ClusterStatus),
    /// It was done.
    Done,
    /// It was not done.
    Refused {
        /// Why, for a person: at most [`ERROR_TEXT_BYTES_MAX`] bytes.
        reason: String,
    },
    /// This server cannot do it; another can.
    NotHere {
        /// Where that server takes clients and operators, `host:port`.
        address: String,
    },
}

/// A cluster as one of its servers knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct ClusterStatus {
    /// The cluster's id.
    pub cluster: u128,
    /// Replicas that each partition should have.
    pub replicas: u32,
    /// Replicas that are missing to that, over all partitions.
    pub missing: u32,
    /// Who keeps the directory.
    pub directory: GroupStatus,
    /// The servers, at most [`SERVERS_MAX`].
    pub servers: Vec<ServerStatus>,
    /// The partitions, by their numbers, at most [`PARTITIONS_MAX`].
    pub partitions: Vec<PartitionStatus>,
}

/// One Raft group.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct GroupStatus {
    /// The node id of its leader; `None` while there is none, or none is known.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// Its members, at most [`MEMBERS_MAX`].
    pub members: Vec<MemberStatus>,
}

/// A server's part in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct MemberStatus {
    /// The server's node id.
    pub id: u64,
    /// Whether it has a vote.
    pub role: MemberRole,
    /// Entries that it lacks, as the leader knows; `None` where nobody says.
    pub behind: Option<u64>,
}

/// What a member is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum MemberRole {
    /// It has a vote.
    Voter,
    /// It gets all entries, and has no vote.
    Learner,
}

/// One partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct PartitionStatus {
    /// How often it was begun anew.
    pub incarnation: u64,
    /// Its group.
    pub group: GroupStatus,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct ServerStatus {
    /// Its node id, new at each start of a server that keeps nothing on disk.
    pub id: u64,
    /// The number by which maps call it, below [`SERVERS_MAX`].
    pub index: u32,
    /// Where it takes clients, `host:port`.
    pub address: String,
    /// Where it takes other servers, `host:port`.
    pub peer_address: String,
    /// The same for all servers on one machine; 0 when it is not known.
    pub machine: u64,
    /// What the cluster has decided about it.
    pub state: ServerState,
    /// Milliseconds since it was last heard of; `None` when it never was.
    pub heard_millis: Option<u64>,
    /// Operations that it has served in the last second.
    pub ops_per_sec: u64,
    /// Records that it holds.
    pub records: u64,
    /// Their bytes of memory.
    pub bytes: u64,
    /// Partitions that it leads.
    pub leads: u32,
    /// Partitions of which it has a replica.
    pub holds: u32,
}

/// What a cluster has decided about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum ServerState {
    /// It has come, and holds nothing yet.
    Joining,
    /// It serves.
    Up,
    /// It is being emptied.
    Draining,
    /// It is out.
    Gone,
}

impl OperatorAnswer {
    /// A status as an answer: a refusal where it is too large for a frame.
    #[must_use]
    pub fn status(status: ClusterStatus) -> Self {
        let (servers, partitions) = (status.servers.len(), status.partitions.len());
        let answer = Self::Status(status);
        match answer.body_bytes() + LENGTH_BYTES <= FRAME_BYTES_MAX {
            true => answer,
            false => Self::Refused {
                reason: format!(
                    "a status of {servers} servers and {partitions} partitions is too large for a frame"
                ),
            },
        }
    }

    fn body_bytes(&self) -> usize {
        let mut out = crate::SendBuffer::default();
        crate::Control::OperatorAnswer(self.clone()).write(&mut out);
        out.pending().len() - LENGTH_BYTES
    }

    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let is_allowed = match self {
            Self::Status(status) => status.is_allowed(),
            Self::Done => true,
            Self::Refused { reason } => reason.len() <= ERROR_TEXT_BYTES_MAX,
            Self::NotHere { address } => is_address(address),
        };
        match is_allowed {
            true => Ok(()),
            false => Err(Malformed::Control),
        }
    }
}

impl ClusterStatus {
    fn is_allowed(&self) -> bool {
        let groups = self.partitions.iter().map(|partition| &partition.group);
        self.servers.len() <= SERVERS_MAX as usize
            && self.partitions.len() <= PARTITIONS_MAX as usize
            && self.servers.iter().all(ServerStatus::is_allowed)
            && groups
                .chain([&self.directory])
                .all(|group| group.members.len() <= MEMBERS_MAX)
    }
}

impl ServerStatus {
    fn is_allowed(&self) -> bool {
        self.index < SERVERS_MAX && is_address(&self.address) && is_address(&self.peer_address)
    }
}

fn is_address(address: &str) -> bool {
    (1..=ADDRESS_BYTES_MAX).contains(&address.len())
}
