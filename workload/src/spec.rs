//! What can be asked for: [`Options`] is what was typed, [`Spec`] what was found valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::chooser::{Chooser, ChooserName};
use crate::error::SpecError;
use crate::keys::{KeyBuf, KeyStyle};
use crate::mix::Mix;
use crate::sizes::ValueSizes;
use crate::values::HEADER_BYTES;

/// The most records.
pub const RECORDS_MAX: u64 = 1 << 40;

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
            return Err(SpecError::Scatter(chooser.to_string()));
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
