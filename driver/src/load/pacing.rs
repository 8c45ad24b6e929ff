//! When a task's operations begin: the one thing in which a closed loop and an open one differ.

use std::mem;
use std::time::{Duration, Instant};

use crate::load::schedule::Schedule;

/// When a task's operations begin.
pub(crate) enum Pacing {
    /// As soon as there is room for them.
    Closed,
    /// When they arrive, whether there is room or not.
    Open(Open),
}

/// An open loop's arrivals, on the clock. None is ever skipped: who comes late takes them late, with the
/// times for which they were intended.
pub(crate) struct Open {
    schedule: Schedule,
    /// Zero of the schedule.
    begin: Instant,
    linger: Duration,
    /// The measured window, once it is known; behind its end nothing arrives.
    window: Option<(Instant, Instant)>,
    fresh: Fresh,
}

/// Arrivals that were taken and not yet accounted for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Fresh {
    pub(crate) operations: usize,
    /// Those of the measured window.
    pub(crate) of_window: u64,
    /// When they arrived, since the schedule's zero, all together; before the window counts as at its begin.
    sum_nanos: u128,
}

impl Open {
    pub(crate) fn new(schedule: Schedule, begin: Instant, linger: Duration) -> Self {
        Self {
            schedule,
            begin,
            linger,
            window: None,
            fresh: Fresh::default(),
        }
    }

    /// The measured window is this, or has become it.
    pub(crate) fn measure(&mut self, window: Option<(Instant, Instant)>) {
        self.window = window;
    }

