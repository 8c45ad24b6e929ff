//! Whether two replicas are the same.

use super::{Replica, State};
use crate::limits::CHUNK_BYTES;
use batchkv_protocol::placement;
use batchkv_store::{ExportCursor, Movable};

/// What replicas of a partition have in common at the same entry.
///
/// Sums of hashes of the records, in no order; not meant to withstand anybody who would forge one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// The entry.
    pub applied: u64,
    /// Number of records.
    pub records: u64,
    /// Of the records, with their versions.
    pub content: u64,
    /// Of the counter of versions and the table of streams.
    pub state: u64,
}

impl State {
    fn hash(&self) -> u64 {
        let mut bytes = self.version.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.streams.encode());
        placement(&bytes)
    }
}

impl<E: Movable> Replica<E> {
    /// The digest of the whole state, by a look at each record: nothing is kept for it while writes are
    /// applied, and nothing can be applied while it is made.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digest = Digest {
            applied: self.state.applied,
            state: self.state.hash(),
            ..Digest::default()
        };
        let mut record = Vec::new();
        let mut cursor = Some(ExportCursor::default());
        while let Some(here) = cursor {
            cursor = self
                .engine
                .export(self.partition, &here, CHUNK_BYTES, &mut |key, stored| {
                    record.clear();
                    record.extend_from_slice(&(key.len() as u16).to_le_bytes());
                    record.extend_from_slice(key);
                    record.extend_from_slice(stored);
                    digest.records += 1;
                    digest.content = digest.content.wrapping_add(placement(&record));
                });
        }
        digest
    }
}
