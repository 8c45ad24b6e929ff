//! Paired timings on a noisy machine: candidates take turns, and medians are compared.

use std::time::Instant;

/// Nanoseconds an item that each candidate takes: the median over `rounds` rounds in which every
/// candidate runs once on `items` items. The first round is not counted.
pub(crate) fn medians<const N: usize>(
    rounds: usize,
    items: usize,
    mut candidates: [&mut dyn FnMut(); N],
) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for (candidate, times) in candidates.iter_mut().zip(&mut times) {
            let start = Instant::now();
            candidate();
            let nanos = start.elapsed().as_nanos() as f64 / items as f64;
            if round > 0 {
                times.push(nanos);
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}
