//! Rules about the seconds of a window: enough of them, all clients' the same, steady, and long against the
//! latencies.

use super::check::Extent;
use super::facts::{RunFacts, Window};
use crate::measured::statistics::{Line, change, mean, median, standard_error};
use crate::screen::grouped;

/// Least number of blocks of whole seconds that say something about steadiness.
const BLOCKS_MIN: usize = 10;
/// Change over the window that is no reason to worry, as a part of the mean.
const CHANGE_MAX: f64 = 0.05;
/// Standard errors of the block means that the halves' medians may differ by.
const STANDARD_ERRORS_MAX: f64 = 3.0;
/// Chance of such a trend in steady blocks, below which it counts as one.
const TREND_P_MAX: f64 = 0.001;
/// Part by which operations in progress may differ from throughput times mean latency.
const LITTLE_OFF_MAX: f64 = 0.05;
/// Seconds by which windows of clients may lie apart beyond what their clocks leave open: a hundredth of
/// the shortest block.
const APART_SECS_MAX: f64 = 0.01;

/// The clients' windows.
pub(super) fn windows(facts: &RunFacts) -> Extent {
    match facts.windows.len() {
        0 | 1 => Extent::NotAsked("there is one client".into()),
        clients => Extent::On(format!("the windows of {clients} clients")),
    }
}

pub(super) fn windows_apart(facts: &RunFacts) -> Option<String> {
    let (first, others) = facts.windows.split_first()?;
    let apart = |window: &&Window| {
        let allowed = first.bound_secs + window.bound_secs + APART_SECS_MAX;
        (window.start_secs - first.start_secs).abs() > allowed
    };
    let other = others.iter().find(apart)?;
    let apart_secs = (other.start_secs - first.start_secs).abs();
    Some(format!(
        "All clients must measure the same seconds, but the windows of {} and {} begin {apart_secs:.3} s \
         apart by one clock, so their sums are of no common second; look at both logs.",
        first.client, other.client
    ))
}

/// The window's seconds.
pub(super) fn seconds(facts: &RunFacts) -> Extent {
    Extent::On(format!("{} s", facts.ops.len()))
}

/// The window's blocks of seconds.
pub(super) fn blocks(facts: &RunFacts) -> Extent {
    match block_means(&facts.ops) {
        None => Extent::NotAsked("fewer than ten seconds, or no operations".into()),
        Some(means) => Extent::On(format!("{} s in {} blocks", facts.ops.len(), means.len())),
    }
}

pub(super) fn too_short(facts: &RunFacts) -> Option<String> {
    let secs = facts.ops.len();
    // Without any second there is a graver reason.
    (1..BLOCKS_MIN).contains(&secs).then(|| {
        format!(
            "Ten seconds are needed to tell whether throughput was steady, but {secs} s were measured; \
             measure 10 s or more (--secs)."
        )
    })
}

pub(super) fn unsteady(facts: &RunFacts) -> Option<String> {
    let means = block_means(&facts.ops)?;
    let half = facts.ops.len() / 2;
    let halves = [&facts.ops[..half], &facts.ops[facts.ops.len() - half..]];
    let [first, second] = halves.map(|half| median(half.iter().copied()));
    let mean = mean(&means);
    let allowed = (CHANGE_MAX * mean).max(STANDARD_ERRORS_MAX * standard_error(&means));
    ((second - first).abs() > allowed).then(|| {
        format!(
            "Throughput should be steady, but the median second of the window's first half had {} \
             operations and that of the second {} ({}); {REMEDY}.",
            grouped(first as u64),
            grouped(second as u64),
            change(first, second),
        )
    })
}

pub(super) fn trend(facts: &RunFacts) -> Option<String> {
    let means = block_means(&facts.ops)?;
    let Line { slope, p } = Line::through(&means);
    let change = slope * means.len() as f64 / mean(&means);
    let way = if slope > 0.0 { "rises" } else { "falls" };
    (change.abs() > CHANGE_MAX && p < TREND_P_MAX).then(|| {
        format!(
            "Throughput should be steady, but {way} by {:.1} % over the window (p = {p:.0e}); {REMEDY}.",
            100.0 * change.abs()
        )
    })
}

/// Latencies against operations in progress.
pub(super) fn latencies(facts: &RunFacts) -> Extent {
    match facts.littles_law_ratio {
        None => Extent::NotAsked("nothing was measured".into()),
        Some(_) => Extent::On(format!("the latencies of {} s", facts.ops.len())),
    }
}

pub(super) fn latency_does_not_fit(facts: &RunFacts) -> Option<String> {
    let ratio = facts.littles_law_ratio?;
    ((ratio - 1.0).abs() > LITTLE_OFF_MAX).then(|| {
        format!(
            "Operations in progress should be throughput (in an open loop what arrived) times mean latency (Little's law) within 5 %, but \
             were {ratio:.3} times that: what was still unanswered at one of the window's ends weighs too much \
             for the latencies to be the whole truth; measure longer (--secs), or find out what stalled."
        )
    })
}

/// What to do about a run that is not steady.
const REMEDY: &str = "warm up longer (--warmup-secs), measure longer (--secs), or find out what else the machines do";

/// Means over ten to nineteen blocks of whole seconds of the same length; `None` when there are too few
/// seconds, or no operations.
fn block_means(ops: &[u64]) -> Option<Vec<f64>> {
    let block_secs = ops.len() / BLOCKS_MIN;
    if block_secs == 0 || ops.iter().all(|&ops| ops == 0) {
        return None;
    }
    let mean = |block: &[u64]| block.iter().sum::<u64>() as f64 / block_secs as f64;
    Some(ops.chunks_exact(block_secs).map(mean).collect())
}
