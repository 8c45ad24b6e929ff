//! Tests of the workload crate through its public interface, one module a subject.

mod distributions;
mod expected;
mod history;
mod keys;
mod presence;
mod shares;
mod simulation;
mod skew;
mod specs;
mod stale;
mod statistics;
mod streams;
mod values;
mod watchlist;
