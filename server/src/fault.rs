//! Why a session ends, in words for the peer.

use batchkv_protocol::control::VERSION;
use batchkv_protocol::limits::{
    ERROR_TEXT_BYTES_MAX, OPERATIONS_PER_REQUEST_MAX, REQUESTS_OPEN_MAX,
};
use batchkv_protocol::{Control, ErrorFrame, Malformed, SendBuffer};

/// Why a session ends, told to the peer in an error frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("the first frame must be a hello with the magic \"bkv1\"")]
    NoHello,
    #[error("the client speaks versions {min} to {max}; this server speaks version {VERSION}")]
    Version { min: u16, max: u16 },
    #[error("a peer said hello, but this server belongs to no cluster")]
    NoCluster,
    #[error("a peer said hello, but peers have a port of their own, which the directory names")]
    PeersElsewhere,
    #[error("a client may send hello once, then requests, and ask for counters and status")]
    Unexpected,
    #[error("an operator sends no operations")]
    OperatorRequest,
    #[error("a request has more than {OPERATIONS_PER_REQUEST_MAX} operations")]
    RequestTooLong,
    #[error("more than {REQUESTS_OPEN_MAX} requests were begun and not finished")]
    TooManyOpen,
    #[error("a request has the number {0} of one that is not answered yet")]
    NumberInUse(u64),
    #[error("what became of operations of request {0} is not known: the server gave them up")]
    Abandoned(u64),
}

/// Appends an error frame; `text` is cut to what one may hold.
pub(crate) fn write_error(text: &str, out: &mut SendBuffer) {
    const UTF8_BYTES_MAX: usize = 4;
    let text = text
        .chars()
        .take(ERROR_TEXT_BYTES_MAX / UTF8_BYTES_MAX)
        .collect();
    Control::Error(ErrorFrame { text }).write(out);
}
