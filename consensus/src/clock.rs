//! Log time: milliseconds that pass only while a group has a leader that can write, equal on every member.
//!
//! A leader continues from the time of the entry before by its own steady clock, so wall clocks play no
//! part: what expires "after ten seconds" expires at the same entry everywhere. While a group has no
//! leader its time stands still. Entries are applied with the largest time so far, so that time never
//! goes back even where two leaders' rounds met.

use std::time::Duration;

/// The time of the newest entry that this member has, and when it came.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogClock {
    time_millis: u64,
    since: Duration,
}

impl LogClock {
    /// An entry came at `now` of this member's steady clock.
    pub(crate) fn observe(&mut self, time_millis: u64, now: Duration) {
        if time_millis >= self.read(now) {
            *self = Self {
                time_millis,
                since: now,
            };
        }
    }

    /// The time for an entry that is proposed at `now`.
    pub(crate) fn read(&self, now: Duration) -> u64 {
        let passed = now.saturating_sub(self.since).as_millis();
        self.time_millis
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::LogClock;
    use std::time::Duration;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn time_continues_from_the_entry_before() {
        let mut clock = LogClock::default();
        clock.observe(5_000, at(100));
        assert_eq!(clock.read(at(100)), 5_000);
        assert_eq!(clock.read(at(350)), 5_250);
    }

    #[test]
    fn an_older_entry_changes_nothing() {
        let mut clock = LogClock::default();
        clock.observe(5_000, at(100));
        clock.observe(5_100, at(300));
        assert_eq!(clock.read(at(300)), 5_200);
    }

    #[test]
    fn a_steady_clock_that_is_asked_out_of_order_does_not_go_back() {
        let mut clock = LogClock::default();
        clock.observe(5_000, at(100));
        assert_eq!(clock.read(at(50)), 5_000);
    }
}
