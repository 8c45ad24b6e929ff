//! Every bound of the crate, in one place.

use std::time::Duration;

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

const _: () = assert!(STREAM_BYTES_MAX < STREAMS_BYTES_MAX);
