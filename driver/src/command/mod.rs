//! The command line: what was typed, what it means, and the small commands beside a measured run.

pub(crate) mod address;
pub(crate) mod args;
pub(crate) mod config;
pub(crate) mod lookup;
pub(crate) mod offer;
pub(crate) mod verify;
