//! How messages get from one node to another: a trait with two real implementations, TCP and memory.

use std::rc::Rc;

use bytes::Bytes;

use crate::wire::Malformed;

pub mod memory;
pub mod tcp;

/// What a message may not be held up by. Within a lane messages keep their order as long as a connection
/// lasts; an urgent one waits for no more than one frame of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Beats, votes, replies.
    Urgent,
    /// Entries.
    Entries,
    /// Chunks of snapshots.
    Snapshot,
}

/// Takes a message that came from a node. An error ends the connection that it came over.
pub type Deliver = Rc<dyn Fn(u64, Bytes) -> Result<(), Malformed>>;

/// A message was not taken: there is no connection and none can be made at the moment, or too much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node cannot be reached at the moment")]
pub struct Unsent;

/// Carries messages between the nodes of one cluster. It may lose, delay and repeat them and mix up their
/// order; it never changes one, and never hands over one that is meant for another node id.
///
/// Lives on the consensus thread of its node.
pub trait Transport: 'static {
    /// Whom arriving messages go to. Called once, before anything is sent.
    fn attach(&self, deliver: Deliver);

    /// Where a node is reached.
    fn learn(&self, node: u64, address: &str);

    /// Takes a message for `to`, or refuses it at once. What was taken may still be lost.
    fn send(&self, to: u64, lane: Lane, message: Bytes) -> Result<(), Unsent>;

    /// Ends all connections and takes nothing any more.
    fn close(&self);
}
