//! Whether a run's figures can be believed: all rules, as pure functions of what is known of a run.
//!
//! INVALID, the figure is wrong or not provably right:
//! - a value that was read is damaged, another key's, another run's after our own load, or stale;
//! - an operation was refused, or nobody knows whether it took effect;
//! - the operations asked are not in the workload's proportions;
//! - a get found nothing although every record was loaded and none is ever deleted;
//! - a connection's counts on both sides do not fit: answered <= served <= answered + unknown;
//! - nothing was measured; a client or server failed.
//!
//! QUALIFIED, true but to be read with care:
//! - values were not checked;
//! - the records were not loaded by this run;
//! - the run was ended early by hand.
//!
//! VALID: none of these. Each rule that speaks adds a reason: what was expected, what was seen, what
//! to do.

use batchkv_protocol::Counters;
use batchkv_workload::{Kind, Mix};
use serde::{Deserialize, Serialize};

use super::results::summary::Counts;
use super::screen::grouped;

/// How far a run can be believed; the later, the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    Valid,
    Qualified,
    Invalid,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Valid => "VALID",
            Self::Qualified => "QUALIFIED",
            Self::Invalid => "INVALID",
        })
    }
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Sentences, the gravest first; empty exactly when the verdict is `Valid`.
    pub(crate) reasons: Vec<String>,
}

/// Executed operations by kind, over a connection's or a client's whole life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kinds {
    pub(crate) gets: u64,
    /// Gets that found a value.
    pub(crate) hits: u64,
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
}

impl Kinds {
    /// Operations of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.gets + self.puts + self.deletes
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.gets += other.gets;
        self.hits += other.hits;
        self.puts += other.puts;
        self.deletes += other.deletes;
    }
}

impl From<Counters> for Kinds {
    fn from(counters: Counters) -> Self {
        Self {
            gets: counters.gets,
            hits: counters.hits,
            puts: counters.puts,
            deletes: counters.deletes,
        }
    }
}

/// One connection's, or one server's, operations as both sides counted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Whose counts these are, for the reason: `10.10.1.1:8080, connection 3`.
    pub(crate) name: String,
    /// What the client got answers to.
    pub(crate) answered: Kinds,
    /// What the client sent and got no answer to.
    pub(crate) unknown: Kinds,
    /// What the server executed; `None` when it cannot be asked any more.
    pub(crate) served: Option<Kinds>,
}

/// What became of the values that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    /// Values that were looked at.
    pub(crate) verified: u64,
    /// Damaged, or another key's.
    pub(crate) damaged: u64,
    /// Older than a write of ours that had been acknowledged.
    pub(crate) stale: u64,
    /// Written by another run.
    pub(crate) foreign: u64,
    /// Gets after the load that found nothing.
    pub(crate) misses: u64,
    /// Operations that were refused.
    pub(crate) errors: u64,
}

impl Checks {
    pub(crate) fn add(&mut self, other: &Self) {
        self.verified += other.verified;
        self.damaged += other.damaged;
        self.stale += other.stale;
        self.foreign += other.foreign;
        self.misses += other.misses;
        self.errors += other.errors;
    }

    /// Values that make the run invalid; another run's do when this one has `loaded`.
    pub(crate) fn failures(&self, loaded: bool) -> u64 {
        self.damaged + self.stale + if loaded { self.foreign } else { 0 }
    }
}

/// What is known of a client's run.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Of the measured window.
    pub(crate) counts: Counts,
    pub(crate) mix: Mix,
    /// Every record was loaded by this run's clients before anything was read.
    pub(crate) loaded: bool,
    pub(crate) verify: bool,
    /// From the first to the last request.
    pub(crate) checks: Checks,
    /// One of each kind of fault that was seen, in words.
    pub(crate) examples: Vec<String>,
    pub(crate) accounts: Vec<Account>,
    /// What failed, in sentences.
    pub(crate) failures: Vec<String>,
    pub(crate) interrupted: bool,
}

/// Applies every rule.
pub(crate) fn judge(facts: &Facts) -> Judgement {
    let invalid = [
        failures(facts),
        nothing_measured(facts),
        wrong_values(facts),
        errors(facts),
        unknown(facts),
        wrong_mix(facts),
        misses(facts),
    ];
    let counts = facts.accounts.iter().filter_map(counts_do_not_fit);
    let invalid = invalid.into_iter().flatten().chain(counts);
    let qualified = [not_verified(facts), not_loaded(facts), interrupted(facts)];
    Judgement::new(invalid, qualified.into_iter().flatten())
}

