//! How long values are.

use std::fmt;
use std::str::FromStr;

use crate::alias::Alias;
use crate::error::SpecError;
use crate::hash;
use crate::values::Stamp;

/// The longest value, in bytes (the protocol's limit too).
pub const VALUE_BYTES_MAX: u32 = 1 << 20;

/// The lengths of values, 1 to [`VALUE_BYTES_MAX`] bytes.
///
/// As text: `128` (constant), `100..1000` (evenly, both ends included), or `100:0.5,1000:0.5` (a list
/// of lengths with their shares, which add up to 1).
#[derive(Clone, Debug, PartialEq)]
pub struct ValueSizes(Shape);

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Constant(u32),
    Uniform {
        min: u32,
        max: u32,
    },
    Weighted {
        parts: Vec<(u32, f64)>,
        alias: Alias,
    },
}

impl ValueSizes {
    /// The length of the value that `stamp` puts into `record`. Follows from record, writer and
    /// sequence alone, so that a run can be repeated.
    #[inline]
    pub fn bytes(&self, record: u64, stamp: Stamp) -> usize {
        let random = || hash::words(&[record, u64::from(stamp.writer) << 48 | stamp.sequence]);
        let bytes = match &self.0 {
            Shape::Constant(bytes) => *bytes,
            Shape::Uniform { min, max } => {
                min + hash::scale(random(), u64::from(max - min) + 1).0 as u32
            }
            Shape::Weighted { parts, alias } => parts[alias.pick(random())].0,
        };
        bytes as usize
    }

    /// The shortest length that occurs.
    pub fn bytes_min(&self) -> usize {
        self.extreme(|a, b| a.min(b))
    }

    /// The longest length that occurs.
    pub fn bytes_max(&self) -> usize {
        self.extreme(|a, b| a.max(b))
    }

    /// The mean length.
    pub fn bytes_mean(&self) -> f64 {
        match &self.0 {
            Shape::Constant(bytes) => f64::from(*bytes),
            Shape::Uniform { min, max } => (f64::from(*min) + f64::from(*max)) / 2.0,
            Shape::Weighted { parts, .. } => {
                let part = |(bytes, share): &(u32, f64)| f64::from(*bytes) * share;
                parts.iter().map(part).sum()
            }
        }
    }

    fn extreme(&self, choose: fn(u32, u32) -> u32) -> usize {
        let bytes = match &self.0 {
            Shape::Constant(bytes) => *bytes,
            Shape::Uniform { min, max } => choose(*min, *max),
            Shape::Weighted { parts, .. } => parts
                .iter()
                .map(|part| part.0)
                .reduce(choose)
                .unwrap_or_default(),
        };
        bytes as usize
    }
}

impl Default for ValueSizes {
    fn default() -> Self {
        Self(Shape::Constant(128))
    }
}

impl FromStr for ValueSizes {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let wrong = |reason| SpecError::ValueBytes(text.into(), reason);
        let bytes = |text: &str| {
            let bytes = text.trim().parse::<u32>().ok();
            bytes
                .filter(|bytes| (1..=VALUE_BYTES_MAX).contains(bytes))
                .ok_or_else(|| wrong("a length is not a number from 1 to 1048576"))
        };
        if let Some((min, max)) = text.split_once("..") {
            let (min, max) = (bytes(min)?, bytes(max)?);
            if min > max {
                return Err(wrong("the least length is above the greatest"));
            }
            return Ok(Self(Shape::Uniform { min, max }));
        }
        if !text.contains(':') {
            return Ok(Self(Shape::Constant(bytes(text)?)));
        }
        let mut parts = Vec::new();
        for part in text.split(',') {
            let (length, share) = part
                .split_once(':')
                .ok_or_else(|| wrong("a part is not BYTES:SHARE"))?;
            let share = share.trim().parse::<f64>().ok();
            let share = share.filter(|share| (0.0..=1.0).contains(share));
            let share = share.ok_or_else(|| wrong("a share is not a number from 0 to 1"))?;
            let length = bytes(length)?;
            // A length that is never drawn must not count as the longest or shortest one.
            if share > 0.0 {
                parts.push((length, share));
            }
        }
        let weights: Vec<f64> = parts.iter().map(|part| part.1).collect();
        if (weights.iter().sum::<f64>() - 1.0).abs() > 1e-9 {
            return Err(wrong("the shares do not add up to 1"));
        }
        let alias = Alias::new(&weights);
        Ok(Self(Shape::Weighted { parts, alias }))
    }
}

impl fmt::Display for ValueSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Shape::Constant(bytes) => write!(f, "{bytes}"),
            Shape::Uniform { min, max } => write!(f, "{min}..{max}"),
            Shape::Weighted { parts, .. } => {
                let mut comma = "";
                for (bytes, share) in parts {
                    write!(f, "{comma}{bytes}:{share}")?;
                    comma = ",";
                }
                Ok(())
            }
        }
    }
}
