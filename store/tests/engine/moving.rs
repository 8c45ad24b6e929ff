//! What moving a partition needs, on each engine: export while writes go on, import, clear.

use crate::harness::{PARTITIONS, Stream, delete, get, put};
use batchkv_protocol::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use batchkv_protocol::{Counters, KeptAnswers, Operation, Position};
use batchkv_store::{Dashmap, Engine, ExportCursor, Movable, Partitioned, Placed};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const PARTITION: u32 = 5;
const OTHER_PARTITION: u32 = 6;

type Content = BTreeMap<Vec<u8>, Vec<u8>>;
/// A key, and its new value or none.
type Write = (Vec<u8>, Option<Vec<u8>>);

/// Keys in and out of their slots.
fn key(number: u64) -> Vec<u8> {
    let mut key = number.to_string().into_bytes();
    key.resize(key.len() + (number % 4) as usize * 5, b'/');
    key
}

fn apply(engine: &impl Engine, operation: Operation<'_>) {
    let position = Position {
        group: 0,
        operation: 0,
    };
    let placed = Placed {
        position,
        partition: PARTITION,
        operation,
    };
    let mut answers = KeptAnswers::new(usize::MAX);
    let applied = engine.apply(&[placed], &mut answers, &mut Counters::default());
    assert_eq!(applied, 1);
}

fn write(engine: &impl Engine, (key, value): &Write) {
    match value {
        Some(value) => apply(engine, put(key, value)),
        None => apply(engine, delete(key)),
    }
}

fn replay(content: &mut Content, (key, value): &Write) {
    match value {
        Some(value) => drop(content.insert(key.clone(), value.clone())),
        None => drop(content.remove(key)),
    }
}

/// One call; no key comes twice.
fn export_step(
    engine: &impl Movable,
    cursor: &ExportCursor,
    limit_bytes: usize,
    content: &mut Content,
) -> Option<ExportCursor> {
    let (mut bytes, mut records) = (0, 0);
    let next = engine.export(PARTITION, cursor, limit_bytes, &mut |key, value| {
        bytes += key.len() + value.len();
        records += 1;
        let before = content.insert(key.to_vec(), value.to_vec());
        assert_eq!(before, None, "exported twice");
    });
    assert!(bytes <= limit_bytes || records == 1);
    next
}

fn export_all(engine: &impl Movable, limit_bytes: usize) -> Content {
    let (mut content, mut next) = (Content::new(), Some(ExportCursor::default()));
    while let Some(cursor) = next {
        next = export_step(engine, &cursor, limit_bytes, &mut content);
    }
    content
}

/// What happens between two steps of an export.
#[derive(Debug, Clone)]
enum Between {
    /// Puts of new keys and old ones, which make the table grow.
    Puts(Range<u64>, usize),
    Deletes(Range<u64>),
}

fn between() -> impl Strategy<Value = Between> {
    let keys = || (0..2000_u64, 0..200_u64).prop_map(|(first, count)| first..first + count);
    let bytes = prop_oneof![4 => 0..40_usize, 4 => 100..160_usize, 1 => 0..6000_usize];
    prop_oneof![
        2 => (keys(), bytes).prop_map(|(keys, bytes)| Between::Puts(keys, bytes)),
        1 => keys().prop_map(Between::Deletes),
    ]
}

fn writes(between: &Between, step: usize) -> Vec<Write> {
    let value = |bytes: usize| Some(vec![step as u8; bytes]);
    match between {
        Between::Puts(keys, bytes) => keys.clone().map(|n| (key(n), value(*bytes))).collect(),
        Between::Deletes(keys) => keys.clone().map(|n| (key(n), None)).collect(),
    }
}

