//! What a worker counts, second by second.
//!
//! Seconds are exact multiples from a stage's start, and an answer counts in the second in which it
//! was decoded: whoever brings answers brings the time, and closes the seconds that are over. The
//! sums of a second go to the main thread whole, with their histogram.

use std::mem;
use std::time::{Duration, Instant};

use crate::measured::counts::{Checks, Counts, Offered};
use crate::measured::interval::{Interval, Standstill, Volume};
use crate::measured::latency::Latencies;

const SECOND: Duration = Duration::from_secs(1);
/// Faults that are kept in words.
const EXAMPLES_MAX: usize = 3;

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Load,
    WarmUp,
    /// The window that the results are of.
    Measured,
    /// Behind the window's end: what is still answered counts in no second.
    Over,
}

/// What a frame's answers came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gain {
    pub(crate) counts: Counts,
    pub(crate) checks: Checks,
}

/// One worker's counts.
#[derive(Debug)]
pub(crate) struct Tally {
    stage: Stage,
    stage_start: Instant,
    /// Seconds of the stage that were handed over.
    seconds: u64,
    /// When the window begins, and its seconds, once that is known.
    window: Option<(Instant, u64)>,
    /// The window from begin to end, once that is known, also when it is over.
    span: Option<(Instant, Instant)>,
    /// The open second; behind the window what is left of it.
    open: Interval,
    /// Moved before the open second.
    volume_before: Volume,
    /// Operations generated and not yet answered.
    in_progress: u64,
    /// Up to here they are in the open second's `progress_nanos`.
    progress_end: Instant,
    /// From the first to the last request.
    pub(crate) checks: Checks,
    pub(crate) examples: Vec<String>,
    /// Of the window.
    pub(crate) standstill: Standstill,
}

/// A second that is over.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) stage: Stage,
    /// From 1.
    pub(crate) second: u64,
    /// False for what was of the warm-up's last second when the window began.
    pub(crate) whole: bool,
    pub(crate) interval: Interval,
}

