//! Every bound of the crate, in one place.

use std::time::Duration;

/// Longest proposal, in bytes: one that holds the longest key and the longest value of the client
/// protocol fits, with room around it.
pub const PROPOSAL_BYTES_MAX: usize = 2 << 20;
/// What joins one entry, in bytes, unless a single proposal is longer.
pub const ROUND_BYTES: usize = 256 << 10;
/// Most proposals of one entry.
pub const ROUND_PROPOSALS_MAX: usize = 4096;
/// Most bytes of proposals that one group holds at its proposer, under way and waiting; what exceeds them
/// is refused as [`crate::ProposeError::Busy`].
pub const PROPOSALS_BYTES_MAX: usize = 16 << 20;

/// Entries of one message of a leader, in bytes, unless a single entry is longer. A follower that
/// stopped reading leaves at most one such message a group.
pub const APPEND_BYTES: usize = 1 << 20;
/// Longest message between two members, in bytes.
pub const MESSAGE_BYTES_MAX: usize = APPEND_BYTES + 2 * PROPOSAL_BYTES_MAX;
/// Longest piece of a message that is written at once, in bytes: what an urgent message may wait for.
pub const FRAME_BYTES: usize = 64 << 10;
/// Longest chunk of a snapshot, in bytes.
pub const CHUNK_BYTES: usize = 60 << 10;
/// Most members of a group, learners included.
pub const MEMBERS_MAX: usize = 64;
/// Longest address of a member, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// Bytes of messages that wait for one peer in the lane of entries; beyond them a message is refused
/// at once and the leader backs off.
pub const LANE_BYTES_MAX: usize = 8 << 20;
/// The same of urgent messages (beats, votes, replies) and of a snapshot's chunks.
pub const SMALL_LANE_BYTES_MAX: usize = 512 << 10;

/// Times that a chunk is sent when it arrives damaged, before its transfer is given up.
pub const CHUNK_TRIES_MAX: u32 = 3;
/// Times that a request of a transfer is sent when no reply comes, before the transfer is given up.
pub const CHUNK_LOST_MAX: u32 = 8;
/// How long a receiver keeps a snapshot whose sender has gone silent.
pub const IMPORT_IDLE_MAX: Duration = Duration::from_secs(30);

const _: () = assert!(ROUND_BYTES <= PROPOSAL_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES < FRAME_BYTES);
const _: () = assert!(MESSAGE_BYTES_MAX <= LANE_BYTES_MAX);
const _: () = assert!(APPEND_BYTES + PROPOSAL_BYTES_MAX < MESSAGE_BYTES_MAX);
