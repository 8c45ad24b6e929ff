//! Zipf without approximation, drawn in a few nanoseconds from tables that stay in the nearest caches.
//!
//! The ranks of a [`Law`] are cut into bins: the first 1,024 each alone, the tail into segments whose
//! width is 1/64 of their first rank. A draw picks a bin by alias table, each bin weighted as if all
//! its ranks were as likely as its first; then a rank of the bin evenly; then keeps the rank with
//! the probability p(rank) / p(first), else starts again. Kept ranks are distributed exactly. All but
//! about one draw in a hundred are kept by comparison with p(last) / p(first) alone, so probabilities
//! are hardly ever computed. A single rank is a bin of width one: the common path has no branch that
//! depends on chance.
//!
//! What remains is arithmetic: a bin's share is off by less than 2^-50, and within a segment a rank's
//! by less than 2^-28 of itself (64-bit words, up to 2^40 ranks). The tables use the portable
//! functions of `libm`, because glibc's `pow` gives other bits with FMA than without, and two machines
//! would draw different streams.

use crate::alias::{Alias, TWO_64};
use crate::hash;
use crate::law::Law;
use crate::random::Random;

/// Ranks that have a bin of their own.
const HEAD_RANKS: u64 = 1024;
/// A segment is one 64th of its first rank wide: 44 segments an octave.
const SEGMENT_FRACTION: u64 = 64;

/// Ranks `first..first + width`.
#[derive(Clone, Copy, Debug)]
struct Bin {
    first: u64,
    width: u64,
    /// p(last) / p(first), as a fraction of 2^64: coins up to it keep any rank of the bin.
    squeeze: u64,
}

/// A sampler of a [`Law`].
#[derive(Clone, Debug)]
pub struct Zipf {
    law: Law,
    alias: Alias,
    bins: Vec<Bin>,
}

impl Zipf {
    /// The sampler of `law` over `0..ranks`; `ranks` is 1 to 2^40 and what the law was made for.
    pub fn new(ranks: u64, law: Law) -> Self {
        let mut bins = Vec::new();
        let mut weights = Vec::new();
        let mut first = 0;
        while first < ranks {
            let wish = if first < HEAD_RANKS {
                1
            } else {
                first / SEGMENT_FRACTION
            };
            let width = wish.min(ranks - first);
            let highest = law.probability(first);
            let squeeze = if width == 1 {
                u64::MAX
            } else {
                (law.probability(first + width - 1) / highest * TWO_64) as u64
            };
            bins.push(Bin {
                first,
                width,
                squeeze,
            });
            weights.push(width as f64 * highest);
            first += width;
        }
        let alias = Alias::new(&weights);
        Self { law, alias, bins }
    }

    /// What is drawn from.
    pub fn law(&self) -> &Law {
        &self.law
    }

    /// The number of ranks.
    pub fn ranks(&self) -> u64 {
        self.bins.last().map_or(0, |bin| bin.first + bin.width)
    }

    /// A rank.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let bin = &self.bins[self.alias.pick(random.word())];
            let (offset, coin) = hash::scale(random.word(), bin.width);
            let rank = bin.first + offset;
            if coin <= bin.squeeze || self.keeps(bin.first, rank, coin) {
                return rank;
            }
        }
    }

    /// The exact test behind the squeeze.
    #[cold]
    fn keeps(&self, first: u64, rank: u64, coin: u64) -> bool {
        let kept = self.law.probability(rank) / self.law.probability(first);
        (coin as f64) < kept * TWO_64
    }
}

#[cfg(test)]
mod tests {
    use super::{Law, Random, Zipf};

    /// Within a segment p falls by less than 2 %, so only all segments together show whether the
    /// rejection does its work: without it their first halves get 9 standard deviations too little.
    #[test]
    fn first_halves_of_segments_are_drawn_a_little_more() {
        let ranks = 1_000_000;
        let zipf = Zipf::new(ranks, Law::exact(ranks, 0.99));
        let (mut expected_first, mut expected) = (0.0, 0.0);
        let mut half = vec![None; ranks as usize];
        for bin in zipf.bins.iter().filter(|bin| bin.width > 1) {
            for offset in 0..bin.width {
                let rank = bin.first + offset;
                let is_first = offset < bin.width / 2;
                let probability = zipf.law.probability(rank);
                expected += probability;
                expected_first += if is_first { probability } else { 0.0 };
                half[rank as usize] = Some(is_first);
            }
        }
        let mut random = Random::new(&[7]);
        let mut counts = [0_u32; 2];
        for _ in 0..10_000_000 {
            if let Some(is_first) = half[zipf.draw(&mut random) as usize] {
                counts[usize::from(is_first)] += 1;
            }
        }
        let total = f64::from(counts[0] + counts[1]);
        let off = f64::from(counts[1]) - total * expected_first / expected;
        let sigma = (total / 4.0).sqrt();
        assert!(
            off.abs() < 4.5 * sigma,
            "{} standard deviations",
            off / sigma
        );
    }
}
