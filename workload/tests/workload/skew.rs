use batchkv_workload::{Kind, Options, SkewSample, Spec};

use crate::statistics::p_value;

const TASKS: u32 = 128;
const OPERATIONS: u64 = 1_000_000;

fn sample(change: impl FnOnce(&mut Options)) -> SkewSample {
    let mut options = Options::default();
    change(&mut options);
    let spec = Spec::new(options).expect("valid");
    SkewSample::draw(&spec, 1, 0, TASKS, OPERATIONS)
}

fn p(sample: &SkewSample) -> f64 {
    let draws = sample.draws() as f64;
    let distance = |expected: f64, observed: u64| (observed as f64 - expected).powi(2) / expected;
    let distances = sample.buckets.iter();
    let distances = distances.map(|b| distance(draws * b.expected_share, b.observed));
    p_value(distances.sum(), sample.buckets.len() as u32 - 1)
}

#[test]
fn every_chooser_draws_the_ranks_that_it_says() {
    for chooser in ["zipf", "ycsb", "uniform", "latest", "hotspot:0.2:0.8"] {
        for records in [10, 1_000, 1_000_000] {
            let sample = sample(|options| {
                options.chooser = Some(chooser.parse().expect("valid"));
                options.records = records;
            });
            let all: f64 = sample
                .buckets
                .iter()
                .map(|bucket| bucket.expected_share)
                .sum();
            assert!((all - 1.0).abs() < 1e-9, "{chooser} {records}: {all}");
            let p = p(&sample);
            assert!(p > 1e-6, "{chooser} {records}: {p} {sample:?}");
        }
    }
}

#[test]
fn buckets_cover_all_ranks_and_expect_a_hundred_draws() {
    for theta in [0.0, 0.5, 0.99, 3.0] {
        let sample = sample(|options| options.theta = theta);
        assert_eq!(sample.buckets[0].first, 0);
        assert_eq!(
            sample.buckets.last().map(|bucket| bucket.end),
            Some(1_000_000)
        );
        for pair in sample.buckets.windows(2) {
            assert_eq!(pair[0].end, pair[1].first, "{theta}");
        }
        let draws = OPERATIONS as f64;
        let enough = |share: f64| share * draws >= 100.0;
        assert!(
            sample.buckets.iter().all(|b| enough(b.expected_share)),
            "{theta}"
        );
    }
    let hottest = sample(|_| ()).buckets;
    assert!(
        hottest[..10]
            .iter()
            .all(|bucket| bucket.end == bucket.first + 1)
    );
}

#[test]
fn inserts_draw_no_rank() {
    let sample = sample(|options| options.workload = "D".parse().expect("valid"));
    let inserts = sample.kinds[Kind::Insert as usize];
    assert!(inserts > OPERATIONS / 25);
    let operations: u64 = sample.kinds.iter().sum();
    assert_eq!(sample.draws() + inserts, operations);
    assert!((OPERATIONS..OPERATIONS + u64::from(TASKS)).contains(&operations));
}
