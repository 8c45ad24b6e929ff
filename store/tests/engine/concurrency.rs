//! Several threads on the same records.

use crate::harness::{Answered, PARTITIONS, Session, Stream, delete, get, put};
use batchkv_protocol::Operation;
use batchkv_store::{Dashmap, Engine, Partitioned};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const WRITERS: usize = 3;
const HOT_KEYS: usize = 6;
const ROUNDS: u64 = 3000;

/// A value that proves itself: who wrote it, which of his writes it is, then bytes that follow from
/// both, of a length that follows from both.
fn value(key: usize, writer: usize, sequence: u64) -> Vec<u8> {
    let mut stream = Stream((key * WRITERS + writer) as u64 ^ sequence << 20);
    let bytes = match stream.below(8) {
        0 => stream.below(9000),
        1..4 => stream.below(300),
        _ => 128,
    };
    let mut value = [writer as u64, sequence].map(u64::to_le_bytes).concat();
    value.extend((0..bytes / 8).flat_map(|_| stream.next().to_le_bytes()));
    value
}

/// Writer and sequence number of a value, which must be whole.
fn check(key: usize, content: &[u8]) -> (usize, u64) {
    let word = |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().unwrap());
    let (writer, sequence) = (word(0) as usize, word(8));
    assert!(content == value(key, writer, sequence), "torn");
    (writer, sequence)
}

/// Keys in and out of their slots.
fn hot_keys() -> Vec<Vec<u8>> {
    (0..HOT_KEYS).map(|key| vec![b'k'; 1 + 5 * key]).collect()
}

/// Writes every hot key in turn, and reads it in the same window: what comes back is whole, and no
/// older than what this thread has seen or written before.
fn write_and_read<E: Engine>(engine: &E, writer: usize) {
    let mut session = Session::new(engine);
    let keys = hot_keys();
    let mut seen = [[0; WRITERS]; HOT_KEYS];
    for sequence in 1..=ROUNDS {
        let values: Vec<_> = (0..HOT_KEYS)
            .map(|key| value(key, writer, sequence))
            .collect();
        let operations: Vec<Operation<'_>> = (0..HOT_KEYS)
            .flat_map(|key| {
                let key_bytes = &keys[key];
                [get(key_bytes), put(key_bytes, &values[key]), get(key_bytes)]
            })
            .collect();
        for (number, answered) in session.apply_all(&operations).iter().enumerate() {
            let key = number / 3;
            match answered {
                Answered::Value(content) => {
                    let (by, sequence) = check(key, content);
                    assert!(sequence >= seen[key][by], "an overwritten value came back");
                    seen[key][by] = sequence;
                }
                Answered::Stored => seen[key][writer] = sequence,
                Answered::Missing => assert_eq!((number % 3, sequence), (0, 1)),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn hot_keys_are_never_torn_or_lost<E: Engine>(engine: &E) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || write_and_read(engine, writer));
        }
    });
    for (key, key_bytes) in hot_keys().iter().enumerate() {
        match Session::new(engine).one(get(key_bytes)) {
            Answered::Value(content) => assert_eq!(check(key, &content).1, ROUNDS),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(engine.usage().records, HOT_KEYS as u64);
}

#[test]
fn hot_keys_of_dashmap() {
    hot_keys_are_never_torn_or_lost(&Dashmap::new(PARTITIONS, None));
}

#[test]
fn hot_keys_of_partitioned() {
    hot_keys_are_never_torn_or_lost(&Partitioned::new(PARTITIONS, None));
}

/// Threads that put and delete keys of their own, which lie in the same buckets as the others'.
fn own_keys_stay_exact<E: Engine>(engine: &E, owner: usize) {
    let mut session = Session::new(engine);
    let mut stream = Stream(owner as u64);
    let mut present = [None; 200];
    for _ in 0..60_000 {
        let number = stream.below(200) as usize;
        let key = format!("{number}/{owner}{}", &"xxxxxxxx"[..number % 9]).into_bytes();
        let bytes = stream.below(200) as usize;
        match stream.below(3) {
            0 => {
                session.one(put(&key, &vec![owner as u8; bytes]));
                present[number] = Some(bytes);
            }
            1 => {
                let existed = present[number].take().is_some();
                assert_eq!(session.one(delete(&key)), Answered::Deleted { existed });
            }
            _ => {
                let expected = present[number].map_or(Answered::Missing, |bytes| {
                    Answered::Value(vec![owner as u8; bytes])
                });
                assert_eq!(session.one(get(&key)), expected);
            }
        }
    }
}

#[test]
fn neighbours_in_a_bucket_do_not_disturb_each_other() {
    let engine = Partitioned::new(PARTITIONS, None);
    thread::scope(|scope| {
        for owner in 0..4 {
            let engine = &engine;
            scope.spawn(move || own_keys_stay_exact(engine, owner));
        }
    });
}

/// Two threads add keys to growing tables, two look up what was added: none is ever missing.
#[test]
fn a_growing_table_never_misses_a_record() {
    const KEYS: usize = 60_000;
    let engine = &Partitioned::new(PARTITIONS, None);
    let added = &[AtomicUsize::new(0), AtomicUsize::new(0)];
    let key = |half: usize, number: usize| (number * 2 + half).to_string().into_bytes();
    thread::scope(|scope| {
        for (half, added) in added.iter().enumerate() {
            scope.spawn(move || {
                let mut session = Session::new(engine);
                for number in 0..KEYS {
                    let key = key(half, number);
                    assert_eq!(session.one(put(&key, &key)), Answered::Stored);
                    added.store(number + 1, Ordering::Release);
                }
            });
            scope.spawn(move || {
                let mut session = Session::new(engine);
                let mut stream = Stream(half as u64);
                while added.load(Ordering::Acquire) < KEYS {
                    let present = added.load(Ordering::Acquire);
                    let newest = present.saturating_sub(40)..present;
                    let any = (0..present.min(20)).map(|_| stream.below(present as u64) as usize);
                    let keys: Vec<_> = newest.chain(any).map(|number| key(half, number)).collect();
                    let gets: Vec<_> = keys.iter().map(|key| get(key)).collect();
                    for (key, answered) in keys.iter().zip(session.apply_all(&gets)) {
                        assert_eq!(answered, Answered::Value(key.clone()));
                    }
                }
            });
        }
    });
    assert_eq!(engine.usage().records, 2 * KEYS as u64);
}
