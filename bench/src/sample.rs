//! What one timed run of a layer gives, and what many say together.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// One run of one layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) operations: u64,
    pub(crate) wall: Duration,
    /// User and system time of all that took part, both ends.
    pub(crate) cpu: Duration,
}

impl Sample {
    pub(crate) fn ops_per_sec(&self) -> f64 {
        self.operations as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn cpu_ns(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.operations as f64
    }
}

/// A median with the interval that holds the true one with 95 % confidence, from order statistics.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Median {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Median {
    /// Of at least six values: below that no order statistics hold the median with this confidence.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        let n = values.len();
        assert!(n >= 6, "too few runs for an interval");
        values.sort_by(f64::total_cmp);
        let lower = lower_rank(n);
        let median = (values[(n - 1) / 2] + values[n / 2]) / 2.0;
        Self {
            median,
            low: values[lower],
            high: values[n - 1 - lower],
        }
    }
}

/// The greatest k for which the k-th smallest and k-th greatest of n values (from 0) hold the median
/// with 95 % confidence: the binomial's tail up to k successes is at most 2.5 %.
fn lower_rank(n: usize) -> usize {
    let mut term = 0.5_f64.powi(n as i32);
    let mut tail = term;
    let mut k = 0;
    while tail <= 0.025 {
        k += 1;
        term *= (n - k + 1) as f64 / k as f64;
        tail += term;
    }
    k.saturating_sub(1)
}

/// User and system time of this process so far.
pub(crate) fn process_cpu() -> Duration {
    cpu(UsageWho::RUSAGE_SELF)
}

/// User and system time of this process's ended and awaited children so far.
pub(crate) fn children_cpu() -> Duration {
    cpu(UsageWho::RUSAGE_CHILDREN)
}

fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("the call refuses only wrong arguments");
    let time = |value: TimeVal| Duration::new(value.tv_sec() as u64, value.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_tables() {
        // From tables of the sign test, two-sided 5 %: n = 6 -> 1st, 10 -> 2nd, 20 -> 6th, 25 -> 8th.
        assert_eq!([6, 10, 20, 25].map(lower_rank), [0, 1, 5, 7]);
    }
}
