//! How often the streams of a run draw hot ranks, beside how often they should.
//!
//! The sample is drawn again, outside the hot loop: the first operations of every task's own measured
//! stream, which are the same bits there and here. So it costs a run nothing, and shows what the run's
//! own seeds, tables and machine draw. Ranks are counted before they are scattered or hashed, because
//! only their distribution is known exactly.

use crate::chooser::Ranks;
use crate::mix::Kind;
use crate::spec::Spec;
use crate::stream::{Identity, Phase, Stream};

/// Most operations in a sample.
pub const SAMPLE_MAX: u64 = 10_000_000;
/// Ranks that have a bucket of their own, if they are drawn often enough.
const HOTTEST: u64 = 10;
/// Least expected draws of a bucket: fewer would make chi-squared misfire.
const EXPECTED_MIN: f64 = 100.0;

/// The ranks `first..end`, with the draws that fell there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The hottest rank.
    pub first: u64,
    /// Behind the last rank.
    pub end: u64,
    /// The chooser's own probability, 0 to 1.
    pub expected_share: f64,
    /// Draws.
    pub observed: u64,
}

/// The first operations of a client's streams.
#[derive(Clone, Debug, PartialEq)]
pub struct SkewSample {
    /// The ten hottest ranks and powers of two, as far as 100 draws are expected; they cover all ranks.
    pub buckets: Vec<Bucket>,
    /// Operations by `kind as usize`.
    pub kinds: [u64; 5],
}

impl SkewSample {
    /// Draws about `operations`, at most [`SAMPLE_MAX`], evenly from the measured streams of the `tasks`
    /// tasks of `client`.
    pub fn draw(spec: &Spec, seed: u64, client: u32, tasks: u32, operations: u64) -> Self {
        let operations = operations.min(SAMPLE_MAX);
        let ranks = spec.tables().ranks();
        let drawing = 1.0 - spec.mix().share(Kind::Insert);
        let mut buckets = buckets(ranks, operations as f64 * drawing);
        let mut kinds = [0; 5];
        for task in 0..tasks {
            let identity = Identity {
                seed,
                client,
                task,
                phase: Phase::Run,
            };
            let mut stream = Stream::new(spec, identity);
            for _ in 0..operations.div_ceil(tasks.into()) {
                let (kind, rank) = stream.next_rank();
                kinds[kind as usize] += 1;
                if let Some(rank) = rank {
                    let place = buckets.partition_point(|bucket| bucket.end <= rank);
                    buckets[place].observed += 1;
                }
            }
        }
        Self { buckets, kinds }
    }

    /// Draws of all buckets: operations that choose a record.
    pub fn draws(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.observed).sum()
    }
}

/// Empty buckets for so many expected draws.
fn buckets(ranks: &Ranks, draws: f64) -> Vec<Bucket> {
    let n = ranks.len();
    let powers = (0..64)
        .map(|power| 1 << power)
        .filter(|&border| border > HOTTEST);
    let borders = (1..=HOTTEST).chain(powers).filter(|&border| border < n);
    let mut buckets: Vec<Bucket> = Vec::new();
    let (mut first, mut below) = (0, 0.0);
    for end in borders.chain([n]) {
        let share = ranks.share_below(end);
        let expected_share = share - below;
        if expected_share * draws >= EXPECTED_MIN {
            buckets.push(Bucket {
                first,
                end,
                expected_share,
                observed: 0,
            });
            (first, below) = (end, share);
        }
    }
    // What is too little for a bucket of its own belongs to the one before.
    match buckets.last_mut() {
        Some(last) => {
            last.end = n;
            last.expected_share += 1.0 - below;
        }
        None => buckets.push(Bucket {
            first: 0,
            end: n,
            expected_share: 1.0,
            observed: 0,
        }),
    }
    buckets
}
