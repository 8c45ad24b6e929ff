//! What is looked at beside the load: servers, threads, this machine.

pub(crate) mod figures;
pub(crate) mod host;
pub(crate) mod look;
pub(crate) mod status;
pub(crate) mod watch;
