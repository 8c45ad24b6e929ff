//! A replica from another's image.

use super::execute::{Found, run};
use super::records::{self, Expected, Part};
use super::{Replica, State};
use crate::codec::Malformed;
use crate::streams::Streams;
use batchkv_protocol::Operation;
use batchkv_store::{Movable, WINDOW_OPERATIONS};
use std::sync::Arc;

/// Why an image cannot be taken in. The partition is to be cleared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The chunks are no image, or not in order.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The engine has no room for it.
    #[error("the store's memory is at its limit, and a record of the image has no room")]
    OutOfMemory,
    /// The last chunk has not come.
    #[error("the image ends before its end")]
    Unfinished,
}

/// An image that is being taken in: records go straight into the engine, so nobody may read
/// the partition there until it is whole.
#[derive(Debug)]
pub struct Import<E> {
    engine: Arc<E>,
    partition: u32,
    expected: Expected,
    /// A part whose last byte has not come.
    begun: Vec<u8>,
    state: Option<State>,
}

impl<E: Movable> Import<E> {
    /// Begins with nothing: clears `partition`.
    #[must_use]
    pub fn begin(engine: Arc<E>, partition: u32) -> Self {
        engine.clear(partition);
        Self {
            engine,
            partition,
            expected: Expected::Begin,
            begun: Vec::new(),
            state: None,
        }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// When it does not go on as an image, or its records have no room.
    pub fn take(&mut self, chunk: &[u8]) -> Result<(), ImportError> {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(chunk);
        let mut window = Vec::new();
        let mut at = 0;
        while let Some((part, part_bytes)) = records::read(self.expected, &bytes[at..])? {
            at += part_bytes;
            self.expected = Expected::Record;
            match part {
                Part::Begin => {}
                Part::Stored { key, stored } => window.push(Operation::Put {
                    key: key.into(),
                    value: stored,
                }),
                Part::Removed { key } => window.push(Operation::Delete { key: key.into() }),
                Part::End {
                    applied,
                    version,
                    table,
                } => {
                    self.expected = Expected::Nothing;
                    let streams = Streams::decode(table)?;
                    self.state = Some(State {
                        applied,
                        version,
                        streams,
                    });
                }
            }
            if window.len() == WINDOW_OPERATIONS {
                self.store(&mut window)?;
            }
        }
        self.store(&mut window)?;
        bytes.drain(..at);
        self.begun = bytes;
        Ok(())
    }

    /// The replica, at the image's entry.
    ///
    /// # Errors
    /// When the image is not whole.
    pub fn finish(self) -> Result<Replica<E>, ImportError> {
        let state = self.state.ok_or(ImportError::Unfinished)?;
        Ok(Replica::with_state(self.engine, self.partition, state))
    }

    fn store(&self, window: &mut Vec<Operation<'_>>) -> Result<(), ImportError> {
        let found = run(&*self.engine, self.partition, window.drain(..));
        if found.iter().any(|found| matches!(found, Found::Refused)) {
            return Err(ImportError::OutOfMemory);
        }
        Ok(())
    }
}
