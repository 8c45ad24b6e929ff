//! Memory and growth of `partitioned`.

use crate::harness::{Answered, PARTITIONS, Session, Stream, delete, get, put};
use batchkv_protocol::Operation;
use batchkv_store::{Engine, Partitioned};

fn keys(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|key| key.to_string().into_bytes()).collect()
}

#[test]
fn a_million_records_are_found_and_cost_little() {
    const RECORDS: usize = 1_000_000;
    let engine = Partitioned::new(256, None);
    let mut session = Session::new(&engine);
    let keys = keys(RECORDS);
    let content = [7; 128];
    for keys in keys.chunks(64) {
        let puts: Vec<_> = keys.iter().map(|key| put(key, &content)).collect();
        session.apply(&puts);
    }
    for keys in keys.chunks(64) {
        let gets: Vec<_> = keys.iter().map(|key| get(key)).collect();
        session.apply(&gets);
    }
    assert_eq!(session.counters.hits, RECORDS as u64);
    let usage = engine.usage();
    assert_eq!(usage.records, RECORDS as u64);
    let content_bytes: usize = keys.iter().map(|key| key.len() + content.len()).sum();
    let spare_bytes = 8 * RECORDS;
    assert!(usage.memory_bytes as usize + spare_bytes <= content_bytes * 135 / 100);
}

/// Overwrites everything ten times with values of 1 to 1024 bytes.
#[test]
fn churn_does_not_leak() {
    const RECORDS: usize = 60_000;
    let engine = Partitioned::new(PARTITIONS, None);
    let mut session = Session::new(&engine);
    let mut sizes = Stream(1);
    let keys = keys(RECORDS);
    let content = [7; 1024];
    let mut memory_bytes = Vec::new();
    for _ in 0..=10 {
        let mut live_bytes = 0;
        for keys in keys.chunks(64) {
            let puts: Vec<Operation<'_>> = keys
                .iter()
                .map(|key| put(key, &content[..1 + sizes.below(1024) as usize]))
                .collect();
            session.apply(&puts);
            live_bytes += puts.iter().map(put_bytes).sum::<usize>();
        }
        memory_bytes.push(engine.usage().memory_bytes);
        assert!(engine.usage().memory_bytes as usize <= live_bytes * 16 / 10);
    }
    // A thousandth: each process hashes differently, so now and then a chain gets its line late.
    let allowed_bytes = memory_bytes[5] + memory_bytes[5] / 1000;
    assert!(memory_bytes[10] <= allowed_bytes, "{memory_bytes:?}");
    assert_eq!(session.counters.refused, 0);
}

fn put_bytes(operation: &Operation<'_>) -> usize {
    match operation {
        Operation::Put { key, value } => key.len() + value.len(),
        _ => 0,
    }
}

#[test]
fn space_of_deleted_records_is_used_again() {
    let engine = Partitioned::new(PARTITIONS, None);
    let mut session = Session::new(&engine);
    let keys = keys(20_000);
    let mut after_first_round = 0;
    for round in 0..4 {
        for key in &keys {
            session.one(put(key, &[round; 100]));
        }
        for key in &keys {
            let deleted = Answered::Deleted { existed: true };
            assert_eq!(session.one(delete(key)), deleted);
        }
        match round {
            0 => after_first_round = engine.usage().memory_bytes,
            _ => assert_eq!(engine.usage().memory_bytes, after_first_round),
        }
    }
}
