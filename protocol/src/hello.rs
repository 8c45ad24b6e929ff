//! The first frame of each side.
//!
//! Whoever connects says who he is by his first frame: a client, a peer (another server of the cluster)
//! or an operator. All say the versions that they speak and the features that they can do without or with;
//! the server answers each with the same [`ServerHello`], or with an error.
//!
//! ```text
//! ClientHello   := tag  0 | magic | lowest version | highest version | features | client id: 16 bytes
//! PeerHello     := tag 10 | magic | lowest version | highest version | features | cluster | from | to
//! OperatorHello := tag 11 | magic | lowest version | highest version | features
//! ```

use crate::buffer::SendBuffer;
use crate::control::{Control, MAGIC, VERSION};
use crate::limits;
use crate::map::Ownership;
use wincode::{SchemaRead, SchemaWrite};

/// Who says hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends operations.
    Client {
        /// Names the client over all its connections.
        id: [u8; 16],
    },
    /// Another server of the cluster.
    Peer {
        /// The cluster that the peer belongs to.
        cluster: u128,
        /// The peer's node id.
        from: u64,
        /// The node id that the peer means to speak to.
        to: u64,
    },
    /// Looks at the server, and tells it what to do; sends no operations.
    Operator,
}

/// The first frame of whoever connects, whatever his role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Lowest version that is spoken.
    pub version_min: u16,
    /// Highest version that is spoken.
    pub version_max: u16,
    /// Feature bits that are offered.
    pub features: u64,
    /// Who says it.
    pub role: Role,
}

impl Hello {
    /// The hello of a program that speaks this crate's one version.
    #[must_use]
    pub fn new(role: Role, features: u64) -> Self {
        Self {
            version_min: VERSION,
            version_max: VERSION,
            features,
            role,
        }
    }

    /// Appends the frame to what waits in `out`.
    pub fn write(&self, out: &mut SendBuffer) {
        Control::from(*self).write(out);
    }

    /// The hello that a control frame is; `None` for another frame, or a wrong magic.
    #[must_use]
    pub fn from_control(control: &Control) -> Option<Self> {
        let (magic, hello) = match control {
            Control::ClientHello(said) => (said.magic, Self::from(said)),
            Control::PeerHello(said) => (said.magic, Self::from(said)),
            Control::OperatorHello(said) => (said.magic, Self::from(said)),
            _ => return None,
        };
        (magic == MAGIC).then_some(hello)
    }

    /// Whether the sender speaks this crate's version.
    #[must_use]
    pub fn speaks_our_version(&self) -> bool {
        (self.version_min..=self.version_max).contains(&VERSION)
    }
}

/// A client's hello as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct ClientHello {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// Lowest version that the client speaks.
    pub version_min: u16,
    /// Highest version that the client speaks.
    pub version_max: u16,
    /// Feature bits that the client offers.
    pub features: u64,
    /// Names the client over all its connections.
    pub client_id: [u8; 16],
}

/// A peer's hello as it is on the wire; see [`Role::Peer`].
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct PeerHello {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// Lowest version that the peer speaks.
    pub version_min: u16,
    /// Highest version that the peer speaks.
    pub version_max: u16,
    /// Feature bits that the peer offers.
    pub features: u64,
    /// The cluster that the peer belongs to.
    pub cluster: u128,
    /// The peer's node id.
    pub from: u64,
    /// The node id that the peer means to speak to.
    pub to: u64,
}

/// An operator's hello as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct OperatorHello {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// Lowest version that the operator's program speaks.
    pub version_min: u16,
    /// Highest version that it speaks.
    pub version_max: u16,
    /// Feature bits that it offers.
    pub features: u64,
}

impl From<&ClientHello> for Hello {
    fn from(said: &ClientHello) -> Self {
        Self {
            version_min: said.version_min,
            version_max: said.version_max,
            features: said.features,
            role: Role::Client { id: said.client_id },
        }
    }
}

impl From<&PeerHello> for Hello {
    fn from(said: &PeerHello) -> Self {
        Self {
            version_min: said.version_min,
            version_max: said.version_max,
            features: said.features,
            role: Role::Peer {
                cluster: said.cluster,
                from: said.from,
                to: said.to,
            },
        }
    }
}

impl From<&OperatorHello> for Hello {
    fn from(said: &OperatorHello) -> Self {
        Self {
            version_min: said.version_min,
            version_max: said.version_max,
            features: said.features,
            role: Role::Operator,
        }
    }
}

impl From<Hello> for Control {
    fn from(hello: Hello) -> Self {
        let Hello {
            version_min,
            version_max,
            features,
            role,
        } = hello;
        let magic = MAGIC;
        match role {
            Role::Client { id } => Self::ClientHello(ClientHello {
                magic,
                version_min,
                version_max,
                features,
                client_id: id,
            }),
            Role::Peer { cluster, from, to } => Self::PeerHello(PeerHello {
                magic,
                version_min,
                version_max,
                features,
                cluster,
                from,
                to,
            }),
            Role::Operator => Self::OperatorHello(OperatorHello {
                magic,
                version_min,
                version_max,
                features,
            }),
        }
    }
}

/// The server's first frame, whoever connected.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct ServerHello {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// The version that this connection speaks.
    pub version: u16,
    /// Feature bits in force: those that both sides named.
    pub features: u64,
    /// The server's index among the owners of the map.
    pub server_index: u32,
    /// Threads that serve connections.
    pub threads: u32,
    /// What the server accepts.
    pub limits: ServerLimits,
    /// Fingerprint of the map, see [`PartitionMap::fingerprint`](crate::PartitionMap::fingerprint).
    pub map_fingerprint: u64,
    /// The map, indexed by partition.
    pub partitions: Vec<Ownership>,
}

/// What a server accepts; see [`limits`] for the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct ServerLimits {
    /// Longest key in bytes.
    pub key_bytes: u32,
    /// Longest value in bytes.
    pub value_bytes: u32,
    /// Most operations in one request.
    pub operations_per_request: u32,
    /// Longest frame of several operations in bytes.
    pub frame_bytes: u32,
}

impl ServerLimits {
    /// The limits that this crate is built with.
    pub const BUILT_IN: Self = Self {
        key_bytes: limits::KEY_BYTES_MAX as u32,
        value_bytes: limits::VALUE_BYTES_MAX as u32,
        operations_per_request: limits::OPERATIONS_PER_REQUEST_MAX as u32,
        frame_bytes: limits::REQUEST_FRAME_BYTES as u32,
    };
}
