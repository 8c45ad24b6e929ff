//! Rules about answers: what was read, what was refused or got lost, and both sides' counts.

use super::check::Extent;
use super::facts::{Facts, RunFacts};
use crate::measured::counts::{Account, Checks};
use crate::screen::grouped;

/// All that could have failed.
pub(super) fn programs(facts: &Facts) -> Extent {
    let connections = facts.accounts.len();
    Extent::On(format!(
        "the client's workers and {connections} connections, from begin to end"
    ))
}

pub(super) fn failures(facts: &Facts) -> Option<String> {
    (!facts.failures.is_empty()).then(|| facts.failures.join(" "))
}

/// The window's operations.
pub(super) fn operations(facts: &Facts) -> Extent {
    Extent::On(format!(
        "{} operations of the window",
        grouped(facts.counts.ops())
    ))
}

pub(super) fn nothing_measured(facts: &Facts) -> Option<String> {
    (facts.counts.ops() == 0).then(|| {
        "No operation was answered in a full second of the measured window, so there is no \
         throughput; look for what held the client or the servers up, or measure longer (--secs)."
            .into()
    })
}

/// The values that were read.
pub(super) fn values(facts: &Facts) -> Extent {
    let Checks {
        verified,
        compared,
        read_back,
        ..
    } = facts.checks;
    if !facts.verify || verified == 0 {
        return Extent::NotAsked("no value was checked".into());
    }
    Extent::On(format!(
        "{} values, every one that was read; {:.1} % of these gets were sent behind an acknowledged write of the same worker \
         to the record, with which they were compared (of large requests one in two, drawn by the seed); of {} records that workers wrote {} were read back at the end",
        grouped(verified),
        100.0 * compared as f64 / verified as f64,
        grouped(facts.written),
        grouped(read_back),
    ))
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

pub(super) fn examples(facts: &Facts) -> String {
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

/// The connections whose server told its counts.
pub(super) fn told_counts(facts: &Facts) -> Extent {
    let told = facts
        .accounts
        .iter()
        .filter(|account| account.served.is_some());
    let (told, all) = (told.count(), facts.accounts.len());
    match told {
        0 => Extent::NotAsked("no server told its counts".into()),
        _ => Extent::On(format!("both sides' counts of {told} of {all} connections")),
    }
}

/// The connections that could still be asked.
pub(super) fn whole_connections(facts: &Facts) -> Extent {
    let whole = facts.accounts.iter().filter(|account| account.is_whole());
    Extent::On(format!("{} connections that were not lost", whole.count()))
}

pub(super) fn counts_not_told(facts: &Facts) -> Option<String> {
    let silent = |account: &&Account| account.is_whole() && account.served.is_none();
    let silent: Vec<&Account> = facts.accounts.iter().filter(silent).collect();
    let first = silent.first()?;
    Some(format!(
        "Each server must tell what it executed when a connection ends, but on {} of {} connections it \
         did not (the first is {}), so nobody knows whether both sides counted the same; look at its log.",
        silent.len(),
        facts.accounts.len(),
        first.name
    ))
}

/// The first account whose counts do not fit.
pub(super) fn wrong_counts(facts: &Facts) -> Option<String> {
    facts.accounts.iter().find_map(counts_do_not_fit)
}

/// What was recorded of the run's operations.
pub(super) fn histories(facts: &RunFacts) -> Extent {
    match facts.histories {
        None => Extent::NotAsked("--check-linearizability was not given".into()),
        Some(0) => Extent::Missing(
            "Histories were to be recorded, but there are none; look at the clients' logs.".into(),
        ),
        Some(operations) => Extent::On(format!(
            "{} recorded operations of listed records",
            grouped(operations)
        )),
    }
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
