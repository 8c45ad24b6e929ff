//! What happened to listed records, and whether it can have happened.

pub(crate) mod check;
pub(crate) mod recorder;
pub(crate) mod row;
