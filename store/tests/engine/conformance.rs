//! What each operation does, on each engine.

use crate::harness::{Answered, PARTITIONS, Session, delete, get, put};
use batchkv_protocol::limits::{FRAME_BYTES, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use batchkv_protocol::{Counters, Refusal};
use batchkv_store::{Dashmap, Engine, Partitioned};

/// Every test of the suite on one engine, which is made from a memory limit.
macro_rules! suite {
    ($engine:ident, $new:expr) => {
        mod $engine {
            use super::*;

            suite!(@tests $new;
                each_operation_does_what_it_says,
                a_window_applies_in_order,
                keys_that_look_alike_are_different,
                extreme_sizes_work,
                any_size_replaces_any_other,
                stops_at_a_value_that_does_not_fit,
                stops_at_a_status_that_does_not_fit,
                long_windows_work,
                counts_what_it_did,
                refuses_puts_over_the_memory_limit,
            );
        }
    };
    (@tests $new:expr; $($test:ident,)*) => {
        $(#[test] fn $test() { super::$test($new); })*
    };
}

suite!(dashmap, |limit| Dashmap::new(PARTITIONS, limit));
suite!(partitioned, |limit| Partitioned::new(PARTITIONS, limit));

fn value(bytes: &[u8]) -> Answered {
    Answered::Value(bytes.to_vec())
}

fn each_operation_does_what_it_says<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let mut session = Session::new(&engine);
    assert_eq!(session.one(get(b"key")), Answered::Missing);
    assert_eq!(
        session.one(delete(b"key")),
        Answered::Deleted { existed: false }
    );
    assert_eq!(session.one(put(b"key", b"first")), Answered::Stored);
    assert_eq!(session.one(get(b"key")), value(b"first"));
    assert_eq!(session.one(put(b"key", b"second")), Answered::Stored);
    assert_eq!(session.one(get(b"key")), value(b"second"));
    assert_eq!(engine.usage().records, 1);
    assert_eq!(
        session.one(delete(b"key")),
        Answered::Deleted { existed: true }
    );
    assert_eq!(session.one(get(b"key")), Answered::Missing);
    assert_eq!(engine.usage().records, 0);
}

fn a_window_applies_in_order<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let answered = Session::new(&engine).apply(&[
        get(b"k"),
        put(b"k", b"1"),
        get(b"k"),
        put(b"k", b"22"),
        put(b"other", b"x"),
        get(b"k"),
        delete(b"k"),
        get(b"k"),
        delete(b"k"),
        put(b"k", &[3; 500]),
        get(b"k"),
    ]);
    let expected = [
        Answered::Missing,
        Answered::Stored,
        value(b"1"),
        Answered::Stored,
        Answered::Stored,
        value(b"22"),
        Answered::Deleted { existed: true },
        Answered::Missing,
        Answered::Deleted { existed: false },
        Answered::Stored,
        value(&[3; 500]),
    ];
    assert_eq!(answered, expected);
}

fn keys_that_look_alike_are_different<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let mut session = Session::new(&engine);
    // Zeros at the end, prefixes of each other, and the lengths around a word.
    let keys: Vec<Vec<u8>> = (1..=40)
        .flat_map(|bytes| [vec![0; bytes], vec![b'a'; bytes]])
        .chain((1..=20).map(|zeros| [&b"a"[..], &vec![0; zeros]].concat()))
        .collect();
    for key in &keys {
        assert_eq!(session.one(get(key)), Answered::Missing, "{key:?}");
        assert_eq!(session.one(put(key, key)), Answered::Stored);
    }
    for key in &keys {
        assert_eq!(session.one(get(key)), value(key));
    }
    assert_eq!(engine.usage().records, keys.len() as u64);
}

fn extreme_sizes_work<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let mut session = Session::new(&engine);
    let long_key = vec![b'k'; KEY_BYTES_MAX];
    let long_value: Vec<u8> = (0..VALUE_BYTES_MAX).map(|at| (at % 251) as u8).collect();
    for key in [&b"s"[..], b"12345678", b"123456789", &long_key] {
        for content in [&b""[..], b"1", &long_value, b"", &long_value[..70_000]] {
            assert_eq!(session.one(put(key, content)), Answered::Stored);
            assert_eq!(session.one(get(key)), value(content));
        }
        assert_eq!(
            session.one(delete(key)),
            Answered::Deleted { existed: true }
        );
        assert_eq!(session.one(get(key)), Answered::Missing);
    }
}

