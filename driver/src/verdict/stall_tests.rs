use super::tests::{good, judge, provoke};
use super::*;

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
