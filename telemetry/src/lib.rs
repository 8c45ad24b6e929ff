//! What a node uses while it takes part in a run: cores, memory, network, threads.
//!
//! ```text
//! kernel --sample::Sampler, once a second--> a row --> Series (CSV) --usage--> Usage of a window
//! ```
//!
//! [`sample`] reads the kernel's counters (Linux), [`series`] is pure: rows of numbers, their file, and
//! what grew between two moments, [`table`] how such a file is written and read. [`metrics`] serves a program's figures to Prometheus.
#![forbid(unsafe_code)]

pub mod metrics;
pub mod sample;
pub mod series;
pub mod table;

pub use sample::{Sampler, machine, threads_cpu};
pub use series::{Series, Usage};
