//! Chi-squared with the rule of a checker that does not cry wolf: a distribution is wrong only if
//! p < 1e-9 and a share is off by more than 1 % of itself.

use batchkv_workload::law::Law;

/// Least expected count of a bucket.
const EXPECTED_MIN: f64 = 100.0;

/// Buckets of ranks: the ten hottest alone, then by powers of two up to `n`.
fn borders(n: u64) -> Vec<u64> {
    let mut borders: Vec<u64> = (0..=10.min(n)).collect();
    let mut border = 16;
    while border < n {
        borders.push(border);
        border *= 2;
    }
    if n > 10 {
        borders.push(n);
    }
    borders
}

/// Whether `counts[rank]` cannot have been drawn from `law`.
pub(crate) fn is_wrong(counts: &[u64], law: &Law) -> bool {
    let total = counts.iter().sum::<u64>() as f64;
    let mut chi_squared = 0.0;
    let mut buckets = 0;
    let mut share_off = false;
    for pair in borders(counts.len() as u64).windows(2) {
        let expected = total * (pair[0]..pair[1]).map(|r| law.probability(r)).sum::<f64>();
        let observed = counts[pair[0] as usize..pair[1] as usize]
            .iter()
            .sum::<u64>() as f64;
        if expected >= EXPECTED_MIN {
            chi_squared += (observed - expected).powi(2) / expected;
            buckets += 1;
            share_off |= (observed - expected).abs() > expected / 100.0;
        } else {
            // Too few to weigh, but what cannot occur must not.
            assert!(observed < expected + 20.0 * EXPECTED_MIN.sqrt());
        }
    }
    p_value(chi_squared, buckets - 1) < 1e-9 && share_off
}

/// The probability of a chi-squared value as high as this: the regularised upper incomplete gamma
/// function at (degrees / 2, value / 2), by series or continued fraction (Numerical Recipes 6.2).
pub(crate) fn p_value(value: f64, degrees: u32) -> f64 {
    let (a, x) = (f64::from(degrees) / 2.0, value / 2.0);
    if x <= 0.0 || a <= 0.0 {
        return 1.0;
    }
    let scale = (a * x.ln() - x - libm::lgamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut k) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-16 {
            k += 1.0;
            term *= x / k;
            sum += term;
        }
        return 1.0 - sum * scale;
    }
    let mut b = x + 1.0 - a;
    let mut c = 1e300;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for i in 1..500 {
        let i = f64::from(i);
        let numerator = -i * (i - a);
        b += 2.0;
        d = 1.0 / (numerator * d + b);
        c = b + numerator / c;
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction * scale
}

#[test]
fn p_values_of_the_tables() {
    for (value, degrees, p) in [
        (3.841, 1, 0.05),
        (18.307, 10, 0.05),
        (23.209, 10, 0.01),
        (4.865, 10, 0.9),
        (29.588, 10, 0.001),
    ] {
        let found = p_value(value, degrees);
        assert!((found / p - 1.0).abs() < 1e-3, "{value} {degrees}: {found}");
    }
}
