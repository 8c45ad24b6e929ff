use batchkv_telemetry::Usage;

use super::tests::{expect, judge_node, judge_run};
use super::{Finding, Node, Rule, RunFacts, Verdict, Window};

/// Thirty seconds of two clients and two servers, all alike, with a ripple of 2 %.
pub(super) fn steady() -> RunFacts {
    let ripple = [0, 1, 2, 1, 0, 2, 1];
    RunFacts {
        ops: (0..30)
            .map(|second| 100_000 + 1_000 * ripple[second % 7])
            .collect(),
        windows: vec![window("node2", 100.0), window("node3", 100.01)],
        littles_law_ratio: Some(0.98),
        shares: vec![("a:1".into(), 0.52), ("b:1".into(), 0.48)],
        histories: None,
        violation: None,
    }
}

fn window(client: &str, start_secs: f64) -> Window {
    Window {
        client: client.into(),
        start_secs,
        bound_secs: 0.001,
    }
}

fn provoke_run(rule: Rule, words: &[&str], change: impl FnOnce(&mut RunFacts)) {
    let mut facts = steady();
    change(&mut facts);
    expect(&judge_run(&facts), rule, words);
}

#[test]
fn windows_that_lie_apart_invalidate() {
    let words = ["node2 and node3", "0.500 s"];
    provoke_run(Rule::WindowsApart, &words, |facts| {
        facts.windows[1].start_secs = 100.5;
    });
    // Clocks that cannot be compared better are no proof of anything.
    let mut unsure = steady();
    (unsure.windows[1].start_secs, unsure.windows[1].bound_secs) = (100.5, 0.6);
    assert_eq!(judge_run(&unsure), []);
}

#[test]
fn fewer_seconds_than_ten_blocks_qualify() {
    provoke_run(Rule::TooShort, &["9 s were", "--secs"], |facts| {
        facts.ops.truncate(9)
    });
    let mut ten = steady();
    ten.ops.truncate(10);
    assert_eq!(judge_run(&ten), []);
}

#[test]
fn halves_that_differ_qualify() {
    // Recorded on a shared machine: a neighbour woke up in the middle.
    let seconds = [
        11_200, 11_310, 11_180, 11_260, 11_240, 11_290, 11_210, 9_950, 10_020, 9_900, 9_980,
        10_010, 9_930, 9_990,
    ];
    let mut facts = steady();
    facts.ops = seconds.map(|thousands| thousands * 1_000).into();
    let rules: Vec<Rule> = judge_run(&facts)
        .iter()
        .map(|finding| finding.rule)
        .collect();
    assert_eq!(rules, [Rule::Unsteady, Rule::Trend]);
}

#[test]
fn a_difference_within_the_noise_is_no_unsteadiness() {
    // Every other block of two seconds is a third lower; the halves' medians differ by 6 %.
    let mut facts = steady();
    facts.ops = (0..24)
        .map(|s| if s % 4 < 2 { 66_000 } else { 100_000 })
        .collect();
    for ops in &mut facts.ops[12..] {
        *ops += 5_000;
    }
    assert_eq!(judge_run(&facts), []);
}

#[test]
fn seconds_that_are_all_alike_are_steady() {
    for secs in [1, 2, 9, 10, 12, 100] {
        for ops in [0, 1, 1000] {
            let mut facts = steady();
            facts.ops = vec![ops; secs];
            let found = judge_run(&facts);
            let alarm = |found: &&Finding| [Rule::Unsteady, Rule::Trend].contains(&found.rule);
            assert_eq!(found.iter().find(alarm), None, "{secs} s of {ops}");
        }
    }
    // Nothing at all, then as much as ever.
    let mut facts = steady();
    facts.ops = [[0; 15], [1000; 15]].concat();
    let reasons = judge_run(&facts);
    let unsteady = reasons.iter().find(|found| found.rule == Rule::Unsteady);
    let reason = &unsteady.unwrap().reason;
    assert!(reason.contains("1,000 (from nothing)"), "{reason}");
}

#[test]
fn a_trend_qualifies() {
    let words = ["rises by 9.", "p = "];
    provoke_run(Rule::Trend, &words, |facts| {
        // The halves' medians differ by 4.9 %.
        for (second, ops) in (0..).zip(&mut facts.ops) {
            *ops = 100_000 + 330 * second;
        }
    });
}

