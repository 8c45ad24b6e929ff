//! A rule about what stood still, whatever the medians say.

use super::check::Extent;
use super::facts::{Facts, Gap, Stalls};
use crate::measured::statistics::median;
use crate::screen::grouped;

/// A second with less than this part of the median second is a gap.
const GAP_PART: f64 = 0.1;
/// Seconds of fewer operations are gaps by chance.
const MEDIAN_MIN: f64 = 20.0;
/// A batch that waited for so many mean latencies stood still; where all wait long, none does.
const LATENCIES_MIN: f64 = 10.0;
/// A client that notices a second's end so late did not run.
const CLIENT_LATE_SECS: f64 = 0.5;

/// The gaps in what each server answered in each second; those that all servers have are told once.
pub(crate) fn gaps(servers: &[(String, Vec<u64>)]) -> Vec<Gap> {
    let runs: Vec<Vec<(u64, u64)>> = servers.iter().map(|(_, ops)| runs(ops)).collect();
    let gap = |who: &str, (first, last): &(u64, u64)| Gap {
        who: who.into(),
        first: *first,
        last: *last,
    };
    if let ([first, others @ ..], true) = (runs.as_slice(), servers.len() > 1)
        && others.iter().all(|other| other == first)
    {
        return first.iter().map(|run| gap("every server", run)).collect();
    }
    let mut gaps = Vec::new();
    for ((who, _), runs) in servers.iter().zip(&runs) {
        gaps.extend(runs.iter().map(|run| gap(who, run)));
    }
    gaps
}

/// First and last second of each gap.
fn runs(ops: &[u64]) -> Vec<(u64, u64)> {
    let usual = median(ops.iter().copied());
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (second, &ops) in (1..).zip(ops) {
        if usual < MEDIAN_MIN || ops as f64 >= GAP_PART * usual {
            continue;
        }
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == second => *last = second,
            _ => runs.push((second, second)),
        }
    }
    runs
}

/// The window's seconds and batches.
pub(super) fn seconds_and_batches(facts: &Facts) -> Extent {
    let Stalls {
        batches,
        long_waits,
        ..
    } = facts.stalls;
    Extent::On(format!(
        "every second of the window, and {} batches, of which {} waited for more than a second",
        grouped(batches),
        grouped(long_waits)
    ))
}

pub(super) fn stalled(facts: &Facts) -> Option<String> {
    let Stalls {
        gaps, long_waits, ..
    } = &facts.stalls;
    let mean_secs = facts.latency_mean_us? / 1e6;
    let longest = facts.stalls.longest.as_ref();
    let longest = longest.filter(|longest| longest.secs > LATENCIES_MIN * mean_secs);
    if gaps.is_empty() && longest.is_none() {
        return None;
    }
    let mut seen: Vec<String> = gaps.iter().map(in_words).collect();
    if let Some(longest) = longest {
        seen.push(format!(
            "{} batches waited for more than a second, the longest for {:.1} s (for {}, until second {:.1})",
            grouped(*long_waits),
            longest.secs,
            longest.server,
            longest.ended_secs
        ));
    }
    Some(format!(
        "Answers should come in every second, but {}; {}.",
        seen.join("; "),
        cause(&facts.stalls)
    ))
}

fn in_words(gap: &Gap) -> String {
    let Gap { who, first, last } = gap;
    let secs = last - first + 1;
    format!(
        "{who} answered less than a tenth of the median second for {secs} s (seconds {first} to {last})"
    )
}

/// Who stood still, as far as the client can tell.
fn cause(stalls: &Stalls) -> String {
    match stalls.client_late_secs > CLIENT_LATE_SECS {
        true => format!(
            "the client itself did not run for {:.1} s until second {:.1}: find out what stopped it",
            stalls.client_late_secs, stalls.client_late_at_secs
        ),
        false => "the client itself was never late by more than half a second: find out what stopped the \
                  servers or the network"
            .into(),
    }
}
