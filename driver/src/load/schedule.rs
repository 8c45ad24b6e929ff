//! When operations arrive in an open loop: arithmetic on nanoseconds since a stage's begin, never reset.

use std::time::Duration;

use batchkv_workload::random::Random;

use crate::command::offer::{Arrivals, Offer};

/// LatencyPart of the random stream's name, so that arrivals share no stream with operations.
const ARRIVALS_STREAM: u64 = 0x6172_7269_7661_6c73;

/// Poisson arrivals that are passed one by one.
const EACH_PASSED_MAX: f64 = 1e6;
/// Groups in which many arrivals are passed: each is a thousandth of the time that they cover.
const PASSED_GROUPS: u64 = 1000;

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

    /// Passes over the arrivals before `until`, evenly in groups: `each` gets when a group's middle arrives
    /// and how many are in it. Of so many Poisson arrivals that counting them would take long it is the expected
    /// number.
    pub(crate) fn pass(&mut self, until: Duration, mut each: impl FnMut(Duration, u64)) {
        let until_nanos = until.as_nanos() as f64;
        let expected = (until_nanos - self.next_nanos) / self.gap_nanos;
        if self.arrivals == Arrivals::Poisson && expected < EACH_PASSED_MAX {
            while self.next_nanos < until_nanos {
                each(self.next(), 1);
                self.advance();
            }
            return;
        }
        let count = expected.max(0.0).ceil() as u64;
        let groups = count.min(PASSED_GROUPS);
        let mut before = 0;
        for group in 0..groups {
            let end = (u128::from(count) * u128::from(group + 1) / u128::from(groups)) as u64;
            let middle = (before + end - 1) as f64 / 2.0;
            let nanos = self.next_nanos + self.gap_nanos * middle;
            each(Duration::from_nanos(nanos as u64), end - before);
            before = end;
        }
        self.count += count;
        self.next_nanos = match self.arrivals {
            Arrivals::Constant => self.first_nanos + self.count as f64 * self.gap_nanos,
            Arrivals::Poisson => until_nanos + self.random_gap(),
        };
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

    /// Passes what arrives before `millis`; number and mean time in milliseconds.
    fn pass(schedule: &mut Schedule, millis: u64) -> (u64, f64) {
        let (mut all, mut sum) = (0, 0.0);
        schedule.pass(Duration::from_millis(millis), |at, count| {
            all += count;
            sum += at.as_secs_f64() * 1e3 * count as f64;
        });
        (all, sum / all as f64)
    }

    #[test]
    fn passed_arrivals_are_counted_with_their_times_and_the_rest_stays_in_time() {
        let mut constant = schedule(Arrivals::Constant, 0, 1);
        assert_eq!(pass(&mut constant, 3), (3, 1.0));
        assert_eq!(pass(&mut constant, 3).0, 0);
        assert_eq!(constant.next(), Duration::from_millis(3));
        let (many, mean) = pass(&mut constant, 5_000_003);
        assert_eq!(many, 5_000_000);
        assert!((mean / 2_500_002.5 - 1.0).abs() < 1e-6, "{mean}");
        // One by one they are the arrivals that would have been taken.
        let mut poisson = schedule(Arrivals::Poisson, 0, 1);
        let mut twin = poisson.clone();
        let (passed, _) = pass(&mut poisson, 100_000);
        let taken = take(&mut twin, passed as usize);
        assert!(taken[passed as usize - 1] < 100.0 && twin.next() >= Duration::from_secs(100));
        let (expected, _) = pass(&mut poisson, 2_100_000);
        assert!(expected.abs_diff(2_000_000) < 10, "{expected}");
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