#[test]
fn a_store_that_still_fills_is_both() {
    let mut facts = steady();
    for (second, ops) in (0..).zip(&mut facts.ops) {
        *ops -= 1_000 * second;
    }
    let rules: Vec<Rule> = judge_run(&facts)
        .iter()
        .map(|finding| finding.rule)
        .collect();
    assert_eq!(rules, [Rule::Unsteady, Rule::Trend]);
}

#[test]
fn seconds_without_operations_do_not_divide_by_zero() {
    let mut facts = steady();
    facts.ops = vec![0; 30];
    assert_eq!(judge_run(&facts), []);
    facts.ops.clear();
    assert_eq!(judge_run(&facts), []);
}

#[test]
fn latencies_that_do_not_fit_the_operations_in_progress_qualify() {
    let words = ["1.061 times", "--secs"];
    provoke_run(Rule::LatencyDoesNotFit, &words, |facts| {
        facts.littles_law_ratio = Some(1.061);
    });
    provoke_run(Rule::LatencyDoesNotFit, &["0.930 times"], |facts| {
        facts.littles_law_ratio = Some(0.93);
    });
}

#[test]
fn a_server_that_holds_the_others_back_qualifies() {
    let words = [
        "b:1 draws 60.0 %",
        "1.20 times the mean",
        "2 servers can do 1.67 times",
    ];
    provoke_run(Rule::HoldsBack, &words, |facts| {
        facts.shares = vec![("a:1".into(), 0.4), ("b:1".into(), 0.6)];
    });
}

/// A node of four cores over thirty seconds, as recorded on a quiet 10 GbE machine.
pub(super) fn idle() -> Node {
    let usage = Usage {
        secs: 30.0,
        cores: 4,
        user_cores: 1.9,
        process_cpu_secs: 54.0,
        steal_cores: 0.02,
        segments_sent: 8e6,
        retransmissions: 700.0,
        link_use: 0.7,
        ..Usage::default()
    };
    Node::new("node7", Some(usage), false)
}

fn provoke_node(rule: Rule, words: &[&str], change: impl FnOnce(&mut Usage)) {
    let mut node = idle();
    change(node.usage.as_mut().unwrap());
    expect(&judge_node(&node), rule, words);
}

#[test]
fn what_a_node_suffers_from_qualifies() {
    provoke_node(Rule::Steal, &["node7", "2.5 %"], |usage| {
        usage.steal_cores = 0.1
    });
    let words = ["node7", "9,000 of 8,000,000"];
    provoke_node(Rule::Retransmissions, &words, |usage| {
        usage.retransmissions = 9e3
    });
    provoke_node(Rule::LinkFull, &["node7", "95 %"], |usage| {
        usage.link_use = 0.95
    });
    // Two of a hundred segments may be anybody's.
    let mut few = idle();
    let usage = few.usage.as_mut().unwrap();
    (usage.segments_sent, usage.retransmissions) = (100.0, 2.0);
    assert_eq!(judge_node(&few), []);
}

#[test]
fn a_machine_that_others_keep_busy_qualifies() {
    let crowd = |usage: &mut Usage| {
        (usage.user_cores, usage.system_cores) = (3.5, 0.4);
    };
    provoke_node(Rule::Crowded, &["node7", "used 2.1 of 4"], crowd);
    // What client and server take from each other is told elsewhere, and who has idle cores wants none.
    let mut shared = idle();
    crowd(shared.usage.as_mut().unwrap());
    shared.shared = true;
    assert_eq!(judge_node(&shared), []);
    let mut free = idle();
    free.usage.as_mut().unwrap().user_cores = 3.7;
    assert_eq!(judge_node(&free), []);
    // Its own program may take all.
    let mut own = idle();
    crowd(own.usage.as_mut().unwrap());
    own.usage.as_mut().unwrap().process_cpu_secs = 110.0;
    assert_eq!(judge_node(&own), []);
}

#[test]
fn a_history_without_an_order_invalidates() {
    let mut facts = steady();
    facts.violation = Some("in the closing batches, record 7: ...".into());
    expect(&judge_run(&facts), Rule::NotLinearizable, &["record 7"]);
    assert_eq!(Rule::NotLinearizable.verdict(), Verdict::Invalid);
}
