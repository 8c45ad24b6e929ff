//! Rules about answers: what was read, what was refused or got lost, and both sides' counts.

use super::facts::{Facts, RunFacts};
use crate::measured::counts::{Account, Checks};
use crate::screen::grouped;

pub(super) fn failures(facts: &Facts) -> Option<String> {
    (!facts.failures.is_empty()).then(|| facts.failures.join(" "))
}

pub(super) fn nothing_measured(facts: &Facts) -> Option<String> {
    (facts.counts.ops() == 0).then(|| {
        "No operation was answered in a full second of the measured window, so there is no \
         throughput; look for what held the client or the servers up, or measure longer (--secs)."
            .into()
    })
}

pub(super) fn wrong_values(facts: &Facts) -> Option<String> {
    let Checks {
        verified,
        damaged,
        stale,
        foreign,
        ..
    } = facts.checks;
    let failures = facts.checks.failures(facts.loaded);
    (failures > 0).then(|| {
        format!(
            "Every value read must be the one last written under its key, but of {} that were \
             checked {} were damaged or another key's, {} stale and {} another run's{}; the store is \
             broken, or somebody else writes to it.",
            grouped(verified),
            grouped(damaged),
            grouped(stale),
            grouped(foreign),
            examples(facts),
        )
    })
}

pub(super) fn refused(facts: &Facts) -> Option<String> {
    let errors = facts.checks.errors;
    (errors > 0).then(|| {
        format!(
            "No operation may be refused, but {} were{}; look at the servers' logs and limits.",
            grouped(errors),
            examples(facts),
        )
    })
}

fn examples(facts: &Facts) -> String {
    match facts.examples.as_slice() {
        [] => String::new(),
        examples => format!(" (seen: {})", examples.join("; ")),
    }
}

pub(super) fn unknown(facts: &Facts) -> Option<String> {
    let unknown: u64 = facts.accounts.iter().map(|a| a.unknown.total()).sum();
    (unknown > 0).then(|| {
        format!(
            "Every operation that was sent must be answered, but of {} nobody knows whether they \
             took effect; find out why connections were lost.",
            grouped(unknown)
        )
    })
}

/// The first account whose counts do not fit.
pub(super) fn wrong_counts(facts: &Facts) -> Option<String> {
    facts.accounts.iter().find_map(counts_do_not_fit)
}

pub(super) fn not_linearizable(facts: &RunFacts) -> Option<String> {
    let violation = facts.violation.as_ref()?;
    Some(format!(
        "Each operation must take effect once, between its sending and its answer, but these operations \
         have no such order: {violation}; the store is broken, or somebody else writes to it."
    ))
}

/// Whether client's and server's counts of one account fit, kind by kind.
pub(crate) fn counts_do_not_fit(account: &Account) -> Option<String> {
    let (answered, unknown) = (account.answered, account.unknown);
    let served = account.served?;
    let kinds = [
        ("gets", answered.gets, served.gets, unknown.gets),
        // Any unanswered get may have been a hit.
        ("hits", answered.hits, served.hits, unknown.gets),
        ("puts", answered.puts, served.puts, unknown.puts),
        ("deletes", answered.deletes, served.deletes, unknown.deletes),
    ];
    let fits = |&(_, answered, served, unknown): &(_, u64, u64, u64)| {
        answered <= served && served <= answered + unknown
    };
    let (kind, answered, served, unknown) = kinds.into_iter().find(|kind| !fits(kind))?;
    Some(format!(
        "Client and server must count the same, but of {} the client has {} {kind} answered and {} \
         unknown, and the server {} executed; one of them is broken, or another client used the \
         server.",
        account.name,
        grouped(answered),
        grouped(unknown),
        grouped(served),
    ))
}
