//! Words that no thread but an unlucky one ever sees.

use super::locator::Locator;
use super::slab::Block;
use super::words::copy_in;
use super::*;
use batchkv_protocol::{KeptAnswers, Position};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

/// A long key's hash may be what stands in an empty slot.
#[test]
fn a_long_key_whose_hash_is_0_is_found_only_where_it_is() {
    let slab = Slab::new(None);
    let table = Table::new(&slab, 0);
    let bytes = &b"longer than a word"[..];
    let key = Key {
        bytes,
        word: 0,
        hash: 0,
    };
    let mut lookup = Lookup::new(&slab, &table, key);
    lookup.search_head();
    assert!(!matches!(lookup.finding, Finding::Present(_)));
    lookup.search(&slab);
    assert!(matches!(lookup.finding, Finding::Absent));
    let block = slab.allocate(0, key.block_bytes(0)).unwrap();
    let [length, words @ ..] = slab.words(block.unit) else {
        panic!("a block has words");
    };
    length.store(bytes.len() as u64, Relaxed);
    copy_in(bytes, words);
    let guard = lookup.lock(&slab);
    let content = (key.word, Locator::new(Some(block), 0, &key));
    bucket::push(&slab, 0, lookup.head, content).unwrap();
    drop(guard);
    lookup.search(&slab);
    assert!(matches!(lookup.finding, Finding::Present(_)));
}

/// On processors that reorder loads, a locator can be seen before the chunk that it names.
#[test]
fn a_block_in_a_chunk_that_is_not_visible_yet_is_no_harm() {
    let store = Partitioned::new(1, None);
    for bytes in [&b"short"[..], b"longer than a word"] {
        let placed = Placed {
            position: Position {
                group: 0,
                operation: 0,
            },
            partition: 0,
            operation: Operation::Get { key: bytes.into() },
        };
        let key = Key::new(placed.operation.key(), &store.secrets);
        let mut lookup = Lookup::new(&store.slab, &store.tables[0], key);
        let guard = lookup.lock(&store.slab);
        let block = Block {
            unit: u32::MAX,
            class: 0,
        };
        let content = (key.word, Locator::new(Some(block), 1000, &key));
        bucket::push(&store.slab, 0, lookup.head, content).unwrap();
        drop(guard);
        store.stage(&[placed], &mut [None; WINDOW_OPERATIONS]);
    }
}

/// Where the change stopped is not known, so neither is what the bucket holds: whoever needs it ends.
#[test]
fn a_bucket_whose_change_a_panic_interrupted_is_read_by_nobody() {
    let store = Partitioned::new(2, None);
    store.import(0, b"key", b"value").unwrap();
    store.import(1, b"key", b"value").unwrap();
    let panics = |act: &dyn Fn()| catch_unwind(AssertUnwindSafe(act)).is_err();
    assert!(panics(&|| {
        let key = Key::new((&b"key"[..]).into(), &store.secrets);
        let _guard = Lookup::new(&store.slab, &store.tables[0], key).lock(&store.slab);
        panic!("the test's own panic, in the middle of a change");
    }));
    let export = |partition| {
        let mut records = 0;
        let mut count = |_: &[u8], _: &[u8]| records += 1;
        store.export(partition, &ExportCursor::default(), 100, &mut count);
        records
    };
    let get = |partition| {
        let placed = Placed {
            position: Position {
                group: 0,
                operation: 0,
            },
            partition,
            operation: Operation::Get {
                key: (&b"key"[..]).into(),
            },
        };
        let mut answers = KeptAnswers::new(100);
        store.apply(&[placed], &mut answers, &mut Counters::default());
    };
    assert!(panics(&|| get(0)));
    assert!(panics(&|| store.import(0, b"key", b"new").unwrap()));
    assert!(panics(&|| {
        export(0);
    }));
    assert!(panics(&|| store.clear(0)));
    get(1);
    store.import(1, b"key", b"new").unwrap();
    assert_eq!(export(1), 1);
}
