//! Writes into the engine: windows of operations, so that their cache misses overlap.

use super::Fault;
use super::image::Images;
use crate::limits::VERSION_BYTES;
use crate::outcome::{Outcome, Outcomes};
use crate::proposal::Write;
use crate::versions::split;
use batchkv_protocol::{Answer, Answers, Counters, Operation, Position};
use batchkv_store::{Engine, Placed, WINDOW_OPERATIONS};
use std::ops::Range;

/// The writes of one group on their way into the engine.
pub(super) struct Execution<'e, 'w, E> {
    engine: &'e E,
    partition: u32,
    version: &'e mut u64,
    images: &'e mut Images,
    /// What the next window will hold.
    staged: Vec<Staged<'w>>,
    /// The stored values of what is staged, one behind the other.
    values: Vec<u8>,
    outcomes: Vec<Outcome>,
}

enum Staged<'w> {
    Put {
        key: &'w [u8],
        stored: Range<usize>,
        version: u64,
    },
    Delete {
        key: &'w [u8],
    },
    Get {
        key: &'w [u8],
    },
}

impl<'e, 'w, E: Engine> Execution<'e, 'w, E> {
    pub(super) fn new(
        engine: &'e E,
        partition: u32,
        version: &'e mut u64,
        images: &'e mut Images,
    ) -> Self {
        Self {
            engine,
            partition,
            version,
            images,
            staged: Vec::new(),
            values: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    /// Executes the writes in order; what came of each.
    pub(super) fn run(mut self, writes: &[Write<'w>]) -> Result<Outcomes, Fault> {
        self.outcomes.reserve(writes.len());
        self.staged.reserve(writes.len().min(WINDOW_OPERATIONS));
        let window = writes.iter().take(WINDOW_OPERATIONS);
        self.values.reserve(window.map(stored_bytes).sum());
        for write in writes {
            match *write {
                Write::Put { key, value } => self.stage_put(key, value),
                Write::Delete { key } => {
                    *self.version += 1;
                    self.staged.push(Staged::Delete { key });
                }
                Write::Get { key } => self.staged.push(Staged::Get { key }),
                Write::PutIf {
                    key,
                    value,
                    version,
                } => self.put_if(key, value, version)?,
            }
            if self.staged.len() == WINDOW_OPERATIONS {
                self.flush()?;
            }
        }
        self.flush()?;
        Ok(self.outcomes.into())
    }

    fn stage_put(&mut self, key: &'w [u8], value: &[u8]) {
        *self.version += 1;
        let start = self.values.len();
        self.values.extend_from_slice(value);
        self.values.extend_from_slice(&self.version.to_le_bytes());
        self.staged.push(Staged::Put {
            key,
            stored: start..self.values.len(),
            version: *self.version,
        });
    }

    /// What came before must be in the engine when a condition is looked at.
    fn put_if(&mut self, key: &'w [u8], value: &[u8], wanted: u64) -> Result<(), Fault> {
        self.flush()?;
        let get = Operation::Get { key: key.into() };
        let found = match run(self.engine, self.partition, [get]).pop() {
            Some(Found::Value(stored)) => split(&stored).ok_or(Fault::NoVersion)?.1,
            _ => 0,
        };
        if found == wanted {
            self.stage_put(key, value);
        } else {
            self.outcomes.push(Outcome::Mismatch { found });
        }
        Ok(())
    }

    /// Executes what is staged, and tells the images what was written, behind the engine.
    fn flush(&mut self) -> Result<(), Fault> {
        let operations = self
            .staged
            .iter()
            .map(|staged| staged.operation(&self.values));
        let found = run(self.engine, self.partition, operations);
        for (staged, found) in self.staged.drain(..).zip(found) {
            match &staged {
                Staged::Put { key, stored, .. } => {
                    self.images.stored(key, &self.values[stored.clone()]);
                }
                Staged::Delete { key } => self.images.removed(key),
                Staged::Get { .. } => {}
            }
            self.outcomes.push(staged.outcome(found)?);
        }
        self.values.clear();
        Ok(())
    }
}

impl<'w> Staged<'w> {
    fn operation<'o>(&self, values: &'o [u8]) -> Operation<'o>
    where
        'w: 'o,
    {
        match self {
            Self::Put { key, stored, .. } => Operation::Put {
                key: (*key).into(),
                value: &values[stored.clone()],
            },
            Self::Delete { key } => Operation::Delete { key: (*key).into() },
            Self::Get { key } => Operation::Get { key: (*key).into() },
        }
    }

    fn outcome(self, found: Found) -> Result<Outcome, Fault> {
        match (self, found) {
            (Self::Put { version, .. }, Found::Stored) => Ok(Outcome::Stored { version }),
            (_, Found::Deleted { existed }) => Ok(Outcome::Deleted { existed }),
            (_, Found::Value(stored)) => read(stored),
            (_, Found::Missing) => Ok(Outcome::Missing),
            (_, Found::Stored | Found::Refused) => Err(Fault::OutOfMemory),
        }
    }
}

/// What a write needs of the window's values.
fn stored_bytes(write: &Write<'_>) -> usize {
    match write {
        Write::Put { value, .. } | Write::PutIf { value, .. } => value.len() + VERSION_BYTES,
        Write::Delete { .. } | Write::Get { .. } => 0,
    }
}

/// A stored value as a get's outcome.
fn read(mut stored: Vec<u8>) -> Result<Outcome, Fault> {
    let (value, version) = split(&stored).ok_or(Fault::NoVersion)?;
    let value_bytes = value.len();
    stored.truncate(value_bytes);
    Ok(Outcome::Value {
        version,
        value: stored.into(),
    })
}

/// What the engine answered to one operation.
pub(super) enum Found {
    Value(Vec<u8>),
    Missing,
    Stored,
    Deleted { existed: bool },
    Refused,
}

/// Executes operations of `partition` in one window; what the engine answered to each.
pub(super) fn run<'o, E: Engine>(
    engine: &E,
    partition: u32,
    operations: impl IntoIterator<Item = Operation<'o>>,
) -> Vec<Found> {
    let window: Vec<Placed<'o>> = (0..)
        .zip(operations)
        .map(|(number, operation)| Placed {
            position: Position {
                group: 0,
                operation: number,
            },
            partition,
            operation,
        })
        .collect();
    let mut kept = Kept(Vec::with_capacity(window.len()));
    let applied = engine.apply(&window, &mut kept, &mut Counters::default());
    debug_assert_eq!(applied, window.len(), "there is always room");
    kept.0
}

/// Answers as they came, in order.
struct Kept(Vec<Found>);

impl Answers for Kept {
    type Mark = usize;

    fn mark(&self) -> usize {
        self.0.len()
    }

    fn rewind(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    fn answer(&mut self, _: Position, answer: Answer<'_>) -> bool {
        self.0.push(match answer {
            Answer::Value(value) => Found::Value(value.to_vec()),
            Answer::Missing => Found::Missing,
            Answer::Stored => Found::Stored,
            Answer::Deleted { existed } => Found::Deleted { existed },
            Answer::Refused(_)
            | Answer::WrongOwner(_)
            | Answer::Opened { .. }
            | Answer::StoredAs { .. } => Found::Refused,
        });
        true
    }

    fn value(&mut self, _: Position, value_bytes: usize) -> Option<&mut [u8]> {
        self.0.push(Found::Value(vec![0; value_bytes]));
        match self.0.last_mut() {
            Some(Found::Value(value)) => Some(value),
            _ => None,
        }
    }

    fn refer(&mut self, _: u64) {}
}
