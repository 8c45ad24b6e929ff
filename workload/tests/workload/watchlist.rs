use batchkv_workload::{Identity, Inserts, Options, Phase, Share, Spec, Stream, WatchList};

const DRAWS: u64 = 1_000_000;
const HOTTEST: usize = 16;

fn spec(chooser: &str, records: u64) -> Spec {
    let chooser = Some(chooser.parse().expect("valid"));
    Spec::new(Options {
        chooser,
        records,
        ..Options::default()
    })
    .expect("valid")
}

/// The part of a stream's operations that go to listed records.
fn drawn(spec: &Spec, list: &WatchList) -> f64 {
    let identity = Identity {
        seed: 1,
        client: 0,
        task: 0,
        phase: Phase::Run,
    };
    let mut stream = Stream::new(spec, identity);
    let mut inserts = Inserts::new(spec.records(), Share::new(0, 1, 0, 1).expect("valid"));
    let listed = (0..DRAWS).filter(|_| list.contains(stream.next(&mut inserts).record));
    listed.count() as f64 / DRAWS as f64
}

#[test]
fn the_share_is_what_the_chooser_gives_them() {
    for chooser in ["zipf", "ycsb", "uniform", "latest", "hotspot:0.2:0.8"] {
        for share in [0.01, 0.001] {
            let spec = spec(chooser, 100_000);
            let list = WatchList::new(&spec, share, HOTTEST, 1);
            assert!(
                list.share() <= share && list.len() >= 8,
                "{chooser}: {list:?}"
            );
            // Six standard deviations, and what hashing onto records adds to some of them.
            let off = 6.0 * (list.share() / DRAWS as f64).sqrt() + 0.05 * list.share();
            let drawn = drawn(&spec, &list);
            assert!(
                (drawn - list.share()).abs() < off,
                "{chooser}: {drawn} of {list:?}"
            );
        }
    }
}

#[test]
fn the_sample_is_the_seeds_and_the_hottest_of_all_are_there() {
    let spec = spec("zipf", 1_000_000);
    let lists = [1, 2].map(|seed| WatchList::new(&spec, 0.001, HOTTEST, seed));
    for list in &lists {
        let hottest = list.hottest();
        assert_eq!(
            hottest[..HOTTEST / 2],
            (0..HOTTEST as u64 / 2).collect::<Vec<_>>()
        );
        assert!(hottest.len() == HOTTEST && list.len() > 8, "{list:?}");
    }
    let both = (0..1_000_000).filter(|&r| lists.iter().all(|list| list.contains(r)));
    let (both, len) = (both.count(), lists[0].len());
    assert!(10 * both < len, "{both} of {len}");
}

#[test]
fn too_small_a_share_has_no_record() {
    assert!(WatchList::new(&spec("uniform", 1000), 1e-6, HOTTEST, 1).is_empty());
}
