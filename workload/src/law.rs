//! The two distributions that go by the name of "zipfian": ranks from 0, the likeliest first.
//!
//! They differ by up to a fifth of a rank's probability; a result must say which of them ran.

/// A distribution over the ranks `0..n`, whose probabilities fall from rank 2 on at the latest.
#[derive(Clone, Debug)]
pub enum Law {
    /// Zipf's law itself: rank r has the probability (r + 1)^-theta / zeta(n, theta).
    Exact {
        /// Skew: 0 is even, larger is more skewed.
        theta: f64,
        /// zeta(n, theta).
        zeta: f64,
    },
    /// What YCSB draws: the approximation of Gray and others (SIGMOD 1994). Its generator gives
    /// rank 0 and 1 their exact probabilities, and floor(n (eta u - eta + 1)^(1 / (1 - theta))) for
    /// the other random numbers u; so rank r from 2 on has the probability
    /// (((r + 1) / n)^(1 - theta) - (r / n)^(1 - theta)) / eta.
    Gray {
        /// Skew, 0 to below 1.
        theta: f64,
        /// zeta(n, theta).
        zeta: f64,
        /// (1 - (2 / n)^(1 - theta)) / (1 - zeta(2, theta) / zeta(n, theta)).
        eta: f64,
        /// The number of ranks.
        n: f64,
    },
}

impl Law {
    /// Zipf's law over `0..n`, for `n` from 1 and a finite `theta` that is not negative.
    pub fn exact(n: u64, theta: f64) -> Self {
        let zeta = zeta(n, theta);
        Self::Exact { theta, zeta }
    }

    /// Gray's approximation over `0..n`, for `n` from 3 and `theta` from 0 to below 1.
    pub fn gray(n: u64, theta: f64) -> Self {
        let all = zeta(n, theta);
        let n = n as f64;
        let eta = (1.0 - libm::pow(2.0 / n, 1.0 - theta)) / (1.0 - zeta(2, theta) / all);
        Self::Gray {
            theta,
            zeta: all,
            eta,
            n,
        }
    }

    /// The probability of `rank`, which is below n.
    pub fn probability(&self, rank: u64) -> f64 {
        match *self {
            Self::Gray { theta, eta, n, .. } if rank >= 2 => {
                let (rank, power) = (rank as f64, 1.0 - theta);
                // ((rank + 1) / rank)^power - 1, with all its digits.
                let growth = libm::expm1(power * libm::log1p(1.0 / rank));
                libm::pow(rank / n, power) * growth / eta
            }
            Self::Gray { theta, zeta, .. } | Self::Exact { theta, zeta } => {
                libm::pow((rank + 1) as f64, -theta) / zeta
            }
        }
    }

    /// The probability of the ranks `0..end` together; `end` is at most n.
    pub fn share_below(&self, end: u64) -> f64 {
        match *self {
            Self::Gray { theta, eta, n, .. } if end > 2 => {
                let power = 1.0 - theta;
                let grown = libm::pow(end as f64 / n, power) - libm::pow(2.0 / n, power);
                self.share_below(2) + grown / eta
            }
            Self::Gray {
                theta, zeta: all, ..
            }
            | Self::Exact { theta, zeta: all } => match end {
                0 => 0.0,
                _ => zeta(end, theta) / all,
            },
        }
    }
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
    // The integral of x^-theta; `expm1` keeps its digits beside theta = 1, where it is a logarithm.
    let (power, growth) = (1.0 - theta, libm::log(to / from));
    let integral = if power == 0.0 {
        growth
    } else {
        at_from * from * libm::expm1(power * growth) / power
    };
    let slopes = theta * (at_from / from - at_to / to);
    exactly + integral + (at_from + at_to) / 2.0 + slopes / 12.0
}
