//! The generator of every random stream: xoshiro256++, seeded explicitly, so that a seed means the
//! same operations on every machine and with every version of every crate.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::hash;

/// A stream of random 64-bit words.
#[derive(Clone, Debug)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream named by `words`: their hash, expanded by SplitMix64 to the generator's 256 bits.
    pub fn new(words: &[u64]) -> Self {
        let start = hash::words(words);
        let mut seed = [0; 32];
        for (i, part) in seed.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let counter = start.wrapping_add(hash::GOLDEN.wrapping_mul(i as u64 + 1));
            *part = hash::mix(counter).to_le_bytes();
        }
        Self(Xoshiro256PlusPlus::from_seed(seed))
    }

    /// The next word; all 64 bits are random.
    #[inline]
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..n`; off from even by less than `n` / 2^64.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        hash::scale(self.word(), n).0
    }

    /// A number in [0, 1), a multiple of 2^-53.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}
