//! How records are chosen: a distribution over ranks, and which record a rank stands for.

use std::fmt;
use std::str::FromStr;

use crate::error::SpecError;
use crate::hash;
use crate::inserts::Inserts;
use crate::law::Law;
use crate::permutation::Permutation;
use crate::random::Random;
use crate::zipf::Zipf;

/// Selects the permutation of `--scatter`.
const SCATTER: u64 = 0x1F83_D9AB_FB41_BD6B;
/// Items that YCSB's scrambled chooser draws from, whatever the record count.
const SCRAMBLED_ITEMS: u64 = 10_000_000_000;

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

/// A key chooser with its tables.
#[derive(Debug)]
pub(crate) struct Chooser {
    ranks: Ranks,
    placing: Placing,
}

/// Which record a rank stands for.
#[derive(Debug)]
enum Placing {
    /// A rank is a record.
    Plain,
    /// A rank is a record after permutation.
    Scattered(Permutation),
    /// A rank counts back from the newest record.
    Latest,
    /// A rank is an item of YCSB's, hashed onto so many records: no bijection, so that some records
    /// get the hits of several hot items, and others of cold ones only.
    Scrambled(u64),
}

impl Chooser {
    /// What a record gets on top of its own ranks, when others are hashed onto it: with the ranks from
    /// `first` on spread evenly.
    pub(crate) fn strayed_share(&self, first: u64) -> f64 {
        match self.placing {
            Placing::Scrambled(records) => (1.0 - self.ranks.share_below(first)) / records as f64,
            _ => 0.0,
        }
    }

    /// Whether what is inserted becomes hot.
    pub(crate) fn follows_inserts(&self) -> bool {
        matches!(self.placing, Placing::Latest)
    }

    pub(crate) fn new(name: ChooserName, records: u64, theta: f64, scatter: bool) -> Self {
        let zipf = || {
            if theta == 0.0 {
                Ranks::Uniform(records)
            } else {
                Ranks::Zipf(Zipf::new(records, Law::exact(records, theta)))
            }
        };
        let ranks = match name {
            ChooserName::Ycsb => {
                let gray = Law::gray(SCRAMBLED_ITEMS, theta);
                Ranks::Zipf(Zipf::new(SCRAMBLED_ITEMS, gray))
            }
            ChooserName::Zipf | ChooserName::Latest => zipf(),
            ChooserName::Uniform => Ranks::Uniform(records),
            ChooserName::Hotspot {
                records: fraction,
                operations,
            } => Ranks::Hotspot(Hotspot::new(records, fraction, operations)),
        };
        let placing = match name {
            ChooserName::Ycsb => Placing::Scrambled(records),
            ChooserName::Latest => Placing::Latest,
            _ if scatter => Placing::Scattered(Permutation::new(records, SCATTER)),
            _ => Placing::Plain,
        };
        Self { ranks, placing }
    }

    /// The distribution that ranks are drawn from.
    #[inline]
    pub(crate) fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// The record that a rank stands for.
    #[inline]
    pub(crate) fn record(&self, rank: u64, inserts: &Inserts) -> u64 {
        match &self.placing {
            Placing::Plain => rank,
            Placing::Scattered(permutation) => permutation.apply(rank),
            Placing::Latest => inserts.newest(rank),
            Placing::Scrambled(records) => hash::ycsb(rank) % records,
        }
    }
}

/// A distribution over ranks, 0 the hottest.
#[derive(Debug)]
pub(crate) enum Ranks {
    Uniform(u64),
    Zipf(Zipf),
    Hotspot(Hotspot),
}

impl Ranks {
    /// The number of ranks.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Uniform(n) => *n,
            Self::Zipf(zipf) => zipf.ranks(),
            Self::Hotspot(hotspot) => hotspot.hot + hotspot.cold,
        }
    }

    /// The probability that one of the ranks `0..end` is drawn.
    pub(crate) fn share_below(&self, end: u64) -> f64 {
        match self {
            Self::Uniform(n) => end as f64 / *n as f64,
            Self::Zipf(zipf) => zipf.law().share_below(end),
            Self::Hotspot(hotspot) => hotspot.share_below(end),
        }
    }

    /// The probability that `rank` is drawn.
    pub(crate) fn probability(&self, rank: u64) -> f64 {
        match self {
            Self::Zipf(zipf) => zipf.law().probability(rank),
            _ => self.share_below(rank + 1) - self.share_below(rank),
        }
    }

    #[inline]
    pub(crate) fn draw(&self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform(n) => random.below(*n),
            Self::Zipf(zipf) => zipf.draw(random),
            Self::Hotspot(hotspot) => hotspot.draw(random),
        }
    }
}

/// Ranks `0..hot` with one probability, `hot..hot + cold` with another.
#[derive(Debug)]
pub(crate) struct Hotspot {
    hot: u64,
    cold: u64,
    /// Coins (63 bits) below it go to the hot ranks.
    threshold: u64,
}

impl Hotspot {
    fn new(records: u64, fraction: f64, operations: f64) -> Self {
        let hot = ((records as f64 * fraction) as u64).clamp(1, records);
        let cold = records - hot;
        // Without cold records, the hot ones get everything.
        let operations = if cold == 0 { 1.0 } else { operations };
        Self {
            hot,
            cold,
            threshold: (operations * (1_u64 << 63) as f64) as u64,
        }
    }

    fn share_below(&self, end: u64) -> f64 {
        let operations = self.threshold as f64 / (1_u64 << 63) as f64;
        let part = |ranks: u64, of: u64| ranks as f64 / (of as f64).max(1.0);
        operations * part(end.min(self.hot), self.hot)
            + (1.0 - operations) * part(end.saturating_sub(self.hot), self.cold)
    }

    #[inline]
    fn draw(&self, random: &mut Random) -> u64 {
        let hot = random.word() >> 1 < self.threshold;
        let (first, width) = if hot {
            (0, self.hot)
        } else {
            (self.hot, self.cold)
        };
        first + hash::scale(random.word(), width).0
    }
}
