//! The engine `partitioned` under loom: whatever the threads' order, and whatever a processor may
//! still show of words that were overwritten, an answer is one that was true at one moment.
//!
//! Keys are one byte, which is also their hash (see `src/system_loom.rs`): a table begins with 16 buckets, so
//! keys that differ by a multiple of 16 share one, and the fourth of them gets an overflow line.

#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

use batchkv_protocol::{
    Answer, AnswerFrame, AnswerWriter, Counters, Operation, Position, SendBuffer,
};
use batchkv_store::{Engine, ExportCursor, Movable, Partitioned, Placed};
use loom::sync::Arc;
use loom::thread;

/// Keys of one bucket: three for its first line, one for an overflow line.
const BUCKET: [u8; 4] = [0, 16, 32, 48];
/// A key of another bucket.
const ELSEWHERE: u8 = 1;
/// Bytes of a value with the smallest kind of block, two words.
const VALUE_BYTES: usize = 16;
/// Records of a table with 16 buckets that grows with the next.
const RECORDS_BEFORE_SPLIT: u8 = 32;

/// Runs `model` in every order with at most `preemptions` switches away from a thread that could go on.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

struct Store(Partitioned);

impl Store {
    fn new() -> Self {
        Self(Partitioned::new(1, None))
    }

    /// Applies an operation and hands its answer over.
    fn apply<T>(&self, operation: Operation<'_>, answered: impl FnOnce(Answer<'_>) -> T) -> T {
        let position = Position {
            group: 0,
            operation: 0,
        };
        let placed = Placed {
            position,
            partition: 0,
            operation,
        };
        let mut buffer = SendBuffer::default();
        let mut answers = AnswerWriter::begin(&mut buffer, 1);
        let applied = self
            .0
            .apply(&[placed], &mut answers, &mut Counters::default());
        assert_eq!(applied, 1);
        answers.finish(true);
        let mut frame = AnswerFrame::parse(&buffer.pending()[4..]).unwrap();
        frame.next_piece().unwrap().unwrap();
        answered(frame.next_answer().unwrap().unwrap())
    }

    fn get(&self, key: u8) -> Option<Vec<u8>> {
        let key = [key];
        let key = (&key).into();
        self.apply(Operation::Get { key }, |answer| match answer {
            Answer::Value(value) => Some(value.to_vec()),
            Answer::Missing => None,
            other => panic!("{other:?} answers no get"),
        })
    }

    fn put(&self, key: u8, value: &[u8]) {
        let key = [key];
        let key = (&key).into();
        let is_stored = |answer: Answer<'_>| answer == Answer::Stored;
        assert!(self.apply(Operation::Put { key, value }, is_stored));
    }

    fn delete(&self, key: u8) {
        let key = [key];
        let key = (&key).into();
        let existed = |answer: Answer<'_>| answer == Answer::Deleted { existed: true };
        assert!(self.apply(Operation::Delete { key }, existed));
    }
}

/// A value that is recognised when it is torn.
fn value(byte: u8) -> Vec<u8> {
    vec![byte; VALUE_BYTES]
}

/// Runs `change` on the store that `prepare` made, while another thread gets `key` and judges the answer.
fn check_reader(
    preemptions: usize,
    prepare: fn(&Store),
    change: fn(&Store),
    key: u8,
    is_true: fn(Option<Vec<u8>>) -> bool,
) {
    check(preemptions, move || {
        let store = Arc::new(Store::new());
        prepare(&store);
        let reader = thread::spawn({
            let store = store.clone();
            move || {
                assert!(
                    is_true(store.get(key)),
                    "the reader was told what never was"
                )
            }
        });
        change(&store);
        reader.join().unwrap();
    });
}

#[test]
fn a_reader_sees_the_value_before_or_after_an_overwrite() {
    check_reader(
        3,
        |store| store.put(0, &value(1)),
        |store| store.put(0, &value(2)),
        0,
        |answer| answer == Some(value(1)) || answer == Some(value(2)),
    );
}

#[test]
fn a_reader_never_sees_what_a_deleted_values_block_holds_next() {
    check_reader(
        3,
        |store| store.put(0, &value(1)),
        |store| {
            store.delete(0);
            store.put(ELSEWHERE, &value(2));
        },
        0,
        |answer| answer.is_none() || answer == Some(value(1)),
    );
}

#[test]
fn a_reader_never_sees_what_another_writer_puts_into_a_deleted_values_block() {
    check(2, || {
        let store = Arc::new(Store::new());
        store.put(0, &value(1));
        let spawn = |run: fn(&Store)| {
            let store = store.clone();
            thread::spawn(move || run(&store))
        };
        let reader = spawn(|store| assert!([None, Some(value(1))].contains(&store.get(0))));
        let writer = spawn(|store| store.put(ELSEWHERE, &value(2)));
        store.delete(0);
        reader.join().unwrap();
        writer.join().unwrap();
    });
}

