//! The kinds of operation, and how often each is asked for.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::error::SpecError;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Gets a record's value.
    Read = 0,
    /// Overwrites a record's whole value (this store has no fields).
    Update = 1,
    /// Puts a record that did not exist.
    Insert = 2,
    /// Gets a record's value, then overwrites it; one operation, not atomic.
    ReadModifyWrite = 3,
    /// Removes a record.
    Delete = 4,
}

impl Kind {
    /// All kinds; the place of a kind is `kind as usize`.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Update,
        Self::Insert,
        Self::ReadModifyWrite,
        Self::Delete,
    ];

    /// The kind's name in a mix.
    pub fn name(self) -> &'static str {
        ["read", "update", "insert", "rmw", "delete"][self as usize]
    }
}

/// The share of each kind of operation.
///
/// As text: `read=0.9,update=0.05,insert=0.05`; kinds that are not named have share 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    shares: [f64; 5],
}

/// The operations that were asked are not in the proportions that were wanted.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{} operations are {:.4} % of all instead of {:.4} %", kind.name(), observed * 100.0, wanted * 100.0)]
pub struct WrongMix {
    /// The kind that is furthest off.
    pub kind: Kind,
    /// Its share, 0 to 1.
    pub observed: f64,
    /// The share that it should have.
    pub wanted: f64,
}

impl Mix {
    /// The mix with these shares by `kind as usize`: each 0 to 1, together 1 (within 1e-9).
    ///
    /// # Errors
    /// When they are not.
    pub fn new(shares: [f64; 5]) -> Result<Self, SpecError> {
        let sum: f64 = shares.iter().sum();
        if !shares.iter().all(|share| (0.0..=1.0).contains(share)) || (sum - 1.0).abs() > 1e-9 {
            let text = Self { shares }.to_string();
            return Err(SpecError::Mix(text, "the shares do not add up to 1"));
        }
        Ok(Self { shares })
    }

    /// The share of a kind, 0 to 1.
    pub fn share(&self, kind: Kind) -> f64 {
        self.shares[kind as usize]
    }

    /// Whether operations counted by `kind as usize` are of this mix: none of the shares is off by more
    /// than 0.1 percentage points or six standard deviations, whichever is more. Nothing observed is
    /// no objection.
    ///
    /// # Errors
    /// The kind that is furthest off, if one is.
    pub fn check(&self, counts: &[u64; 5]) -> Result<(), WrongMix> {
        let total = counts.iter().sum::<u64>() as f64;
        let worst = Kind::ALL
            .into_iter()
            .map(|kind| {
                let wanted = self.share(kind);
                let observed = counts[kind as usize] as f64 / total.max(1.0);
                let allowed = (6.0 * (wanted * (1.0 - wanted) / total.max(1.0)).sqrt()).max(0.001);
                let excess = (observed - wanted).abs() / allowed;
                (
                    excess,
                    WrongMix {
                        kind,
                        observed,
                        wanted,
                    },
                )
            })
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match worst {
            Some((excess, wrong)) if excess > 1.0 && total > 0.0 => Err(wrong),
            _ => Ok(()),
        }
    }

    /// Cumulated shares of all kinds but the last, as fractions of 2^63: a random number below 2^63 draws
    /// the kind whose place is the count of thresholds that it reaches.
    pub(crate) fn thresholds(&self) -> [u64; 4] {
        let mut thresholds = [1 << 63; 4];
        let mut sum = 0.0;
        for (i, threshold) in thresholds.iter_mut().enumerate() {
            sum += self.shares[i];
            // Rounding must not leave a sliver for a kind whose share is 0.
            if self.shares[i + 1..].iter().any(|&share| share > 0.0) {
                *threshold = (sum * (1_u64 << 63) as f64) as u64;
            }
        }
        thresholds
    }
}

impl FromStr for Mix {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let wrong = |reason| SpecError::Mix(text.into(), reason);
        let mut shares = [None; 5];
        for part in text.split(',') {
            let (name, share) = part
                .split_once('=')
                .ok_or_else(|| wrong("a part is not KIND=SHARE"))?;
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.name() == name.trim())
                .ok_or_else(|| wrong("a kind is unknown"))?;
            let share = share.trim().parse::<f64>().ok();
            let share = share.filter(|share| (0.0..=1.0).contains(share));
            let share = share.ok_or_else(|| wrong("a share is not a number from 0 to 1"))?;
            if shares[kind as usize].replace(share).is_some() {
                return Err(wrong("a kind is named twice"));
            }
        }
        Self::new(shares.map(|share| share.unwrap_or(0.0)))
            .map_err(|_| wrong("the shares do not add up to 1"))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for kind in Kind::ALL {
            if self.share(kind) != 0.0 {
                write!(f, "{comma}{}={}", kind.name(), self.share(kind))?;
                comma = ",";
            }
        }
        Ok(())
    }
}
