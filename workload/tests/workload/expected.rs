use batchkv_workload::{Identity, Inserts, KeyBuf, Options, Phase, Share, Spec, Stream};
use batchkv_workload::{expected_shares, keys};

const DRAWS: u64 = 1_000_000;
const PARTS: usize = 3;

fn spec(chooser: &str, theta: f64, records: u64, mix: &str) -> Spec {
    Spec::new(Options {
        chooser: Some(chooser.parse().expect("valid")),
        mix: Some(mix.parse().expect("valid")),
        theta,
        records,
        ..Options::default()
    })
    .expect("valid")
}

fn last_digit_is_odd(key: &[u8]) -> usize {
    usize::from(key[key.len() - 1] & 1)
}

fn hashed(key: &[u8]) -> usize {
    keys::hash(key) as usize % PARTS
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], off: f64) {
    let pairs = found.iter().zip(expected);
    let close = pairs.clone().all(|(a, b)| (a - b).abs() < off);
    assert!(
        close && pairs.len() == expected.len(),
        "{found:?} {expected:?}"
    );
}

#[test]
fn four_records_by_hand() {
    // Weights 1, 1/2, 1/3, 1/4; the records 0 and 2 have 16 of 25 parts.
    let reads = spec("zipf", 1.0, 4, "read=1");
    let shares = expected_shares(&reads, 2, last_digit_is_odd).expect("fixed");
    assert_close(&shares, &[0.64, 0.36], 1e-12);
    // Half of what is inserted is odd.
    let inserts = spec("zipf", 1.0, 4, "read=0.8,insert=0.2");
    let shares = expected_shares(&inserts, 2, last_digit_is_odd).expect("fixed");
    assert_close(&shares, &[0.8 * 0.64 + 0.1, 0.8 * 0.36 + 0.1], 1e-12);
}

#[test]
fn a_long_draw_agrees() {
    for (chooser, theta, records) in [
        ("zipf", 0.99, 100_000),
        ("zipf", 0.5, 3_000_000),
        ("ycsb", 0.99, 100_000),
        ("uniform", 0.0, 1000),
        ("hotspot:0.01:0.5", 0.0, 1000),
        ("latest", 0.99, 100_000),
    ] {
        let spec = spec(chooser, theta, records, "read=0.5,update=0.5");
        let shares = expected_shares(&spec, PARTS, hashed).expect("fixed");
        // Six standard deviations at most.
        assert_close(&drawn(&spec), &shares, 3e-3);
    }
}

/// The parts' shares of a stream's first operations.
fn drawn(spec: &Spec) -> Vec<f64> {
    let identity = Identity {
        seed: 1,
        client: 0,
        task: 0,
        phase: Phase::Run,
    };
    let mut stream = Stream::new(spec, identity);
    let mut inserts = Inserts::new(spec.records(), Share::new(0, 1, 0, 1).expect("valid"));
    let mut counts = [0; PARTS];
    for _ in 0..DRAWS {
        let record = stream.next(&mut inserts).record;
        counts[hashed(KeyBuf::new(spec.key_style(), record).as_bytes())] += 1;
    }
    counts.map(|count| f64::from(count) / DRAWS as f64).into()
}

#[test]
fn nobody_knows_where_the_newest_records_will_lie() {
    let spec = spec("latest", 0.99, 1000, "read=0.95,insert=0.05");
    assert_eq!(expected_shares(&spec, PARTS, hashed), None);
}
