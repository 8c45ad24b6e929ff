//! The operations of one task: the hot loop of the driver.

use std::sync::Arc;

use crate::hash;
use crate::inserts::Inserts;
use crate::law::Law;
use crate::mix::Kind;
use crate::permutation::Permutation;
use crate::random::Random;
use crate::spec::{ChooserName, Spec};
use crate::zipf::Zipf;

/// Selects the permutation of `--scatter`.
const SCATTER: u64 = 0x1F83_D9AB_FB41_BD6B;
/// Items that YCSB's scrambled chooser draws from, whatever the record count.
const SCRAMBLED_ITEMS: u64 = 10_000_000_000;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What to do.
    pub kind: Kind,
    /// With which record: `0..records`, or beyond for an insert and what `latest` finds inserted.
    pub record: u64,
}

/// The parts of a run, each of which has streams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the measured window.
    WarmUp = 1,
    /// The measured window.
    Run = 2,
}

/// Whose stream it is. Streams that differ in any field are independent; which record is hot is the
/// same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The run's seed.
    pub seed: u64,
    /// The client among the clients of the run.
    pub client: u32,
    /// The task among the tasks of the client.
    pub task: u32,
    /// The part of the run.
    pub phase: Phase,
}

/// An endless stream of operations, a few nanoseconds each.
#[derive(Clone, Debug)]
pub struct Stream {
    random: Random,
    /// See [`crate::mix::Mix::thresholds`].
    thresholds: [u64; 4],
    chooser: Arc<Chooser>,
}

impl Stream {
    /// The stream of `identity` in the workload `spec`.
    pub fn new(spec: &Spec, identity: Identity) -> Self {
        Self {
            random: Random::new(&[
                identity.seed,
                u64::from(identity.client),
                u64::from(identity.task),
                identity.phase as u64,
            ]),
            thresholds: spec.mix().thresholds(),
            chooser: Arc::clone(spec.tables()),
        }
    }

    /// The next operation. `inserts` is the worker's: it numbers what is inserted here and knows what
    /// `latest` may look at.
    #[inline]
    pub fn next(&mut self, inserts: &mut Inserts) -> Operation {
        let (kind, rank) = self.next_rank();
        let record = match rank {
            None => inserts.next_record(),
            Some(rank) => self.chooser.record(rank, inserts),
        };
        Operation { kind, record }
    }

    /// The next operation's kind, and the rank that was drawn for it; an insert draws none.
    #[inline]
    pub(crate) fn next_rank(&mut self) -> (Kind, Option<u64>) {
        let coin = self.random.word() >> 1;
        let place: usize = self
            .thresholds
            .iter()
            .map(|&threshold| usize::from(coin >= threshold))
            .sum();
        let kind = Kind::ALL[place];
        let draws = kind != Kind::Insert;
        (
            kind,
            draws.then(|| self.chooser.ranks().draw(&mut self.random)),
        )
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
    fn draw(&self, random: &mut Random) -> u64 {
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
