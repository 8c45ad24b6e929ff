//! What happened to listed records, and whether it can have happened.

pub(crate) mod linearizability;
pub(crate) mod recorder;
pub(crate) mod row;
