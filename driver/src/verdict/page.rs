//! The page of rules: what each says, what to do then, and what its silence leaves open. README's table is this.

use std::fmt::Write;

use super::rule::Rule;

/// A rule's row.
struct Row {
    rule: Rule,
    /// It speaks when this is so.
    when: &'static str,
    remedy: &'static str,
    /// What nobody looked at when it says *fine*.
    blind: &'static str,
}

const fn row(rule: Rule, when: &'static str, remedy: &'static str, blind: &'static str) -> Row {
    Row {
        rule,
        when,
        remedy,
        blind,
    }
}

const NOTHING: &str = "nothing";

/// All rules, in their order.
const PAGE: [Row; 38] = [
    row(
        Rule::Failed,
        "a client or server failed; results are missing or differ",
        "read the log that is named",
        "programs that nobody started by this run",
    ),
    row(
        Rule::FilesDoNotFit,
        "`merge`: files of several runs or clients, of other flags, workload or commit; rows, histograms and counts that differ; findings that the data do not give",
        "take the run's own files",
        "files that were changed alike",
    ),
    row(
        Rule::NothingMeasured,
        "no operation was answered in a full second",
        "look for what held it up; measure longer",
        NOTHING,
    ),
    row(
        Rule::WrongValues,
        "a value is damaged, another key's, another run's after our load or write, or older than an acknowledged write or delete of the same worker",
        "the store is broken, or shared",
        "values of other workers that come back; what is younger than a round trip",
    ),
    row(
        Rule::NotLinearizable,
        "a recorded history has no possible order",
        "the store is broken, or shared",
        "records that are not listed",
    ),
    row(
        Rule::Refused,
        "an operation was refused",
        "servers' logs and limits",
        NOTHING,
    ),
    row(
        Rule::Unknown,
        "nobody knows whether an operation took effect",
        "why were connections lost?",
        NOTHING,
    ),
    row(
        Rule::CountsDoNotFit,
        "not answered <= served <= answered + unknown",
        "another client, or a fault",
        "faults that both sides count alike",
    ),
    row(
        Rule::CountsNotTold,
        "a server does not tell its counts of a connection that was not lost",
        "the server's log",
        NOTHING,
    ),
    row(
        Rule::ClockRates,
        "a server's or another client's steady clock gains or loses more than 0.1 % against the client's, beyond what the comparison leaves open",
        "both machines' clocks",
        "clocks that are wrong alike",
    ),
    row(
        Rule::WindowsApart,
        "clients' windows begin more than 10 ms plus the clocks' bounds apart",
        "both logs",
        "less than that",
    ),
    row(
        Rule::WrongMix,
        "a share is off by more than 0.1 points and 6 sigma",
        "report it",
        "less than that",
    ),
    row(
        Rule::WrongSkew,
        "ranks, drawn again from the run's own streams, have p < 1e-9 and a share that is off by 1 % of itself",
        "report it",
        "operations behind the first 10 million of a client; what is sent, which a test compares with what the streams draw",
    ),
    row(
        Rule::FewHits,
        "less than half of the gets found a value although the records were loaded",
        "delete less; who else deletes?",
        "runs with `--no-load`, whose reason says it first",
    ),
    row(
        Rule::Misses,
        "a miss of a record that was loaded or written and not deleted since",
        "the store loses records",
        "records that nobody asked for; with deletes in the mix, what deletes overlap",
    ),
    row(
        Rule::NotChecked,
        "a rule had nothing to look at, or not all of it; it is named",
        "what is missing is named too",
        NOTHING,
    ),
    row(
        Rule::NotVerified,
        "`--no-verify`, or no value was read",
        "leave it out",
        NOTHING,
    ),
    row(Rule::NotLoaded, "`--no-load`", "leave it out", NOTHING),
    row(
        Rule::ShortValues,
        "values below 16 bytes carry a truncated checksum",
        "longer values",
        NOTHING,
    ),
    row(Rule::EndedByHand, "Ctrl-C", "let it end", NOTHING),
    row(Rule::TooShort, "less than 10 s", "`--secs 10`", NOTHING),
    row(
        Rule::Unsteady,
        "the halves' medians differ by more than 5 % and 3 standard errors of block means",
        "longer warm-up, quieter machine",
        "what happens within a second",
    ),
    row(
        Rule::Trend,
        "more than 5 % over the window with p < 0.001",
        "the same",
        "what happens within a block",
    ),
    row(
        Rule::Stalled,
        "a server, or all, answered less than a tenth of the median second in a second; or a batch waited for more than 1 s and 10 mean latencies",
        "who, when and how long is named; the client, if it was itself",
        "stalls of less than a second; gaps where the median second has under 20 operations",
    ),
    row(
        Rule::LatencyDoesNotFit,
        "operations in progress, counted as they come and go, are not throughput x mean latency by 5 %",
        "longer `--secs`; what stalled?",
        "what a closed loop does not send while it waits",
    ),
    row(
        Rule::RateMissed,
        "in the window less was answered than was to arrive, by more than 1 % and 4/sqrt(N); the cause is that of the longer waits",
        "lower the rate",
        "less than that",
    ),
    row(
        Rule::ClocksUnsure,
        "the offset of another clock is known to no better than 10 ms over the run",
        "the network, both clocks",
        NOTHING,
    ),
    row(
        Rule::ClockSet,
        "a client's system clock went more than 0.5 s forward or back against its steady one, which measures",
        "compare the files' times with other logs accordingly",
        "servers' system clocks, which no figure is of",
    ),
    row(
        Rule::DroppedArrivals,
        "arrivals of an open loop were never sent, or not answered, seconds behind the window's end",
        "lower the rate",
        NOTHING,
    ),
    row(
        Rule::ClientLate,
        "more than a tenth of an open loop's mean latency is the client's own lateness",
        "more workers or clients, idle cores",
        "lateness of reading answers",
    ),
    row(
        Rule::ClientsLimit,
        "a worker above 90 %, no server thread above 80 %",
        "more workers or clients",
        "limits other than threads",
    ),
    row(
        Rule::SharedMachine,
        "a server on the client's machine",
        "two machines, or compare here only",
        "virtual machines of one host",
    ),
    row(
        Rule::Crowded,
        "on a machine of clients or servers alone, other programs took over 10 % of the cores, and under 5 % were idle",
        "stop them",
        "machines of neither",
    ),
    row(
        Rule::Steal,
        "a hypervisor took more than 1 % of a node's CPU time",
        "repeat, or an own machine",
        "a hypervisor that does not tell",
    ),
    row(
        Rule::Retransmissions,
        "more than 1 in 1,000 TCP segments was sent again, but for those that the receiver had already",
        "cables, switches, other traffic",
        "whose segments they were",
    ),
    row(
        Rule::LinkFull,
        "an interface above 90 % of its speed",
        "shorter values, faster link",
        "interfaces that tell no speed",
    ),
    row(
        Rule::HoldsBack,
        "a server's share more than 10 % above the mean; share and ceiling are named",
        "it is the skew, not a fault",
        NOTHING,
    ),
    row(
        Rule::RepeatedAnswers,
        "`--dedup-answers`",
        "compare only with runs that do the same",
        NOTHING,
    ),
];

