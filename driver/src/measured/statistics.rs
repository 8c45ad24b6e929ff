//! Statistics of a few numbers.

/// The middle value of a list, 0 when it is empty; the mean of the middle two when even.
pub(crate) fn median(values: impl IntoIterator<Item = u64>) -> f64 {
    let mut sorted: Vec<u64> = values.into_iter().collect();
    sorted.sort_unstable();
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (n, half) if n % 2 == 1 => sorted[half] as f64,
        (_, half) => (sorted[half - 1] as f64 + sorted[half] as f64) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([]), 0.0);
        assert_eq!(median([3, 1, 2]), 2.0);
        assert_eq!(median([4, 1, 2, 3]), 2.5);
    }
}
