use batchkv_workload::law::{Law, zeta};
use batchkv_workload::random::Random;
use batchkv_workload::zipf::Zipf;
use batchkv_workload::{
    ChooserName, Identity, Inserts, KeyBuf, KeyStyle, Kind, Options, Phase, Share, Spec, Stream,
    Workload,
};
use rand_distr::Distribution;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use crate::statistics::is_wrong;

const DRAWS: u64 = 2_000_000;

fn count(n: u64, draws: u64, mut draw: impl FnMut(&mut Random) -> u64) -> Vec<u64> {
    let mut random = Random::new(&[n, draws]);
    let mut counts = vec![0; n as usize];
    for _ in 0..draws {
        counts[draw(&mut random) as usize] += 1;
    }
    counts
}

/// Gray's generator as YCSB's `ZipfianGenerator` has it.
fn gray_generator(n: u64, theta: f64) -> impl FnMut(&mut Random) -> u64 {
    let zeta_n = zeta(n, theta);
    let items = n as f64;
    let eta = (1.0 - (2.0 / items).powf(1.0 - theta)) / (1.0 - zeta(2, theta) / zeta_n);
    move |random| {
        let u = random.unit();
        if u * zeta_n < 1.0 {
            0
        } else if u * zeta_n < 1.0 + 0.5_f64.powf(theta) {
            1
        } else {
            let rank = items * (eta * u - eta + 1.0).powf(1.0 / (1.0 - theta));
            (rank as u64).min(n - 1)
        }
    }
}

#[test]
fn exact_zipf_is_exact() {
    for (n, theta) in [
        (1, 0.99),
        (2, 0.99),
        (3, 0.5),
        (1_000, 0.99),
        (1_025, 0.99),
        (5_000, 1.0),
        (1_000_000, 0.0),
        (1_000_000, 0.5),
        (1_000_000, 0.99),
        (1_000_000, 1.0),
        (1_000_000, 1.3),
        (100_000, 3.0),
        (100_000, 100.0),
    ] {
        let zipf = Zipf::new(n, Law::exact(n, theta));
        let draws = if theta == 0.99 { DRAWS } else { DRAWS / 4 };
        let counts = count(n, draws, |random| zipf.draw(random));
        assert!(!is_wrong(&counts, &Law::exact(n, theta)), "{n} {theta}");
    }
}

#[test]
fn every_rank_of_a_segment_is_drawn_alike_but_for_the_law() {
    // The last segment of 2,000 ranks, one by one: a border that is off shows here.
    let n = 2_000;
    let law = Law::exact(n, 0.99);
    let zipf = Zipf::new(n, law.clone());
    let counts = count(n, 10_000_000, |random| zipf.draw(random));
    for rank in 1_900..n {
        let expected = 10_000_000.0 * law.probability(rank);
        let off = (counts[rank as usize] as f64 - expected) / expected.sqrt();
        assert!(off.abs() < 6.0, "rank {rank}: {off} sigma");
    }
}

#[test]
fn the_reference_passes_the_same_test() {
    let reference = rand_distr::Zipf::new(1_000_000.0, 0.99).expect("valid");
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(1);
    let counts = count(1_000_000, DRAWS, |_| {
        let rank: f64 = reference.sample(&mut generator);
        (rank as u64 - 1).min(999_999)
    });
    assert!(!is_wrong(&counts, &Law::exact(1_000_000, 0.99)));
    assert!(is_wrong(&counts, &Law::gray(1_000_000, 0.99)));
}

#[test]
fn grays_generator_fails_the_exact_test_and_passes_its_own() {
    let n = 1_000_000;
    let counts = count(n, DRAWS, gray_generator(n, 0.99));
    assert!(is_wrong(&counts, &Law::exact(n, 0.99)));
    assert!(!is_wrong(&counts, &Law::gray(n, 0.99)));
    let ratio = Law::gray(n, 0.99).probability(2) / Law::exact(n, 0.99).probability(2);
    assert!((ratio - 1.19).abs() < 0.005, "{ratio}");
}

#[test]
fn the_sampler_of_grays_law_draws_like_grays_generator() {
    for (n, theta) in [(1_000_000, 0.99), (1_000_000, 0.0), (1_000, 0.5)] {
        let law = Law::gray(n, theta);
        let zipf = Zipf::new(n, law.clone());
        let counts = count(n, DRAWS, |random| zipf.draw(random));
        assert!(!is_wrong(&counts, &law), "{n} {theta}");
    }
}

