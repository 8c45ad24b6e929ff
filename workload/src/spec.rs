//! What can be asked for: [`Options`] is what was typed, [`Spec`] what was found valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::keys::{KeyBuf, KeyStyle};
use crate::mix::Mix;
use crate::sizes::ValueSizes;
use crate::stream::Chooser;
use crate::values::HEADER_BYTES;

/// The most records.
pub const RECORDS_MAX: u64 = 1 << 40;

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
    Scatter(ChooserName),
}

/// YCSB's core workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Workload {
    /// Half reads, half updates.
    A,
    /// 95 % reads, 5 % updates.
    #[default]
    B,
    /// Reads only.
    C,
    /// 95 % reads of the latest records, 5 % inserts.
    D,
    /// Half reads, half read-modify-writes.
    F,
}

impl Workload {
    /// The workload's mix.
    pub fn mix(self) -> Mix {
        let shares = match self {
            Self::A => [0.5, 0.5, 0.0, 0.0, 0.0],
            Self::B => [0.95, 0.05, 0.0, 0.0, 0.0],
            Self::C => [1.0, 0.0, 0.0, 0.0, 0.0],
            Self::D => [0.95, 0.0, 0.05, 0.0, 0.0],
            Self::F => [0.5, 0.0, 0.0, 0.5, 0.0],
        };
        Mix::new(shares).expect("each line adds up to 1")
    }

    /// The workload's key chooser; YCSB's zipfian is the exact one here unless `ycsb` is asked for.
    pub fn chooser(self) -> ChooserName {
        match self {
            Self::D => ChooserName::Latest,
            _ => ChooserName::Zipf,
        }
    }
}

impl FromStr for Workload {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let upper = text.to_ascii_uppercase();
        match upper.strip_prefix("YCSB-").unwrap_or(&upper) {
            "A" => Ok(Self::A),
            "B" => Ok(Self::B),
            "C" => Ok(Self::C),
            "D" => Ok(Self::D),
            "E" => Err(SpecError::NeedsScans),
            "F" => Ok(Self::F),
            _ => Err(SpecError::Workload(text.into())),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "YCSB-{self:?}")
    }
}

/// How records are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChooserName {
    /// Exact Zipf: record r has the rank r.
    Zipf,
    /// YCSB's scrambled Zipf: Gray's approximation over 10^10 items, hashed onto the records.
    Ycsb,
    /// All records alike.
    Uniform,
    /// Exact Zipf counted back from the newest record of the load and the worker's own acknowledged
    /// inserts.
    Latest,
    /// The first `records` (a fraction) of the records get `operations` (a fraction) of the operations,
    /// evenly; the others get the rest, evenly.
    Hotspot {
        /// Fraction of the records that is hot: above 0, at most 1.
        records: f64,
        /// Fraction of the operations on hot records: 0 to 1.
        operations: f64,
    },
}

impl FromStr for ChooserName {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "zipf" => return Ok(Self::Zipf),
            "ycsb" => return Ok(Self::Ycsb),
            "uniform" => return Ok(Self::Uniform),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        // YCSB's default hot spot: a fifth of the records, four fifths of the operations.
        let parts = match text.strip_prefix("hotspot") {
            Some("") => Some(("0.2", "0.8")),
            Some(rest) => rest.strip_prefix(':').and_then(|rest| rest.split_once(':')),
            None => None,
        };
        let fraction = |text: &str| text.parse().ok().filter(|f| (0.0..=1.0).contains(f));
        parts
            .and_then(|(records, operations)| Some((fraction(records)?, fraction(operations)?)))
            .filter(|&(records, _)| records > 0.0)
            .map(|(records, operations)| Self::Hotspot {
                records,
                operations,
            })
            .ok_or_else(|| SpecError::Chooser(text.into()))
    }
}

impl fmt::Display for ChooserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zipf => f.write_str("zipf"),
            Self::Ycsb => f.write_str("ycsb"),
            Self::Uniform => f.write_str("uniform"),
            Self::Latest => f.write_str("latest"),
            Self::Hotspot {
                records,
                operations,
            } => write!(f, "hotspot:{records}:{operations}"),
        }
    }
}

/// A workload as typed. Every field can be parsed from text; the default is the standard job.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Gives mix and chooser where they are not given themselves.
    pub workload: Workload,
    /// Replaces the workload's mix.
    pub mix: Option<Mix>,
    /// Replaces the workload's chooser.
    pub chooser: Option<ChooserName>,
    /// Skew of `zipf`, `ycsb` and `latest`.
    pub theta: f64,
    /// Records that are loaded: `0..records`.
    pub records: u64,
    /// How keys look.
    pub key_style: KeyStyle,
    /// Whether ranks are permuted, so that record numbers say nothing about how hot a record is.
    pub scatter: bool,
    /// How long values are.
    pub value_sizes: ValueSizes,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workload: Workload::default(),
            mix: None,
            chooser: None,
            theta: 0.99,
            records: 1_000_000,
            key_style: KeyStyle::default(),
            scatter: false,
            value_sizes: ValueSizes::default(),
        }
    }
}

