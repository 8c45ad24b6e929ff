//! Rules about what was asked: kinds, ranks, records, values, and how fast.

use batchkv_workload::{Kind, SkewSample};

use super::check::Extent;
use super::facts::Facts;
use crate::measured::counts::Offered;
use crate::measured::statistics::chi_squared_p;
use crate::screen::grouped;

/// Chance of drawing such a sample from the right distribution, below which it is the wrong one.
const SKEW_P_MAX: f64 = 1e-9;
/// Part of itself by which a share may be off even then.
const SKEW_OFF_MAX: f64 = 0.01;
/// Part of the gets that must find a value, if the figure is to be one of reads.
const HITS_MIN: f64 = 0.5;
/// Part of the mean latency that may be the client's own lateness.
const TARDY_MAX: f64 = 0.1;

/// What was asked for on the command line.
pub(super) fn settings(_: &Facts) -> Extent {
    Extent::On("the run's settings".into())
}

/// The sample of ranks.
pub(super) fn drawn(facts: &Facts) -> Extent {
    Extent::On(format!(
        "{} ranks, drawn again from the run's own streams",
        grouped(facts.skew.draws())
    ))
}

/// Gets of records that must be there.
pub(super) fn certain_gets(facts: &Facts) -> Extent {
    let gets = grouped(facts.counts.hits + facts.counts.misses);
    let deletes = facts.mix.share(Kind::Delete) > 0.0;
    match (facts.loaded, deletes) {
        (_, true) if !facts.misses_judged => Extent::Missing(
            "The mix deletes records, and whether a get that finds nothing is right is known of one client and \
             up to 4,194,304 records only; look at the hit rate."
                .into(),
        ),
        (_, true) => Extent::On(format!(
            "{gets} gets of the window, those of records that were certainly there"
        )),
        (false, false) => Extent::On(format!(
            "{gets} gets of the window, those behind an acknowledged write of the same worker"
        )),
        (true, false) => Extent::On(format!("{gets} gets of the window, every one")),
    }
}

/// An open loop's arrivals.
pub(super) fn arrivals(facts: &Facts) -> Extent {
    match facts.offered {
        None => Extent::NotAsked("a closed loop".into()),
        Some(offered) => Extent::On(format!("{} arrivals", grouped(offered.intended))),
    }
}

/// An open loop's batches, against their latency.
pub(super) fn ready_batches(facts: &Facts) -> Extent {
    match (facts.offered, facts.latency_mean_us) {
        (None, _) => Extent::NotAsked("a closed loop".into()),
        (_, None) => Extent::NotAsked("nothing was measured".into()),
        (Some(offered), _) => Extent::On(format!(
            "the batches of {} arrivals",
            grouped(offered.arrived)
        )),
    }
}

pub(super) fn wrong_mix(facts: &Facts) -> Option<String> {
    let wrong = facts.mix.check(&facts.counts.by_kind()).err()?;
    let cause = match facts.checks.errors {
        0 => "this is a fault of the benchmark, please report it",
        _ => "refused operations do not count",
    };
    Some(format!(
        "The operations must be in the proportions {}, but {wrong}; {cause}.",
        facts.mix
    ))
}

pub(super) fn wrong_skew(facts: &Facts) -> Option<String> {
    let fault = skew_fault(&facts.skew)?;
    Some(format!(
        "Records must be drawn as the key chooser says, but {fault}; this is a fault of the \
         benchmark, please report it."
    ))
}

/// What is wrong with the ranks of a sample. Chi-squared alone would blame trifles of a large sample,
/// and a share alone the chance of a small one.
pub(crate) fn skew_fault(sample: &SkewSample) -> Option<String> {
    let draws = sample.draws() as f64;
    let off = |expected: f64, observed: u64| observed as f64 / expected - 1.0;
    let (mut chi_squared, mut worst) = (0.0, (0.0, None));
    for bucket in &sample.buckets {
        let expected = draws * bucket.expected_share;
        chi_squared += (bucket.observed as f64 - expected).powi(2) / expected;
        let off = off(expected, bucket.observed);
        if off.abs() > worst.0 {
            worst = (off.abs(), Some((bucket, off)));
        }
    }
    let freedom = sample.buckets.len().saturating_sub(1) as f64;
    let p = chi_squared_p(chi_squared, freedom);
    let (bucket, off) = worst
        .1
        .filter(|_| p < SKEW_P_MAX && worst.0 > SKEW_OFF_MAX)?;
    Some(format!(
        "of {} drawn ranks {:.4} % were {} to {} instead of {:.4} %, off by {:.1} % of that (p = {p:.0e})",
        grouped(draws as u64),
        100.0 * bucket.observed as f64 / draws,
        grouped(bucket.first),
        grouped(bucket.end - 1),
        100.0 * bucket.expected_share,
        100.0 * off,
    ))
}

pub(super) fn misses(facts: &Facts) -> Option<String> {
    let kept = facts.loaded && facts.mix.share(Kind::Delete) == 0.0;
    let misses = match kept {
        true => facts.checks.misses,
        false => facts.checks.lost,
    };
    let cause = match facts.checks.errors {
        0 => "the store loses records, or somebody else deletes them",
        _ => "what was refused is not there",
    };
    (misses > 0).then(|| {
        format!(
            "Every record that was loaded or written, and not deleted, must be found, but {} gets found nothing{}; \
             {cause}.",
            grouped(misses),
            super::answers::examples(facts),
        )
    })
}

