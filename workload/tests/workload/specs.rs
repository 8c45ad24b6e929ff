use std::fmt::Debug;

use batchkv_workload::{
    ChooserName, KeyStyle, Kind, Mix, Options, Spec, SpecError, Stamp, ValueSizes, Workload,
};

/// The text of what is wrong.
fn refused<T: Debug>(result: Result<T, SpecError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn workloads_by_all_their_names() {
    for name in ["YCSB-B", "ycsb-b", "B", "b"] {
        assert_eq!(name.parse(), Ok(Workload::B));
    }
    for name in ["E", "ycsb-e"] {
        let error = refused(name.parse::<Workload>());
        assert!(
            error.contains("needs ordered scans, not supported"),
            "{error}"
        );
    }
    assert!(refused("G".parse::<Workload>()).contains("A, B, C, D and F"));
    assert_eq!(Workload::D.chooser(), ChooserName::Latest);
    assert_eq!(Workload::F.mix().share(Kind::ReadModifyWrite), 0.5);
}

#[test]
fn mixes_add_up_to_one() {
    let mix: Mix = "read=0.9,update=0.05,insert=0.05,rmw=0,delete=0"
        .parse()
        .expect("valid");
    assert_eq!(mix.to_string(), "read=0.9,update=0.05,insert=0.05");
    assert_eq!(mix.to_string().parse(), Ok(mix));
    for (text, part) in [
        ("read=0.9,update=0.05", "do not add up to 1"),
        ("read=0.5,read=0.5", "named twice"),
        ("read=1.5,update=-0.5", "from 0 to 1"),
        ("scan=1", "unknown"),
        ("read", "KIND=SHARE"),
        ("read=NaN", "from 0 to 1"),
        ("", "KIND=SHARE"),
    ] {
        let error = refused(text.parse::<Mix>());
        assert!(error.contains(part) && error.contains("rmw"), "{error}");
    }
}

#[test]
fn choosers_as_text() {
    for text in ["zipf", "ycsb", "uniform", "latest", "hotspot:0.1:0.9"] {
        let chooser: ChooserName = text.parse().expect("valid");
        assert_eq!(chooser.to_string(), text);
    }
    for text in [
        "zipfian",
        "hotspot:0:1",
        "hotspot:0.5",
        "hotspot:2:0.5",
        "hotspots",
        "hotspot:",
    ] {
        assert!(
            refused(text.parse::<ChooserName>()).contains("uniform"),
            "{text}"
        );
    }
}

#[test]
fn value_sizes_as_text() {
    for (text, min, max) in [
        ("128", 128, 128),
        ("1", 1, 1),
        ("1048576", 1 << 20, 1 << 20),
        ("100..1000", 100, 1_000),
        ("100:0.5,1000:0.5", 100, 1_000),
    ] {
        let sizes: ValueSizes = text.parse().expect("valid");
        assert_eq!((sizes.bytes_min(), sizes.bytes_max()), (min, max));
        assert_eq!(sizes.to_string(), text);
    }
    for text in [
        "0",
        "1048577",
        "-1",
        "",
        "9..3",
        "0..3",
        "5:0.5",
        "5:0.5,7",
        "5:1,0:0.5",
        "x",
    ] {
        assert!(
            refused(text.parse::<ValueSizes>()).contains("allowed"),
            "{text}"
        );
    }
}

#[test]
fn a_length_with_share_zero_must_be_one_all_the_same() {
    let sizes: ValueSizes = "100:1,1000:0".parse().expect("valid");
    assert_eq!(sizes.bytes_max(), 100);
    assert!(refused("100:1,many:0".parse::<ValueSizes>()).contains("not a number"));
}

#[test]
fn drawn_sizes_have_their_shares() {
    let counts = |text: &str| {
        let sizes: ValueSizes = text.parse().expect("valid");
        let mut counts = std::collections::BTreeMap::new();
        for record in 0..100_000 {
            let stamp = Stamp {
                run: 1,
                writer: 2,
                sequence: record / 3,
            };
            *counts.entry(sizes.bytes(record, stamp)).or_insert(0_u32) += 1;
        }
        counts
    };
    let weighted = counts("100:0.25,1000:0.75");
    assert_eq!(weighted.len(), 2);
    assert!((weighted[&100].abs_diff(25_000)) < 900, "{weighted:?}");
    let even = counts("10..19");
    assert!(even.keys().copied().eq(10..=19));
    assert!(even.values().all(|n| n.abs_diff(10_000) < 600), "{even:?}");
}

#[test]
fn specs_refuse_what_does_not_fit() {
    let refuse = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        refused(Spec::new(options))
    };
    for theta in [-0.1, f64::NAN, f64::INFINITY] {
        let options = Options {
            theta,
            ..Options::default()
        };
        assert!(refused(Spec::new(options)).contains("from 0"));
    }
    assert!(refuse(|o| o.records = 0).contains("1 to 1099511627776"));
    assert!(refuse(|o| o.records = (1 << 40) + 1).contains("1 to 1099511627776"));
    let gray = refuse(|o| {
        o.chooser = Some(ChooserName::Ycsb);
        o.theta = 1.0;
    });
    assert!(gray.contains("below 1 (Gray's form)"), "{gray}");
    let scatter = refuse(|o| {
        o.workload = Workload::D;
        o.scatter = true;
    });
    assert!(scatter.contains("latest") && scatter.contains("zipf and hotspot"));
}

#[test]
fn the_description_names_everything() {
    let spec = Spec::new(Options::default()).expect("valid");
    assert_eq!(
        spec.to_string(),
        "YCSB-B (read=0.95,update=0.05), exact zipf, theta 0.99 over 1000000 records, not scattered, \
         decimal keys, values of 128 bytes (16-byte header with 48-bit checksum)"
    );
    let spec = Spec::new(Options {
        mix: Some("read=1".parse().expect("valid")),
        chooser: Some(ChooserName::Ycsb),
        key_style: KeyStyle::User,
        value_sizes: "8..20".parse().expect("valid"),
        ..Options::default()
    })
    .expect("valid");
    let described = spec.description();
    for (name, value) in [
        ("name", "custom mix"),
        ("mix", "read=1"),
        ("chooser", "ycsb"),
        ("theta", "0.99"),
        ("records", "1000000"),
        ("key_style", "user"),
        ("scatter", "false"),
        ("value_bytes", "8..20"),
        (
            "value_check",
            "truncated checksum and no stamp in values below 16 bytes",
        ),
    ] {
        assert!(described.contains(&(name, value.to_string())), "{name}");
    }
}

#[test]
fn the_most_records_can_be_had() {
    for chooser in ["zipf", "ycsb", "uniform", "latest", "hotspot"] {
        let options = Options {
            records: 1 << 40,
            chooser: Some(chooser.parse().expect("valid")),
            ..Options::default()
        };
        Spec::new(options).expect("valid");
    }
}
