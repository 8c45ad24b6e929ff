//! Puts and deletes: each changes one bucket, under its lock.

use super::Partitioned;
use super::bucket::{self, Slot};
use super::key::Key;
use super::locator::Locator;
use super::slab::Block;
use super::table::{Finding, Lookup, Table};
use super::words::copy_in;
use crate::engine::OutOfMemory;
use std::sync::atomic::Ordering::Relaxed;

/// Blocks above this are written before the bucket is locked, so that its readers wait for a
/// reference only.
const LONG_BLOCK_BYTES_MIN: usize = 4 << 10;

impl Partitioned {
    pub(super) fn put<'s>(
        &'s self,
        lookup: &mut Lookup<'s, '_>,
        value: &[u8],
    ) -> Result<(), OutOfMemory> {
        let (table, key) = (lookup.table, lookup.key);
        let is_long = key.block_bytes(value.len()) >= LONG_BLOCK_BYTES_MIN;
        // Without memory for a new block, the value may still fit in place.
        let written = if is_long {
            self.write_block(table, &key, value).unwrap_or(None)
        } else {
            None
        };
        let guard = lookup.lock(&self.slab);
        if let Finding::Present(slot) = lookup.finding {
            return self.replace(lookup, &slot, value, written);
        }
        let block = match written {
            Some(block) => Some(block),
            None => self.write_block(table, &key, value)?,
        };
        let content = (key.word, Locator::new(block, value.len(), &key));
        let pushed = bucket::push(&self.slab, table.arena, lookup.head, content);
        if pushed.is_ok() {
            table.record_added();
        }
        drop(guard);
        match (pushed, block) {
            (Ok(()), _) => table.grow(&self.slab, &self.secrets),
            (Err(OutOfMemory), Some(block)) => self.slab.free(table.arena, block),
            (Err(OutOfMemory), None) => {}
        }
        pushed
    }

    /// Replaces the value in `slot`, by the block `written` if there is one. The bucket is locked.
    #[inline]
    fn replace(
        &self,
        lookup: &Lookup<'_, '_>,
        slot: &Slot<'_>,
        value: &[u8],
        written: Option<Block>,
    ) -> Result<(), OutOfMemory> {
        let key = &lookup.key;
        let bytes = key.block_bytes(value.len());
        let old = slot.locator.block();
        if let (None, Some(old)) = (written, old)
            && bytes > 0
            && old.suits(bytes)
        {
            self.overwrite(key, slot, old, value);
            return Ok(());
        }
        let new = match (written, old) {
            (Some(block), _) => Some(block),
            (None, old) => match (self.write_block(lookup.table, key, value), old) {
                (Ok(block), _) => block,
                // Without memory, a block that is too large will do.
                (Err(OutOfMemory), Some(old)) if old.holds(bytes) => {
                    self.overwrite(key, slot, old, value);
                    return Ok(());
                }
                (Err(OutOfMemory), _) => return Err(OutOfMemory),
            },
        };
        slot.set_locator(Locator::new(new, value.len(), key));
        if let Some(old) = old {
            self.slab.free(lookup.table.arena, old);
        }
        Ok(())
    }

    /// Puts a value into the block that a record has. The bucket is locked.
    #[inline]
    fn overwrite(&self, key: &Key<'_>, slot: &Slot<'_>, block: Block, value: &[u8]) {
        copy_in(value, &self.slab.words(block.unit)[key.block_words()..]);
        slot.set_locator(Locator::new(Some(block), value.len(), key));
    }

    /// A new block that holds the key, if it is long, and the value; none if both need none.
    fn write_block(
        &self,
        table: &Table,
        key: &Key<'_>,
        value: &[u8],
    ) -> Result<Option<Block>, OutOfMemory> {
        let bytes = key.block_bytes(value.len());
        if bytes == 0 {
            return Ok(None);
        }
        let block = self.slab.allocate(table.arena, bytes)?;
        let (key_words, value_words) = self.slab.words(block.unit).split_at(key.block_words());
        if let [length, key_words @ ..] = key_words {
            length.store(key.bytes.len() as u64, Relaxed);
            copy_in(key.bytes, key_words);
        }
        copy_in(value, value_words);
        Ok(Some(block))
    }

    pub(super) fn remove<'s>(&'s self, lookup: &mut Lookup<'s, '_>) -> bool {
        let table = lookup.table;
        let guard = lookup.lock(&self.slab);
        let Finding::Present(slot) = lookup.finding else {
            return false;
        };
        bucket::remove(&self.slab, table.arena, lookup.head, &slot);
        drop(guard);
        if let Some(block) = slot.locator.block() {
            self.slab.free(table.arena, block);
        }
        table.records_removed(1);
        true
    }
}
