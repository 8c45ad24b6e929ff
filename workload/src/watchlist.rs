//! Which records' whole history is kept, so that it can be judged by [`history`](crate::history).
//!
//! A sample of the records is taken, drawn by a seed that nobody but the run knows, and of it the hottest come
//! first, because what is written and read often is where a fault shows; none takes more than an eighth of
//! the share, so that there are several.

use std::collections::BTreeMap;

use crate::hash;
use crate::inserts::Inserts;
use crate::share::Share;
use crate::spec::Spec;

/// One record in so many is sampled.
const SAMPLE_ONE_IN: u64 = 64;
/// Ranks that are looked at, the hottest first.
const RANKS_MAX: u64 = 1 << 16;
/// Records on the list at most.
const RECORDS_MAX: usize = 1024;
/// The part of the share that one record may take.
const RECORD_PART_MAX: f64 = 1.0 / 8.0;

/// Records whose history is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchList {
    /// Ordered.
    records: Vec<u64>,
    hottest: Vec<u64>,
    share: f64,
    asked_share: f64,
    seed: u64,
}

/// Whether a seed's sample has this record.
#[inline]
fn is_sampled(seed: u64, record: u64) -> bool {
    hash::mix(seed ^ hash::mix(record ^ hash::GOLDEN)) < u64::MAX / SAMPLE_ONE_IN
}

impl WatchList {
    /// Records that `seed` samples and that together get at most `share` of all operations, by the chooser's
    /// own probabilities. Whatever they get, half of the `hottest` are the hottest of all, and the others the
    /// hottest sampled ones. With the chooser `latest` a record's probability is that at the start: it falls
    /// with each insert.
    pub fn new(spec: &Spec, share: f64, hottest: usize, seed: u64) -> Self {
        let candidates = candidates(spec);
        let sampled = |record: u64| is_sampled(seed, record);
        let (mut records, mut taken) = (Vec::new(), 0.0);
        for &(record, probability) in candidates.iter().filter(|(record, _)| sampled(*record)) {
            let fits = probability <= share * RECORD_PART_MAX && taken + probability <= share;
            if fits && records.len() < RECORDS_MAX {
                records.push(record);
                taken += probability;
            }
        }
        records.sort_unstable();
        let all = candidates.iter().map(|&(record, _)| record);
        let mut first: Vec<u64> = all.clone().take(hottest / 2).collect();
        let others = all.filter(|&record| sampled(record) && !first.contains(&record));
        let others: Vec<u64> = others.take(hottest - first.len()).collect();
        first.extend(others);
        Self {
            records,
            hottest: first,
            share: taken,
            asked_share: share,
            seed,
        }
    }

    /// Whether the record is on the list.
    pub fn contains(&self, record: u64) -> bool {
        is_sampled(self.seed, record) && self.records.binary_search(&record).is_ok()
    }

    /// How many records are on the list.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record is on the list.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The hottest records, and the hottest sampled ones, on the list or not.
    pub fn hottest(&self) -> &[u64] {
        &self.hottest
    }

    /// The share that was asked for.
    pub fn asked_share(&self) -> f64 {
        self.asked_share
    }

    /// What the records on the list get of all operations that draw one, 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }
}

/// Records with the probability that an operation draws them, the likeliest first.
fn candidates(spec: &Spec) -> Vec<(u64, f64)> {
    let chooser = spec.tables();
    let alone = Share::new(0, 1, 0, 1).expect("worker 0 of client 0 of 1");
    let inserts = Inserts::new(spec.records(), alone);
    let ranks = chooser.ranks().len().min(RANKS_MAX);
    let strayed = chooser.strayed_share(ranks);
    let mut shares = BTreeMap::new();
    for rank in 0..ranks {
        let record = chooser.record(rank, &inserts);
        *shares.entry(record).or_insert(strayed) += chooser.ranks().probability(rank);
    }
    let mut candidates: Vec<_> = shares.into_iter().collect();
    candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    candidates
}
