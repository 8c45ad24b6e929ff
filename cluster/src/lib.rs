//! What a replicated, elastic cluster needs above consensus and store.
//!
//! ```text
//!  session (server/)                    a partition's Raft group                  every member
//!  group -> Proposal: its writes  --->  entries, in rounds            --->  Replica -> engine
//!           gets stay parked                                                  |  Streams: once only
//!  answers <--- Answer: outcomes of the writes, at the proposer  <------------'  versions
//!
//!  directory's Raft group               its leader                       the partitions' leaders
//!  servers, wanted replicas  --------->  placement -> controller  ----->  learner, voter, hand over
//! ```
//!
//! A student who knows Raft finds here what a lecture calls "the state machine", and who decides on members.
//! Where to start:
//!
//! - a write: [`mod@proposal`] (what is replicated), [`replica`] (what each member makes of it), [`streams`]
//!   (why sending again is safe), [`versions`], [`answering`];
//! - a move: [`directory`] (what the cluster has agreed on about itself), [`placement`] (which server should
//!   hold what), [`controller`] (the next step on the way there), [`replica::image`] (what is copied);
//! - what is told: [`mod@map`] to clients, [`gossip`] to each other;
//! - a server: [`node`], which ties all of it together.
//!
//! All of it is plain synchronous code on bytes and values. Only [`host`], where consensus drives it, and the rim of
//! [`node`] have threads. [`limits`] has every bound.

#![forbid(unsafe_code)]

pub mod answering;
mod codec;
pub mod controller;
pub mod directory;
pub mod gossip;
pub mod host;
pub mod limits;
pub mod map;
pub mod node;
pub mod outcome;
pub mod placement;
pub mod proposal;
pub mod replica;
pub mod streams;
pub mod versions;

/// The name of a group that may be sent again, as clients give it.
pub use batchkv_protocol::Sequence;
pub use codec::Malformed;
pub use directory::Directory;
pub use outcome::{Outcome, Outcomes, Refused};
pub use proposal::{Proposal, Write, WriteSet};
pub use replica::{Answer, Replica};
pub use streams::{Admission, Streams};
