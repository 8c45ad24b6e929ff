//! Random windows against a map that cannot be wrong.

use crate::harness::{Answered, PARTITIONS, Session, delete, get, put};
use batchkv_protocol::Operation;
use batchkv_store::{Dashmap, Engine, Partitioned};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use std::collections::BTreeMap;

/// An operation that owns its bytes: kind, key, and length of the value.
type Owned = (u8, Vec<u8>, usize);

/// Few keys, so that they meet; of all forms.
fn key() -> impl Strategy<Value = Vec<u8>> {
    (
        0..40u8,
        prop_oneof![Just(1), Just(8), Just(9), Just(16), 1..30usize],
    )
        .prop_map(|(number, bytes)| vec![number; bytes])
}

fn operation() -> impl Strategy<Value = Owned> {
    let value_bytes = prop_oneof![4 => 0..40usize, 4 => 100..160usize, 1 => 0..6000usize];
    (any::<u8>(), key(), value_bytes)
}

fn check<E: Engine>(engine: &E, windows: &[Vec<Owned>]) {
    let mut model: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    let mut session = Session::new(engine);
    for (number, window) in windows.iter().enumerate() {
        let content = vec![number as u8; 6000];
        let operations: Vec<Operation<'_>> = window
            .iter()
            .map(|(kind, key, value_bytes)| match kind % 5 {
                0 | 1 => get(key),
                2 | 3 => put(key, &content[..*value_bytes]),
                _ => delete(key),
            })
            .collect();
        let expected: Vec<Answered> = operations
            .iter()
            .map(|operation| match *operation {
                Operation::Get { key } => model
                    .get(key.bytes())
                    .map_or(Answered::Missing, |value| Answered::Value(value.clone())),
                Operation::Put { key, value } => {
                    let key = window.iter().find(|owned| owned.1 == *key).unwrap();
                    model.insert(&key.1, value.to_vec());
                    Answered::Stored
                }
                Operation::Delete { key } => Answered::Deleted {
                    existed: model.remove(key.bytes()).is_some(),
                },
            })
            .collect();
        assert_eq!(session.apply_all(&operations), expected);
        assert_eq!(engine.usage().records, model.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn engines_agree_with_a_plain_map(windows in vec(vec(operation(), 1..70), 1..20)) {
        check(&Dashmap::new(PARTITIONS, None), &windows);
        check(&Partitioned::new(PARTITIONS, None), &windows);
    }
}