#[test]
fn zeta_by_closed_form() {
    assert!((zeta(10_000_000_000, 0.99) - 26.469_028_201_783_02).abs() < 1e-9);
    for (n, theta) in [
        (5_000, 0.99),
        (100_000, 1.0),
        (100_000, 0.0),
        (300_000, 2.5),
    ] {
        let sum: f64 = (1..=n).rev().map(|k| libm::pow(k as f64, -theta)).sum();
        let closed = zeta(n, theta);
        assert!(
            (closed / sum - 1.0).abs() < 1e-12,
            "{n} {theta}: {closed} {sum}"
        );
    }
}

#[test]
fn shares_of_the_hottest_under_the_exact_law() {
    for (n, top_1, top_10, top_percent) in [
        (1_000, 12.94, 38.25, 38.25),
        (1_000_000, 6.50, 19.21, 66.43),
        (10_000_000, 5.54, 16.36, 70.73),
    ] {
        let law = Law::exact(n, 0.99);
        for (ranks, percent) in [(1, top_1), (10, top_10), (n / 100, top_percent)] {
            let share = 100.0 * zeta(ranks, 0.99) / zeta(n, 0.99);
            assert!((share - percent).abs() < 0.006, "{ranks} of {n}: {share}");
            let sum = 100.0 * (0..ranks).map(|r| law.probability(r)).sum::<f64>();
            assert!((share - sum).abs() < 1e-9, "{ranks} of {n}: {sum}");
        }
    }
}

#[test]
fn shares_of_the_hottest_of_ten_thousand_million_items() {
    // As often quoted for YCSB: Zipf's law, without Gray's approximation and without the other items
    // that are hashed onto the same records.
    let all = zeta(10_000_000_000, 0.99);
    for (items, percent) in [(1, 3.78), (10, 11.2), (10_000, 38.6), (100_000, 48.3)] {
        let share = 100.0 * zeta(items, 0.99) / all;
        assert!((share - percent).abs() < 0.05, "{items}: {share}");
    }
}

/// The records' shares of YCSB's scrambled chooser, hottest first: the first million items one by
/// one, and what is left, which is hashed far more often than there are records, evenly.
fn scrambled_shares(records: u64) -> Vec<f64> {
    let law = Law::gray(10_000_000_000, 0.99);
    let items = 1_000_000;
    let mut shares = vec![0.0; records as usize];
    let mut left = 1.0;
    let mut key = KeyBuf::new(KeyStyle::User, 0);
    for item in 0..items {
        key.set(KeyStyle::User, item);
        let digits = std::str::from_utf8(&key.as_bytes()[4..]).expect("ASCII");
        let record = digits.parse::<u64>().expect("decimal") % records;
        shares[record as usize] += law.probability(item);
        left -= law.probability(item);
    }
    for share in &mut shares {
        *share += left / records as f64;
    }
    shares.sort_by(|a, b| b.total_cmp(a));
    shares
}

#[test]
fn shares_of_the_hottest_under_the_scrambled_law() {
    // What YCSB's generator really gives; of 1,000 records, each also gets its part of the cold items.
    for (records, top_1, top_10, top_percent) in
        [(1_000, 3.89, 13.13, 13.13), (1_000_000, 3.78, 11.80, 39.8)]
    {
        let shares = scrambled_shares(records);
        for (ranks, percent) in [(1, top_1), (10, top_10), (records / 100, top_percent)] {
            let share = 100.0 * shares[..ranks as usize].iter().sum::<f64>();
            assert!(
                (share - percent).abs() < 0.15,
                "{ranks} of {records}: {share}"
            );
        }
    }
}

#[test]
fn a_scrambled_stream_has_these_shares() {
    let spec = spec(|options| options.chooser = Some(ChooserName::Ycsb));
    let mut counts = record_counts(&spec, DRAWS);
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let shares = scrambled_shares(spec.records());
    for ranks in [1, 10, 100] {
        let observed = counts[..ranks].iter().sum::<u64>() as f64 / DRAWS as f64;
        let expected: f64 = shares[..ranks].iter().sum();
        assert!(
            (observed / expected - 1.0).abs() < 0.01,
            "{ranks}: {observed} {expected}"
        );
    }
}

