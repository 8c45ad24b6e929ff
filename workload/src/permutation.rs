//! Fixed pseudo-random permutations of `0..n`, computed, not stored.
//!
//! On b bits, with 2^b the least power of two that is not below n, three rounds of steps that are
//! each a bijection (xor a constant, multiply by an odd number, xor the upper half into the lower);
//! a result outside `0..n` is put through again until it lies inside (cycle walking), which keeps the
//! whole a bijection of `0..n` and takes less than two passes on average.

/// Odd multipliers of the rounds: the first hexadecimal digits of three primes' square roots.
const ROUNDS: [u64; 3] = [
    0x6A09_E667_F3BC_C909,
    0xBB67_AE85_84CA_A73B,
    0x3C6E_F372_FE94_F82B,
];

/// A permutation of `0..n`.
#[derive(Clone, Debug)]
pub struct Permutation {
    n: u64,
    mask: u64,
    shift: u32,
    constant: u64,
}

impl Permutation {
    /// The permutation of `0..n` (1 to 2^63) that `constant` selects.
    pub fn new(n: u64, constant: u64) -> Self {
        let size = n.next_power_of_two();
        Self {
            n,
            mask: size - 1,
            // At least 1, since a shift by 0 would be no bijection.
            shift: size.ilog2().div_ceil(2).max(1),
            constant,
        }
    }

    /// Where `index`, which is below n, goes.
    #[inline]
    pub fn apply(&self, index: u64) -> u64 {
        let mut at = index;
        loop {
            for multiplier in ROUNDS {
                at = (at ^ self.constant).wrapping_mul(multiplier) & self.mask;
                at ^= at >> self.shift;
            }
            if at < self.n {
                return at;
            }
        }
    }
}
