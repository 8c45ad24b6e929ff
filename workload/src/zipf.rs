//! Exact Zipf, drawn in a few nanoseconds from tables that stay in the nearest caches.
//!
//! Rank r of n (from 0) has the probability (r + 1)^-theta / zeta(n, theta).
//!
//! The ranks are cut into bins: the first [`HEAD_RANKS`] each alone, the tail into segments whose
//! width is 1/64 of their first rank. A draw picks a bin by alias table, each bin weighted as if all
//! its ranks were as likely as its first; then a rank of the bin evenly; then keeps the rank with
//! the probability p(rank) / p(first), else starts again. Kept ranks are distributed exactly. All but
//! about one draw in a hundred are kept by comparison with p(last) / p(first) alone, so the power
//! function is hardly ever called. A single rank is a bin of width one: the common path has no branch
//! that depends on chance.
//!
//! The residue is arithmetic: a share is off by less than 2^-28 of itself (64-bit words, up to 2^40
//! ranks). The tables use the portable power function of `libm`, because glibc's gives other bits
//! with FMA than without.

use crate::alias::{Alias, TWO_64};
use crate::hash;
use crate::random::Random;

/// Ranks that have a bin of their own.
const HEAD_RANKS: u64 = 1024;
/// A segment is one 64th of its first rank wide: 44 segments an octave.
const SEGMENT_FRACTION: u64 = 64;

/// Ranks `first..first + width` (from 0).
#[derive(Clone, Copy, Debug)]
struct Bin {
    first: u64,
    width: u64,
    /// p(last) / p(first), as a fraction of 2^64: coins up to it keep any rank of the bin.
    squeeze: u64,
}

/// A Zipf distribution over the ranks `0..n`.
#[derive(Clone, Debug)]
pub struct Zipf {
    alias: Alias,
    bins: Vec<Bin>,
    theta: f64,
    zeta: f64,
}

impl Zipf {
    /// The distribution over `0..ranks` with skew `theta`: larger is more skewed, 0 is even, 1 and
    /// above are fine. `ranks` is 1 to 2^40, `theta` finite and not negative.
    pub fn new(ranks: u64, theta: f64) -> Self {
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
            let kept = keep_probability(first, first + width - 1, theta);
            let squeeze = if width == 1 {
                u64::MAX
            } else {
                (kept * TWO_64) as u64
            };
            bins.push(Bin {
                first,
                width,
                squeeze,
            });
            weights.push(width as f64 * weight(first, theta));
            first += width;
        }
        Self {
            alias: Alias::new(&weights),
            bins,
            theta,
            zeta: zeta(ranks, theta),
        }
    }

    /// A rank; 0 is the likeliest.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let bin = self.bins[self.alias.pick(random.word())];
            let (offset, coin) = hash::scale(random.word(), bin.width);
            if coin <= bin.squeeze || self.keeps(bin.first, bin.first + offset, coin) {
                return bin.first + offset;
            }
        }
    }

    /// The exact test behind the squeeze.
    #[cold]
    fn keeps(&self, first: u64, rank: u64, coin: u64) -> bool {
        (coin as f64) < keep_probability(first, rank, self.theta) * TWO_64
    }

    /// The probability of `rank`, which is below the number of ranks.
    pub fn probability(&self, rank: u64) -> f64 {
        weight(rank, self.theta) / self.zeta
    }
}

/// (rank + 1)^-theta.
fn weight(rank: u64, theta: f64) -> f64 {
    libm::pow((rank + 1) as f64, -theta)
}

/// p(rank) / p(first).
fn keep_probability(first: u64, rank: u64, theta: f64) -> f64 {
    libm::pow((first + 1) as f64 / (rank + 1) as f64, theta)
}

/// Terms of zeta that are added one by one.
const ZETA_TERMS: u64 = 2_000;

/// The generalised harmonic number: the sum of k^-theta for k in `1..=n`.
///
/// By Euler and Maclaurin's formula from the 2,000th term on: the integral, half of both ends, and
/// the first derivative's correction. What is left out is below 1e-12 of the result.
pub fn zeta(n: u64, theta: f64) -> f64 {
    let term = |k: u64| libm::pow(k as f64, -theta);
    if n <= ZETA_TERMS {
        return (1..=n).map(term).sum();
    }
    let exactly: f64 = (1..ZETA_TERMS).map(term).sum();
    let (from, to) = (ZETA_TERMS as f64, n as f64);
    let (at_from, at_to) = (term(ZETA_TERMS), term(n));
    let octaves = libm::log(to / from);
    // The integral of x^-theta; `expm1` keeps its digits beside theta = 1, where it is the logarithm.
    let power = 1.0 - theta;
    let integral = if power == 0.0 {
        octaves
    } else {
        at_from * from * libm::expm1(power * octaves) / power
    };
    let slopes = theta * (at_from / from - at_to / to);
    exactly + integral + (at_from + at_to) / 2.0 + slopes / 12.0
}
