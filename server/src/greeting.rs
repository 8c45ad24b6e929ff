//! The first frame of a connection: who it is, and what is in force between both sides.

use std::sync::Arc;
use std::time::Instant;

use batchkv_protocol::control::{
    FEATURE_CLUSTER, FEATURE_MAP, FEATURE_REFERENCES, FEATURE_SERVER_TIME, FEATURE_STATUS, MAGIC,
    VERSION,
};
use batchkv_protocol::join::NEWCOMER;
use batchkv_protocol::{Control, Hello, Role, SendBuffer, ServerHello, ServerLimits, Status};

use crate::fault::Fault;
use crate::shared_map::SharedMap;

/// What this server can do for whoever offers it, its map aside.
const FEATURES: u64 = FEATURE_STATUS | FEATURE_REFERENCES | FEATURE_SERVER_TIME;

/// What a server says of itself to everybody.
#[derive(Debug)]
pub struct Identity {
    /// The server's index among the owners of the map.
    pub server_index: u32,
    /// Threads that serve connections.
    pub threads: u32,
    /// Who owns which partition.
    pub map: Arc<SharedMap>,
    /// Looks at clock, machine and threads when a client asks for them.
    pub status: fn() -> Status,
    /// Read once an answer frame, where it tells the server's time.
    pub clock: fn() -> Instant,
}

/// What a hello led to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Greeted {
    pub(crate) role: Role,
    /// Answers may refer back.
    pub(crate) references: bool,
    /// Answer frames tell the server's time.
    pub(crate) timed: bool,
    /// Maps are sent.
    pub(crate) maps: bool,
}

impl Identity {
    /// Answers the first frame of a connection.
    pub(crate) fn greet(
        &self,
        body: &[u8],
        is_member: bool,
        out: &mut SendBuffer,
    ) -> Result<Greeted, Fault> {
        let control = Control::decode(body).map_err(|_| Fault::NoHello)?;
        let hello = Hello::from_control(&control).ok_or(Fault::NoHello)?;
        if !hello.speaks_our_version() {
            return Err(Fault::Version {
                min: hello.version_min,
                max: hello.version_max,
            });
        }
        match hello.role {
            NEWCOMER if is_member => {}
            Role::Peer { .. } if is_member => return Err(Fault::PeersElsewhere),
            Role::Peer { .. } => return Err(Fault::NoCluster),
            Role::Client { .. } | Role::Operator => {}
        }
        let features = hello.features & self.features(is_member);
        self.answer(features).write(out);
        Ok(Greeted {
            role: hello.role,
            references: features & FEATURE_REFERENCES != 0,
            timed: features & FEATURE_SERVER_TIME != 0,
            maps: features & FEATURE_MAP != 0,
        })
    }

    fn features(&self, is_member: bool) -> u64 {
        FEATURES
            | (u64::from(self.map.tells_clients()) * FEATURE_MAP)
            | (u64::from(is_member) * FEATURE_CLUSTER)
    }

    fn answer(&self, features: u64) -> Control {
        let map = self.map.live().snapshot();
        Control::ServerHello(ServerHello {
            magic: MAGIC,
            version: VERSION,
            features,
            server_index: self.server_index,
            threads: self.threads,
            limits: ServerLimits::BUILT_IN,
            map_fingerprint: map.fingerprint(),
            partitions: map.partitions().to_vec(),
        })
    }
}
