//! How two nodes meet: pure bytes.
//!
//! ```text
//! dialer                                                         listener
//! hello   := "bkvpeer\0" | version u16 | cluster u128 | from u64 | to u64  ->
//!         <-  0 u8 | nonce u64              welcome
//!         <-  1 u8 | length u16 | reason    refused, and closed
//! confirm := nonce u64                                           ->  frames follow, both ways
//! ```
//!
//! The nonce is new for each connection, so a recorded beginning of one is no beginning of another. It is no
//! authentication: whoever reaches the port and speaks the protocol is believed to be whom he says.

use bytes::{Buf, BufMut};

/// What a peer's connection begins with; a client's begins otherwise.
const MAGIC: [u8; 8] = *b"bkvpeer\0";
/// Version of the messages between nodes.
pub(crate) const VERSION: u16 = 1;
/// Length of a hello.
pub(crate) const HELLO_BYTES: usize = 8 + 2 + 16 + 8 + 8;
/// Longest reason of a refusal, in bytes.
pub(crate) const REASON_BYTES_MAX: usize = 256;

/// Who dials whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) cluster: u128,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stranger {
    #[error("this is no hello of a peer")]
    NoPeer,
    #[error("version {0} of the peers' protocol, where {VERSION} is spoken")]
    Version(u16),
    #[error("a node of cluster {0:032x}, which is another")]
    Cluster(u128),
    #[error("a hello for node {0}, which is another")]
    Target(u64),
    #[error("a hello from this node's own id")]
    Own,
    #[error("a confirmation of another connection")]
    Replayed,
}

impl Hello {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HELLO_BYTES);
        out.put_slice(&MAGIC);
        out.put_u16_le(VERSION);
        out.put_u128_le(self.cluster);
        out.put_u64_le(self.from);
        out.put_u64_le(self.to);
        out
    }

    /// What a dialer says, if it is meant for node `node` of `cluster`.
    pub(crate) fn read(mut bytes: &[u8], cluster: u128, node: u64) -> Result<Self, Stranger> {
        if bytes.len() != HELLO_BYTES || bytes[..8] != MAGIC {
            return Err(Stranger::NoPeer);
        }
        bytes.advance(8);
        let version = bytes.get_u16_le();
        if version != VERSION {
            return Err(Stranger::Version(version));
        }
        let hello = Self {
            cluster: bytes.get_u128_le(),
            from: bytes.get_u64_le(),
            to: bytes.get_u64_le(),
        };
        if hello.cluster != cluster {
            return Err(Stranger::Cluster(hello.cluster));
        }
        if hello.to != node {
            return Err(Stranger::Target(hello.to));
        }
        if hello.from == node {
            return Err(Stranger::Own);
        }
        Ok(hello)
    }
}

/// The refusal that a dialer is sent.
pub(crate) fn refusal(reason: &Stranger) -> Vec<u8> {
    let mut text = reason.to_string();
    text.truncate(REASON_BYTES_MAX);
    let mut out = vec![1];
    out.put_u16_le(text.len() as u16);
    out.put_slice(text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::{Hello, Stranger};

    const HELLO: Hello = Hello {
        cluster: 77,
        from: 2,
        to: 3,
    };

    #[test]
    fn a_hello_is_read_back() {
        assert_eq!(Hello::read(&HELLO.write(), 77, 3), Ok(HELLO));
    }

    #[test]
    fn strangers_are_told_why() {
        let bytes = HELLO.write();
        assert_eq!(Hello::read(&bytes, 78, 3), Err(Stranger::Cluster(77)));
        assert_eq!(Hello::read(&bytes, 77, 4), Err(Stranger::Target(3)));
        let own = Hello { from: 3, ..HELLO };
        assert_eq!(Hello::read(&own.write(), 77, 3), Err(Stranger::Own));
        let mut newer = bytes.clone();
        newer[8] = 9;
        assert_eq!(Hello::read(&newer, 77, 3), Err(Stranger::Version(9)));
        for length in 0..bytes.len() {
            assert_eq!(Hello::read(&bytes[..length], 77, 3), Err(Stranger::NoPeer));
        }
        for place in 0..8 {
            let mut other = bytes.clone();
            other[place] ^= 1;
            assert_eq!(Hello::read(&other, 77, 3), Err(Stranger::NoPeer));
        }
    }
}
