//! What openraft is told about our entries, members and runtime. Nothing of this leaves the crate.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::impls::{
    BoxedErrorSource, EntryPayload, InlineBatch, OneshotResponder, leader_id_std,
};
use openraft::type_config::alias::{self, CommittedLeaderIdOf};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;

/// Tokio's current thread, with random numbers (election timeouts) from the seed of the scope that a
/// task was spawned in.
pub(crate) type Runtime = DeterministicRng<TokioRuntime>;

pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Member>;

/// The group types of every group of this crate: one set for all state machines, since an entry is
/// bytes and answers travel beside openraft ([`crate::machine::Waiting`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Round;
    type R = ();
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    // One leader a term, as in the paper; openraft's own default allows several.
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Round, u64, Member>;
    type Entry = openraft::Entry<CommittedLeaderIdOf<Self>, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// Where a member is reached. Part of the membership entries, so a leader can dial whom it was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) address: Arc<str>,
}

/// The payload of an entry: what was proposed while the round before was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    /// Names the callers that wait for this round on the member that proposed it; 0 elsewhere. Not sent.
    pub(crate) ticket: u64,
    /// The leader's log time, in milliseconds ([`crate::clock::LogClock`]).
    pub(crate) time_millis: u64,
    pub(crate) proposals: Arc<[Bytes]>,
}

impl Round {
    /// What the round's proposals take in memory and on the wire, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.proposals.iter().map(Bytes::len).sum()
    }
}

impl fmt::Display for Round {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} proposals", self.proposals.len())
    }
}

/// Counts an entry as the log's bound and a message's bound do.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    /// Log id, payload tag, counts and the log's own room for an entry.
    const OVERHEAD: usize = 64;
    OVERHEAD
        + match &entry.payload {
            EntryPayload::Normal(round) => round.bytes() + 16 * round.proposals.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}
