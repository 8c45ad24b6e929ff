//! What a server tells all others, many times a second: that it lives, how loaded it is, what it leads.
//!
//! Gossip starts things and decides none: it is late, it may be lost, and what it says of a group the group
//! itself knows better. It goes from each server to each other, over the connections that their groups use.
//!
//! # As bytes
//!
//! Format 1: the fields of [`Told`] in their order.

use crate::codec::{self, Malformed, within};
use crate::controller::{Group, Learner};
use crate::limits::{CAUGHT_UP_ENTRIES, PARTITIONS_MAX};
use batchkv_consensus::{Role, Status};
use wincode::{SchemaRead, SchemaWrite};

const FORMAT: u8 = 1;

/// What one server tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Told {
    /// The version of the directory that it has.
    pub directory: u64,
    /// What it does and holds.
    pub load: Load,
    /// It stops: nobody should hand it a leadership.
    pub is_leaving: bool,
    /// The groups that it leads, by rising partition.
    pub leads: Vec<Led>,
}

/// What a server does and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Load {
    /// Operations a second, over the last seconds.
    pub operations_per_second: u64,
    /// Records.
    pub records: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// A partition's group as its leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Led {
    /// The partition.
    pub partition: u32,
    /// Which incarnation of it.
    pub incarnation: u64,
    /// The leader's term.
    pub term: u64,
    /// Index of the leader's last entry.
    pub last: u64,
    /// Who belongs to the group, by rising id.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Member {
    /// Its server's id.
    pub server: u64,
    /// Whether it votes.
    pub votes: bool,
    /// Entries that it lacks of the leader's log; `None` while the leader has not heard of it.
    pub behind: Option<u64>,
}

impl Told {
    /// What is told, as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(FORMAT, self)
    }

    /// What was [encoded](Self::encode).
    ///
    /// # Errors
    /// When the bytes are of another format, cut, damaged or followed by others, or name partitions out of order or
    /// that no cluster has. Nothing of it should be believed then.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let told: Self = codec::decode("gossip", FORMAT, bytes)?;
        let partitions = told.leads.iter().map(|led| led.partition);
        if !partitions.is_sorted_by(|one, next| one < next) {
            return Err(Malformed::Content {
                what: "gossip",
                reason: "partitions are out of order".to_owned(),
            });
        }
        if let Some(last) = told.leads.last() {
            let partition = last.partition as usize;
            within(
                "partition in gossip",
                partition,
                0,
                PARTITIONS_MAX as usize - 1,
            )?;
        }
        Ok(told)
    }
}

impl Led {
    /// What there is to tell of a group whose `status` this is here; `None` where another leads it.
    #[must_use]
    pub fn of(partition: u32, incarnation: u64, status: &Status) -> Option<Self> {
        let member = |member: &batchkv_consensus::MemberStatus| Member {
            server: member.id,
            votes: member.voter,
            behind: member.matched.map(|at| status.last.saturating_sub(at)),
        };
        (status.role == Role::Leader).then(|| Self {
            partition,
            incarnation,
            term: status.term,
            last: status.last,
            members: status.members.iter().map(member).collect(),
        })
    }

    /// The member on `server`.
    #[must_use]
    pub fn member(&self, server: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.server == server)
    }

    /// The group as the [controller](crate::controller) sees it, led by `leader`.
    #[must_use]
    pub fn group(&self, leader: u64) -> Group {
        let of = |votes| self.members.iter().filter(move |one| one.votes == votes);
        Group {
            leader: Some(leader),
            voters: of(true).map(|voter| voter.server).collect(),
            learners: of(false)
                .map(|learner| Learner {
                    server: learner.server,
                    is_caught_up: learner.is_caught_up(),
                })
                .collect(),
            bytes: 0,
        }
    }
}

impl Member {
    /// Whether it lags so little that it may vote, or lead.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.behind
            .is_some_and(|behind| behind <= CAUGHT_UP_ENTRIES)
    }
}