impl Judgement {
    /// The verdict that follows from reasons of both weights.
    pub(crate) fn new(
        invalid: impl IntoIterator<Item = String>,
        qualified: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut reasons: Vec<String> = invalid.into_iter().collect();
        let mut verdict = if reasons.is_empty() {
            Verdict::Valid
        } else {
            Verdict::Invalid
        };
        let gravest = reasons.len();
        reasons.extend(qualified);
        if reasons.len() > gravest {
            verdict = verdict.max(Verdict::Qualified);
        }
        Self { verdict, reasons }
    }
}

fn failures(facts: &Facts) -> Option<String> {
    (!facts.failures.is_empty()).then(|| facts.failures.join(" "))
}

fn nothing_measured(facts: &Facts) -> Option<String> {
    (facts.counts.ops() == 0).then(|| {
        "No operation was answered in a full second of the measured window, so there is no \
         throughput; look for what held the client or the servers up, or measure longer (--secs)."
            .into()
    })
}

fn wrong_values(facts: &Facts) -> Option<String> {
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

fn errors(facts: &Facts) -> Option<String> {
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

fn unknown(facts: &Facts) -> Option<String> {
    let unknown: u64 = facts.accounts.iter().map(|a| a.unknown.total()).sum();
    (unknown > 0).then(|| {
        format!(
            "Every operation that was sent must be answered, but of {} nobody knows whether they \
             took effect; find out why connections were lost.",
            grouped(unknown)
        )
    })
}

fn wrong_mix(facts: &Facts) -> Option<String> {
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

fn misses(facts: &Facts) -> Option<String> {
    let kept = facts.loaded && facts.mix.share(Kind::Delete) == 0.0;
    let misses = facts.checks.misses;
    let cause = match facts.checks.errors {
        0 => "the store loses records, or somebody else deletes them",
        _ => "what was refused is not there",
    };
    (kept && misses > 0).then(|| {
        format!(
            "Every record is loaded and none is ever deleted, but {} gets found nothing; {cause}.",
            grouped(misses)
        )
    })
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

fn not_verified(facts: &Facts) -> Option<String> {
    (!facts.verify).then(|| {
        "Values were not checked (--no-verify), so wrong answers would have counted too; leave the \
         flag out."
            .into()
    })
}

fn not_loaded(facts: &Facts) -> Option<String> {
    (!facts.loaded).then(|| {
        let other = match facts.checks.foreign {
            0 => "".into(),
            foreign => format!(", and {} values read were another run's", grouped(foreign)),
        };
        format!(
            "The records were not loaded by this run (--no-load){other}, so misses and old values \
             cannot be told from faults; look at the hit rate, or load."
        )
    })
}

fn interrupted(facts: &Facts) -> Option<String> {
    facts.interrupted.then(|| {
        "The run was ended by hand before its time, so the figures are of fewer seconds than were \
         asked for; let it end by itself."
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        let kinds = Kinds {
            gets: 950_000,
            hits: 950_000,
            puts: 50_000,
            deletes: 0,
        };
        Facts {
            counts: Counts {
                reads: 950_000,
                updates: 50_000,
                hits: 950_000,
                ..Counts::default()
            },
            mix: "read=0.95,update=0.05".parse().unwrap(),
            loaded: true,
            verify: true,
            checks: Checks {
                verified: 950_000,
                ..Checks::default()
            },
            examples: Vec::new(),
            accounts: vec![Account {
                name: "a:1, connection 0".into(),
                answered: kinds,
                unknown: Kinds::default(),
                served: Some(kinds),
            }],
            failures: Vec::new(),
            interrupted: false,
        }
    }

    /// Judges the good run with one change; it must give one reason, which names all `words`.
    fn provoke(verdict: Verdict, words: &[&str], change: impl FnOnce(&mut Facts)) {
        let mut facts = good();
        change(&mut facts);
        let judgement = judge(&facts);
        assert_eq!(judgement.verdict, verdict, "{judgement:?}");
        assert_eq!(judgement.reasons.len(), 1, "{judgement:?}");
        for word in words {
            assert!(judgement.reasons[0].contains(word), "{word}: {judgement:?}");
        }
    }

    #[test]
    fn a_good_run_is_valid() {
        let judgement = judge(&good());
        assert_eq!(judgement.verdict, Verdict::Valid);
        assert!(judgement.reasons.is_empty());
    }

    #[test]
    fn wrong_values_invalidate() {
        let example = |facts: &mut Facts| facts.examples.push("key 7: no checksum".into());
        provoke(Verdict::Invalid, &["3 were damaged", "key 7"], |facts| {
            facts.checks.damaged = 3;
            example(facts);
        });
        provoke(Verdict::Invalid, &["1 stale"], |facts| {
            facts.checks.stale = 1
        });
        provoke(Verdict::Invalid, &["2 another run's"], |facts| {
            facts.checks.foreign = 2;
        });
    }

    #[test]
    fn another_runs_values_are_no_fault_without_load() {
        provoke(Verdict::Qualified, &["--no-load", "5 values"], |facts| {
            facts.loaded = false;
            facts.checks.foreign = 5;
        });
    }

    #[test]
    fn errors_invalidate() {
        provoke(Verdict::Invalid, &["4 were", "memory limit"], |facts| {
            facts.checks.errors = 4;
            facts
                .examples
                .push("the server's memory limit is reached".into());
        });
    }

    #[test]
    fn unknown_operations_invalidate() {
        provoke(Verdict::Invalid, &["8,192"], |facts| {
            facts.accounts[0].unknown.gets = 8192;
            facts.accounts[0].served = None;
        });
    }

    #[test]
    fn a_wrong_mix_invalidates_beyond_a_tenth_of_a_point() {
        provoke(Verdict::Invalid, &["read=0.95", "4.8"], |facts| {
            facts.counts.reads = 952_000;
            facts.counts.updates = 48_000;
        });
        let mut close = good();
        close.counts.reads = 950_900;
        close.counts.updates = 49_100;
        assert_eq!(judge(&close).verdict, Verdict::Valid);
    }

    #[test]
    fn few_operations_may_be_off_by_six_sigma() {
        let mut few = good();
        (few.counts.reads, few.counts.updates) = (90, 10);
        assert_eq!(judge(&few).verdict, Verdict::Valid);
    }

    #[test]
    fn misses_after_a_complete_load_invalidate() {
        provoke(Verdict::Invalid, &["6 gets found nothing"], |facts| {
            facts.checks.misses = 6;
        });
        let mut deleting = good();
        deleting.checks.misses = 6;
        deleting.mix = "read=0.95,delete=0.05".parse().unwrap();
        (deleting.counts.deletes, deleting.counts.updates) = (50_000, 0);
        assert_eq!(judge(&deleting).verdict, Verdict::Valid);
    }

    #[test]
    fn counts_that_do_not_fit_invalidate() {
        let words = ["a:1, connection 0", "950,000 gets"];
        for served in [949_999, 950_001] {
            provoke(Verdict::Invalid, &words, |facts| {
                facts.accounts[0].served.as_mut().unwrap().gets = served;
            });
        }
        provoke(Verdict::Invalid, &["50,000 puts"], |facts| {
            facts.accounts[0].served.as_mut().unwrap().puts = 0;
        });
        provoke(Verdict::Invalid, &["0 deletes"], |facts| {
            facts.accounts[0].served.as_mut().unwrap().deletes = 1;
        });
        provoke(Verdict::Invalid, &["950,000 hits"], |facts| {
            facts.accounts[0].served.as_mut().unwrap().hits = 1;
        });
    }

    #[test]
    fn unknown_operations_may_or_may_not_have_been_served() {
        let mut account = good().accounts.remove(0);
        account.unknown.gets = 10;
        for (served, fits) in [(950_000, true), (950_010, true), (950_011, false)] {
            account.served.as_mut().unwrap().gets = served;
            assert_eq!(counts_do_not_fit(&account).is_none(), fits);
        }
    }

    #[test]
    fn nothing_measured_invalidates() {
        provoke(Verdict::Invalid, &["No operation"], |facts| {
            facts.counts = Counts::default();
        });
    }

    #[test]
    fn a_failure_invalidates_and_is_told() {
        provoke(Verdict::Invalid, &["a:1 went away."], |facts| {
            facts.failures.push("Server a:1 went away.".into());
        });
    }

    #[test]
    fn what_only_qualifies() {
        provoke(Verdict::Qualified, &["--no-verify"], |facts| {
            facts.verify = false
        });
        provoke(Verdict::Qualified, &["--no-load"], |facts| {
            facts.loaded = false
        });
        provoke(Verdict::Qualified, &["by hand"], |facts| {
            facts.interrupted = true
        });
    }

    #[test]
    fn the_gravest_comes_first() {
        let mut facts = good();
        facts.verify = false;
        facts.checks.errors = 1;
        let judgement = judge(&facts);
        assert_eq!(judgement.verdict, Verdict::Invalid);
        assert!(judgement.reasons[0].contains("refused"));
        assert!(judgement.reasons[1].contains("--no-verify"));
    }
}
