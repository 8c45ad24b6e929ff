//! Whether a run's figures can be believed: all rules, as pure functions of what is known of a run.
//!
//! INVALID, the figure is wrong or not provably right: see [`Rule`], up to [`Rule::Misses`].
//! QUALIFIED, true but to be read with care: the rules behind it. VALID: no rule speaks.
//!
//! Each rule that speaks gives a sentence: what was expected, what was seen, what to do. A rule looks
//! either at one client, whoever else took part ([`judge`]), or at the whole run's seconds
//! ([`judge_run`]), or at one node's resources ([`judge_node`]):
//!
//! ```text
//! answers     values, histories, refusals, unknown operations, counts of both sides
//! workload    mix, skew, misses, what was not checked or loaded, offered rate
//! steadiness  the seconds: long enough, steady, of all clients together; latencies that fit them
//! resources   threads, machines, links, servers: what the figure is the limit of
//! ```

mod answers;
mod facts;
mod resources;
mod steadiness;
mod workload;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use answers::counts_do_not_fit;
pub(crate) use facts::{Facts, Node, RunFacts, ServerFacts, Window};
pub(crate) use workload::skew_fault;

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
    /// No operation was answered in the window.
    NothingMeasured,
    /// A value that was read is damaged, another key's, another run's after our own load, or stale.
    WrongValues,
    /// A recorded history of a record cannot be of an atomic register.
    NotLinearizable,
    /// An operation was refused.
    Refused,
    /// Nobody knows whether an operation took effect.
    Unknown,
    /// Not: answered <= served <= answered + unknown.
    CountsDoNotFit,
    /// The clients did not measure the same seconds.
    WindowsApart,
    /// A kind's share is off by more than 0.1 points and six standard deviations.
    WrongMix,
    /// Ranks are not drawn as the chooser says: p < 1e-9, and a share off by 1 % of itself.
    WrongSkew,
    /// A get found nothing although every record was loaded and none is ever deleted.
    Misses,
    // QUALIFIED
    /// Values were not checked.
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
    /// Operations in progress are not throughput times latency, by more than 5 %, in a closed loop.
    LatencyDoesNotFit,
    /// The offered rate was missed by more than 1 % and 4 / sqrt(N).
    RateMissed,
    /// The busiest client worker above 90 %, while no server thread is above 80 %.
    ClientsLimit,
    /// Client and server share one machine's cores.
    SharedMachine,
    /// Other programs took more than a tenth of a node's cores, of which hardly any was idle.
    Crowded,
    /// A hypervisor took more than 1 % of a node's CPU time.
    Steal,
    /// More than one in a thousand TCP segments was sent again.
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

/// A rule's name, and what tells it from what is known.
type Check<F> = (Rule, fn(&F) -> Option<String>);

/// What is looked at in each client.
const CLIENT_RULES: [Check<Facts>; 17] = [
    (Rule::Failed, answers::failures),
    (Rule::NothingMeasured, answers::nothing_measured),
    (Rule::WrongValues, answers::wrong_values),
    (Rule::Refused, answers::refused),
    (Rule::Unknown, answers::unknown),
    (Rule::CountsDoNotFit, answers::wrong_counts),
    (Rule::WrongMix, workload::wrong_mix),
    (Rule::WrongSkew, workload::wrong_skew),
    (Rule::Misses, workload::misses),
    (Rule::NotVerified, workload::not_verified),
    (Rule::NotLoaded, workload::not_loaded),
    (Rule::ShortValues, workload::short_values),
    (Rule::EndedByHand, workload::ended_by_hand),
    (Rule::RateMissed, workload::rate_missed),
    (Rule::ClientsLimit, resources::clients_limit),
    (Rule::SharedMachine, resources::shared_machine),
    (Rule::RepeatedAnswers, workload::repeated_answers),
];

/// What is looked at in the seconds of all clients together.
const RUN_RULES: [Check<RunFacts>; 7] = [
    (Rule::NotLinearizable, answers::not_linearizable),
    (Rule::WindowsApart, steadiness::windows_apart),
    (Rule::TooShort, steadiness::too_short),
    (Rule::Unsteady, steadiness::unsteady),
    (Rule::Trend, steadiness::trend),
    (Rule::LatencyDoesNotFit, steadiness::latency_does_not_fit),
    (Rule::HoldsBack, resources::holds_back),
];

/// What is looked at in each node.
const NODE_RULES: [Check<Node>; 4] = [
    (Rule::Crowded, resources::crowded),
    (Rule::Steal, resources::steal),
    (Rule::Retransmissions, resources::retransmissions),
    (Rule::LinkFull, resources::link_full),
];

/// Judges a client by itself.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    apply(&CLIENT_RULES, facts)
}

/// Judges the seconds of all clients.
pub(crate) fn judge_run(facts: &RunFacts) -> Vec<Finding> {
    apply(&RUN_RULES, facts)
}

/// Judges what a node used.
pub(crate) fn judge_node(node: &Node) -> Vec<Finding> {
    apply(&NODE_RULES, node)
}

/// Whether [`judge_run`] would find it: a client alone judges its own seconds.
pub(crate) fn is_of_the_run(rule: Rule) -> bool {
    RUN_RULES.iter().any(|(of_run, _)| *of_run == rule)
}

fn apply<F>(rules: &[Check<F>], facts: &F) -> Vec<Finding> {
    let finding = |(rule, check): &Check<F>| {
        let reason = check(facts)?;
        Some(Finding {
            rule: *rule,
            reason,
        })
    };
    rules.iter().filter_map(finding).collect()
}
