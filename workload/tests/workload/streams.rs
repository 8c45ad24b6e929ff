use batchkv_workload::{
    ChooserName, Identity, Inserts, KeyStyle, Kind, Operation, Options, Phase, Share, Spec, Stream,
    Workload, fingerprint,
};

const BASE: Identity = Identity {
    seed: 1,
    client: 0,
    task: 0,
    phase: Phase::Run,
};

fn first(spec: &Spec, identity: Identity, count: usize) -> Vec<Operation> {
    let mut stream = Stream::new(spec, identity);
    let mut inserts = Inserts::new(spec.records(), Share::new(0, 1, 0, 1).expect("valid"));
    (0..count).map(|_| stream.next(&mut inserts)).collect()
}

#[test]
fn a_stream_can_be_repeated_and_no_two_are_alike() {
    let spec = Spec::new(Options::default()).expect("valid");
    let base = first(&spec, BASE, 1_000);
    assert_eq!(base, first(&spec, BASE, 1_000));
    let others = [
        Identity { seed: 2, ..BASE },
        Identity { client: 1, ..BASE },
        Identity { task: 1, ..BASE },
        Identity {
            phase: Phase::WarmUp,
            ..BASE
        },
    ];
    for other in others {
        let operations = first(&spec, other, 1_000);
        let same = operations.iter().zip(&base).filter(|(a, b)| a == b).count();
        // Two independent streams agree on a hundredth of the records (sum of squared shares).
        assert!(same < 100, "{other:?}: {same}");
    }
}

#[test]
fn golden_fingerprints() {
    let options = Options::default;
    let user = Options {
        key_style: KeyStyle::User,
        chooser: Some(ChooserName::Ycsb),
        ..options()
    };
    let latest = Options {
        workload: Workload::D,
        value_sizes: "100..1000".parse().expect("valid"),
        ..options()
    };
    let scattered = Options {
        theta: 1.2,
        scatter: true,
        ..options()
    };
    let found = [
        (options(), 0),
        (options(), 1),
        (user, 0),
        (latest, 0),
        (scattered, 0),
    ]
    .map(|(options, client)| {
        let spec = Spec::new(options).expect("valid");
        let found = fingerprint(&spec, 1, client, 2, 128).expect("valid");
        format!("{found:016x}")
    });
    assert_eq!(
        found,
        [
            "a83d34c7cf1f6289",
            "eafac630d1758701",
            "e0867a529907a740",
            "987b02e8a247ee5e",
            "4254934978b1bd18",
        ]
    );
}

#[test]
fn a_fingerprint_changes_with_everything_that_is_asked() {
    let of = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        let spec = Spec::new(options).expect("valid");
        fingerprint(&spec, 1, 0, 1, 4).expect("valid")
    };
    let changed = [
        of(|_| ()),
        of(|o| o.workload = Workload::A),
        of(|o| o.theta = 0.9),
        of(|o| o.records += 1),
        of(|o| o.key_style = KeyStyle::User),
        of(|o| o.scatter = true),
        of(|o| o.value_sizes = "64".parse().expect("valid")),
    ];
    for (i, one) in changed.iter().enumerate() {
        assert!(!changed[..i].contains(one), "change {i}");
    }
    let spec = Spec::new(Options::default()).expect("valid");
    fingerprint(&spec, 1, 1, 1, 4).expect_err("client 1 of 1");
}

#[test]
fn latest_follows_the_acknowledged_inserts() {
    let options = Options {
        workload: Workload::D,
        records: 1_000,
        ..Options::default()
    };
    let spec = Spec::new(options).expect("valid");
    let mut stream = Stream::new(&spec, BASE);
    let mut inserts = Inserts::new(1_000, Share::new(0, 1, 0, 1).expect("valid"));
    let mut newest = 999;
    let (mut newest_reads, mut reads) = (0, 0_u64);
    for _ in 0..100_000 {
        let Operation { kind, record } = stream.next(&mut inserts);
        if kind == Kind::Insert {
            assert_eq!(record, newest + 1);
            inserts.acknowledged(record);
            newest = record;
        } else {
            assert!(record <= newest && record + 1_000 > newest);
            reads += 1;
            newest_reads += u64::from(record == newest);
        }
    }
    let share = newest_reads as f64 / reads as f64;
    assert!((share - 0.129).abs() < 0.006, "{share}");
}
