//! Client library of batchkv, a key-value store that is driven by batches.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use batchkv_client::{Batch, Client, Options, Outcome};
//!
//! let client = Client::connect(&["127.0.0.1:8080"], Options::default()).await?;
//! let mut batch = Batch::new();
//! batch.put(b"fruit", b"apple")?.get(b"fruit")?;
//! let answers = client.execute(batch).await;
//! assert_eq!(answers.get(1), Some(Outcome::Value(b"apple")));
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  Batch -> Plan (groups by server and partition) -> Request: Exchange -> Line -> Connection (handle)
//!             ^ made of Routes, which hellos, pushed maps and refusals teach    queue |
//!  Answers <-------------------------- answers, one per operation -- Session <-> Pump <-> socket
//! ```
//!
//! Where to start: [`Client`]; below it [`exchange`] (what a connection carries; write your own for
//! full control), [`connect`] and [`connection`], [`session`] (the protocol without a socket).

#![forbid(unsafe_code)]

pub mod answers;
pub mod batch;
pub mod client;
mod cluster;
pub mod connect;
pub mod connection;
mod dial;
pub mod error;
pub mod exchange;
pub mod group;
mod hello;
pub mod hosts;
pub mod kind;
mod line;
mod lines;
mod once;
pub mod pump;
mod questions;
mod router;
pub mod routes;
pub mod session;
pub mod system;
mod together;

pub use answers::{Answers, Outcome};
pub use batch::{Batch, BatchError};
pub use client::{Client, Options};
pub use cluster::{Reads, Retries};
pub use error::{ConnectError, ConnectionError};

/// The crate whose types appear in this one's signatures.
pub use batchkv_protocol as protocol;
