//! Zipf as YCSB draws it: the approximation of Gray and others (SIGMOD 1994), with the constants and
//! the scrambling of YCSB's Java classes `ZipfianGenerator` and `ScrambledZipfianGenerator`.
//!
//! It is not exact: of 10^6 ranks at theta 0.99, the fourth is drawn 1.19 times too often or the
//! third too seldom, and so on. Use [`crate::zipf`] unless results are to be compared with YCSB's.

use crate::hash;
use crate::random::Random;
use crate::zipf::zeta;

/// Items that YCSB's scrambled chooser draws from, whatever the record count.
pub const SCRAMBLED_ITEMS: u64 = 10_000_000_000;

/// Gray's distribution over `0..items`.
#[derive(Clone, Debug)]
pub struct Gray {
    items: f64,
    theta: f64,
    alpha: f64,
    eta: f64,
    zeta: f64,
    /// Where the power formula takes over: below it, item 0 or 1 is drawn.
    two_hottest: f64,
}

impl Gray {
    /// The distribution over `0..items` (at least 3) with `theta` in [0, 1).
    pub fn new(items: u64, theta: f64) -> Self {
        let zeta_n = zeta(items, theta);
        let n = items as f64;
        let zeta_2 = zeta(2, theta);
        Self {
            items: n,
            theta,
            alpha: 1.0 / (1.0 - theta),
            eta: (1.0 - libm::pow(2.0 / n, 1.0 - theta)) / (1.0 - zeta_2 / zeta_n),
            zeta: zeta_n,
            two_hottest: zeta_2,
        }
    }

    /// An item; 0 is the likeliest.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            0
        } else if scaled < self.two_hottest {
            1
        } else {
            let item = self.items * libm::pow(self.eta * unit - self.eta + 1.0, self.alpha);
            // `unit` close to 1 may round up to `items`.
            (item as u64).min(self.items as u64 - 1)
        }
    }

    /// An item's place among `records`, by YCSB's hash. No bijection: some records share their
    /// items' hits, some get none but the coldest.
    #[inline]
    pub fn scramble(item: u64, records: u64) -> u64 {
        hash::ycsb(item) % records
    }

    /// The probability with which [`Gray::draw`] (not Zipf) gives `item`.
    pub fn probability(&self, item: u64) -> f64 {
        let head = match item {
            0 => 1.0 / self.zeta,
            1 => libm::pow(2.0, -self.theta) / self.zeta,
            _ => 0.0,
        };
        let begin = self.reaches(item);
        head + (self.reaches(item + 1) - begin).max(0.0)
    }

    /// The unit number from which on the power formula gives `item` or more, in the formula's range.
    fn reaches(&self, item: u64) -> f64 {
        let root = libm::pow(item as f64 / self.items, 1.0 - self.theta);
        let unit = (root - 1.0 + self.eta) / self.eta;
        unit.clamp(self.two_hottest / self.zeta, 1.0)
    }
}
