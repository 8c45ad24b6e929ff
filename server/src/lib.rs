//! The batchkv server: applies whole batches to a sharded concurrent map.
//!
//! ```text
//!  accept      a socket goes to the thread with the fewest connections (one current-thread runtime each)
//!  connection  read -> ReceiveBuffer -> Session::advance -> SendBuffer -> write
//!                                          |  windows of operations, across group borders
//!                                          v
//!  executor                     owner check -> store::Engine (shared by all threads) -> counters
//!                                          |  or away with the group
//!                                          v
//!  parked                       answered later, in any order
//! ```
//!
//! Start at [`run`]. Then [`session`], the conversation without sockets; [`executor`], what operations are handed
//! to; [`parked`], groups that are answered later; [`replicated`], the executor of
//! a cluster's member, and [`desk`], what else it is asked; [`shared_map`], who owns which partition while that changes;
//! [`handle`] and [`stats`], a running server from outside; [`budget`], what connections may use. `greeting`, `fault`
//! and `requests` are parts of a session, `windows` and `answering` the way from a frame's bytes to answers.

mod accept;
mod answering;
pub mod budget;
pub mod config;
mod connection;
pub mod desk;
pub mod executor;
mod fault;
mod greeting;
pub mod handle;
pub mod parked;
pub mod replicated;
mod requests;
mod service;
pub mod session;
pub mod shared_map;
pub mod stats;
mod threads;
mod windows;

pub use handle::{Handle, Observer};
pub use service::{run, serve, serve_with};
