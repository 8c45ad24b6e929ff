//! How tables grow, and how long chains become.

use super::super::bucket::SLOTS;
use super::super::locator::Locator;
use super::*;
use batchkv_protocol::placement;

struct Fixture {
    table: Table,
    slab: Slab,
    secrets: Secrets,
}

impl Fixture {
    fn new(memory_bytes_max: Option<u64>) -> Self {
        let slab = Slab::new(memory_bytes_max);
        Self {
            table: Table::new(&slab, 0),
            slab,
            secrets: Secrets::random(),
        }
    }

    fn buckets(&self) -> u64 {
        self.table.buckets.load(Ordering::Relaxed)
    }

    /// Adds a record, without a value if its key is short.
    fn add(&self, key: &[u8]) -> Result<(), OutOfMemory> {
        let key = Key::new(key.into(), &self.secrets);
        let mut lookup = Lookup::new(&self.slab, &self.table, key);
        let guard = lookup.lock(&self.slab);
        assert!(matches!(lookup.finding, Finding::Absent));
        // The length keeps the locator of a long key from being 0; chains never look into blocks.
        let locator = Locator::new(None, 1, &key);
        let pushed = bucket::push(&self.slab, 0, lookup.head, (key.word, locator));
        if pushed.is_ok() {
            self.table.record_added();
        }
        drop(guard);
        self.table.grow(&self.slab, &self.secrets);
        pushed
    }

    /// Adds a record, and gives how many were moved for it: all in the bucket that it split.
    fn add_and_count_moved(&self, key: &[u8]) -> usize {
        let before = self.buckets();
        let (in_next_split, _) = self.chain(before ^ (1 << before.ilog2()));
        self.add(key).unwrap();
        let splits = (self.buckets() - before) as usize;
        assert!(splits <= 1);
        splits * (in_next_split + 1)
    }

    /// Records and lines of each bucket's chain.
    fn chains(&self) -> Vec<(usize, usize)> {
        (0..self.buckets()).map(|index| self.chain(index)).collect()
    }

    fn chain(&self, index: u64) -> (usize, usize) {
        let (mut contents, mut lines) = (Vec::new(), Vec::new());
        let head = self.table.bucket(&self.slab, index);
        bucket::collect(&self.slab, head, &mut contents, &mut lines);
        for (word, locator) in &contents {
            let hash = self.secrets.hash(*word, locator.form());
            assert_eq!(
                super::index(self.buckets(), hash),
                index,
                "a record in the wrong bucket"
            );
        }
        (contents.len(), 1 + lines.len())
    }
}

/// Records in the chains, and the most lines of one.
fn sum_and_longest(chains: &[(usize, usize)]) -> (usize, usize) {
    let records = chains.iter().map(|(records, _)| records).sum();
    let longest = chains.iter().map(|(_, lines)| *lines).max();
    (records, longest.unwrap_or(0))
}

/// Most lines of a chain, and so most records that a put may have to move. Records fall into buckets as if
/// at random, four at most on average, so more than 21 in one are less likely than 1 in 10^9; the worst of a
/// million secrets put 17 of 30,000 decimal keys into one.
const CHAIN_LINES_MAX: usize = 7;
const MOVED_MAX: usize = CHAIN_LINES_MAX * SLOTS;

#[test]
fn segments_follow_each_other() {
    let mut expected = (0, 0);
    for index in 0..100_000 {
        let (segment, segment_buckets, bucket) = locate(index);
        assert_eq!((segment, bucket), expected);
        assert!(
            segment_buckets <= SEGMENT_BUCKETS.max(index / SEGMENTS_PER_SIZE + SEGMENT_BUCKETS)
        );
        expected = match bucket + 1 {
            end if end == segment_buckets => (segment + 1, 0),
            next => (segment, next),
        };
    }
}

#[test]
fn each_new_record_moves_few() {
    let fixture = Fixture::new(None);
    for key in 0..30_000u32 {
        let moved = fixture.add_and_count_moved(key.to_string().as_bytes());
        assert!(moved <= MOVED_MAX, "{moved} records moved");
    }
    let chains = fixture.chains();
    assert_eq!(chains.len() as u64, 30_000 / RECORDS_PER_BUCKET);
    let (records, longest) = sum_and_longest(&chains);
    assert_eq!(records, 30_000);
    assert!(longest <= CHAIN_LINES_MAX, "{longest} lines");
    for (records, lines) in chains {
        assert_eq!(lines, records.div_ceil(SLOTS).max(1), "a chain with holes");
    }
}

/// Anybody can make keys that the public hash places alike, and flood a partition with them; they must
/// not share buckets, nor make its growth dearer.
#[test]
fn keys_with_equal_placement_spread() {
    // A first word that makes the hash's first product zero, whatever the second is.
    const ZERO: u64 = 0x1319_8A2E_0370_7344;
    let fixture = Fixture::new(None);
    for number in 0..20_000u64 {
        let key = [ZERO, number].map(u64::to_le_bytes).concat();
        assert_eq!(placement(&key), placement(&ZERO.to_le_bytes().repeat(2)));
        let moved = fixture.add_and_count_moved(&key);
        assert!(moved <= MOVED_MAX, "{moved} records moved");
    }
    let (records, longest) = sum_and_longest(&fixture.chains());
    assert_eq!(records, 20_000);
    assert!(longest <= CHAIN_LINES_MAX, "{longest} lines");
}

#[test]
fn a_table_without_memory_for_buckets_refuses_or_chains() {
    let fixture = Fixture::new(Some(64 << 10));
    let added = (0..100_000u32)
        .take_while(|key| fixture.add(&key.to_le_bytes()).is_ok())
        .count();
    assert!(fixture.slab.memory.used_bytes() <= 64 << 10);
    assert!(added >= (64 << 10) / LINE_BYTES, "{added} records");
    assert_eq!(sum_and_longest(&fixture.chains()).0, added);
}
