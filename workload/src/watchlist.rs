//! Which records' whole history is kept, so that it can be judged by [`history`](crate::history).
//!
//! Only records that the [`Witness`] samples are taken: an operation on any other is not even looked
//! at. The hottest come first, because what is written and read often is where a fault shows, and none
//! takes more than an eighth of the share, so that there are several.

use std::collections::BTreeMap;

use crate::inserts::Inserts;
use crate::share::Share;
use crate::spec::Spec;
use crate::stale::Witness;

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
}

impl WatchList {
    /// Sampled records that together get at most `share` of all operations, by the chooser's own
    /// probabilities, and the `hottest` sampled ones, whatever they get. With the chooser `latest` a
    /// record's probability is that at the start: it falls with each insert.
    pub fn new(spec: &Spec, share: f64, hottest: usize) -> Self {
        let candidates = candidates(spec);
        let (mut records, mut taken) = (Vec::new(), 0.0);
        for &(record, probability) in &candidates {
            let fits = probability <= share * RECORD_PART_MAX && taken + probability <= share;
            if fits && records.len() < RECORDS_MAX {
                records.push(record);
                taken += probability;
            }
        }
        records.sort_unstable();
        let first = candidates.iter().take(hottest);
        Self {
            records,
            hottest: first.map(|&(record, _)| record).collect(),
            share: taken,
        }
    }

    /// Whether the record is on the list.
    pub fn contains(&self, record: u64) -> bool {
        self.records.binary_search(&record).is_ok()
    }

    /// How many records are on the list.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record is on the list.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The hottest sampled records, on the list or not, the hottest first.
    pub fn hottest(&self) -> &[u64] {
        &self.hottest
    }

    /// What the records on the list get of all operations that draw one, 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }
}

/// Sampled records with the probability that an operation draws them, the likeliest first.
fn candidates(spec: &Spec) -> Vec<(u64, f64)> {
    let chooser = spec.tables();
    let alone = Share::new(0, 1, 0, 1).expect("worker 0 of client 0 of 1");
    let inserts = Inserts::new(spec.records(), alone);
    let ranks = chooser.ranks().len().min(RANKS_MAX);
    let strayed = chooser.strayed_share(ranks);
    let mut shares = BTreeMap::new();
    for rank in 0..ranks {
        let record = chooser.record(rank, &inserts);
        if Witness::is_sampled(record) {
            *shares.entry(record).or_insert(strayed) += chooser.ranks().probability(rank);
        }
    }
    let mut candidates: Vec<_> = shares.into_iter().collect();
    candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    candidates
}
