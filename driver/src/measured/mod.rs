//! The nouns of a measurement: what is counted and timed. Used by whoever counts, judges and writes.

pub(crate) mod counts;
pub(crate) mod interval;
pub(crate) mod latency;
pub(crate) mod statistics;
