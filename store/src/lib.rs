//! Where records live: a small trait, and two engines that keep its promises.
//!
//! ```text
//!  window of operations -> Engine::apply -> Answers: a frame, or answers that are kept
//!  a partition's records <- Movable::export, import, clear: what moving and saving one needs
//! ```
//!
//! Start at [`Engine`]. [`Partitioned`] is the engine; [`Dashmap`] is the straightforward map that it is
//! compared with.
//! The suites `tests/engine/conformance.rs` and `moving.rs` run on both.

mod dashmap;
mod engine;
mod partitioned;
#[cfg_attr(loom, path = "system_loom.rs")]
mod system;

pub use self::dashmap::Dashmap;
pub use self::engine::{
    Engine, ExportCursor, Movable, OutOfMemory, Placed, Usage, WINDOW_OPERATIONS,
};
pub use self::partitioned::Partitioned;
