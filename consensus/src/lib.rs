//! Raft groups for batchkv: what is acknowledged is held by a majority, and one of a majority goes on.
//!
//! The only crate that knows openraft (pinned, since it is an alpha); none of its types is seen outside. A
//! server runs one [`Node`], a thread with all its groups: one for each partition that it holds and one for
//! the directory. Other threads hold [`GroupHandle`]s.
//!
//! ```text
//!  propose(bytes) -> rounds -> entry -> log of the leader -> peers -> logs of a majority: committed
//!                                                                            |
//!  answer <------------------------------------ state machine, in log order <+ on every member
//! ```
//!
//! Each rule of the Raft lecture, and where it stands:
//!
//! | rule | where |
//! |---|---|
//! | one vote a term, kept before it is given | openraft; `log` keeps it |
//! | votes only for a log that is as long | openraft |
//! | entries match where term and index match | openraft; sent and answered in `wire`, `peer` |
//! | committed: held by a majority, of the own term | openraft; tests of a whole cluster in `sim` |
//! | applied once, in order, on all members alike | `machine` |
//! | a leader asks for votes before it raises the term (pre-vote) | openraft, over `peer` and `group` |
//! | reads: the leader is confirmed after the read began, or has a lease | `group`, `reads` |
//! | members: a learner catches up, then joint majorities of old and new | `group`, `changes` |
//! | the log is cut behind a snapshot | `group`, `purge`; `snapshot` sends one |
//! | time: only differences of a steady clock | openraft; `clock` for the time in entries |
//!
//! **A node that forgot must not vote.** The log is in memory, so a server that restarts has forgotten which
//! votes it gave and which entries it acknowledged, and would break both promises under its old name. It
//! comes back under a new node id, as a learner, and the old id is removed.
//!
//! Start reading with `machine` (what is replicated), `rounds` (what shares an entry), `group` (what
//! stands around openraft), [`transport`] (two networks: TCP and memory). [`limits`] has every bound.

#![forbid(unsafe_code)]

mod calls;
mod clock;
mod config;
mod error;
mod group;
mod host;
pub mod limits;
mod log;
mod machine;
mod node;
mod peer;
mod rounds;
#[cfg(test)]
mod sim;
mod snapshot;
mod steady;
mod task;
pub mod transport;
mod types;
mod wire;

pub use config::Config;
pub use error::{ChangeError, ProposeError, ReadError, StartError};
pub use group::{GroupHandle, MemberStatus, ReadBy, Role, Status};
pub use machine::{Committed, Image, Import, Proposal, StateMachine};
pub use node::Node;
pub use wire::Malformed;