impl Tally {
    pub(crate) fn new(servers: usize, now: Instant) -> Self {
        Self {
            stage: Stage::Over,
            stage_start: now,
            seconds: 0,
            window: None,
            span: None,
            open: Interval::new(servers),
            volume_before: Volume::default(),
            in_progress: 0,
            progress_end: now,
            checks: Checks::default(),
            examples: Vec::new(),
            standstill: Standstill::default(),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Begins the load or the warm-up now.
    pub(crate) fn begin(&mut self, stage: Stage, now: Instant, volume: Volume) {
        self.stage = stage;
        self.stage_start = now;
        self.seconds = 0;
        self.open = Interval::new(self.open.server_ops.len());
        self.volume_before = volume;
        self.in_progress = 0;
        self.progress_end = now;
    }

    /// Lets the warm-up become the measured window of `secs` seconds at `start`.
    pub(crate) fn measure(&mut self, start: Instant, secs: u64) {
        self.window = Some((start, secs));
        self.span = Some((start, start + SECOND * secs as u32));
    }

    /// Ends the window early, at `now`; the open second is none of its seconds.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.end();
        self.span = self.span.map(|(start, end)| (start, end.min(now)));
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.window = None;
    }

    /// The measured window from begin to end, once it is known.
    pub(crate) fn span(&self) -> Option<(Instant, Instant)> {
        self.span
    }

    /// What belongs to an open loop's window beyond its whole seconds: arrivals that were answered, or
    /// given up, behind its end.
    pub(crate) fn take_rest(&mut self) -> Interval {
        let empty = Interval::new(self.open.server_ops.len());
        mem::replace(&mut self.open, empty)
    }

    fn second_end(&self) -> Instant {
        self.stage_start + SECOND * (self.seconds + 1) as u32
    }

    /// When a second or the stage ends next; `None` when nothing is counted.
    pub(crate) fn boundary(&self) -> Option<Instant> {
        let second = self.second_end();
        match (self.stage, self.window) {
            (Stage::Over, _) => None,
            (Stage::WarmUp, Some((start, _))) => Some(second.min(start)),
            _ => Some(second),
        }
    }

    /// Closes one second that is over by `now`, if there is one.
    pub(crate) fn close(&mut self, now: Instant, volume: Volume) -> Option<Closed> {
        let boundary = self.boundary().filter(|boundary| now >= *boundary)?;
        self.progress(boundary);
        if self.stage == Stage::Measured {
            self.standstill.second(boundary, now);
        }
        let mut interval = Interval::new(self.open.server_ops.len());
        mem::swap(&mut interval, &mut self.open);
        interval.volume = volume.since(&self.volume_before);
        self.volume_before = volume;
        let whole = boundary == self.second_end();
        self.seconds += 1;
        let closed = Closed {
            stage: self.stage,
            second: self.seconds,
            whole,
            interval,
        };
        match self.window {
            Some((start, _)) if self.stage == Stage::WarmUp && boundary == start => {
                (self.stage, self.stage_start, self.seconds) = (Stage::Measured, start, 0);
            }
            Some((_, secs)) if self.stage == Stage::Measured && self.seconds == secs => self.end(),
            _ => {}
        }
        Some(closed)
    }

    /// Notes operations that were generated by `now`, and how long ago altogether.
    pub(crate) fn generated(&mut self, now: Instant, operations: u64, ago_nanos: u128) {
        self.progress(now);
        self.open.progress_nanos += ago_nanos;
        self.in_progress += operations;
    }

    /// A batch to `server` that was queued at `queued` ended at `now`.
    pub(crate) fn batch_ended(&mut self, server: usize, queued: Instant, now: Instant) {
        if self
            .span
            .is_some_and(|(start, end)| now >= start && queued < end)
        {
            self.standstill.batch(server, queued, now);
        }
    }

    /// What became of an open loop's arrivals, and their latencies.
    pub(crate) fn arrivals(&mut self) -> (&mut Offered, &mut Latencies) {
        (&mut self.open.arrivals, &mut self.open.latencies)
    }

    fn progress(&mut self, now: Instant) {
        if self.stage == Stage::Over {
            return;
        }
        let span = now.saturating_duration_since(self.progress_end);
        self.open.progress_nanos += u128::from(self.in_progress) * span.as_nanos();
        self.progress_end += span;
    }

    /// Counts what `server` answered by `now`; gives the latencies, to note them. The seconds before
    /// must have been closed.
    pub(crate) fn add(&mut self, now: Instant, server: usize, gain: &Gain) -> &mut Latencies {
        self.checks.add(&gain.checks);
        let ops = gain.counts.ops();
        self.progress(now);
        self.in_progress = self.in_progress.saturating_sub(ops + gain.checks.errors);
        self.open.counts.add(&gain.counts);
        self.open.errors += gain.checks.errors;
        self.open.server_ops[server] += ops;
        &mut self.open.latencies
    }

    /// Keeps the first faults in words.
    #[cold]
    pub(crate) fn example(&mut self, words: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(words());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::load::starts::Starts;
    use crate::measured::latency::LatencyPart;

    fn gain(reads: u64) -> Gain {
        Gain {
            counts: Counts {
                reads,
                ..Counts::default()
            },
            checks: Checks::default(),
        }
    }

    /// Closes what is over at `now`: stage, second and reads of each.
    fn closed(tally: &mut Tally, now: Instant) -> Vec<(Stage, u64, u64)> {
        std::iter::from_fn(|| tally.close(now, Volume::default()))
            .map(|closed| (closed.stage, closed.second, closed.interval.counts.reads))
            .collect()
    }

    #[test]
    fn the_second_that_the_window_cuts_off_is_not_whole() {
        let t0 = Instant::now();
        let mut tally = Tally::new(1, t0);
        tally.begin(Stage::WarmUp, t0, Volume::default());
        tally.measure(t0 + SECOND * 3 / 2, 1);
        let whole = std::iter::from_fn(|| tally.close(t0 + SECOND * 9, Volume::default()))
            .map(|closed| closed.whole);
        assert_eq!(whole.collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn answers_count_in_the_second_in_which_they_came() {
        let t0 = Instant::now();
        let mut tally = Tally::new(1, t0);
        tally.begin(Stage::Load, t0, Volume::default());
        tally.add(t0, 0, &gain(1));
        assert_eq!(closed(&mut tally, t0 + SECOND / 2), []);
        tally.add(t0, 0, &gain(2));
        let expected = [(Stage::Load, 1, 3), (Stage::Load, 2, 0)];
        assert_eq!(closed(&mut tally, t0 + SECOND * 2), expected);
    }

    #[test]
    fn the_window_begins_and_ends_at_its_instants() {
        let t0 = Instant::now();
        let start = t0 + SECOND * 3 / 2;
        let mut tally = Tally::new(1, t0);
        tally.begin(Stage::WarmUp, t0, Volume::default());
        tally.measure(start, 2);
        tally.add(t0, 0, &gain(7));
        let warm = [(Stage::WarmUp, 1, 7), (Stage::WarmUp, 2, 0)];
        assert_eq!(closed(&mut tally, start), warm);
        tally.add(start, 0, &gain(5));
        assert_eq!(tally.boundary(), Some(start + SECOND));
        let window = [(Stage::Measured, 1, 5), (Stage::Measured, 2, 0)];
        assert_eq!(closed(&mut tally, start + SECOND * 9), window);
        assert_eq!((tally.stage(), tally.boundary()), (Stage::Over, None));
        tally.add(t0 + SECOND * 20, 0, &gain(1));
        assert_eq!(closed(&mut tally, start + SECOND * 20), []);
    }

    proptest! {
        /// Little's law, exactly: all operations end within the stage.
        #[test]
        fn operations_in_progress_add_up_to_their_latencies(
            batches in vec((0..900_u64, 1..900_u64, 1..5_000_usize, 1..3_000_u64), 1..20),
        ) {
            const MICRO: Duration = Duration::from_micros(1);
            let t0 = Instant::now();
            let mut tally = Tally::new(1, t0);
            tally.begin(Stage::Load, t0, Volume::default());
            let (mut now, mut events) = (t0, Vec::new());
            for (pause, fill, operations, service) in batches {
                let from = now + MICRO * pause as u32;
                now = from + MICRO * fill as u32;
                let mut starts = Starts::default();
                starts.add(from, now, operations);
                let ago_nanos = (now - from).as_nanos() * operations as u128 / 2;
                events.push((now, operations as u64, ago_nanos, None));
                events.push((now + MICRO * service as u32, operations as u64, 0, Some(starts)));
            }
            events.sort_by_key(|(at, ..)| *at);
            let mut latencies = Latencies::new();
            for (at, operations, ago_nanos, answered) in events {
                let Some(mut starts) = answered else {
                    tally.generated(at, operations, ago_nanos);
                    continue;
                };
                tally.add(at, 0, &gain(operations));
                starts.take(operations);
                starts.groups(at, 10_000, |total, count| {
                    latencies.record(LatencyPart::Total, total, count);
                });
            }
            let closed = tally.close(t0 + SECOND, Volume::default()).unwrap();
            let total = latencies.of(LatencyPart::Total);
            let sum = total.mean() * total.len() as f64;
            // Buckets of the total are 0.1 % wide.
            prop_assert!((closed.interval.progress_nanos as f64 / sum - 1.0).abs() < 0.002);
        }
    }

    #[test]
    fn operations_in_progress_are_summed_over_time() {
        let t0 = Instant::now();
        let mut tally = Tally::new(1, t0);
        tally.begin(Stage::Load, t0, Volume::default());
        // Ten, on average 0.1 s before; all are answered half a second later.
        tally.generated(t0 + SECOND / 2, 10, (SECOND).as_nanos());
        tally.add(t0 + SECOND, 0, &gain(10));
        // Four are generated and not answered.
        tally.generated(t0 + SECOND * 3 / 2, 4, 0);
        let seconds: Vec<_> =
            std::iter::from_fn(|| tally.close(t0 + SECOND * 3, Volume::default()))
                .map(|closed| closed.interval.progress_nanos / 1_000_000)
                .collect();
        assert_eq!(seconds, [6000, 2000, 4000]);
    }
}
