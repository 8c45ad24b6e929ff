//! Why a workload cannot be had.

use thiserror::Error;

/// Why a workload cannot be had; each message names what is allowed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SpecError {
    /// No workload has this name.
    #[error("unknown workload '{0}': allowed are A, B, C, D and F, also as YCSB-B or ycsb-b")]
    Workload(String),
    /// Workload E.
    #[error("workload E needs ordered scans, not supported: allowed are A, B, C, D and F")]
    NeedsScans,
    /// The text of a mix, and what is wrong with it.
    #[error(
        "mix '{0}': {1}; allowed are shares of read, update, insert, rmw and delete, \
         like read=0.9,update=0.1, that add up to 1"
    )]
    Mix(String, &'static str),
    /// No key chooser has this name.
    #[error(
        "unknown key chooser '{0}': allowed are zipf, ycsb, uniform, latest, hotspot and \
         hotspot:RECORDS:OPERATIONS with two fractions from 0 to 1, the first above 0"
    )]
    Chooser(String),
    /// Theta is negative or no number.
    #[error("theta {0}: allowed are numbers from 0 (uniform) up; larger is more skewed")]
    Theta(f64),
    /// Gray's formula divides by 1 - theta.
    #[error(
        "theta {0} with the chooser ycsb: allowed is 0 to below 1 (Gray's form); zipf takes any"
    )]
    ThetaYcsb(f64),
    /// Too few or too many records.
    #[error("{0} records: allowed are 1 to 1099511627776")]
    Records(u64),
    /// No key style has this name.
    #[error("unknown key style '{0}': allowed are decimal and user")]
    KeyStyle(String),
    /// The text of value lengths, and what is wrong with it.
    #[error(
        "value bytes '{0}': {1}; allowed are one length (128), a range (100..1000) or \
         lengths with shares that add up to 1 (100:0.5,1000:0.5)"
    )]
    ValueBytes(String, &'static str),
    /// Scatter was asked for with a chooser that has no order to scatter.
    #[error("scatter with the chooser {0}: allowed with zipf and hotspot")]
    Scatter(String),
}
