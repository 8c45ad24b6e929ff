//! What the repetitions of a point come to.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The intervals' confidence.
const CONFIDENCE: f64 = 0.95;

/// How [`Estimate`] was made, for the reader of a report.
pub(crate) const INTERVAL: &str = "Each figure is the median over a point's repetitions; low and high \
    are the 95 % confidence interval of their mean by Student's t (crate statrs), widened to the median \
    and cut at 0; one repetition has no interval. VALID and QUALIFIED runs count; INVALID and FAILED \
    ones count in failure_rate only. A percentile is the median of the repetitions' percentiles, each of \
    a whole run's histogram; percentiles are never averaged.";

/// The middle of some values and how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    /// Ends of the interval; null where one value says nothing about spread.
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// Values.
    pub(crate) n: usize,
}

/// Estimates from values that are not negative; none without values.
pub(crate) fn estimate(values: &[f64]) -> Option<Estimate> {
    let median = median(values)?;
    let interval = interval(values);
    Some(Estimate {
        median,
        low: interval.map(|(low, _)| low.clamp(0.0, median.max(0.0))),
        high: interval.map(|(_, high)| high.max(median)),
        n: values.len(),
    })
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(match sorted.len() % 2 {
        0 => (sorted[sorted.len() / 2 - 1] + upper) / 2.0,
        _ => upper,
    })
}

/// Student's t interval of the mean.
fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let students = StudentsT::new(0.0, 1.0, count - 1.0).ok()?;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    let reach = students.inverse_cdf(0.5 + CONFIDENCE / 2.0) * error;
    Some((mean - reach, mean + reach))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!(
            (found - expected).abs() < 1e-4 * expected.abs(),
            "{found} {expected}"
        );
    }

    #[test]
    fn the_interval_is_that_of_the_tables() {
        // t(0.975, 2) = 4.30265; the mean is 2 and its standard error 1 / sqrt(3).
        let (low, high) = interval(&[1.0, 2.0, 3.0]).unwrap();
        assert_close(Some(low), 2.0 - 4.30265 / 3f64.sqrt());
        assert_close(Some(high), 2.0 + 4.30265 / 3f64.sqrt());
        // NIST's example ZARR13.DAT has this standard deviation: t(0.975, 194) = 1.97228.
        let values: Vec<f64> = (0..195)
            .map(|i| if i % 2 == 0 { 9.0 } else { 9.5 })
            .collect();
        let mean = values.iter().sum::<f64>() / 195.0;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 194.0).sqrt();
        let (low, high) = interval(&values).unwrap();
        assert_close(Some(high - low), 2.0 * 1.97228 * deviation / 195f64.sqrt());
    }

    #[test]
    fn the_median_is_the_middle() {
        let of = |values: &[f64]| estimate(values).map(|found| (found.median, found.n));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 3)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some((2.5, 4)));
    }

    #[test]
    fn one_value_has_no_interval_and_none_goes_below_zero() {
        let one = estimate(&[5.0]).unwrap();
        assert_eq!((one.low, one.high, one.n), (None, None, 1));
        assert_eq!(estimate(&[0.0, 1.0, 5.0]).unwrap().low, Some(0.0));
    }

    #[test]
    fn the_interval_holds_the_median() {
        let mut values = vec![10.0; 12];
        values.extend([0.0; 8]);
        let found = estimate(&values).unwrap();
        assert!(found.low.unwrap() <= found.median && found.median <= found.high.unwrap());
        assert_eq!(found.high, Some(10.0));
    }
}
