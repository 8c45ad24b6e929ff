use batchkv_workload::{Options, SkewSample, Spec};

use super::run_tests::{idle, steady};
use super::*;
use crate::clock::Rate;
use crate::measured::counts::{Account, Checks, Counts, Kinds};

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    super::judge(facts).findings
}

pub(super) fn judge_run(facts: &RunFacts) -> Vec<Finding> {
    super::judge_run(facts).findings
}

pub(super) fn judge_node(node: &Node) -> Vec<Finding> {
    super::judge_node(node).findings
}

pub(crate) fn good() -> Facts {
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
        skew: skew(&Options::default()),
        loaded: true,
        verify: true,
        short_values: false,
        misses_judged: true,
        written: 40_000,
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
        wall_strayed_secs: -0.004,
        stalls: Stalls::default(),
        clocks: vec![clock(0.00001, 0.00005)],
        offered: None,
        latency_mean_us: Some(1_000.0),
        repeated_answers: false,
        busiest_worker: 0.95,
        servers: vec![ServerFacts {
            address: "a:1".into(),
            on_client_machine: Some(false),
            busiest_thread: Some(0.85),
        }],
    }
}

/// A server's clock.
fn clock(gains: f64, bound: f64) -> ClockFacts {
    ClockFacts {
        name: "a:1".into(),
        bound_secs: Some(0.0005),
        rate: Some(Rate { gains, bound }),
    }
}

#[test]
fn clocks_that_do_not_go_alike_invalidate() {
    // A client's clock of half speed doubles its figure.
    provoke(Rule::ClockRates, &["a:1", "goes 2.0000 s"], |facts| {
        facts.clocks[0] = clock(1.0, 0.01);
    });
    provoke(Rule::ClockRates, &["goes 0.9980 s"], |facts| {
        facts.clocks[0] = clock(-0.002, 0.0005);
    });
    // What the comparison leaves open is no fault.
    let mut unsure = good();
    unsure.clocks[0] = clock(0.002, 0.0011);
    assert_eq!(judge(&unsure), []);
    provoke(Rule::NotChecked, &["clock-rates", "a:1"], |facts| {
        facts.clocks[0].rate = None;
    });
}

#[test]
fn a_clock_that_was_set_qualifies() {
    for (step, words) in [
        (3600.0, "3600.00 s forward"),
        (30.0, "30.00 s forward"),
        (-2.0, "2.00 s back"),
    ] {
        provoke(Rule::ClockSet, &[words], |facts| {
            facts.wall_strayed_secs = step
        });
    }
}

#[test]
fn clocks_that_are_hardly_known_qualify() {
    provoke(Rule::ClocksUnsure, &["a:1", "within 12 ms"], |facts| {
        facts.clocks[0].bound_secs = Some(0.012);
    });
}

/// Judges the good run with one change.
pub(super) fn provoke(rule: Rule, words: &[&str], change: impl FnOnce(&mut Facts)) {
    let mut facts = good();
    change(&mut facts);
    expect(&judge(&facts), rule, words);
}

/// Exactly this rule spoke, and its reason names all `words`.
pub(super) fn expect(findings: &[Finding], rule: Rule, words: &[&str]) {
    let rules: Vec<Rule> = findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [rule], "{findings:?}");
    for word in words {
        assert!(findings[0].reason.contains(word), "{word}: {findings:?}");
    }
}

#[test]
fn a_good_run_is_valid() {
    assert_eq!(judge(&good()), []);
    assert_eq!(judge_run(&steady()), []);
    assert_eq!(judge_node(&idle()), []);
    assert_eq!(verdict_of(&[]), Verdict::Valid);
}

#[test]
fn wrong_values_invalidate() {
    let example = |facts: &mut Facts| facts.examples.push("key 7: no checksum".into());
    provoke(Rule::WrongValues, &["3 were damaged", "key 7"], |facts| {
        facts.checks.damaged = 3;
        example(facts);
    });
    provoke(Rule::WrongValues, &["1 stale"], |facts| {
        facts.checks.stale = 1
    });
    provoke(Rule::WrongValues, &["2 another run's"], |facts| {
        facts.checks.foreign = 2;
    });
}

#[test]
fn another_runs_values_are_no_fault_without_load() {
    provoke(Rule::NotLoaded, &["--no-load", "5 values"], |facts| {
        facts.loaded = false;
        facts.checks.foreign = 5;
    });
}

#[test]
fn errors_invalidate() {
    provoke(Rule::Refused, &["4 were", "memory limit"], |facts| {
        facts.checks.errors = 4;
        facts
            .examples
            .push("the server's memory limit is reached".into());
    });
}