/// What a rule does not see, however fine it finds all that it looks at.
pub(crate) fn blind_spot(rule: Rule) -> &'static str {
    let row = PAGE.iter().find(|row| row.rule == rule);
    row.map_or(NOTHING, |row| row.blind)
}

/// The page as a table in Markdown.
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "| rule | it speaks when | what to do | what it does not see |\n|---|---|---|---|\n",
    );
    let mut verdict = None;
    for row in &PAGE {
        if verdict.replace(row.rule.verdict()) != Some(row.rule.verdict()) {
            let _ = writeln!(text, "| **{}** | | | |", row.rule.verdict());
        }
        let Row {
            rule,
            when,
            remedy,
            blind,
        } = row;
        let _ = writeln!(text, "| `{rule}` | {when} | {remedy} | {blind} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict;

    #[test]
    fn readme_has_this_page() {
        let readme = include_str!("../../../README.md");
        assert!(
            readme.contains(&markdown()),
            "README's table of rules must be:\n{}",
            markdown()
        );
    }

    #[test]
    fn every_rule_has_its_row_and_the_gravest_come_first() {
        let mut rules = super::super::all_rules();
        rules.extend([Rule::NotChecked, Rule::FilesDoNotFit]);
        rules.sort_unstable();
        let rows: Vec<Rule> = PAGE.iter().map(|row| row.rule).collect();
        assert_eq!(rows, rules);
        assert!(PAGE.is_sorted_by_key(|row| std::cmp::Reverse(row.rule.verdict())));
        assert!(
            PAGE.iter()
                .any(|row| row.rule.verdict() == Verdict::Invalid)
        );
    }
}