fn spec(change: impl FnOnce(&mut Options)) -> Spec {
    let mut options = Options::default();
    change(&mut options);
    Spec::new(options).expect("valid")
}

fn stream(spec: &Spec) -> (Stream, Inserts) {
    let identity = Identity {
        seed: 42,
        client: 0,
        task: 0,
        phase: Phase::Run,
    };
    let share = Share::new(0, 1, 0, 1).expect("valid");
    (
        Stream::new(spec, identity),
        Inserts::new(spec.records(), share),
    )
}

/// How often each loaded record is drawn.
fn record_counts(spec: &Spec, draws: u64) -> Vec<u64> {
    let (mut stream, mut inserts) = stream(spec);
    let mut counts = vec![0; spec.records() as usize];
    for _ in 0..draws {
        let operation = stream.next(&mut inserts);
        if operation.kind != Kind::Insert {
            counts[operation.record as usize] += 1;
        }
    }
    counts
}

#[test]
fn record_0_is_drawn_and_no_record_beyond() {
    for chooser in ["zipf", "ycsb", "uniform", "latest", "hotspot"] {
        for records in [1, 2, 3, 1_000] {
            let spec = spec(|options| {
                options.chooser = Some(chooser.parse().expect("valid"));
                options.records = records;
            });
            // Indexing checks the upper end.
            let counts = record_counts(&spec, 200_000);
            if chooser == "ycsb" {
                continue; // no bijection: a record may have no items among so few draws
            }
            assert!(counts.iter().all(|&count| count > 0), "{chooser} {records}");
        }
    }
}

#[test]
fn scatter_moves_the_hot_records_and_keeps_their_shares() {
    let plain = record_counts(&spec(|_| ()), 200_000);
    let mut scattered = record_counts(&spec(|options| options.scatter = true), 200_000);
    let sorted = |mut counts: Vec<u64>| {
        counts.sort_unstable();
        counts
    };
    assert_ne!(plain, scattered);
    let hottest = (0..scattered.len()).max_by_key(|&record| scattered[record]);
    assert_ne!(hottest, Some(0));
    scattered = sorted(scattered);
    assert_eq!(sorted(plain), scattered);
}

#[test]
fn hotspot_gives_the_hot_fifth_four_fifths() {
    let spec = spec(|options| {
        options.chooser = Some("hotspot:0.2:0.8".parse().expect("valid"));
        options.records = 1_000;
    });
    let counts = record_counts(&spec, 500_000);
    let hot = counts[..200].iter().sum::<u64>() as f64 / 500_000.0;
    assert!(
        (hot - 0.8).abs() < 6.0 * (0.16_f64 / 500_000.0).sqrt(),
        "{hot}"
    );
}

#[test]
fn streams_have_the_mix_that_was_asked() {
    let custom = "read=0.3,update=0.25,insert=0.2,rmw=0.15,delete=0.1";
    let mut specs = vec![spec(|options| {
        options.mix = Some(custom.parse().expect("valid"))
    })];
    for name in ["A", "B", "C", "D", "F"] {
        let workload: Workload = name.parse().expect("valid");
        specs.push(spec(|options| options.workload = workload));
    }
    for spec in specs {
        let (mut stream, mut inserts) = stream(&spec);
        let mut counts = [0; 5];
        for _ in 0..400_000 {
            counts[stream.next(&mut inserts).kind as usize] += 1;
        }
        spec.mix().check(&counts).expect("the mix asked for");
        for kind in Kind::ALL {
            let none = spec.mix().share(kind) == 0.0;
            assert_eq!(none, counts[kind as usize] == 0, "{spec} {kind:?}");
        }
    }
}

#[test]
fn an_inverted_ratio_is_a_wrong_mix() {
    let mix = Workload::B.mix();
    let wrong = mix
        .check(&[50_000, 950_000, 0, 0, 0])
        .expect_err("inverted");
    assert_eq!(wrong.kind, Kind::Update);
    mix.check(&[94_901_000, 5_099_000, 0, 0, 0])
        .expect("within 0.1 points");
    mix.check(&[94_890_000, 5_110_000, 0, 0, 0])
        .expect_err("0.11 points off");
    mix.check(&[90, 10, 0, 0, 0])
        .expect("within 6 sigma of so few");
    mix.check(&[0; 5]).expect("nothing observed");
}