#[test]
fn a_reader_never_sees_what_a_replaced_values_block_holds_next() {
    check_reader(
        3,
        |store| store.put(0, &value(1)),
        |store| {
            // An empty value has no block.
            store.put(0, b"");
            store.put(ELSEWHERE, &value(2));
        },
        0,
        |answer| answer == Some(vec![]) || answer == Some(value(1)),
    );
}

#[test]
fn a_reader_never_takes_a_value_for_the_overflow_line_that_was_there() {
    /// The reader's key in each slot, with a locator of 16 bytes in a block that does not exist.
    fn line() -> Vec<u8> {
        let locator: u64 = 1000 | 16 << 32 | 1 << 60;
        let slot = [u64::from(BUCKET[3]), locator];
        let words = [[0, 0], slot, slot, slot];
        let words = words.as_flattened().iter();
        words.flat_map(|word| word.to_le_bytes()).collect()
    }
    check_reader(
        1,
        |store| {
            for key in BUCKET {
                store.put(key, b"");
            }
        },
        |store| {
            store.delete(BUCKET[0]);
            store.delete(BUCKET[3]);
            store.put(ELSEWHERE, &line());
        },
        BUCKET[3],
        |answer| answer.is_none() || answer == Some(vec![]),
    );
}

/// Fills a table so that the next new record splits the first bucket, out of which key 16 moves.
fn prepare_split(store: &Store) {
    for key in 0..RECORDS_BEFORE_SPLIT {
        store.put(key, b"");
    }
}

#[test]
fn a_reader_finds_a_key_that_a_split_moves() {
    check_reader(
        1,
        prepare_split,
        |store| store.put(RECORDS_BEFORE_SPLIT, b""),
        16,
        |answer| answer == Some(vec![]),
    );
}

#[test]
fn a_put_finds_the_bucket_that_a_split_moves_its_key_to() {
    check(1, || {
        let store = Arc::new(Store::new());
        prepare_split(&store);
        let writer = thread::spawn({
            let store = store.clone();
            move || store.put(16, b"new")
        });
        store.put(RECORDS_BEFORE_SPLIT, b"");
        writer.join().unwrap();
        assert_eq!(store.get(16), Some(b"new".to_vec()));
        let records = u64::from(RECORDS_BEFORE_SPLIT) + 1;
        assert_eq!(store.0.usage().records, records);
    });
}

#[test]
fn two_writers_of_a_bucket_lose_nothing() {
    for other in [BUCKET[0], BUCKET[1]] {
        check(3, move || {
            let store = Arc::new(Store::new());
            let writer = thread::spawn({
                let store = store.clone();
                move || store.put(other, &value(1))
            });
            store.put(BUCKET[0], &value(2));
            writer.join().unwrap();
            if other == BUCKET[0] {
                assert_eq!(store.0.usage().records, 1);
                let kept = store.get(other);
                assert!(kept == Some(value(1)) || kept == Some(value(2)));
            } else {
                assert_eq!(store.get(BUCKET[0]), Some(value(2)));
                assert_eq!(store.get(other), Some(value(1)));
            }
        });
    }
}

/// Everything that is exported, in one call.
fn export(store: &Store) -> Vec<(u8, Vec<u8>)> {
    let (mut records, mut next) = (Vec::new(), Some(ExportCursor::default()));
    while let Some(cursor) = next {
        next = store.0.export(0, &cursor, usize::MAX, &mut |key, value| {
            records.push((key[0], value.to_vec()));
        });
    }
    records
}

/// Runs `change` on the store that `prepare` made, while another thread exports and judges what came.
fn check_export(
    preemptions: usize,
    prepare: fn(&Store),
    change: fn(&Store),
    is_true: fn(Vec<(u8, Vec<u8>)>) -> bool,
) {
    check(preemptions, move || {
        let store = Arc::new(Store::new());
        prepare(&store);
        let exporter = thread::spawn({
            let store = store.clone();
            move || assert!(is_true(export(&store)), "an export of what never was")
        });
        change(&store);
        exporter.join().unwrap();
    });
}

#[test]
fn an_export_has_the_value_before_or_after_an_overwrite() {
    check_export(
        1,
        |store| store.put(0, &value(1)),
        |store| store.put(0, &value(2)),
        |records| records == [(0, value(1))] || records == [(0, value(2))],
    );
}

#[test]
fn an_export_never_has_what_a_deleted_values_block_holds_next() {
    check_export(
        1,
        |store| store.put(0, &value(1)),
        |store| {
            store.delete(0);
            store.put(ELSEWHERE, &value(2));
        },
        |records| {
            let mut records = records.into_iter();
            records.all(|record| record == (0, value(1)) || record == (ELSEWHERE, value(2)))
        },
    );
}

#[test]
fn an_export_beside_a_split_has_every_record_once() {
    check_export(
        1,
        prepare_split,
        |store| store.put(RECORDS_BEFORE_SPLIT, b""),
        |records| {
            let mut keys: Vec<_> = records.into_iter().map(|(key, _)| key).collect();
            keys.sort_unstable();
            keys.retain(|key| *key != RECORDS_BEFORE_SPLIT);
            keys.into_iter().eq(0..RECORDS_BEFORE_SPLIT)
        },
    );
}
