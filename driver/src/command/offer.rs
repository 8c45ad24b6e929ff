//! An offered load: how many operations a second, and how they arrive.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How arrivals follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// Independently of each other: gaps are exponential.
    Poisson,
}

impl FromStr for Arrivals {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "constant" => Ok(Self::Constant),
            "poisson" => Ok(Self::Poisson),
            _ => Err("allowed are constant and poisson"),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        })
    }
}

/// An offered load of a client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Offer {
    /// Of all tasks together.
    pub(crate) ops_per_sec: f64,
    pub(crate) arrivals: Arrivals,
    /// A batch is sent when its oldest operation has waited so long, full or not.
    pub(crate) linger: Duration,
}
