//! What the program `batchkv-bench` and the benchmarks in `benches/` measure with: the standard job, and
//! the layers that it passes through.

pub mod job;
pub mod rows;
pub mod served;