#[test]
fn unknown_operations_invalidate() {
    provoke(Rule::Unknown, &["8,192"], |facts| {
        facts.accounts[0].unknown.gets = 8192;
        facts.accounts[0].served = None;
    });
}

#[test]
fn a_wrong_mix_invalidates_beyond_a_tenth_of_a_point() {
    provoke(Rule::WrongMix, &["read=0.95", "4.8"], |facts| {
        facts.counts.reads = 952_000;
        facts.counts.updates = 48_000;
    });
    let mut close = good();
    close.counts.reads = 950_900;
    close.counts.updates = 49_100;
    assert_eq!(judge(&close), []);
}

#[test]
fn few_operations_may_be_off_by_six_sigma() {
    let mut few = good();
    (few.counts.reads, few.counts.updates) = (90, 10);
    assert_eq!(judge(&few), []);
}

#[test]
fn misses_after_a_complete_load_invalidate() {
    provoke(Rule::Misses, &["6 gets found nothing"], |facts| {
        facts.checks.misses = 6;
    });
    let deleting = |facts: &mut Facts| {
        facts.checks.misses = 6;
        facts.mix = "read=0.95,delete=0.05".parse().unwrap();
        (facts.counts.deletes, facts.counts.updates) = (50_000, 0);
    };
    // With deletes in the mix it depends on what is known of each record.
    let mut judged = good();
    deleting(&mut judged);
    assert_eq!(judge(&judged), []);
    provoke(Rule::Misses, &["2 gets found nothing"], |facts| {
        deleting(facts);
        facts.checks.lost = 2;
    });
    provoke(Rule::NotChecked, &["misses", "deletes records"], |facts| {
        deleting(facts);
        facts.misses_judged = false;
    });
    let mut old = good();
    (old.loaded, old.checks.misses, old.checks.lost) = (false, 9, 1);
    let rules = judge(&old)
        .iter()
        .map(|finding| finding.rule)
        .collect::<Vec<_>>();
    assert_eq!(rules, [Rule::Misses, Rule::NotLoaded]);
}

#[test]
fn few_hits_behind_a_load_invalidate() {
    let words = ["60.0 % of the reads found nothing", "--mix"];
    provoke(Rule::FewHits, &words, |facts| {
        (facts.counts.hits, facts.counts.misses) = (400, 600);
    });
    let mut facts = good();
    facts.loaded = false;
    (facts.counts.hits, facts.counts.misses) = (400, 600);
    let found = judge(&facts);
    expect(
        &found,
        Rule::NotLoaded,
        &["60.0 % of the reads found nothing"],
    );
    assert!(found.iter().all(|found| found.rule != Rule::FewHits));
}

#[test]
fn a_run_that_read_nothing_is_not_verified() {
    provoke(Rule::NotVerified, &["none was read"], |facts| {
        facts.checks.verified = 0;
    });
}