pub(super) fn not_verified(facts: &Facts) -> Option<String> {
    if facts.verify && facts.checks.verified == 0 {
        return Some(
            "Every value that is read should be checked, but none was read, so that what the servers did is \
             only known by their word; add gets to the mix."
                .into(),
        );
    }
    (!facts.verify).then(|| {
        "Every value should be checked, but they were not (--no-verify), so wrong answers counted too; \
         leave the flag out."
            .into()
    })
}

pub(super) fn not_loaded(facts: &Facts) -> Option<String> {
    (!facts.loaded).then(|| {
        let other = match facts.checks.foreign {
            0 => "".into(),
            foreign => format!(", and {} values read were another run's", grouped(foreign)),
        };
        let found = match facts.counts.hit_rate() {
            Some(hits) if hits < HITS_MIN => format!(
                "{:.1} % of the reads found nothing, which is much cheaper for a server than a value: the figure \
                 is of reads without values. ",
                100.0 * (1.0 - hits)
            ),
            _ => String::new(),
        };
        format!(
            "{found}The records should be loaded by the run, but were not (--no-load){other}, so misses and \
             old values cannot be told from faults; look at the hit rate, or load."
        )
    })
}

/// Gets of a run that loaded its records.
pub(super) fn loaded_gets(facts: &Facts) -> Extent {
    match (facts.loaded, facts.counts.hit_rate()) {
        (false, _) => Extent::NotAsked("the records were not loaded by this run".into()),
        (_, None) => Extent::NotAsked("no gets".into()),
        (true, Some(_)) => Extent::On(format!(
            "{} gets of the window",
            grouped(facts.counts.hits + facts.counts.misses)
        )),
    }
}

pub(super) fn few_hits(facts: &Facts) -> Option<String> {
    let hits = facts.counts.hit_rate().filter(|_| facts.loaded)?;
    (hits < HITS_MIN).then(|| {
        format!(
            "{:.1} % of the reads found nothing although the records were loaded, so the figure is of reads \
             without values, which are much cheaper; delete less (--mix), or find out who else deletes.",
            100.0 * (1.0 - hits)
        )
    })
}

pub(super) fn short_values(facts: &Facts) -> Option<String> {
    (facts.verify && facts.short_values).then(|| {
        "Values should have the 16 bytes that a whole checksum takes, but some are shorter \
         (--value-bytes), so a damaged one may pass unseen; use values of 16 bytes or more."
            .into()
    })
}

pub(super) fn ended_by_hand(facts: &Facts) -> Option<String> {
    facts.interrupted.then(|| {
        "The run should last as long as was asked for, but was ended by hand before, so the figures are \
         of fewer seconds; let it end by itself."
            .into()
    })
}

pub(super) fn rate_missed(facts: &Facts) -> Option<String> {
    let offered = facts.offered?;
    let intended = offered.intended as f64;
    let missed = 1.0 - facts.counts.ops() as f64 / intended;
    let allowed = 0.01_f64.max(4.0 / intended.sqrt());
    let (blocked_us, tardy_us) = offered.waits_us();
    let cause = match blocked_us >= tardy_us {
        true => {
            "lower the rate, allow more unanswered batches (--window, --tasks), or find out what cannot keep up"
        }
        false => "lower the rate, or use more worker threads (--threads) or clients",
    };
    (missed > allowed).then(|| {
        format!(
            "{} operations were to be answered in the window (--rate), but {:.1} % of them were not: ready \
             batches waited {} us on average because too many were unanswered, and {} us for the client \
             itself; {cause}.",
            grouped(offered.intended),
            100.0 * missed,
            grouped(blocked_us as u64),
            grouped(tardy_us as u64),
        )
    })
}

pub(super) fn dropped_arrivals(facts: &Facts) -> Option<String> {
    let Offered {
        arrived,
        unanswered,
        dropped,
        ..
    } = facts.offered?;
    (unanswered + dropped > 0).then(|| {
        format!(
            "Each operation that arrives should be answered, but of {} {} were never sent and {} not answered \
             some seconds behind the window's end, so their latencies are at least what is shown; lower the \
             rate, or find out what cannot keep up.",
            grouped(arrived),
            grouped(dropped),
            grouped(unanswered)
        )
    })
}

pub(super) fn client_late(facts: &Facts) -> Option<String> {
    let (_, tardy_us) = facts.offered?.waits_us();
    let mean_us = facts.latency_mean_us?;
    (tardy_us > TARDY_MAX * mean_us).then(|| {
        format!(
            "The latency should be of network and servers, but batches that were ready and had room waited \
             {tardy_us:.0} us of the mean of {mean_us:.0} us for the client itself; use more worker threads \
             (--threads) or clients, or machines with idle cores."
        )
    })
}

pub(super) fn repeated_answers(facts: &Facts) -> Option<String> {
    facts.repeated_answers.then(|| {
        "Each answer to a get should carry its value, but one that the frame holds already is answered by \
         a reference (--dedup-answers), which skew makes cheap; compare only with runs that do the same."
            .into()
    })
}
