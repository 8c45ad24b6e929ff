//! A replica's state for another member: streamed in chunks while writes go on.
//!
//! An image is all records as they are when they are copied, and between them, in order, what was written
//! since the copy began. It ends with the counters and the table as they are when the last record is copied,
//! and so is the state at *that* entry, exactly:
//!
//! - a key that nobody wrote since the beginning is copied as it is;
//! - of any other key the image tells the last write, or a copy that was made after it. Parts stand in the
//!   image in the order in which they came to be, and the last one holds.
//!
//! A copy of the state at the entry at which it *began* was the alternative. It needs the old value of each
//! record that is written before it is copied: a read for each write, and a place to keep it; this
//! one needs neither. What makes it possible is that the state knows its own entry: the receiver's group
//! goes on behind the entry at which the image began, and what it applies until the image's own is
//! skipped. `tests/replica/` compares both halves of this with a model, and shows that the model catches an
//! image without what was written meanwhile, one with the table of its beginning, and a receiver that
//! does not skip.
//!
//! Values are never applied twice, entries are not sent: an entry's conditions have been decided when its writes
//! are part of an image.

use super::{Replica, State, records};
use crate::limits::{CHUNK_BYTES, IMAGE_BYTES_MAX};
use batchkv_store::{ExportCursor, Movable};
use std::collections::BTreeMap;

/// Names an image of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageId(u64);

/// Why an image cannot go on; another may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// More was written meanwhile than may wait for its receiver.
    #[error("more than {IMAGE_BYTES_MAX} bytes were written faster than they were fetched")]
    TooSlow,
    /// The replica has stopped, so there is nothing to be copied from it.
    #[error("the replica has stopped")]
    Stopped,
    /// It was ended before.
    #[error("there is no such image")]
    Unknown,
}

/// The images under way.
#[derive(Debug, Default)]
pub(super) struct Images {
    next: u64,
    images: BTreeMap<ImageId, Image>,
}

#[derive(Debug)]
struct Image {
    /// Where the copy goes on; `None` once the end is written.
    cursor: Option<ExportCursor>,
    is_too_slow: bool,
    /// What was not fetched yet, from `fetched` on.
    waiting: Vec<u8>,
    fetched: usize,
}

impl Images {
    pub(super) fn stored(&mut self, key: &[u8], stored: &[u8]) {
        self.add(|waiting| records::write_stored(waiting, key, stored));
    }

    pub(super) fn removed(&mut self, key: &[u8]) {
        self.add(|waiting| records::write_removed(waiting, key));
    }

    /// Adds a write to all images that have not ended.
    fn add(&mut self, write: impl Fn(&mut Vec<u8>)) {
        for image in self.images.values_mut() {
            if image.cursor.is_some() {
                write(&mut image.waiting);
                image.give_up_if_too_slow();
            }
        }
    }
}

impl Image {
    fn begin() -> Self {
        let mut waiting = Vec::new();
        records::write_begin(&mut waiting);
        Self {
            cursor: Some(ExportCursor::default()),
            is_too_slow: false,
            waiting,
            fetched: 0,
        }
    }

    /// Copies records until a chunk is there, or all are copied.
    fn fill(&mut self, engine: &impl Movable, partition: u32, state: &State) {
        while self.waiting.len() - self.fetched < CHUNK_BYTES
            && let Some(cursor) = self.cursor.take()
        {
            let room = CHUNK_BYTES - (self.waiting.len() - self.fetched);
            let waiting = &mut self.waiting;
            self.cursor = engine.export(partition, &cursor, room, &mut |key, stored| {
                records::write_stored(waiting, key, stored);
            });
            if self.cursor.is_none() {
                let table = state.streams.encode();
                records::write_end(&mut self.waiting, state.applied, state.version, &table);
            }
        }
    }

    fn give_up_if_too_slow(&mut self) {
        if self.waiting.len() - self.fetched > IMAGE_BYTES_MAX {
            self.is_too_slow = true;
            self.cursor = None;
            self.waiting = Vec::new();
            self.fetched = 0;
        }
    }

    fn fetch(&mut self) -> Option<Vec<u8>> {
        let waiting = &self.waiting[self.fetched..];
        let chunk = waiting[..waiting.len().min(CHUNK_BYTES)].to_vec();
        self.fetched += chunk.len();
        // Moved to the front only once that moves less than was fetched since.
        if self.fetched >= self.waiting.len() / 2 {
            self.waiting.drain(..self.fetched);
            self.fetched = 0;
        }
        (!chunk.is_empty()).then_some(chunk)
    }
}

impl<E: Movable> Replica<E> {
    /// Begins an image. From now on what is written is kept for it, until it has ended.
    pub fn begin_image(&mut self) -> ImageId {
        let id = ImageId(self.images.next);
        self.images.next += 1;
        self.images.images.insert(id, Image::begin());
        id
    }

    /// The image's next chunk, of at most [`CHUNK_BYTES`]; `None` behind the last, and the image is ended.
    ///
    /// # Errors
    /// When the image was given up.
    pub fn next_chunk(&mut self, id: ImageId) -> Result<Option<Vec<u8>>, ImageError> {
        if self.fault.is_some() {
            return Err(ImageError::Stopped);
        }
        let Some(image) = self.images.images.get_mut(&id) else {
            return Err(ImageError::Unknown);
        };
        if image.is_too_slow {
            self.end_image(id);
            return Err(ImageError::TooSlow);
        }
        image.fill(&*self.engine, self.partition, &self.state);
        let chunk = image.fetch();
        if chunk.is_none() {
            self.end_image(id);
        }
        Ok(chunk)
    }

    /// Ends an image that nobody will fetch further.
    pub fn end_image(&mut self, id: ImageId) {
        self.images.images.remove(&id);
    }
}