/// A valid workload, with the tables that drawing from it needs. Cheap to clone: clones share the
/// tables.
#[derive(Clone, Debug)]
pub struct Spec {
    options: Options,
    mix: Mix,
    chooser: ChooserName,
    tables: Arc<Chooser>,
}

impl Spec {
    /// Checks what was typed and builds the tables (well below a millisecond).
    ///
    /// # Errors
    /// What is not allowed, or not together, with what is.
    pub fn new(options: Options) -> Result<Self, SpecError> {
        let Options { theta, records, .. } = options;
        let mix = options.mix.unwrap_or_else(|| options.workload.mix());
        let chooser = options
            .chooser
            .unwrap_or_else(|| options.workload.chooser());
        if !(theta.is_finite() && theta >= 0.0) {
            return Err(SpecError::Theta(theta));
        }
        if chooser == ChooserName::Ycsb && theta >= 1.0 {
            return Err(SpecError::ThetaYcsb(theta));
        }
        if !(1..=RECORDS_MAX).contains(&records) {
            return Err(SpecError::Records(records));
        }
        let ranked = matches!(chooser, ChooserName::Zipf | ChooserName::Hotspot { .. });
        if options.scatter && !ranked {
            return Err(SpecError::Scatter(chooser));
        }
        let tables = Arc::new(Chooser::new(chooser, records, theta, options.scatter));
        Ok(Self {
            options,
            mix,
            chooser,
            tables,
        })
    }

    /// How often each kind of operation is asked for.
    pub fn mix(&self) -> &Mix {
        &self.mix
    }

    /// How records are chosen.
    pub fn chooser(&self) -> ChooserName {
        self.chooser
    }

    /// Skew of `zipf`, `ycsb` and `latest`.
    pub fn theta(&self) -> f64 {
        self.options.theta
    }

    /// Records that are loaded.
    pub fn records(&self) -> u64 {
        self.options.records
    }

    /// How keys look.
    pub fn key_style(&self) -> KeyStyle {
        self.options.key_style
    }

    /// How long values are.
    pub fn value_sizes(&self) -> &ValueSizes {
        &self.options.value_sizes
    }

    /// Everything that defines the workload, as names and values for a summary.
    pub fn description(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name()),
            ("mix", self.mix.to_string()),
            ("chooser", self.chooser.to_string()),
            ("theta", self.theta().to_string()),
            ("records", self.records().to_string()),
            ("key_style", self.key_style().to_string()),
            ("scatter", self.options.scatter.to_string()),
            ("value_bytes", self.value_sizes().to_string()),
            ("value_check", self.value_check().to_string()),
        ]
    }

    fn name(&self) -> String {
        match self.options.mix {
            None => self.options.workload.to_string(),
            Some(_) => "custom mix".into(),
        }
    }

    /// Whether some values have no room for the whole header with its checksum.
    pub fn has_short_values(&self) -> bool {
        self.value_sizes().bytes_min() < HEADER_BYTES
    }

    /// Bytes of a loaded record's key and value, on average.
    pub fn record_bytes(&self) -> f64 {
        let last = KeyBuf::new(self.key_style(), self.records() - 1);
        // Keys of numbers are as long as the last one, but for a ninth of a byte.
        last.as_bytes().len() as f64 + self.value_sizes().bytes_mean()
    }

    fn value_check(&self) -> &'static str {
        if self.has_short_values() {
            "truncated checksum and no stamp in values below 16 bytes"
        } else {
            "16-byte header with 48-bit checksum"
        }
    }

    pub(crate) fn tables(&self) -> &Arc<Chooser> {
        &self.tables
    }
}

/// One line that says it all.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}), ", self.name(), self.mix)?;
        match self.chooser {
            ChooserName::Zipf => write!(f, "exact zipf, theta {}", self.theta())?,
            ChooserName::Ycsb => write!(f, "YCSB's scrambled zipf, theta {}", self.theta())?,
            ChooserName::Latest => write!(f, "latest by exact zipf, theta {}", self.theta())?,
            ChooserName::Uniform | ChooserName::Hotspot { .. } => write!(f, "{}", self.chooser)?,
        }
        let scatter = if self.options.scatter {
            "scattered"
        } else {
            "not scattered"
        };
        write!(
            f,
            " over {} records, {scatter}, {} keys, values of {} bytes ({})",
            self.records(),
            self.key_style(),
            self.value_sizes(),
            self.value_check(),
        )
    }
}