#[test]
fn counts_that_do_not_fit_invalidate() {
    let words = ["a:1, connection 0", "950,000 gets"];
    for served in [949_999, 950_001] {
        provoke(Rule::CountsDoNotFit, &words, |facts| {
            facts.accounts[0].served.as_mut().unwrap().gets = served;
        });
    }
    provoke(Rule::CountsDoNotFit, &["50,000 puts"], |facts| {
        facts.accounts[0].served.as_mut().unwrap().puts = 0;
    });
    provoke(Rule::CountsDoNotFit, &["0 deletes"], |facts| {
        facts.accounts[0].served.as_mut().unwrap().deletes = 1;
    });
    provoke(Rule::CountsDoNotFit, &["950,000 hits"], |facts| {
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
    provoke(Rule::NothingMeasured, &["No operation"], |facts| {
        facts.counts = Counts::default();
    });
}

#[test]
fn a_failure_invalidates_and_is_told() {
    provoke(Rule::Failed, &["a:1 went away."], |facts| {
        facts.failures.push("Server a:1 went away.".into());
    });
}

#[test]
fn what_only_qualifies() {
    provoke(Rule::NotVerified, &["--no-verify"], |facts| {
        facts.verify = false;
    });
    provoke(Rule::NotLoaded, &["--no-load"], |facts| {
        facts.loaded = false;
    });
    provoke(Rule::EndedByHand, &["by hand"], |facts| {
        facts.interrupted = true;
    });
    provoke(Rule::ShortValues, &["16 bytes", "--value-bytes"], |facts| {
        facts.short_values = true;
    });
    provoke(Rule::RepeatedAnswers, &["--dedup-answers"], |facts| {
        facts.repeated_answers = true;
    });
}

#[test]
fn what_could_not_be_looked_at_is_no_proof() {
    // A server that closes a whole connection without its counts.
    provoke(
        Rule::CountsNotTold,
        &["1 of 1", "a:1, connection 0"],
        |facts| {
            facts.accounts[0].served = None;
        },
    );
    assert_eq!(Rule::CountsNotTold.verdict(), Verdict::Invalid);
    provoke(
        Rule::NotChecked,
        &["shared-machine", "a:1", "machine"],
        |facts| {
            facts.servers[0].on_client_machine = None;
        },
    );
    provoke(
        Rule::NotChecked,
        &["clients-limit", "a:1", "threads"],
        |facts| {
            facts.servers[0].busiest_thread = None;
        },
    );
    let unseen = Node::new("node9", None, false);
    let rules = "crowded, steal, retransmissions, link-full";
    expect(&judge_node(&unseen), Rule::NotChecked, &[rules, "node9"]);
    let mut unrecorded = steady();
    unrecorded.histories = Some(0);
    expect(
        &judge_run(&unrecorded),
        Rule::NotChecked,
        &["not-linearizable"],
    );
}

#[test]
fn each_rule_tells_on_how_much_it_looked() {
    let checked = super::judge(&good()).checked;
    assert_eq!(checked.len(), CLIENT_RULES.len());
    let line = |rule| checked.iter().find(|checked| checked.rule == rule).unwrap();
    let values = line(Rule::WrongValues);
    assert_eq!(values.outcome, CheckOutcome::Fine);
    assert!(values.on.contains("950,000 values"), "{values:?}");
    assert_eq!(line(Rule::RateMissed).outcome, CheckOutcome::NotAsked);
    let mut silent = good();
    silent.servers[0].on_client_machine = None;
    let checked = super::judge(&silent).checked;
    let machine = checked
        .iter()
        .find(|c| c.rule == Rule::SharedMachine)
        .unwrap();
    assert_eq!(machine.outcome, CheckOutcome::NotMade);
}

#[test]
fn the_verdict_is_that_of_the_gravest() {
    let mut facts = good();
    facts.verify = false;
    assert_eq!(verdict_of(&judge(&facts)), Verdict::Qualified);
    facts.checks.errors = 1;
    assert_eq!(verdict_of(&judge(&facts)), Verdict::Invalid);
    assert_eq!(Rule::Misses.verdict(), Verdict::Invalid);
    assert_eq!(Rule::NotVerified.verdict(), Verdict::Qualified);
}

/// A small sample of a workload's streams.
fn skew(options: &Options) -> SkewSample {
    let spec = Spec::new(options.clone()).unwrap();
    SkewSample::draw(&spec, 1, 0, 128, 100_000)
}

#[test]
fn ranks_that_are_not_drawn_as_they_should_invalidate() {
    let law = |theta| Options {
        theta,
        ..Options::default()
    };
    let words = ["0 to 0", "instead of 6.4", "p = "];
    provoke(Rule::WrongSkew, &words, |facts| {
        let drawn = skew(&law(1.1));
        for (bucket, wrong) in facts.skew.buckets.iter_mut().zip(&drawn.buckets) {
            bucket.observed = wrong.observed;
        }
        // Both laws have the same borders only where few draws make no difference.
        facts.skew.buckets.truncate(8);
        facts.skew.buckets[7].expected_share += 0.8;
    });
}

#[test]
fn a_trifle_in_a_large_sample_is_no_wrong_skew() {
    let mut sample = skew(&Options::default());
    let draws = 1e12;
    for bucket in &mut sample.buckets {
        bucket.observed = (draws * bucket.expected_share) as u64;
    }
    let shift = sample.buckets[0].observed / 200;
    sample.buckets[0].observed += shift;
    assert_eq!(skew_fault(&sample), None);
    sample.buckets[0].observed += 2 * shift;
    assert!(skew_fault(&sample).unwrap().contains("off by 1."));
    sample.buckets.truncate(1);
    assert_eq!(skew_fault(&sample), None);
}

#[test]
fn busy_clients_and_idle_servers_qualify() {
    let words = ["95 %", "70 %", "--threads"];
    provoke(Rule::ClientsLimit, &words, |facts| {
        facts.servers[0].busiest_thread = Some(0.7);
    });
    let mut facts = good();
    (facts.busiest_worker, facts.servers[0].busiest_thread) = (0.6, Some(0.5));
    assert_eq!(judge(&facts), []);
}

#[test]
fn a_server_on_the_clients_machine_qualifies() {
    provoke(
        Rule::SharedMachine,
        &["a:1 runs on the client's"],
        |facts| {
            facts.servers[0].on_client_machine = Some(true);
        },
    );
}
