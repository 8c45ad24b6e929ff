use batchkv_telemetry::Usage;
use batchkv_workload::{Options, SkewSample, Spec};

use super::*;
use crate::clock::Rate;
use crate::measured::counts::{Account, Checks, Counts, Kinds, Offered};

fn judge(facts: &Facts) -> Vec<Finding> {
    super::judge(facts).findings
}

fn judge_run(facts: &RunFacts) -> Vec<Finding> {
    super::judge_run(facts).findings
}

fn judge_node(node: &Node) -> Vec<Finding> {
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

/// Twenty seconds of one server, of which some have hardly any answers.
fn with_gap(seconds: std::ops::RangeInclusive<usize>, ops: u64) -> Vec<u64> {
    let second = |second| {
        if seconds.contains(&second) {
            ops
        } else {
            1_000
        }
    };
    (1..=20).map(second).collect()
}

#[test]
fn a_second_without_answers_speaks_whatever_the_medians_say() {
    let gaps = |seconds: &[(&str, Vec<u64>)]| {
        let owned: Vec<_> = seconds
            .iter()
            .map(|(who, ops)| ((*who).into(), ops.clone()))
            .collect();
        super::gaps(&owned)
    };
    let words = ["a:1 answered", "for 2 s (seconds 7 to 8)", "never late"];
    provoke(Rule::Stalled, &words, |facts| {
        facts.stalls.gaps = gaps(&[("a:1", with_gap(7..=8, 99))]);
    });
    // One of two servers, and both.
    let one = gaps(&[("a:1", with_gap(7..=7, 0)), ("b:1", with_gap(0..=0, 0))]);
    assert_eq!((one.len(), one[0].who.as_str()), (1, "a:1"));
    let both = gaps(&[("a:1", with_gap(7..=7, 0)), ("b:1", with_gap(7..=7, 5))]);
    assert_eq!((both.len(), both[0].who.as_str()), (1, "every server"));
    // A tenth is none, and of few operations none need come in a second.
    assert_eq!(gaps(&[("a:1", with_gap(3..=3, 100))]), []);
    assert_eq!(gaps(&[("a:1", vec![5, 0, 7, 0, 4])]), []);
    assert_eq!(gaps(&[("a:1", with_gap(20..=20, 0))])[0].last, 20);
}

#[test]
fn a_batch_that_waits_long_is_named_with_who_stood_still() {
    let wait = |secs| {
        Some(LongestWait {
            secs,
            server: "a:1".into(),
            ended_secs: 5.25,
        })
    };
    let words = [
        "3 batches",
        "2.1 s (for a:1, until second 5.2",
        "did not run for 2.0 s until second 5.3",
    ];
    provoke(Rule::Stalled, &words, |facts| {
        facts.stalls.long_waits = 3;
        facts.stalls.longest = wait(2.1);
        (
            facts.stalls.client_late_secs,
            facts.stalls.client_late_at_secs,
        ) = (2.0, 5.3);
    });
    // Where all batches wait long, none stands still.
    let mut slow = good();
    (slow.latency_mean_us, slow.stalls.longest) = (Some(300_000.0), wait(2.1));
    assert_eq!(judge(&slow), []);
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
fn provoke(rule: Rule, words: &[&str], change: impl FnOnce(&mut Facts)) {
    let mut facts = good();
    change(&mut facts);
    expect(&judge(&facts), rule, words);
}

/// Exactly this rule spoke, and its reason names all `words`.
fn expect(findings: &[Finding], rule: Rule, words: &[&str]) {
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
    assert_eq!(values.outcome, Outcome::Fine);
    assert!(values.on.contains("950,000 values"), "{values:?}");
    assert_eq!(line(Rule::RateMissed).outcome, Outcome::NotAsked);
    let mut silent = good();
    silent.servers[0].on_client_machine = None;
    let checked = super::judge(&silent).checked;
    let machine = checked
        .iter()
        .find(|c| c.rule == Rule::SharedMachine)
        .unwrap();
    assert_eq!(machine.outcome, Outcome::NotMade);
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

fn offered(intended: u64) -> Offered {
    Offered {
        intended,
        arrived: intended,
        late: 0,
        unanswered: 0,
        dropped: 0,
        blocked_micros: 0,
        tardy_micros: 0,
    }
}

#[test]
fn a_missed_rate_qualifies_beyond_a_hundredth_and_chance() {
    let words = [
        "1,020,409 operations",
        "2.0 %",
        "--rate",
        "waited 30 us on",
        "4 us for",
    ];
    provoke(Rule::RateMissed, &words, |facts| {
        facts.offered = Some(Offered {
            blocked_micros: 30 * 1_020_409,
            tardy_micros: 4 * 1_020_409,
            ..offered(1_020_409)
        });
    });
    // The client's own limits are not the server's.
    provoke(
        Rule::RateMissed,
        &["--threads", "3 us on", "50 us for"],
        |facts| {
            facts.offered = Some(Offered {
                blocked_micros: 3 * 1_020_409,
                tardy_micros: 50 * 1_020_409,
                ..offered(1_020_409)
            });
        },
    );
    let mut facts = good();
    facts.offered = Some(offered(1_009_000));
    assert_eq!(judge(&facts), []);
    (facts.counts.reads, facts.counts.updates) = (58, 3);
    facts.offered = Some(offered(100));
    assert_eq!(judge(&facts), []);
}

#[test]
fn a_single_arrival_without_answer_qualifies() {
    provoke(
        Rule::DroppedArrivals,
        &["1 were never sent", "0 not answered"],
        |facts| {
            facts.offered = Some(Offered {
                dropped: 1,
                ..offered(1_000_000)
            });
        },
    );
    provoke(Rule::DroppedArrivals, &["1 not answered"], |facts| {
        facts.offered = Some(Offered {
            unanswered: 1,
            ..offered(1_000_000)
        });
    });
}

#[test]
fn a_client_that_is_itself_late_qualifies() {
    provoke(Rule::ClientLate, &["waited 101 us", "1000 us"], |facts| {
        facts.offered = Some(Offered {
            tardy_micros: 101_000_000,
            ..offered(1_000_000)
        });
    });
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

/// Thirty seconds of two clients and two servers, all alike, with a ripple of 2 %.
fn steady() -> RunFacts {
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
fn idle() -> Node {
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
