//! Every bound of the crate, in one place.

use batchkv_protocol::limits::FRAME_OVERHEAD_BYTES_MAX;
pub use batchkv_protocol::limits::{
    ADDRESS_BYTES_MAX, KEY_BYTES_MAX, OPERATIONS_PER_GROUP_MAX, PARTITIONS_MAX, SERVERS_MAX,
};
pub use batchkv_protocol::options::VERSION_BYTES;
use std::time::Duration;

/// Longest value of a cluster, in bytes: with its version it is as long as an engine's longest.
pub const VALUE_BYTES_MAX: usize = batchkv_protocol::limits::VALUE_BYTES_MAX - VERSION_BYTES;
/// Longest proposal, in bytes. The longest key and value fit.
pub const PROPOSAL_BYTES_MAX: usize = 2 << 20;

/// How long a stream is remembered after its last group, in log time: more than ten of a client's
/// deadlines of 10 s, so that a client gives up long before the table does.
pub const STREAM_IDLE_MAX: Duration = Duration::from_secs(120);
/// Streams that a partition remembers; one more is refused.
pub const STREAMS_MAX: usize = 4096;
/// How far a group's number may be ahead of the lowest unanswered one, exclusive.
pub const NUMBERS_AHEAD_MAX: u64 = 1024;
/// From this on a stream takes no further group until its floor has risen, in bytes of memory.
pub const STREAM_BYTES_MAX: usize = 256 << 10;
/// From this on no stream of the partition takes a further group, in bytes of memory.
pub const STREAMS_BYTES_MAX: usize = 16 << 20;

/// Longest chunk of an image, in bytes.
pub const CHUNK_BYTES: usize = 60 << 10;
/// Most bytes of an image that wait for whoever fetches it; at this bound the image is given up.
pub const IMAGE_BYTES_MAX: usize = 64 << 20;
/// Longest table of streams in an image, in bytes: twice what the table may remember, since its bound is kept
/// from below.
pub const TABLE_IMAGE_BYTES_MAX: usize = 2 * STREAMS_BYTES_MAX;

/// Most replicas of a partition that can be wanted.
pub const REPLICAS_MAX: u32 = 7;
/// Most partitions that are copied to a server at a time, and from one.
pub const COPIES_MAX: usize = 2;
/// Entries that a member may lack of its leader's log and still become a voter, or the leader: what is under way.
pub const CAUGHT_UP_ENTRIES: u64 = 64;
/// Partitions of a cluster when nobody says otherwise.
pub const PARTITIONS_DEFAULT: u32 = 16;

const _: () = {
    assert!(STREAM_BYTES_MAX < STREAMS_BYTES_MAX);
    assert!(PROPOSAL_BYTES_MAX <= batchkv_consensus::limits::PROPOSAL_BYTES_MAX);
    assert!(CHUNK_BYTES <= batchkv_consensus::limits::CHUNK_BYTES);
    assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX <= PROPOSAL_BYTES_MAX);
};
