//! Where the workers' seconds come together.

use std::mem;

use crate::command::offer::Offer;
use crate::load::tally::{Closed, Stage};
use crate::measured::counts::{Counts, Offered};
use crate::measured::interval::{Interval, Volume};
use crate::measured::latency::{Latencies, PackedLatencies};
use crate::results::latency_log::LatencyLog;
use crate::results::series::{Row, Series};
use crate::screen::grouped;

/// The seconds of one stage after the other; those of the measured window stay.
#[derive(Debug)]
pub(crate) struct Board {
    workers: usize,
    servers: usize,
    stage: Stage,
    /// Seconds of the stage, and how many workers have handed each over. A whole one has no latencies here.
    seconds: Vec<(usize, Interval)>,
    /// The latencies of the seconds that every worker has handed over, up to the first that is not.
    packed: Vec<PackedLatencies>,
    /// Of an open loop's arrivals in the window, those answered or given up behind its end.
    rest: Interval,
}

impl Board {
    pub(crate) fn new(workers: usize, servers: usize) -> Self {
        Self {
            workers,
            servers,
            stage: Stage::Over,
            seconds: Vec::new(),
            packed: Vec::new(),
            rest: Interval::new(servers),
        }
    }

    /// Adds a worker's second, and gives a line about it when it was the last worker's. There is
    /// none about a part of a second, of which a rate would mislead.
    pub(crate) fn add(&mut self, closed: &Closed) -> Option<String> {
        if closed.stage != self.stage {
            if self.stage == Stage::Measured {
                return None;
            }
            self.stage = closed.stage;
            self.seconds.clear();
        }
        let second = closed.second as usize;
        while self.seconds.len() < second {
            self.seconds.push((0, Interval::new(self.servers)));
        }
        let (handed_over, sum) = &mut self.seconds[second - 1];
        *handed_over += 1;
        sum.counts.add(&closed.interval.counts);
        sum.errors += closed.interval.errors;
        sum.volume.add(&closed.interval.volume);
        for (sum, ops) in sum.server_ops.iter_mut().zip(&closed.interval.server_ops) {
            *sum += ops;
        }
        sum.latencies.add(&closed.interval.latencies);
        sum.progress_nanos += closed.interval.progress_nanos;
        sum.arrivals.add(&closed.interval.arrivals);
        if *handed_over < self.workers {
            return None;
        }
        // Each worker hands its seconds over in their order, so they become whole in their order.
        let latencies = mem::replace(&mut sum.latencies, Latencies::nothing());
        if self.stage == Stage::Measured {
            self.packed.push(latencies.pack());
        }
        closed.whole.then(|| self.line(second))
    }

    /// Adds what belongs to the window beyond its whole seconds: the last of them gets it.
    pub(crate) fn add_rest(&mut self, rest: &Interval) {
        self.rest.latencies.add(&rest.latencies);
        self.rest.arrivals.add(&rest.arrivals);
        self.rest.progress_nanos += rest.progress_nanos;
    }

    fn line(&self, second: usize) -> String {
        let interval = &self.seconds[second - 1].1;
        let ops = grouped(interval.counts.ops());
        match self.stage {
            Stage::Load => {
                let sum = |(_, interval): &(usize, Interval)| interval.counts.ops();
                let loaded = self.seconds[..second].iter().map(sum).sum();
                format!("load     {second:>4} s  {:>14} records", grouped(loaded))
            }
            Stage::WarmUp => format!("warm-up  {second:>4} s  {ops:>14} ops/s"),
            Stage::Measured | Stage::Over => format!("measured {second:>4} s  {ops:>14} ops/s"),
        }
    }

    /// The measured window's whole seconds: those that every worker has handed over.
    pub(crate) fn window(&self) -> &[(usize, Interval)] {
        let whole = |(handed_over, _): &(usize, Interval)| *handed_over == self.workers;
        let measured = match self.stage {
            Stage::Measured => self.seconds.as_slice(),
            _ => &[],
        };
        let end = measured.iter().position(|second| !whole(second));
        &measured[..end.unwrap_or(measured.len())]
    }

