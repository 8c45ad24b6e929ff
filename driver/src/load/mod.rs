//! The load: worker threads, their tasks, and what they count.

pub(crate) mod batch;
pub(crate) mod board;
pub(crate) mod control;
pub(crate) mod lane;
pub(crate) mod pacing;
pub(crate) mod schedule;
pub(crate) mod starts;
pub(crate) mod tally;
pub(crate) mod task;
pub(crate) mod worker;
