//! The load: worker threads, their tasks, and what they count.

pub(crate) mod alarm;
pub(crate) mod control;
pub(crate) mod lane;
pub(crate) mod links;
pub(crate) mod memory;
pub(crate) mod pacing;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod schedule;
#[cfg(test)]
mod simulation;
pub(crate) mod starts;
pub(crate) mod step;
pub(crate) mod tally;
pub(crate) mod task;
pub(crate) mod worker;
