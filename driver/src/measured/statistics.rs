//! Statistics of a few numbers. Each has a value for every input: samples without variance, of one value,
//! of none.

use statrs::distribution::{ChiSquared, ContinuousCDF, StudentsT};

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

/// The mean of a list, 0 when it is empty.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len() as f64).max(1.0)
}

/// Sum of the squared distances from `middle`.
pub(crate) fn squares(values: &[f64], middle: f64) -> f64 {
    values.iter().map(|value| (value - middle).powi(2)).sum()
}

/// The standard error of the mean of a list, 0 with fewer than two values.
pub(crate) fn standard_error(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    match values.len() {
        0 | 1 => 0.0,
        _ => (squares(values, mean(values)) / (count - 1.0) / count).sqrt(),
    }
}

/// A straight line through values that are one step apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    /// Change a step.
    pub(crate) slope: f64,
    /// Chance of such a slope, or a steeper one, when there is none (Student's t).
    pub(crate) p: f64,
}

impl Line {
    /// The line of least squares; level, and certain of nothing, through fewer than three values.
    pub(crate) fn through(values: &[f64]) -> Self {
        if values.len() < 3 {
            return Self { slope: 0.0, p: 1.0 };
        }
        let steps: Vec<f64> = (0..values.len()).map(|step| step as f64).collect();
        let (middle, mean) = (mean(&steps), mean(values));
        let spread = squares(&steps, middle);
        let pairs = || steps.iter().zip(values);
        let products = pairs().map(|(step, value)| (step - middle) * (value - mean));
        let slope = products.sum::<f64>() / spread;
        let residual = |(step, value): (&f64, &f64)| value - mean - slope * (step - middle);
        let residuals: f64 = pairs().map(residual).map(|r| r.powi(2)).sum();
        let freedom = values.len() as f64 - 2.0;
        let p = student_p(slope, (residuals / freedom / spread).sqrt(), freedom);
        Self { slope, p }
    }
}

/// Chance of a figure that is so far from 0, on either side, when its error is `error`.
fn student_p(figure: f64, error: f64, freedom: f64) -> f64 {
    let t = (figure / error).abs();
    match StudentsT::new(0.0, 1.0, freedom) {
        // Nothing varies: what is there is certain.
        _ if error == 0.0 && figure != 0.0 => 0.0,
        Ok(law) if t.is_finite() => 2.0 * law.sf(t),
        _ => 1.0,
    }
}

/// Chance of such a sum of squares, or a greater one, with so many degrees of freedom.
pub(crate) fn chi_squared_p(sum: f64, freedom: f64) -> f64 {
    match ChiSquared::new(freedom) {
        Ok(law) if sum.is_finite() => law.sf(sum),
        _ => 1.0,
    }
}

/// The change from one figure to another in words, `+5.1 %`; there is no part of nothing.
pub(crate) fn change(from: f64, to: f64) -> String {
    match from == 0.0 {
        true => "from nothing".into(),
        false => format!("{:+.1} %", 100.0 * (to - from) / from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([]), 0.0);
        assert_eq!(median([3, 1, 2]), 2.0);
        assert_eq!(median([4, 1, 2, 3]), 2.5);
    }

    #[test]
    fn what_does_not_vary_has_statistics_too() {
        for values in [&[][..], &[7.0], &[7.0, 7.0], &[7.0; 10], &[0.0; 12]] {
            assert_eq!(standard_error(values), 0.0, "{values:?}");
            assert_eq!(Line::through(values), Line { slope: 0.0, p: 1.0 });
        }
        let straight: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(Line::through(&straight), Line { slope: 1.0, p: 0.0 });
        assert_eq!(chi_squared_p(f64::NAN, 3.0), 1.0);
        assert_eq!(chi_squared_p(5.0, 0.0), 1.0);
        assert!((chi_squared_p(3.841, 1.0) - 0.05).abs() < 1e-4);
    }

    #[test]
    fn there_is_no_part_of_nothing() {
        assert_eq!(change(0.0, 99_981.5), "from nothing");
        assert_eq!(change(200.0, 190.0), "-5.0 %");
    }

    proptest! {
        #[test]
        fn every_sample_has_statistics(values in vec(prop_oneof![Just(0.0), Just(1.0), 0.0..1e12], 0..40)) {
            let Line { slope, p } = Line::through(&values);
            prop_assert!(slope.is_finite() && (0.0..=1.0).contains(&p), "{slope} {p}");
            prop_assert!(standard_error(&values) >= 0.0);
        }
    }
}
