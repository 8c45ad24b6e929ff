//! Where the clients of a run meet.

pub(crate) mod barrier;
pub(crate) mod error;
