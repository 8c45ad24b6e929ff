//! The baseline: a sharded hash map with boxed keys and values, one lookup an operation.

use super::{Engine, OutOfMemory, Placed, Usage, answer_delete, answer_put};
use ::dashmap::DashMap;
use ::dashmap::mapref::entry::Entry;
use batchkv_protocol::{Answer, Answers, Counters, Operation, Position};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Shards of the map; many times the server's threads, so that two seldom meet.
const SHARDS: usize = 1024;
/// What a record costs besides its key and value: two boxes of 16 bytes, a control byte, the spare
/// slots of a table between 7/16 and 7/8 full, and what the allocator adds to two allocations.
const RECORD_OVERHEAD_BYTES: u64 = 80;

/// The engine `dashmap`.
///
/// Memory is counted approximately: keys, values and a fixed overhead a record.
#[derive(Debug)]
pub struct Dashmap {
    map: DashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>,
    memory_bytes: AtomicU64,
    memory_bytes_max: u64,
}

impl Dashmap {
    /// An empty store that uses up to `memory_bytes_max` bytes; `None` = no limit.
    #[must_use]
    pub fn new(memory_bytes_max: Option<u64>) -> Self {
        Self {
            map: DashMap::with_capacity_and_hasher_and_shard_amount(
                0,
                ahash::RandomState::new(),
                SHARDS,
            ),
            memory_bytes: AtomicU64::new(0),
            memory_bytes_max: memory_bytes_max.unwrap_or(u64::MAX),
        }
    }

    fn get(
        &self,
        position: Position,
        key: &[u8],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> bool {
        let found = self.map.get(key);
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

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), OutOfMemory> {
        // An overwrite borrows its key; only a new record allocates one.
        if let Some(mut present) = self.map.get_mut(key) {
            self.exchange_bytes(present.len() as u64, value.len() as u64)?;
            *present = value.into();
            return Ok(());
        }
        match self.map.entry(key.into()) {
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

    fn remove(&self, key: &[u8]) -> bool {
        let removed = self.map.remove(key);
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
        let mut fits = |placed: &Placed<'_>| match placed.operation {
            Operation::Get { key } => self.get(placed.position, &key, answers, counters),
            Operation::Put { key, value } => {
                answer_put(placed.position, answers, counters, || self.put(&key, value))
            }
            Operation::Delete { key } => {
                answer_delete(placed.position, answers, counters, || self.remove(&key))
            }
        };
        window
            .iter()
            .position(|placed| !fits(placed))
            .unwrap_or(window.len())
    }

    fn usage(&self) -> Usage {
        Usage {
            records: self.map.len() as u64,
            memory_bytes: self.memory_bytes.load(Relaxed),
        }
    }
}
