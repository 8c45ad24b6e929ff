//! How a server becomes a cluster's: it asks any member.
//!
//! A newcomer connects as a peer whose cluster, whose id and whom he means to speak to are all 0, since he knows
//! none of them. When he is answered with a hello he asks, and is told his id, or whom to ask, or to ask again.
//!
//! ```text
//! JoinRequest := tag 20 | token | address | peer address | machine
//! JoinAnswer  := tag 21 | 0 joined: cluster, server | 1 ask: address | 2 wait: reason | 3 refused: reason
//! ```

use crate::frame::Malformed;
use crate::hello::Role;
use crate::limits::ADDRESS_BYTES_MAX;
use wincode::{SchemaRead, SchemaWrite};

/// Whom a newcomer says hello as.
pub const NEWCOMER: Role = Role::Peer {
    cluster: 0,
    from: 0,
    to: 0,
};

/// A newcomer's wish to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct JoinRequest {
    /// Drawn at random at each start of a server: who asks again with the same is given the same id.
    pub token: u128,
    /// Where clients reach the server, `host:port`, 1 to [`ADDRESS_BYTES_MAX`] bytes.
    pub address: String,
    /// Where its peers reach it, likewise.
    pub peer_address: String,
    /// The same number for servers that fail together.
    pub machine: u64,
}

/// What a newcomer is told.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum JoinAnswer {
    /// It belongs to the cluster.
    Joined {
        /// The cluster's id.
        cluster: u128,
        /// The server's node id, for this start of it.
        server: u64,
    },
    /// Another server can take it in.
    Ask {
        /// Where that one is reached by clients.
        address: String,
    },
    /// Nobody can at the moment: ask again.
    Wait {
        /// Why, for a person.
        reason: String,
    },
    /// It never will be.
    Refused {
        /// Why, for a person.
        reason: String,
    },
}

impl JoinRequest {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let is_allowed = |address: &String| (1..=ADDRESS_BYTES_MAX).contains(&address.len());
        if is_allowed(&self.address) && is_allowed(&self.peer_address) {
            Ok(())
        } else {
            Err(Malformed::Control)
        }
    }
}