fn any_size_replaces_any_other<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let mut session = Session::new(&engine);
    let sizes = [
        0, 1, 7, 8, 9, 16, 17, 63, 64, 65, 127, 128, 129, 191, 300, 4095, 4096, 9000,
    ];
    // No two words near each other are the same.
    let content = |bytes: usize, mark: u8| -> Vec<u8> {
        let byte = |at: usize| (at % 251) as u8 ^ mark;
        (0..bytes).map(byte).collect()
    };
    for key in [&b"short"[..], b"a key of more than a word"] {
        for (before, after) in sizes.iter().flat_map(|a| sizes.map(|b| (*a, b))) {
            session.one(put(key, &content(before, 0xA5)));
            session.one(put(key, &content(after, 0)));
            assert_eq!(session.one(get(key)), value(&content(after, 0)));
        }
    }
    assert_eq!(engine.usage().records, 2);
}

fn stops_at_a_value_that_does_not_fit<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let mut session = Session::new(&engine);
    let big = vec![9; 25_000];
    session.one(put(b"big", &big));
    let window = [get(b"big"), get(b"big"), get(b"big"), put(b"late", b"")];
    assert_eq!(session.apply(&window), [value(&big), value(&big)]);
    assert_eq!(session.counters.gets, 2);
    assert_eq!(session.one(get(b"late")), Answered::Missing);
}

fn stops_at_a_status_that_does_not_fit<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let mut session = Session::new(&engine);
    // Leaves three bytes of the frame: its own head has 9, the piece's 4, the value's 4.
    let filler = vec![9; FRAME_BYTES - 3 - 17];
    session.one(put(b"filler", &filler));
    session.one(put(b"kept", b"old"));
    for late in [put(b"kept", b"new"), delete(b"kept"), get(b"absent")] {
        let before = session.counters;
        let answered = session.apply(&[get(b"filler"), late, late]);
        assert_eq!(answered.len(), 1, "{late:?}");
        assert_eq!(session.counters.executed(), before.executed() + 1);
        assert_eq!(session.one(get(b"kept")), value(b"old"));
    }
}

fn long_windows_work<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let mut session = Session::new(&engine);
    let keys: Vec<_> = (0..1000).map(|key: u32| key.to_string()).collect();
    let puts: Vec<_> = keys.iter().map(|key| put(key.as_bytes(), b"v")).collect();
    let gets: Vec<_> = keys.iter().map(|key| get(key.as_bytes())).collect();
    assert_eq!(session.apply(&puts), vec![Answered::Stored; 1000]);
    assert_eq!(session.apply(&gets), vec![value(b"v"); 1000]);
}

fn counts_what_it_did<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    let engine = new(None);
    let mut session = Session::new(&engine);
    session.apply(&[
        put(b"a", b"1"),
        get(b"a"),
        get(b"b"),
        put(b"a", b"2"),
        delete(b"a"),
        delete(b"a"),
        get(b"a"),
    ]);
    let expected = Counters {
        gets: 3,
        hits: 1,
        puts: 2,
        deletes: 2,
        ..Counters::default()
    };
    assert_eq!(session.counters, expected);
}

fn refuses_puts_over_the_memory_limit<E: Engine>(new: impl Fn(Option<u64>) -> E) {
    const LIMIT: u64 = 4 << 20;
    let engine = new(Some(LIMIT));
    let mut session = Session::new(&engine);
    let refused = Answered::Refused(Refusal::OutOfMemory);
    let key = |number: usize| number.to_string().into_bytes();
    // Large ones first, small ones into what they leave.
    let mut stored = 0;
    for bytes in [100_000, 3000, 128, 10] {
        while session.one(put(&key(stored), &vec![1; bytes])) == Answered::Stored {
            stored += 1;
        }
        assert_eq!(session.one(get(&key(stored))), Answered::Missing);
    }
    assert_eq!(session.counters.refused, 4);
    assert_eq!(engine.usage().records, stored as u64);
    assert!((LIMIT / 2..=LIMIT).contains(&engine.usage().memory_bytes));

    assert_eq!(session.one(put(&key(0), &[2; 1 << 20])), refused);
    for number in 0..stored {
        let key = key(number);
        let Answered::Value(old) = session.one(get(&key)) else {
            panic!("{number} is lost");
        };
        let new = vec![2; old.len()];
        assert_eq!(session.one(put(&key, &new)), Answered::Stored);
        assert_eq!(session.one(get(&key)), value(&new));
        let deleted = Answered::Deleted { existed: true };
        assert_eq!(session.one(delete(&key)), deleted);
        assert_eq!(session.one(put(&key, &new)), Answered::Stored);
    }
    for number in 0..stored {
        session.one(delete(&key(number)));
    }
    assert_eq!(engine.usage().records, 0);
    assert_eq!(session.one(put(b"again", &[1; 100_000])), Answered::Stored);
}
