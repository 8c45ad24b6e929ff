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

/// An open loop's arrivals, on the clock.
pub(crate) struct Open {
    schedule: Schedule,
    /// Zero of the schedule.
    begin: Instant,
    linger: Duration,
    fresh: Fresh,
}

/// Arrivals that were taken and not yet accounted for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Fresh {
    pub(crate) operations: usize,
    /// How late they were taken, all together.
    pub(crate) ago_nanos: u128,
}

impl Open {
    pub(crate) fn new(schedule: Schedule, begin: Instant, linger: Duration) -> Self {
        Self {
            schedule,
            begin,
            linger,
            fresh: Fresh::default(),
        }
    }

    /// Takes the next arrival, if it is due, and gives the time for which it was intended.
    #[inline]
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let intended = self.begin + self.schedule.next();
        let late = now.checked_duration_since(intended)?;
        self.schedule.advance();
        self.fresh.operations += 1;
        self.fresh.ago_nanos += late.as_nanos();
        Some(intended)
    }

    pub(crate) fn take_fresh(&mut self) -> Fresh {
        mem::take(&mut self.fresh)
    }

    /// Drops what is due; gives how many these were.
    pub(crate) fn skip(&mut self, now: Instant) -> u64 {
        self.schedule
            .skip(now.saturating_duration_since(self.begin))
    }

    /// Whether a buffer whose first operation began at `first` has waited long enough.
    pub(crate) fn is_overdue(&self, first: Option<Instant>, now: Instant) -> bool {
        first.is_some_and(|first| first + self.linger <= now)
    }

    /// When there will be something to do: an open buffer is overdue, or may be full. `firsts` are the
    /// begins of the buffers that are not overdue, and the fullest buffer misses `missing_steps`.
    pub(crate) fn wake(
        &self,
        firsts: impl Iterator<Item = Instant>,
        missing_steps: usize,
    ) -> Instant {
        let next = self.begin + self.schedule.next();
        let full = self.begin + self.schedule.later(missing_steps);
        firsts
            .chain([next])
            .map(|first| first + self.linger)
            .fold(full, Instant::min)
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

    #[test]
    fn what_is_due_is_taken_with_its_intended_time() {
        let begin = Instant::now();
        let mut open = open(begin, MILLI);
        let now = begin + MILLI * 5 / 2;
        let taken: Vec<_> = std::iter::from_fn(|| open.take(now)).collect();
        assert_eq!(taken, [begin, begin + MILLI, begin + MILLI * 2]);
        let expected = Fresh {
            operations: 3,
            ago_nanos: 4_500_000,
        };
        assert_eq!(open.take_fresh(), expected);
        assert_eq!(open.take_fresh(), Fresh::default());
        // What comes while there is no room is dropped, and later times stay.
        assert_eq!(open.skip(begin + MILLI * 11 / 2), 3);
        assert_eq!(open.take(begin + MILLI * 7), Some(begin + MILLI * 6));
    }

    #[test]
    fn a_task_wakes_when_a_buffer_is_overdue_or_may_be_full() {
        let begin = Instant::now();
        let mut open = open(begin, MILLI * 20);
        let first = open.take(begin).unwrap();
        assert_eq!(open.wake([first].into_iter(), 100), begin + MILLI * 20);
        assert_eq!(open.wake([first].into_iter(), 10), begin + MILLI * 10);
        // Without an open buffer the next arrival opens one.
        assert_eq!(open.wake([].into_iter(), 100), begin + MILLI * 21);
        assert!(!open.is_overdue(Some(first), begin + MILLI * 19));
        assert!(open.is_overdue(Some(first), begin + MILLI * 20));
        assert!(!open.is_overdue(None, begin + MILLI * 99));
    }
}
