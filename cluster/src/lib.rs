//! What a replicated, elastic cluster needs above consensus and store.
//!
//! ```text
//!  session (server/)                    a partition's Raft group                  every member
//!  group -> Proposal: its writes  --->  entries, in rounds            --->  Replica -> engine
//!           gets stay parked                                                  |  Streams: once only
//!  answers <--- Answer: outcomes of the writes, at the proposer  <------------'  versions
//! ```
//!
//! A student who knows Raft finds here what a lecture calls "the state machine". Where to start:
//! [`mod@proposal`] (what is replicated), [`streams`] (why sending again is safe), [`directory`] (what the
//! cluster has agreed on about itself), [`placement`] (which server should hold what), [`controller`] (how
//! it gets there), [`mod@map`] and [`gossip`] (what
//! clients are told, and servers each other).
//!
//! All of it is plain synchronous code on bytes and values: no I/O, no clock, no thread, no task.

#![forbid(unsafe_code)]

mod codec;
pub mod controller;
pub mod directory;
pub mod gossip;
pub mod limits;
pub mod map;
pub mod outcome;
pub mod placement;
pub mod proposal;
pub mod streams;
pub mod versions;

pub use codec::Malformed;
pub use directory::Directory;
pub use outcome::{Outcome, Outcomes, Refused};
pub use proposal::{Proposal, Write, WriteSet};
pub use streams::{Admission, Sequence, Streams};