    /// Takes the next arrival, if it is due, and gives the time for which it was intended, in nanoseconds
    /// since [`begin`](Self::begin).
    #[inline]
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        let intended = self.begin + self.schedule.next();
        if intended > now || self.is_behind(intended) {
            return None;
        }
        let nanos = self.schedule.next().as_nanos() as u64;
        self.note(intended, 1);
        self.schedule.advance();
        Some(nanos)
    }

    fn note(&mut self, intended: Instant, operations: u64) {
        let since = self.clipped(intended).saturating_duration_since(self.begin);
        self.fresh.operations += operations as usize;
        self.fresh.sum_nanos += since.as_nanos() * u128::from(operations);
        let of_window = self
            .window
            .is_some_and(|(start, end)| start <= intended && intended < end);
        self.fresh.of_window += if of_window { operations } else { 0 };
    }

    /// How long a batch may wait to be full.
    pub(crate) fn linger(&self) -> Duration {
        self.linger
    }

    /// Zero of the schedule.
    pub(crate) fn begin(&self) -> Instant {
        self.begin
    }

    /// Whether nothing more arrives.
    pub(crate) fn is_over(&self) -> bool {
        self.is_behind(self.begin + self.schedule.next())
    }

    fn is_behind(&self, intended: Instant) -> bool {
        self.window.is_some_and(|(_, end)| intended >= end)
    }

    /// The part of a time that lies in the window.
    fn clipped(&self, instant: Instant) -> Instant {
        match self.window {
            Some((start, end)) => instant.clamp(start, end),
            None => instant,
        }
    }

    /// What was taken since the last time, and how long before `now` that arrived, all together in
    /// nanoseconds of the window.
    pub(crate) fn take_fresh(&mut self, now: Instant) -> (Fresh, u128) {
        let fresh = mem::take(&mut self.fresh);
        let since = self.clipped(now).saturating_duration_since(self.begin);
        let until_now = since.as_nanos() * fresh.operations as u128;
        (fresh, until_now.saturating_sub(fresh.sum_nanos))
    }

    /// Gives up what has not been taken of the arrivals before the window's end: `each` gets when they
    /// were to arrive, and how many.
    pub(crate) fn give_up(&mut self, mut each: impl FnMut(Instant, u64)) {
        let Some((_, end)) = self.window else { return };
        let begin = self.begin;
        let mut passed = Vec::new();
        let until = end.saturating_duration_since(begin);
        self.schedule
            .pass(until, |at, count| passed.push((begin + at, count)));
        for (intended, count) in passed {
            self.note(intended, count);
            each(intended, count);
        }
    }

    /// When a buffer was ready to be sent whose first operation arrived at `first`, and whose last one,
    /// if that made it full, at `last`; in nanoseconds since [`begin`](Self::begin).
    pub(crate) fn ready(&self, first: u64, last: Option<u64>) -> u64 {
        let overdue = first + self.linger.as_nanos() as u64;
        last.map_or(overdue, |last| last.min(overdue))
    }

    /// Whether a buffer whose first operation arrived at `first` has waited long enough.
    pub(crate) fn is_overdue(&self, first: Option<u64>, now: Instant) -> bool {
        first.is_some_and(|first| self.instant(first) + self.linger <= now)
    }

    /// An instant from nanoseconds since [`begin`](Self::begin).
    pub(crate) fn instant(&self, nanos: u64) -> Instant {
        self.begin + Duration::from_nanos(nanos)
    }

    /// When there will be something to do, if there will: an open buffer is overdue, or may be full. `firsts`
    /// are the begins of the buffers that are not overdue, and the fullest buffer misses `missing_steps`.
    pub(crate) fn wake(
        &self,
        firsts: impl Iterator<Item = u64>,
        missing_steps: usize,
    ) -> Option<Instant> {
        let arriving = !self.is_over();
        let next = arriving.then(|| self.begin + self.schedule.next());
        let full = arriving.then(|| self.begin + self.schedule.later(missing_steps));
        firsts
            .map(|first| self.instant(first))
            .chain(next)
            .map(|first| first + self.linger)
            .chain(full)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::offer::{Arrivals, Offer};

    const MILLI: Duration = Duration::from_millis(1);

    /// An operation each millisecond from `begin` on.
    fn open(begin: Instant, linger: Duration) -> Open {
        let offer = Offer {
            ops_per_sec: 1000.0,
            arrivals: Arrivals::Constant,
            linger,
        };
        Open::new(Schedule::new(&offer, 0, 1, 1, 0), begin, linger)
    }

    const MILLI_NANOS: u64 = 1_000_000;

    #[test]
    fn what_is_due_is_taken_with_its_intended_time() {
        let begin = Instant::now();
        let mut open = open(begin, MILLI);
        let now = begin + MILLI * 5 / 2;
        let taken: Vec<_> = std::iter::from_fn(|| open.take(now)).collect();
        assert_eq!(taken, [0, MILLI_NANOS, 2 * MILLI_NANOS]);
        let (fresh, ago_nanos) = open.take_fresh(now);
        assert_eq!(
            (fresh.operations, fresh.of_window, ago_nanos),
            (3, 0, 4_500_000)
        );
        assert_eq!(open.take_fresh(now), (Fresh::default(), 0));
        // Who comes a second late finds each arrival at its own time.
        let late = begin + MILLI * 1000;
        assert_eq!(open.take(late), Some(3 * MILLI_NANOS));
    }

    #[test]
    fn only_the_windows_time_and_arrivals_count() {
        let begin = Instant::now();
        let mut open = open(begin, MILLI);
        open.measure(Some((begin + MILLI * 2, begin + MILLI * 6)));
        let late = begin + MILLI * 100;
        let taken = std::iter::from_fn(|| open.take(late)).count();
        // Arrivals 0 to 5; behind the end there are none.
        assert!(taken == 6 && open.is_over());
        let (fresh, ago_nanos) = open.take_fresh(late);
        assert_eq!(fresh.of_window, 4);
        // Three since the window's begin, 4 ms each, then 3, 2 and 1 ms.
        assert_eq!(ago_nanos, 18_000_000);
    }

    #[test]
    fn what_is_given_up_is_told_with_its_times() {
        let begin = Instant::now();
        let mut open = open(begin, MILLI);
        open.measure(Some((begin, begin + MILLI * 5)));
        assert_eq!(open.take(begin), Some(0));
        let mut given_up = Vec::new();
        open.give_up(|at, count| given_up.push((at, count)));
        assert_eq!(given_up, [1, 2, 3, 4].map(|k| (begin + MILLI * k, 1)));
        assert_eq!(open.take_fresh(begin).0.of_window, 5);
    }

    #[test]
    fn a_task_wakes_when_a_buffer_is_overdue_or_may_be_full() {
        let begin = Instant::now();
        let mut open = open(begin, MILLI * 20);
        let first = open.take(begin).unwrap();
        let wake = |firsts: &[u64], missing| open.wake(firsts.iter().copied(), missing);
        assert_eq!(wake(&[first], 100), Some(begin + MILLI * 20));
        assert_eq!(wake(&[first], 10), Some(begin + MILLI * 10));
        // Without an open buffer the next arrival opens one.
        assert_eq!(wake(&[], 100), Some(begin + MILLI * 21));
        assert!(!open.is_overdue(Some(first), begin + MILLI * 19));
        assert!(open.is_overdue(Some(first), begin + MILLI * 20));
        assert!(!open.is_overdue(None, begin + MILLI * 99));
        // It was ready when it was overdue, or full before.
        assert_eq!(open.ready(first, None), 20 * MILLI_NANOS);
        assert_eq!(open.ready(first, Some(7 * MILLI_NANOS)), 7 * MILLI_NANOS);
        assert_eq!(open.ready(first, Some(30 * MILLI_NANOS)), 20 * MILLI_NANOS);
        // Behind the window's end nothing arrives that could fill it.
        open.measure(Some((begin, begin + MILLI)));
        assert_eq!(open.wake([].into_iter(), 100), None);
        assert_eq!(open.wake([first].into_iter(), 10), Some(begin + MILLI * 20));
    }
}
