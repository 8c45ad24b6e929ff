//! The server's stores, from the same source files, with loom's atomics, locks and threads instead of
//! the standard library's. `tests/` runs the engine `partitioned` in the orders that the memory model
//! allows.

#[path = "../../server/src/store/mod.rs"]
pub mod store;
mod system;
