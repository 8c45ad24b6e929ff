//! The baseline: sharded hash maps, one a partition, with boxed keys and values, one lookup an operation.

use crate::engine::{
    Engine, ExportCursor, Movable, OutOfMemory, Placed, Usage, answer_delete, answer_put,
};
use ::dashmap::DashMap;
use ::dashmap::mapref::entry::Entry;
use batchkv_protocol::{Answer, Answers, Counters, Operation, Position};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Shards of all maps; many times the server's threads, so that two seldom meet.
const SHARDS: usize = 1024;
/// The fewest that a map can have.
const MAP_SHARDS_MIN: usize = 2;
/// What a record costs besides its key and value: two boxes of 16 bytes, a control byte, the spare
/// slots of a table between 7/16 and 7/8 full, and what the allocator adds to two allocations.
const RECORD_OVERHEAD_BYTES: u64 = 80;

type Map = DashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>;

/// The engine `dashmap`.
///
/// Memory is counted approximately: keys, values and a fixed overhead a record.
#[derive(Debug)]
pub struct Dashmap {
    maps: Box<[Map]>,
    memory_bytes: AtomicU64,
    memory_bytes_max: u64,
}

impl Dashmap {
    /// An empty store of `partitions` maps that uses up to `memory_bytes_max` bytes; `None` = no limit.
    #[must_use]
    pub fn new(partitions: u32, memory_bytes_max: Option<u64>) -> Self {
        let shards = (SHARDS / (partitions as usize).max(1)).max(MAP_SHARDS_MIN);
        let shards = shards.next_power_of_two();
        let hash = ahash::RandomState::new();
        let map = |_| DashMap::with_capacity_and_hasher_and_shard_amount(0, hash.clone(), shards);
        Self {
            maps: (0..partitions).map(map).collect(),
            memory_bytes: AtomicU64::new(0),
            memory_bytes_max: memory_bytes_max.unwrap_or(u64::MAX),
        }
    }

    fn map(&self, partition: u32) -> &Map {
        &self.maps[partition as usize]
    }

    fn get(
        &self,
        map: &Map,
        position: Position,
        key: &[u8],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> bool {
        let found = map.get(key);
        let answer = found
            .as_ref()
            .map_or(Answer::Missing, |value| Answer::Value(value));
        let fits = answers.answer(position, answer);
        counters.gets += u64::from(fits);
        if let (true, Some(value)) = (fits, found) {
            counters.hits += 1;
            answers.refer(value.as_ptr().addr() as u64);
        }
        fits
    }

    fn put(&self, map: &Map, key: &[u8], value: &[u8]) -> Result<(), OutOfMemory> {
        // An overwrite borrows its key; only a new record allocates one.
        if let Some(mut present) = map.get_mut(key) {
            self.exchange_bytes(present.len() as u64, value.len() as u64)?;
            *present = value.into();
            return Ok(());
        }
        match map.entry(key.into()) {
            Entry::Occupied(mut present) => {
                self.exchange_bytes(present.get().len() as u64, value.len() as u64)?;
                present.insert(value.into());
            }
            Entry::Vacant(vacant) => {
                self.exchange_bytes(0, record_bytes(key, value))?;
                vacant.insert(value.into());
            }
        }
        Ok(())
    }

    fn remove(&self, map: &Map, key: &[u8]) -> bool {
        let removed = map.remove(key);
        if let Some((key, value)) = &removed {
            self.memory_bytes
                .fetch_sub(record_bytes(key, value), Relaxed);
        }
        removed.is_some()
    }

    /// Counts `new_bytes` in place of `old_bytes`, unless that needs more than may be used.
    fn exchange_bytes(&self, old_bytes: u64, new_bytes: u64) -> Result<(), OutOfMemory> {
        if new_bytes <= old_bytes {
            self.memory_bytes.fetch_sub(old_bytes - new_bytes, Relaxed);
            return Ok(());
        }
        let more = new_bytes - old_bytes;
        let used = self.memory_bytes.fetch_add(more, Relaxed);
        if used + more > self.memory_bytes_max {
            self.memory_bytes.fetch_sub(more, Relaxed);
            return Err(OutOfMemory);
        }
        Ok(())
    }
}

fn record_bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + RECORD_OVERHEAD_BYTES
}

impl Engine for Dashmap {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let mut fits = |placed: &Placed<'_>| {
            let (map, position) = (self.map(placed.partition), placed.position);
            match placed.operation {
                Operation::Get { key } => self.get(map, position, &key, answers, counters),
                Operation::Put { key, value } => {
                    answer_put(position, answers, counters, || self.put(map, &key, value))
                }
                Operation::Delete { key } => {
                    answer_delete(position, answers, counters, || self.remove(map, &key))
                }
            }
        };
        window
            .iter()
            .position(|placed| !fits(placed))
            .unwrap_or(window.len())
    }

    fn usage(&self) -> Usage {
        Usage {
            records: self.maps.iter().map(|map| map.len() as u64).sum(),
            memory_bytes: self.memory_bytes.load(Relaxed),
        }
    }
}

impl Movable for Dashmap {
    /// In the order of the keys' hashes. The map keeps no order, so each call looks at all its records.
    fn export(
        &self,
        partition: u32,
        cursor: &ExportCursor,
        limit_bytes: usize,
        sink: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<ExportCursor> {
        let map = self.map(partition);
        let (keys, next) = first_keys(map, cursor.0, limit_bytes);
        let (mut value, mut bytes, mut last) = (Vec::new(), 0, None);
        for (hash, key) in keys {
            // Copied, so that no shard is locked while the sink works; removed since, if it is not there.
            let Some(present) = map.get(&key) else {
                continue;
            };
            value.clear();
            value.extend_from_slice(&present);
            drop(present);
            // It may have grown since it was chosen. No cursor lies between keys with equal hashes.
            bytes += key.len() + value.len();
            if bytes > limit_bytes && last.is_some_and(|last| last != hash) {
                return Some(ExportCursor(hash));
            }
            sink(&key, &value);
            last = Some(hash);
        }
        next.map(ExportCursor)
    }

    fn import(&self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), OutOfMemory> {
        self.put(self.map(partition), key, value)
    }

    fn clear(&self, partition: u32) {
        self.map(partition).retain(|key, value| {
            self.memory_bytes
                .fetch_sub(record_bytes(key, value), Relaxed);
            false
        });
    }
}

/// A key behind its hash.
type HashedKey = (u64, Box<[u8]>);

/// The keys with the lowest hashes from `from` on whose records have `limit_bytes` together, at least one, each with
/// its hash; and the next hash, `None` if there are no more.
fn first_keys(map: &Map, from: u64, limit_bytes: usize) -> (Vec<HashedKey>, Option<u64>) {
    let mut first = BTreeMap::<HashedKey, usize>::new();
    let (mut bytes, mut next) = (0, None);
    for record in map {
        let hash = map.hasher().hash_one(record.key());
        if hash < from || next.is_some_and(|next| hash >= next) {
            continue;
        }
        let record_bytes = record.key().len() + record.value().len();
        first.insert((hash, record.key().clone()), record_bytes);
        bytes += record_bytes;
        while bytes > limit_bytes
            && let (Some(((lowest, _), _)), Some(((highest, _), _))) =
                (first.first_key_value(), first.last_key_value())
            && lowest != highest
        {
            next = Some(*highest);
            while let Some(last) = first.last_entry()
                && next == Some(last.key().0)
            {
                bytes -= last.remove();
            }
        }
    }
    (first.into_keys().collect(), next)
}
