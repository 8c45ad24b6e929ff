//! When operations arrive in an open loop: arithmetic on nanoseconds since a stage's begin, never reset.

use std::time::Duration;

use batchkv_workload::random::Random;

use crate::command::offer::{Arrivals, Offer};

/// LatencyPart of the random stream's name, so that arrivals share no stream with operations.
const ARRIVALS_STREAM: u64 = 0x6172_7269_7661_6c73;

/// One task's arrivals.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    random: Random,
    gap_nanos: f64,
    /// When the first may arrive: tasks are staggered.
    first_nanos: f64,
    /// Arrivals before the next.
    count: u64,
    next_nanos: f64,
}

impl Schedule {
    /// The arrivals of task `task` of `tasks` of client `client`; no two share their random gaps.
    pub(crate) fn new(offer: &Offer, task: u32, tasks: u32, seed: u64, client: u32) -> Self {
        let gap_nanos = 1e9 * f64::from(tasks) / offer.ops_per_sec;
        let mut schedule = Self {
            arrivals: offer.arrivals,
            random: Random::new(&[ARRIVALS_STREAM, seed, client.into(), task.into()]),
            gap_nanos,
            first_nanos: gap_nanos * f64::from(task) / f64::from(tasks),
            count: 0,
            next_nanos: 0.0,
        };
        schedule.next_nanos = match offer.arrivals {
            Arrivals::Constant => schedule.first_nanos,
            Arrivals::Poisson => schedule.random_gap(),
        };
        schedule
    }

    /// When the next operation arrives.
    pub(crate) fn next(&self) -> Duration {
        Duration::from_nanos(self.next_nanos as u64)
    }

    /// About when the `count`th operation from now arrives, the next one being the first.
    pub(crate) fn later(&self, count: usize) -> Duration {
        let between = self.gap_nanos * count.saturating_sub(1) as f64;
        Duration::from_nanos((self.next_nanos + between) as u64)
    }

    /// Takes the next arrival.
    pub(crate) fn advance(&mut self) {
        self.count += 1;
        self.next_nanos = match self.arrivals {
            Arrivals::Constant => self.first_nanos + self.count as f64 * self.gap_nanos,
            Arrivals::Poisson => self.next_nanos + self.random_gap(),
        };
    }

    /// Passes over the arrivals up to `now`, and gives their number; of Poisson arrivals the expected
    /// one: what comes later does not depend on it.
    pub(crate) fn skip(&mut self, now: Duration) -> u64 {
        let late_nanos = now.as_nanos() as f64 - self.next_nanos;
        if late_nanos < 0.0 {
            return 0;
        }
        let others = late_nanos / self.gap_nanos;
        let skipped = match self.arrivals {
            Arrivals::Constant => others as u64 + 1,
            Arrivals::Poisson => others.round() as u64 + 1,
        };
        self.count += skipped;
        self.next_nanos = match self.arrivals {
            Arrivals::Constant => self.first_nanos + self.count as f64 * self.gap_nanos,
            Arrivals::Poisson => now.as_nanos() as f64 + self.random_gap(),
        };
        skipped
    }

    fn random_gap(&mut self) -> f64 {
        // 1 - unit is never 0.
        -self.gap_nanos * (1.0 - self.random.unit()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(arrivals: Arrivals, task: u32, tasks: u32) -> Schedule {
        let offer = Offer {
            ops_per_sec: 1000.0,
            arrivals,
            linger: Duration::ZERO,
        };
        Schedule::new(&offer, task, tasks, 1, 0)
    }

    fn take(schedule: &mut Schedule, count: usize) -> Vec<f64> {
        let arrival = |_| {
            let at = schedule.next().as_secs_f64();
            schedule.advance();
            at
        };
        (0..count).map(arrival).collect()
    }

    #[test]
    fn tasks_take_turns_in_constant_arrivals() {
        let mut tasks = [0, 1, 2, 3].map(|task| schedule(Arrivals::Constant, task, 4));
        let mut all: Vec<u128> = tasks
            .iter_mut()
            .flat_map(|task| take(task, 5))
            .map(|secs| (secs * 1e9).round() as u128)
            .collect();
        all.sort_unstable();
        let expected: Vec<u128> = (0..20).map(|k| k * 1_000_000).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_late_task_keeps_its_times() {
        let mut late = schedule(Arrivals::Constant, 0, 1);
        // Whoever asks only after a million arrivals gets every one at its time, without drift.
        assert_eq!(take(&mut late, 1_000_000)[999_999], 999.999);
        assert_eq!(late.later(1), late.next());
        assert_eq!(late.later(11), late.next() + Duration::from_millis(10));
    }

    #[test]
    fn skipped_arrivals_are_counted_and_the_rest_stays_in_time() {
        let mut constant = schedule(Arrivals::Constant, 0, 1);
        assert_eq!(constant.skip(Duration::from_micros(2_500)), 3);
        assert_eq!(constant.skip(Duration::from_micros(2_600)), 0);
        assert_eq!(constant.next(), Duration::from_millis(3));
        let mut poisson = schedule(Arrivals::Poisson, 0, 1);
        let skipped = poisson.skip(Duration::from_secs(100));
        assert!((99_900..=100_001).contains(&skipped), "{skipped}");
        assert!(poisson.next() > Duration::from_secs(100));
    }

    #[test]
    fn poisson_gaps_have_mean_and_variance_of_the_exponential() {
        const COUNT: usize = 1_000_000;
        let arrivals = take(&mut schedule(Arrivals::Poisson, 0, 1), COUNT);
        let gaps = || arrivals.windows(2).map(|pair| (pair[1] - pair[0]) * 1e3);
        let mean = gaps().sum::<f64>() / (COUNT - 1) as f64;
        let variance = gaps().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (COUNT - 1) as f64;
        // Five standard errors: 1 / sqrt(n) of the mean, sqrt(8 / n) of the variance.
        assert!((mean - 1.0).abs() < 0.005, "{mean}");
        assert!((variance - 1.0).abs() < 0.015, "{variance}");
        // Who shares seed and client shares no gaps.
        let mut other = schedule(Arrivals::Poisson, 1, 2);
        assert_ne!(take(&mut other, 1)[0], 2.0 * arrivals[0]);
    }
}
