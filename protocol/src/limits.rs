//! Every bound of the protocol, in one place. What a peer sends is checked against these before
//! anything is reserved for it.

use std::time::Duration;

/// Longest key, in bytes. The shortest has 1.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Longest value, in bytes. The shortest has 0.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Longest frame that holds more than one answer, length prefix included. Small enough that a frame
/// being worked on stays in the second-level cache.
pub const FRAME_BYTES: usize = 64 << 10;
/// Longest frame that holds more than one operation, length prefix included. A server keeps one for
/// each peer that is late in reading its answers.
pub const REQUEST_FRAME_BYTES: usize = 16 << 10;
/// Room for all that stands around one operation or answer in its frame.
pub const FRAME_OVERHEAD_BYTES_MAX: usize = 96;
/// Longest frame: one operation with the longest key and value, standing alone.
pub const FRAME_BYTES_MAX: usize = KEY_BYTES_MAX + VALUE_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX;

/// Most operations in one request, over all its frames.
pub const OPERATIONS_PER_REQUEST_MAX: usize = 1 << 16;
/// Most groups in one request, over all its frames: as many as operations.
pub const GROUPS_PER_REQUEST_MAX: usize = OPERATIONS_PER_REQUEST_MAX;
/// What stands in place of an operation in a group that opens a stream, in bytes: as short as an operation can be.
pub const OPENING_BYTES: usize = 3;
/// Most operations in one group, and most answers in one piece of a group: their counts have 16 bits.
pub const OPERATIONS_PER_GROUP_MAX: usize = u16::MAX as usize;
/// Most requests that a connection may have begun and not finished sending.
pub const REQUESTS_OPEN_MAX: usize = 64;
/// Most requests that a client leaves unanswered on one connection; later ones wait in the client.
pub const REQUESTS_UNANSWERED_MAX: usize = 1024;

/// Most partitions of a map. With this many, a server's hello still fits a plain frame.
pub const PARTITIONS_MAX: u32 = 4096;
/// Partitions of a map when nobody says otherwise.
pub const PARTITIONS_DEFAULT: u32 = 256;
/// Most servers of a map.
pub const SERVERS_MAX: u32 = 1024;
/// Highest epoch of a partition: with its owner it fits one word.
pub const EPOCH_MAX: u64 = u64::MAX >> SERVERS_MAX.ilog2();
/// Longest address of a server, `host:port`, in bytes: a host's name has at most 253.
pub const ADDRESS_BYTES_MAX: usize = 259;

/// Most members of a partition that an operator is told of: replicas that are wanted, and those that are being added.
pub const MEMBERS_MAX: usize = 16;

/// Longest text in an error frame, in bytes.
pub const ERROR_TEXT_BYTES_MAX: usize = 512;

/// Most bytes that a server holds in the buffers of all its connections; a connection that needs more
/// is closed. The records' memory has a limit of its own.
pub const BUFFER_BYTES_MAX: u64 = 1 << 30;

/// Most bytes of a connection's groups that wait to be answered later; a single group may have more. At the
/// bound its server reads no more of it.
pub const PARKED_BYTES_MAX: u64 = 4 << 20;

/// What a socket may keep of bytes to send, at both ends. It covers 10 Gbit/s over a round trip of 150 µs,
/// and what is on its way on loopback still fits a second-level cache: with the kernel's own choice,
/// megabytes, both ends wait for memory.
pub const SOCKET_SEND_BYTES: usize = 256 << 10;
/// What a socket may keep of bytes that the network cannot take yet, beside one chunk: what waits there is
/// memory and latency, and no throughput.
pub const SOCKET_UNSENT_BYTES: u32 = 16 << 10;

/// What a server's socket may keep of requests that it has not read: 5 Gbit/s a connection over a round
/// trip of 100 µs. The kernel takes up to twice as much memory.
pub const SOCKET_RECEIVE_BYTES: usize = 64 << 10;

/// Time within which a peer must have said hello, within which a frame must be complete once its
/// first byte came, and within which a peer must have taken at least one byte of what waits for it.
pub const FRAME_TIME_MAX: Duration = Duration::from_secs(30);
/// Time that a stopping server gives its connections to take their last answers.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// A partition entry of a hello: a 32-bit owner and a 64-bit epoch as variable-length integers.
const MAP_ENTRY_BYTES_MAX: usize = 5 + 9;
/// A server's entry of a map: its number, and its address with a length in front.
const SERVER_ENTRY_BYTES_MAX: usize = 5 + 3 + ADDRESS_BYTES_MAX;

const _: () = {
    assert!(REQUEST_FRAME_BYTES <= FRAME_BYTES && FRAME_BYTES < FRAME_BYTES_MAX);
    assert!(
        PARTITIONS_MAX as usize * MAP_ENTRY_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX <= FRAME_BYTES
    );
    assert!(
        PARTITIONS_MAX as usize * MAP_ENTRY_BYTES_MAX
            + SERVERS_MAX as usize * SERVER_ENTRY_BYTES_MAX
            + FRAME_OVERHEAD_BYTES_MAX
            <= FRAME_BYTES_MAX
    );
    assert!(PARTITIONS_MAX.is_power_of_two() && PARTITIONS_DEFAULT <= PARTITIONS_MAX);
    assert!(ERROR_TEXT_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX <= FRAME_BYTES);
    // A group's length has 24 bits.
    assert!(FRAME_BYTES_MAX < 1 << 24);
};