/// Exports in steps with writes in between, and checks what it makes with those writes.
fn check_export(engine: &impl Movable, before: u64, limit_bytes: usize, steps: &[Between]) {
    let mut model = Content::new();
    for number in 0..before {
        let write = (key(number), Some(number.to_le_bytes().to_vec()));
        replay(&mut model, &write);
        self::write(engine, &write);
    }
    let mut throughout = model.clone();
    let (mut copy, mut log) = (Content::new(), Vec::new());
    let mut next = Some(ExportCursor::default());
    for (number, between) in steps.iter().enumerate() {
        if let Some(cursor) = next {
            next = export_step(engine, &cursor, limit_bytes, &mut copy);
        }
        let writes = writes(between, number);
        writes.iter().for_each(|write| self::write(engine, write));
        log.extend(writes);
    }
    while let Some(cursor) = next {
        next = export_step(engine, &cursor, limit_bytes, &mut copy);
    }
    for write in &log {
        throughout.remove(&write.0);
        replay(&mut model, write);
    }
    for (key, value) in &throughout {
        assert_eq!(copy.get(key), Some(value), "a record that nobody touched");
    }
    for write in &log {
        replay(&mut copy, write);
    }
    assert_eq!(copy, model);
    assert_eq!(export_all(engine, 777), model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_export_and_the_writes_since_its_begin_are_the_content(
        before in 0..600_u64,
        limit_bytes in prop_oneof![Just(0), 1..300_usize, 300..20_000_usize],
        steps in vec(between(), 0..25),
    ) {
        check_export(&Partitioned::new(PARTITIONS, None), before, limit_bytes, &steps);
        check_export(&Dashmap::new(PARTITIONS, None), before, limit_bytes, &steps);
    }
}

/// Writes of one thread of several, on keys of its own: ever more of them, so that the table grows.
fn write_many(engine: &impl Engine, writer: u64, done: &AtomicUsize) -> Vec<Write> {
    let (mut stream, mut log) = (Stream(writer), Vec::new());
    for count in 0..40_000 {
        let number = 4 * stream.below(500 + count / 10) + writer;
        let bytes = stream.below(200) as usize;
        let value = (stream.below(4) > 0).then(|| vec![count as u8; bytes]);
        let write = (key(number), value);
        self::write(engine, &write);
        log.push(write);
    }
    done.fetch_add(1, Ordering::Release);
    log
}

/// Does something again and again while two threads write, and gives what came of it and what each wrote.
fn beside_writers<T>(
    engine: &impl Engine,
    mut act: impl FnMut() -> T,
) -> (Vec<T>, [Vec<Write>; 2]) {
    let done = &AtomicUsize::new(0);
    thread::scope(|scope| {
        let writers = [0, 1].map(|writer| scope.spawn(move || write_many(engine, writer, done)));
        let mut acts = Vec::new();
        while done.load(Ordering::Acquire) < writers.len() {
            acts.push(act());
        }
        (acts, writers.map(|writer| writer.join().unwrap()))
    })
}

/// The key of a record that no writer touches.
fn key_throughout(number: u64) -> Vec<u8> {
    key(4 * number + 3)
}

fn writers_do_not_disturb_an_export<E: Movable>(engine: &E) {
    const THROUGHOUT: Range<u64> = 0..2000;
    for key in THROUGHOUT.map(key_throughout) {
        engine.import(PARTITION, &key, &key).unwrap();
    }
    let (exports, logs) = beside_writers(engine, || export_all(engine, 3000));
    let content = export_all(engine, usize::MAX);
    // Each log is whole, so it has all writes since any export's begin; the last on a key is what counts.
    let last: BTreeMap<_, _> = logs.into_iter().flatten().collect();
    for mut copy in exports {
        for key in THROUGHOUT.map(key_throughout) {
            assert_eq!(copy.get(&key), Some(&key));
        }
        for (key, value) in &last {
            replay(&mut copy, &(key.clone(), value.clone()));
        }
        assert!(copy == content);
    }
}

fn extreme_records_move<E: Movable>(engine: &E) {
    let long: Vec<u8> = (0..VALUE_BYTES_MAX).map(|at| (at % 251) as u8).collect();
    let mut model = Content::new();
    for key_bytes in [1, 7, 8, 9, 16, 17, 1000, KEY_BYTES_MAX] {
        for value_bytes in [0, 1, 8, VALUE_BYTES_MAX] {
            let key = vec![value_bytes as u8 ^ 0x55; key_bytes];
            engine
                .import(PARTITION, &key, &long[..value_bytes])
                .unwrap();
            model.insert(key, long[..value_bytes].to_vec());
        }
    }
    for limit_bytes in [0, 1, 5000, 3 << 20] {
        assert!(export_all(engine, limit_bytes) == model);
    }
}

fn an_import_is_a_put<E: Movable>(engine: &E) {
    for value in [&b"first"[..], b"", b"third"] {
        engine.import(PARTITION, b"key", value).unwrap();
        assert_eq!(engine.usage().records, 1);
        assert_eq!(export_all(engine, 1)[&b"key"[..]], value);
    }
    let mut counters = Counters::default();
    let placed = Placed {
        position: Position {
            group: 0,
            operation: 0,
        },
        partition: PARTITION,
        operation: get(b"key"),
    };
    engine.apply(&[placed], &mut KeptAnswers::new(100), &mut counters);
    assert_eq!(counters.hits, 1);
}

fn clear_removes_one_partition<E: Movable>(engine: &E) {
    for number in 0..3000 {
        engine
            .import(PARTITION, &key(number), &key(number))
            .unwrap();
        engine.import(OTHER_PARTITION, &key(number), b"").unwrap();
    }
    engine.clear(PARTITION);
    assert_eq!(engine.usage().records, 3000);
    assert_eq!(export_all(engine, 1000), Content::new());
    engine.import(PARTITION, b"again", b"").unwrap();
    assert_eq!(engine.usage().records, 3001);
    engine.clear(OTHER_PARTITION);
    engine.clear(PARTITION);
    assert_eq!(engine.usage().records, 0);
}

/// Others write while a partition is cleared again and again: nothing is counted twice or lost.
fn clear_beside_writers_counts_right<E: Movable>(engine: &E) {
    let mut number = 0;
    beside_writers(engine, || {
        number += 1;
        let key = key_throughout(number);
        engine.import(PARTITION, &key, b"").unwrap();
        engine.clear(PARTITION);
    });
    let content = export_all(engine, usize::MAX);
    assert_eq!(engine.usage().records, content.len() as u64);
    assert!((0..=number).all(|number| !content.contains_key(&key_throughout(number))));
    engine.clear(PARTITION);
    assert_eq!(engine.usage().records, 0);
}

fn a_full_store_refuses_an_import<E: Movable>(engine: &E) {
    let value = vec![1; 10_000];
    let refused =
        (0..10_000).find(|number| engine.import(PARTITION, &key(*number), &value).is_err());
    let refused = refused.unwrap();
    assert_eq!(engine.usage().records, refused);
    engine.clear(PARTITION);
    for number in 0..refused {
        engine.import(PARTITION, &key(number), &value).unwrap();
    }
}

macro_rules! on_both {
    ($($test:ident($limit:expr),)*) => {
        mod dashmap {
            $(#[test] fn $test() { super::$test(&super::Dashmap::new(super::PARTITIONS, $limit)); })*
        }
        mod partitioned {
            $(#[test] fn $test() { super::$test(&super::Partitioned::new(super::PARTITIONS, $limit)); })*
        }
    };
}

on_both! {
    writers_do_not_disturb_an_export(None),
    extreme_records_move(None),
    an_import_is_a_put(None),
    clear_removes_one_partition(None),
    clear_beside_writers_counts_right(None),
    a_full_store_refuses_an_import(Some(4 << 20)),
}

#[test]
fn memory_of_a_cleared_partition_is_used_again() {
    let engine = Partitioned::new(PARTITIONS, None);
    let value = [7; 3000];
    let import = || {
        for number in 0..20_000 {
            let bytes = (number * 37 % 3000) as usize;
            engine
                .import(PARTITION, &key(number), &value[..bytes])
                .unwrap();
        }
    };
    import();
    let after_first = engine.usage().memory_bytes;
    for _ in 0..5 {
        engine.clear(PARTITION);
        assert_eq!(engine.usage().records, 0);
        import();
        assert!(engine.usage().memory_bytes <= after_first);
    }
}
