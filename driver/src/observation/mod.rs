//! What is looked at beside the load: servers, threads, this machine.

pub(crate) mod host;
pub(crate) mod metrics;
pub(crate) mod sampling;
pub(crate) mod snapshots;
pub(crate) mod status;
