//! The rules by name, and what each makes of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a run can be believed; the later, the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    Valid,
    Qualified,
    Invalid,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "VALID",
            Self::Qualified => "QUALIFIED",
            Self::Invalid => "INVALID",
        })
    }
}

/// All rules, the gravest first. Each is named after what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rule {
    // INVALID
    /// A client or a server failed, or a program's results are missing or do not belong together.
    Failed,
    /// Files that are of several runs, or whose counts differ.
    FilesDoNotFit,
    /// No operation was answered in the window.
    NothingMeasured,
    /// A value that was read is damaged, another key's, another run's after our own load or write, or stale.
    WrongValues,
    /// A recorded history of a record cannot be of an atomic register.
    NotLinearizable,
    /// An operation was refused.
    Refused,
    /// Nobody knows whether an operation took effect.
    Unknown,
    /// Not: answered <= served <= answered + unknown.
    CountsDoNotFit,
    /// A server did not tell what it executed, although its connection was whole.
    CountsNotTold,
    /// A clock gains or loses more than a thousandth of a second in each.
    ClockRates,
    /// The clients did not measure the same seconds.
    WindowsApart,
    /// A kind's share is off by more than 0.1 points and six standard deviations.
    WrongMix,
    /// Ranks are not drawn as the chooser says: p < 1e-9, and a share off by 1 % of itself.
    WrongSkew,
    /// Most gets found nothing although the records were loaded.
    FewHits,
    /// A get found nothing of a record that was certainly there.
    Misses,
    // QUALIFIED
    /// A rule had nothing to look at.
    NotChecked,
    /// No value was checked.
    NotVerified,
    /// The records were not loaded by this run.
    NotLoaded,
    /// Values too short for a whole checksum.
    ShortValues,
    /// Ended by hand before its time.
    EndedByHand,
    /// Fewer seconds than ten blocks need.
    TooShort,
    /// The halves' medians differ by more than 5 % and three standard errors.
    Unsteady,
    /// A trend of more than 5 % over the window, with p < 0.001.
    Trend,
    /// Hardly anything was answered in a second, or a batch waited for more than a second and ten mean latencies.
    Stalled,
    /// Operations in progress are not throughput times latency, by more than 5 %.
    LatencyDoesNotFit,
    /// The offered rate was missed by more than 1 % and 4 / sqrt(N).
    RateMissed,
    /// A clock's offset is known to no better than 10 ms.
    ClocksUnsure,
    /// The system's clock was set during the run.
    ClockSet,
    /// Arrivals of an open loop had no answer as long as was waited.
    DroppedArrivals,
    /// More than a tenth of an open loop's latency is the client's own lateness.
    ClientLate,
    /// The busiest client worker above 90 %, while no server thread is above 80 %.
    ClientsLimit,
    /// Client and server share one machine's cores.
    SharedMachine,
    /// Other programs took more than a tenth of a node's cores, of which hardly any was idle.
    Crowded,
    /// A hypervisor took more than 1 % of a node's CPU time.
    Steal,
    /// More than one in a thousand TCP segments was sent again, and had not arrived before.
    Retransmissions,
    /// An interface moved more than 90 % of its speed.
    LinkFull,
    /// A server's share is more than 10 % above the mean.
    HoldsBack,
    /// Values that a frame repeats were sent once.
    RepeatedAnswers,
}

impl Rule {
    /// What the rule makes of a run.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            rule if rule <= Self::Misses => Verdict::Invalid,
            _ => Verdict::Qualified,
        }
    }
}

/// The name in `summary.json` and in README: `wrong-values`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Serialize::serialize(self, f)
    }
}

/// A rule that spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    /// A sentence: what was expected, what was seen, what to do.
    pub(crate) reason: String,
}

/// The verdict that follows from findings.
pub(crate) fn verdict_of(findings: &[Finding]) -> Verdict {
    let verdicts = findings.iter().map(|finding| finding.rule.verdict());
    verdicts.max().unwrap_or(Verdict::Valid)
}
