//! What the user sees of a study: a bar with the time left on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use batchkv_cli::screen::say;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::plan::RunId;
use crate::results::Row;

/// The progress of a study's runs.
#[derive(Debug)]
pub(crate) struct Progress {
    /// None where the output is no terminal. It has no colours, so NO_COLOR is honoured.
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    done_before: usize,
    started: Instant,
}

impl Progress {
    /// Of a study of `total` runs, of which `done` are known already.
    pub(crate) fn new(total: usize, done: usize) -> Self {
        let seen = io::stderr().is_terminal() && io::stdout().is_terminal();
        let bar = seen.then(|| bar(total as u64, done as u64));
        Self {
            bar,
            total,
            done,
            done_before: done,
            started: Instant::now(),
        }
    }

    /// A run begins.
    pub(crate) fn begin(&self, id: &RunId) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}{}", label(id), self.time_left()));
        }
    }

    /// A run's result is known.
    pub(crate) fn done(&mut self, row: &Row) {
        self.done += 1;
        let line = format!("[{:>3}/{}] {}", self.done, self.total, result(row));
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.done as u64);
                bar.println(line);
            }
            None => say(format_args!("{line}{}", self.time_left())),
        }
    }

    /// No more runs; the bar goes away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// By the mean time of this session's runs, pauses included; unknown before the first ended.
    fn time_left(&self) -> String {
        let measured = (self.done - self.done_before) as f64;
        let left = (self.total - self.done) as f64;
        let secs = self.started.elapsed().as_secs_f64() / measured * left;
        match Duration::try_from_secs_f64(secs) {
            Ok(time) if left > 0.0 => format!("; {} left", HumanDuration(time)),
            _ => String::new(),
        }
    }
}

fn bar(total: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_position(done);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}") {
        bar.set_style(style);
    }
    // Redrawn each second, so that a resized terminal is filled again.
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// A run in words: `batch-size 64, tasks 8, repetition 1`.
pub(crate) fn label(id: &RunId) -> String {
    let values = id
        .point
        .iter()
        .map(|(name, value)| format!("{name} {value}, "));
    format!(
        "{}repetition {}",
        values.collect::<String>(),
        id.repetition + 1
    )
}

fn result(row: &Row) -> String {
    let throughput = row
        .summary
        .as_ref()
        .and_then(|summary| summary["ops_per_sec"].as_f64());
    let figure = match (row.verdict.counts(), throughput) {
        (true, Some(ops)) => format!(" {:.3} M ops/s", ops / 1e6),
        _ => String::new(),
    };
    let failure = row
        .failure
        .as_ref()
        .map_or_else(String::new, |text| format!(": {text}"));
    format!(
        "{}: {}{figure}{failure}",
        label(&row.id),
        row.verdict.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::example;
    use crate::results::Verdict;
    use crate::results::tests::row;

    #[test]
    fn a_result_is_a_line() {
        let run = &example().runs()[0];
        let label = label(&run.id);
        let valid = row(run, Verdict::Valid, 2.5e6);
        assert_eq!(result(&valid), format!("{label}: VALID 2.500 M ops/s"));
        let failed = Row {
            failure: Some("server died".into()),
            ..row(run, Verdict::Failed, 0.0)
        };
        assert_eq!(result(&failed), format!("{label}: FAILED: server died"));
    }

    #[test]
    fn nothing_is_left_before_the_first_run_and_after_the_last() {
        let mut progress = Progress::new(1, 0);
        assert_eq!(progress.time_left(), "");
        progress.done = 1;
        assert_eq!(progress.time_left(), "");
    }
}
