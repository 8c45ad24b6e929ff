//! Whether a run's figures can be believed: all rules, as pure functions of what is known of a run.
//!
//! INVALID, the figure is wrong or not provably right: see [`Rule`], up to [`Rule::Misses`].
//! QUALIFIED, true but to be read with care: the rules behind it. VALID: no rule speaks.
//!
//! A rule has three outcomes: it speaks, it found everything fine, or it had nothing to look at, which is a
//! reason of its own ([`Rule::NotChecked`]) unless nobody asked for it. [`page`] says what each rule's silence means.
//!
//! Each rule that speaks gives a sentence: what was expected, what was seen, what to do. A rule looks
//! either at one client, whoever else took part ([`judge`]), or at the whole run's seconds
//! ([`judge_run`]), or at one node's resources ([`judge_node`]):
//!
//! ```text
//! answers     values, histories, refusals, unknown operations, counts of both sides
//! workload    mix, skew, misses, what was not checked or loaded, offered rate
//! steadiness  the seconds: long enough, steady, of all clients together; latencies that fit them
//! stalls      seconds without answers, batches that wait long
//! clocks      how fast others go, and how far they are off
//! resources   threads, machines, links, servers: what the figure is the limit of
//! ```

mod answers;
mod check;
mod clocks;
mod facts;
mod page;
mod resources;
mod rule;
mod stalls;
mod steadiness;
mod workload;

#[cfg(test)]
mod rate_tests;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod stall_tests;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use answers::counts_do_not_fit;
use check::Check;
pub(crate) use check::{CheckOutcome, Checked, Judgement};
pub(crate) use facts::{
    ClockFacts, Facts, LongestWait, Node, RunFacts, ServerFacts, Stalls, Window,
};
pub(crate) use page::{blind_spot, markdown as page};
pub(crate) use rule::{Finding, Rule, Verdict, verdict_of};
pub(crate) use stalls::gaps;
pub(crate) use workload::skew_fault;

/// What is looked at in each client.
const CLIENT_RULES: [Check<Facts>; 25] = [
    Check::new(Rule::Failed, answers::programs, answers::failures),
    Check::new(
        Rule::NothingMeasured,
        answers::operations,
        answers::nothing_measured,
    ),
    Check::new(Rule::WrongValues, answers::values, answers::wrong_values),
    Check::new(Rule::Refused, answers::operations, answers::refused),
    Check::new(Rule::Unknown, answers::operations, answers::unknown),
    Check::new(
        Rule::CountsDoNotFit,
        answers::told_counts,
        answers::wrong_counts,
    ),
    Check::new(
        Rule::CountsNotTold,
        answers::whole_connections,
        answers::counts_not_told,
    ),
    Check::new(Rule::ClockRates, clocks::compared, clocks::clock_rates),
    Check::new(Rule::ClocksUnsure, clocks::offsets, clocks::clocks_unsure),
    Check::new(Rule::ClockSet, clocks::system_clock, clocks::clock_set),
    Check::new(Rule::WrongMix, answers::operations, workload::wrong_mix),
    Check::new(Rule::WrongSkew, workload::drawn, workload::wrong_skew),
    Check::new(Rule::FewHits, workload::loaded_gets, workload::few_hits),
    Check::new(Rule::Misses, workload::certain_gets, workload::misses),
    Check::new(
        Rule::NotVerified,
        workload::settings,
        workload::not_verified,
    ),
    Check::new(Rule::NotLoaded, workload::settings, workload::not_loaded),
    Check::new(
        Rule::ShortValues,
        workload::settings,
        workload::short_values,
    ),
    Check::new(
        Rule::EndedByHand,
        workload::settings,
        workload::ended_by_hand,
    ),
    Check::new(Rule::Stalled, stalls::seconds_and_batches, stalls::stalled),
    Check::new(Rule::RateMissed, workload::arrivals, workload::rate_missed),
    Check::new(
        Rule::DroppedArrivals,
        workload::arrivals,
        workload::dropped_arrivals,
    ),
    Check::new(
        Rule::ClientLate,
        workload::ready_batches,
        workload::client_late,
    ),
    Check::new(
        Rule::ClientsLimit,
        resources::threads,
        resources::clients_limit,
    ),
    Check::new(
        Rule::SharedMachine,
        resources::machines,
        resources::shared_machine,
    ),
    Check::new(
        Rule::RepeatedAnswers,
        workload::settings,
        workload::repeated_answers,
    ),
];

/// What is looked at in the seconds of all clients together.
const RUN_RULES: [Check<RunFacts>; 7] = [
    Check::new(
        Rule::NotLinearizable,
        answers::histories,
        answers::not_linearizable,
    ),
    Check::new(
        Rule::WindowsApart,
        steadiness::windows,
        steadiness::windows_apart,
    ),
    Check::new(Rule::TooShort, steadiness::seconds, steadiness::too_short),
    Check::new(Rule::Unsteady, steadiness::blocks, steadiness::unsteady),
    Check::new(Rule::Trend, steadiness::blocks, steadiness::trend),
    Check::new(
        Rule::LatencyDoesNotFit,
        steadiness::latencies,
        steadiness::latency_does_not_fit,
    ),
    Check::new(Rule::HoldsBack, resources::shares, resources::holds_back),
];

/// What is looked at in each node.
const NODE_RULES: [Check<Node>; 4] = [
    Check::new(Rule::Crowded, resources::usage, resources::crowded),
    Check::new(Rule::Steal, resources::usage, resources::steal),
    Check::new(
        Rule::Retransmissions,
        resources::usage,
        resources::retransmissions,
    ),
    Check::new(Rule::LinkFull, resources::usage, resources::link_full),
];

/// Judges a client by itself.
pub(crate) fn judge(facts: &Facts) -> Judgement {
    check::apply(&CLIENT_RULES, facts)
}

/// Judges the seconds of all clients.
pub(crate) fn judge_run(facts: &RunFacts) -> Judgement {
    check::apply(&RUN_RULES, facts)
}

/// Judges what a node used.
pub(crate) fn judge_node(node: &Node) -> Judgement {
    check::apply(&NODE_RULES, node)
}

/// Whether [`judge`] would find it.
pub(crate) fn is_of_a_client(rule: Rule) -> bool {
    CLIENT_RULES.iter().any(|check| check.rule() == rule)
}

#[cfg(test)]
fn all_rules() -> Vec<Rule> {
    let client = CLIENT_RULES.iter().map(Check::rule);
    let run = RUN_RULES.iter().map(Check::rule);
    let node = NODE_RULES.iter().map(Check::rule);
    client.chain(run).chain(node).collect()
}
