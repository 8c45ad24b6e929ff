//! What two members say to each other, as bytes.
//!
//! ```text
//! message    := kind u8 | group u32 | call u64 | body          integers are little-endian, of fixed width
//!
//! append     1  vote | option prev | option commit | count u32 | { entry }
//! vote       2  vote | option last | transfer u8               pre-vote 3: the same
//! transfer   4  vote | to u64 | option last
//! begin      5  vote | transfer u64 | time u64 | option last | option members-at | members
//! chunk      6  transfer u64 | number u64 | crc32c u32 | bytes
//! end        7  vote | transfer u64 | chunks u64
//!
//! appended 129  0 success | 1 partly: option position | 2 conflict | 3 higher: vote
//! voted    130  vote | granted u8 | option last
//! handed   131  0 taken | 1 vote changed: vote vote | 2 not flushed: option position, option position
//! next     132  number u64                                     the chunk that is wanted next
//! ended    133  vote
//! refused  134  0 no such group | 1 no such transfer | 2 failed
//!
//! note     200  bytes                                          of no group, and not answered
//!
//! entry      := position | 0 blank | 1 round | 2 members
//! round      := time u64 | count u32 | { length u32 } | { bytes }
//! members    := sets u16 | { count u16 | { id u64 } } | count u16 | { id u64 | length u16 | address }
//! vote       := term u64 | node u64 | committed u8
//! position   := term u64 | index u64                           option x := 0 u8 | 1 u8 x
//! ```
//!
//! A message that is cut short, has bytes left over or a value out of its range is malformed, and ends the
//! connection that it came over. `call` pairs a reply with its request; it is the caller's own number.

mod read;
mod write;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};

use crate::types::{SnapshotMeta, Types, Vote};

pub(crate) use read::read;
pub(crate) use write::write;

/// A message that breaks the format; says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message between members: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// Whom a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) group: u32,
    pub(crate) call: u64,
}

/// What a message says.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Request(Request),
    Reply(Reply),
    /// What one node tells another beside all groups.
    Note(Bytes),
}

/// Begins the transfer of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) vote: Vote,
    pub(crate) transfer: u64,
    pub(crate) time_millis: u64,
    pub(crate) meta: SnapshotMeta,
}

#[derive(Debug, Clone)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    Begin(Box<Begin>),
    Chunk {
        transfer: u64,
        number: u64,
        crc: u32,
        bytes: Bytes,
    },
    End {
        vote: Vote,
        transfer: u64,
        chunks: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Appended(AppendEntriesResponse<Types>),
    Voted(VoteResponse<Types>),
    Handed(TransferLeaderResponse<Types>),
    Next { number: u64 },
    Ended { vote: Vote },
    Refused(Refused),
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the group does not run there")]
    NoGroup,
    #[error("the snapshot's transfer is not known there")]
    NoTransfer,
    #[error("the group failed or stopped there")]
    Failed,
}

/// The kinds of messages, as the format above numbers them.
mod kind {
    pub(super) const APPEND: u8 = 1;
    pub(super) const VOTE: u8 = 2;
    pub(super) const PRE_VOTE: u8 = 3;
    pub(super) const TRANSFER: u8 = 4;
    pub(super) const BEGIN: u8 = 5;
    pub(super) const CHUNK: u8 = 6;
    pub(super) const END: u8 = 7;
    pub(super) const APPENDED: u8 = 129;
    pub(super) const VOTED: u8 = 130;
    pub(super) const HANDED: u8 = 131;
    pub(super) const NEXT: u8 = 132;
    pub(super) const ENDED: u8 = 133;
    pub(super) const REFUSED: u8 = 134;
    pub(super) const NOTE: u8 = 200;
}

#[cfg(test)]
mod tests;
