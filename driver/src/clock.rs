//! One time axis for all nodes of a run: the clock of client 0.
//!
//! Clocks are compared as NTP does: who asks notes when it asked and when the answer came, and the other's
//! reading lies between the two. Of several readings the one with the shortest way counts, and half of
//! that way bounds its error.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use batchkv_telemetry::sample::unix_time_at;
use serde::{Deserialize, Serialize};

/// Readings for one comparison.
pub(crate) const READINGS: usize = 8;

/// Seconds since 1970, from a clock that never jumps: the system's at the start, then a steady one's. It is
/// the one that this program's samples are on as well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_unix_secs: f64,
}

/// How another clock relates to ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offset {
    /// What to add to our time to get the other's.
    pub(crate) secs: f64,
    /// How far that may be off.
    pub(crate) bound_secs: f64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let started = Instant::now();
        Self {
            started,
            started_unix_secs: unix_time_at(started).as_secs_f64(),
        }
    }

    /// How far the system's clock has come from this one, forward or back: seconds by which it was set
    /// during the run, and what it was slowed or hurried.
    pub(crate) fn wall_strayed_secs(&self) -> f64 {
        let reading = || {
            let before = Instant::now();
            let wall = SystemTime::now().duration_since(UNIX_EPOCH);
            let strayed_secs = self.strayed_secs(before, wall.unwrap_or_default());
            (before.elapsed(), strayed_secs)
        };
        // Whoever lost its core between the two clocks compares different moments.
        let readings = std::iter::repeat_with(reading).take(READINGS);
        let closest = readings.min_by_key(|(took, _)| *took);
        closest.map_or(0.0, |(_, strayed_secs)| strayed_secs)
    }

    /// What the system's clock has strayed when it says `wall` at an instant.
    fn strayed_secs(&self, instant: Instant, wall: Duration) -> f64 {
        wall.as_secs_f64() - self.at(instant)
    }

    pub(crate) fn now(&self) -> f64 {
        self.at(Instant::now())
    }

    /// Nanoseconds since 1970 at an instant of this process, for comparing instants exactly.
    pub(crate) fn unix_nanos(&self, instant: Instant) -> u64 {
        let started = Duration::from_secs_f64(self.started_unix_secs);
        let time = match instant.checked_duration_since(self.started) {
            Some(after) => started + after,
            None => started.saturating_sub(self.started - instant),
        };
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant of this process at a time; one too far away is the clock's first.
    pub(crate) fn instant(&self, unix_secs: f64) -> Instant {
        let after_secs = unix_secs - self.started_unix_secs;
        let apart = Duration::try_from_secs_f64(after_secs.abs()).unwrap_or_default();
        let moved = match after_secs < 0.0 {
            true => self.started.checked_sub(apart),
            false => self.started.checked_add(apart),
        };
        moved.unwrap_or(self.started)
    }

    /// The time of an instant of this process.
    pub(crate) fn at(&self, instant: Instant) -> f64 {
        let after = instant
            .saturating_duration_since(self.started)
            .as_secs_f64();
        let before = self
            .started
            .saturating_duration_since(instant)
            .as_secs_f64();
        self.started_unix_secs + after - before
    }
}

/// How fast another clock goes against ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// Seconds that it gains on ours in each of ours.
    pub(crate) gains: f64,
    /// How far that may be off.
    pub(crate) bound: f64,
}

impl Rate {
    /// From two comparisons, `secs` apart by our clock; `None` when these are too close together.
    pub(crate) fn between(first: Offset, last: Offset, secs: f64) -> Option<Self> {
        (secs > 0.0).then(|| Self {
            gains: (last.secs - first.secs) / secs,
            bound: (first.bound_secs + last.bound_secs) / secs,
        })
    }
}

impl Offset {
    /// From one reading: when we asked, what the other said, when its answer came.
    pub(crate) fn reading(asked_secs: f64, said_secs: f64, answered_secs: f64) -> Self {
        Self {
            secs: said_secs - (asked_secs + answered_secs) / 2.0,
            bound_secs: (answered_secs - asked_secs) / 2.0,
        }
    }

