//! What every engine must keep: one suite, run on each of them; and what only `partitioned` promises.

#![allow(clippy::unwrap_used)] // the helpers of tests, too

mod concurrency;
mod conformance;
mod harness;
mod memory;
mod model;
mod moving;
