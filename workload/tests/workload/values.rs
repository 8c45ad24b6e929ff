use std::collections::HashSet;

use batchkv_workload::keys::hash;
use batchkv_workload::{KeyBuf, KeyStyle, Stamp, ValueFault, Writer, values};
use proptest::prelude::{any, proptest};
use proptest::{collection, prop_assert, prop_assert_eq, prop_assume};

fn value(key: &[u8], stamp: Stamp, bytes: usize) -> Vec<u8> {
    let mut value = vec![0xAA; bytes];
    values::write(hash(key), stamp, &mut value);
    value
}

const STAMP: Stamp = Stamp {
    run: 0xBEEF,
    writer: 0x1234,
    sequence: 0x5678_9ABC_DEF0,
};

proptest! {
    #[test]
    fn stamps_come_back(
        key in collection::vec(any::<u8>(), 1..60),
        run: u16,
        writer: u16,
        sequence in 0..1_u64 << 48,
        bytes in 16..600_usize,
    ) {
        let stamp = Stamp { run, writer, sequence };
        prop_assert_eq!(values::check(hash(&key), &value(&key, stamp, bytes)), Ok(Some(stamp)));
    }

    #[test]
    fn other_keys_values_are_found(
        key in collection::vec(any::<u8>(), 1..40),
        other in collection::vec(any::<u8>(), 1..40),
        bytes in 13..300_usize,
    ) {
        prop_assume!(key != other);
        prop_assert_eq!(values::check(hash(&other), &value(&key, STAMP, bytes)), Err(ValueFault::Checksum));
    }

    #[test]
    fn no_bytes_make_it_panic(key in collection::vec(any::<u8>(), 0..40), bytes in collection::vec(any::<u8>(), 0..200)) {
        let found = values::check(hash(&key), &bytes);
        prop_assert!(bytes.len() < 12 || found == Err(ValueFault::Checksum));
    }
}

#[test]
fn every_flipped_byte_is_found() {
    for bytes in (11..=80).chain([100, 127, 128, 129, 1_000]) {
        let good = value(b"user17", STAMP, bytes);
        for at in 0..bytes {
            for flip in [0x01, 0x80, 0xFF] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let found = values::check(hash(b"user17"), &bad);
                assert_eq!(found, Err(ValueFault::Checksum), "{bytes} bytes, at {at}");
            }
        }
    }
}

#[test]
fn cut_and_lengthened_values_are_found() {
    let good = value(b"1", STAMP, 200);
    for bytes in 12..200 {
        assert_eq!(
            values::check(hash(b"1"), &good[..bytes]),
            Err(ValueFault::Checksum)
        );
    }
    assert_eq!(values::check(hash(b"1"), &[]), Err(ValueFault::Empty));
    for longer in 1..40 {
        let mut bad = good.clone();
        bad.resize(200 + longer, 0);
        assert_eq!(values::check(hash(b"1"), &bad), Err(ValueFault::Checksum));
    }
}

#[test]
fn blocks_that_change_places_are_found() {
    let good = value(b"1", STAMP, 16 + 8 * 32);
    for step in [8, 16, 32] {
        for (a, b) in [(0, 1), (1, 2), (0, 3)] {
            let mut bad = good.clone();
            let (a, b) = (16 + a * step, 16 + b * step);
            for i in 0..step {
                bad.swap(a + i, b + i);
            }
            assert_eq!(values::check(hash(b"1"), &bad), Err(ValueFault::Checksum));
        }
    }
}

#[test]
fn short_values_check_what_they_can() {
    for bytes in 1..16 {
        let good = value(b"77", STAMP, bytes);
        assert_eq!(values::check(hash(b"77"), &good), Ok(None));
        let mut found = 0;
        for other in 0..1_000_u64 {
            let key = KeyBuf::new(KeyStyle::Decimal, 1_000 + other);
            found += u32::from(values::check(hash(key.as_bytes()), &good).is_err());
        }
        // A checksum of one byte misses one in 256.
        assert!(found > 970, "{bytes} bytes: {found}");
    }
}

#[test]
fn values_differ_by_key_and_by_write_and_do_not_compress() {
    let mut seen = HashSet::new();
    let mut counts = [0_u32; 256];
    let mut writer = Writer::new(1, 2);
    assert_eq!(writer.loaded().sequence, 0);
    for sequence in 1..=500 {
        let stamp = writer.next_stamp();
        assert_eq!(
            stamp,
            Stamp {
                run: 1,
                writer: 2,
                sequence
            }
        );
        for key in [b"1", b"2"] {
            let value = value(key, stamp, 128);
            for word in value[16..].chunks_exact(8) {
                assert!(seen.insert(word.to_vec()), "a word occurs twice");
                word.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
            }
        }
    }
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    let chi_squared = counts
        .iter()
        .map(|&count| (f64::from(count) - expected).powi(2) / expected)
        .sum();
    let p = crate::statistics::p_value(chi_squared, 255);
    assert!(p > 1e-9, "bytes are not evenly spread: p = {p}");
}

#[test]
fn golden_values() {
    // The same bytes as from a second implementation, in Python.
    assert_eq!(
        hex(&value(b"1", STAMP, 40)),
        "efbe3412f0debc9a7856d79a357469e2a98f2cbcf27553089aeedf86a3fb53432e045636fb5279dc"
    );
    assert_eq!(hex(&value(b"1", STAMP, 9)), "a98f2cbcd47c87b3bb");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