    /// The best of several readings.
    pub(crate) fn best(readings: impl IntoIterator<Item = Self>) -> Option<Self> {
        let closer = |a: &Self, b: &Self| a.bound_secs.total_cmp(&b.bound_secs);
        readings.into_iter().min_by(closer)
    }

    /// This offset, with a bound that covers a later one as well: clocks drift.
    pub(crate) fn covering(self, later: Self) -> Self {
        let bound_secs = (later.secs - self.secs).abs() + later.bound_secs;
        Self {
            bound_secs: bound_secs.max(self.bound_secs),
            ..self
        }
    }

    /// What to add to the other clock's time to get ours, and from there to a third's time.
    pub(crate) fn back_to(self, third: Self) -> Self {
        Self {
            secs: third.secs - self.secs,
            bound_secs: third.bound_secs + self.bound_secs,
        }
    }
}

#[cfg(test)]
impl Clock {
    /// A clock that is so far ahead of this one.
    pub(crate) fn ahead_by(mut self, secs: f64) -> Self {
        self.started_unix_secs += secs;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_way_decides_and_bounds_the_error() {
        // The other is 100 s ahead; its readings are taken at different places of the way.
        let readings = [
            (10.0, 110.9, 11.0),
            (20.0, 120.01, 20.04),
            (30.0, 130.0, 31.0),
        ];
        let offsets = readings.map(|(asked, said, came)| Offset::reading(asked, said, came));
        let best = Offset::best(offsets).unwrap();
        assert!((best.secs - 99.99).abs() < 1e-9 && (best.bound_secs - 0.02).abs() < 1e-9);
        assert!((best.secs - 100.0).abs() <= best.bound_secs);
    }

    #[test]
    fn a_bound_covers_drift_and_both_ways() {
        let offset = |secs, bound_secs| Offset { secs, bound_secs };
        let covered = offset(5.0, 0.001).covering(offset(5.25, 0.125));
        assert_eq!(covered, offset(5.0, 0.375));
        assert_eq!(
            offset(7.0, 1.0).back_to(offset(2.0, 0.5)),
            offset(-5.0, 1.5)
        );
    }

    #[test]
    fn a_clock_of_double_speed_gains_a_second_in_each() {
        let offset = |secs| Offset {
            secs,
            bound_secs: 0.01,
        };
        let rate = Rate::between(offset(5.0), offset(15.0), 10.0).unwrap();
        assert_eq!((rate.gains, rate.bound), (1.0, 0.002));
        assert_eq!(Rate::between(offset(5.0), offset(15.0), 0.0), None);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_not_followed() {
        let clock = Clock::new();
        let later = clock.started + Duration::from_secs(20);
        let wall = |step: f64| Duration::from_secs_f64(clock.started_unix_secs + 20.0 + step);
        for step in [3600.0, 30.0, -2.0, 0.0] {
            let strayed = clock.strayed_secs(later, wall(step));
            assert!((strayed - step).abs() < 1e-3, "{strayed} {step}");
        }
        assert!((clock.at(later) - clock.started_unix_secs - 20.0).abs() < 1e-6);
    }

    #[test]
    fn instants_before_the_start_have_a_time_too() {
        let clock = Clock::new();
        for secs in [-2.0, 3.0] {
            let back = clock.at(clock.instant(clock.started_unix_secs + secs));
            assert!(
                (back - clock.started_unix_secs - secs).abs() < 1e-6,
                "{secs}"
            );
        }
        assert_eq!(clock.instant(f64::INFINITY), clock.started);
        let [before, after] = [
            clock.at(clock.started - Duration::from_secs(2)),
            clock.at(clock.started + Duration::from_secs(3)),
        ];
        assert_eq!(after - before, 5.0);
        for secs in [before, after] {
            let again = clock.at(clock.instant(secs));
            assert!((again - secs).abs() < 1e-6, "{again} {secs}");
        }
        let [before, after] = [
            clock.unix_nanos(clock.started - Duration::from_nanos(2)),
            clock.unix_nanos(clock.started + Duration::from_nanos(3)),
        ];
        assert_eq!(after - before, 5);
    }
}
