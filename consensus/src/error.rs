//! What can go wrong, by what a caller can do about it.

use std::io;

/// Why a proposal has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This member does not lead the group. The proposal was certainly not appended: send it to the leader.
    #[error("this member does not lead the group; leader: {leader:?}")]
    NotLeader {
        /// Who leads it, as far as this member knows.
        leader: Option<u64>,
    },
    /// Too many bytes wait already. Certainly not appended: try again later.
    #[error("too many bytes of proposals wait in this group already")]
    Busy,
    /// Longer than [`crate::limits::PROPOSAL_BYTES_MAX`]. Certainly not appended.
    #[error(
        "a proposal of {bytes} bytes is longer than {}",
        crate::limits::PROPOSAL_BYTES_MAX
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It may or may not take effect: its leader lost its office, or a majority did not answer in time.
    #[error("it is unknown whether the proposal takes effect")]
    Unknown,
    /// The group was stopped on this member. What was proposed before may still take effect.
    #[error("the group is stopped on this member")]
    Stopped,
}

/// Why a read has no point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This member does not lead the group, or does not yet: ask the leader.
    #[error("this member does not lead the group; leader: {leader:?}")]
    NotLeader {
        /// Who leads it, as far as this member knows.
        leader: Option<u64>,
    },
    /// A majority did not confirm the leader in time, or its lease has run out. Try again.
    #[error("a majority of the group did not confirm its leader")]
    NoQuorum,
    /// The group was stopped on this member.
    #[error("the group is stopped on this member")]
    Stopped,
}

/// Why a change of the members, or of the leader, did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This member does not lead the group: ask the leader.
    #[error("this member does not lead the group; leader: {leader:?}")]
    NotLeader {
        /// Who leads it, as far as this member knows.
        leader: Option<u64>,
    },
    /// Another change is under way. One at a time: wait for it.
    #[error("another change of the members is under way")]
    InProgress,
    /// The change names no voter, somebody who is no member, or one whose address differs.
    #[error("the change is not allowed: {0}")]
    NotAllowed(String),
    /// Not done within the time that was given. It may still happen: look at the members before
    /// trying again.
    #[error("the change was not done in time")]
    TimedOut,
    /// Whether it happened is unknown, since the leader lost its office: look at the members.
    #[error("it is unknown whether the change happened")]
    Unknown,
    /// The group was stopped on this member.
    #[error("the group is stopped on this member")]
    Stopped,
}

/// Why a node or a group could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The group runs on this node already.
    #[error("group {0} runs on this node already")]
    GroupExists(u32),
    /// A setting contradicts another.
    #[error("settings: {0}")]
    Config(String),
    /// The system refused a thread or a socket.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The node was stopped.
    #[error("the node is stopped")]
    Stopped,
}