    /// The window's operations.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for (_, interval) in self.window() {
            sum.add(&interval.counts);
        }
        sum
    }

    /// The window's bytes.
    pub(crate) fn volume(&self) -> Volume {
        let mut sum = Volume::default();
        for (_, interval) in self.window() {
            sum.add(&interval.volume);
        }
        sum
    }

    /// The window's arrivals by an offered load.
    pub(crate) fn offered(&self, offer: &Offer) -> Offered {
        let mut sum = self.rest.arrivals;
        for (_, interval) in self.window() {
            sum.add(&interval.arrivals);
        }
        Offered {
            intended: (offer.ops_per_sec * self.window().len() as f64).round() as u64,
            ..sum
        }
    }

    /// Operations generated and not yet answered, on average over the window.
    pub(crate) fn in_progress_mean(&self) -> f64 {
        let nanos = |(_, interval): &(usize, Interval)| interval.progress_nanos as f64;
        let secs = (self.window().len() as f64).max(1.0);
        let rest = self.rest.progress_nanos as f64;
        (rest + self.window().iter().map(nanos).sum::<f64>()) / 1e9 / secs
    }

    /// The window's rows and latencies; it began at `start_unix_time`.
    pub(crate) fn files(&self, start_unix_time: f64) -> (Series, LatencyLog) {
        let row = |(second, (_, interval)): (u64, &(usize, Interval))| Row {
            unix_time: start_unix_time + second as f64,
            reads: interval.counts.reads,
            writes: interval.counts.writes(),
            misses: interval.counts.misses,
            errors: interval.errors,
            server_ops: interval.server_ops.clone(),
        };
        let series = Series {
            servers: self.servers,
            rows: (1..).zip(self.window()).map(row).collect(),
        };
        let count = self.window().len();
        let mut intervals = self.packed[..count].to_vec();
        if let Some(last) = intervals.last_mut() {
            let mut sum = last.unpack();
            sum.add(&self.rest.latencies);
            *last = sum.pack();
        }
        let latency = LatencyLog {
            start_unix_time,
            intervals,
        };
        (series, latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::latency::LatencyPart;

    fn second(stage: Stage, second: u64, reads: u64) -> Closed {
        let mut interval = Interval::new(1);
        interval.counts.reads = reads;
        interval.server_ops[0] = reads;
        Closed {
            stage,
            second,
            whole: true,
            interval,
        }
    }

    #[test]
    fn a_second_is_told_when_all_workers_have_it() {
        let mut board = Board::new(2, 1);
        assert_eq!(board.add(&second(Stage::Measured, 1, 1_000)), None);
        assert_eq!(board.add(&second(Stage::Measured, 2, 7)), None);
        let line = board.add(&second(Stage::Measured, 1, 234)).unwrap();
        assert!(
            line.contains("1 s") && line.ends_with(" 1,234 ops/s"),
            "{line}"
        );
        // The second second is one worker's only.
        assert_eq!((board.window().len(), board.counts().ops()), (1, 1_234));
        let (series, latency) = board.files(10.0);
        assert_eq!(series.rows[0].unix_time, 11.0);
        assert_eq!((series.secs(), latency.intervals.len()), (1, 1));
    }

    /// A day may be measured.
    #[test]
    fn whole_seconds_keep_no_histograms() {
        let mut board = Board::new(1, 1);
        for stage in [Stage::Load, Stage::Measured] {
            board.add(&second(stage, 1, 5));
            let kept = &board.seconds[0].1.latencies;
            let slots = kept.of(LatencyPart::Total).distinct_values();
            assert!(slots < 100, "{slots}");
        }
        assert_eq!(board.packed.len(), 1);
    }

    #[test]
    fn only_the_window_counts() {
        let mut board = Board::new(1, 1);
        board.add(&second(Stage::Load, 1, 5));
        let line = board.add(&second(Stage::Load, 2, 6)).unwrap();
        assert!(line.ends_with(" 11 records"), "{line}");
        let mut part = second(Stage::WarmUp, 1, 7);
        part.whole = false;
        assert_eq!(board.add(&part), None);
        assert_eq!(board.window().len(), 0);
        board.add(&second(Stage::Measured, 1, 8));
        assert_eq!(board.counts().reads, 8);
    }
}
