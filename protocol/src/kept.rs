//! Answers that outlive their execution: kept as bytes, handed on to a frame when its time comes.

use crate::answer::{Answer, Position, Refusal, VERSION_MISMATCH};
use crate::answers::Answers;
use crate::limits::VALUE_BYTES_MAX;
use crate::map::Ownership;

const RECORD_BYTES: usize = size_of::<u64>();
const NUMBER_BYTES: usize = size_of::<u64>();
const OWNER_BYTES: usize = size_of::<u32>();
const OWNERSHIP_BYTES: usize = OWNER_BYTES + size_of::<u64>();
const _: () = assert!(size_of::<Entry>() == 16 && VALUE_BYTES_MAX <= u32::MAX as usize);

/// Answers in the order in which they were given, with the bytes of their values.
///
/// Whoever answers a group later, or elsewhere, has it executed into this and hands it on. Once it has held as
/// much before, it takes answers without allocating.
#[derive(Debug)]
pub struct KeptAnswers {
    entries: Vec<Entry>,
    /// What the entries say that they have here, one behind the other; longer than what is in use.
    bytes: Vec<u8>,
    filled: usize,
    bytes_max: usize,
}

/// One answer without its bytes.
#[derive(Debug, Clone, Copy)]
struct Entry {
    position: Position,
    kind: Kind,
}

/// What was answered, and what lies among the bytes for it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The value, then the record's number, if it was told.
    Value {
        value_bytes: u32,
        has_record: bool,
    },
    Missing,
    Stored,
    Deleted {
        existed: bool,
    },
    /// The reason's code; of a version that does not match, the version found.
    Refused(u8),
    /// Owner, then epoch.
    WrongOwner,
    /// The stream.
    Opened,
    /// The version.
    StoredAs,
}

/// A state of [`KeptAnswers`] to go back to.
#[derive(Debug, Clone, Copy)]
pub struct KeptMark {
    entries: usize,
    filled: usize,
}

/// How many of the [`KeptAnswers`] were handed on: none by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeptCursor {
    entry: usize,
    at: usize,
}

impl KeptAnswers {
    /// Room for `bytes_max` bytes of answers, or for a single one that needs more.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            bytes: Vec::new(),
            filled: 0,
            bytes_max,
        }
    }

    /// Number of answers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that the answers take up.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.filled
    }

    /// Forgets all answers, and keeps the memory for others.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.filled = 0;
    }

    /// Hands the answers from `cursor` on to `answers`, and moves it behind those that had room there; `true`
    /// when none is left.
    pub fn hand_on(&self, cursor: &mut KeptCursor, answers: &mut impl Answers) -> bool {
        while let Some(entry) = self.entries.get(cursor.entry) {
            let bytes = &self.bytes[cursor.at..][..entry.kind.bytes()];
            if !entry.hand_on(bytes, answers) {
                return false;
            }
            cursor.entry += 1;
            cursor.at += bytes.len();
        }
        true
    }

    /// Adds an entry with its bytes, which are to be filled, if it has room together with `spare_bytes`.
    #[inline]
    fn push(&mut self, position: Position, kind: Kind, spare_bytes: usize) -> Option<&mut [u8]> {
        let end = self.filled + kind.bytes();
        let needed = (self.entries.len() + 1) * size_of::<Entry>() + end + spare_bytes;
        if needed > self.bytes_max && !self.entries.is_empty() {
            return None;
        }
        self.entries.push(Entry { position, kind });
        let start = self.grow_to(end);
        Some(&mut self.bytes[start..end])
    }

    /// Uses the bytes up to `end`, and tells from where on they are new.
    #[inline]
    fn grow_to(&mut self, end: usize) -> usize {
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        std::mem::replace(&mut self.filled, end)
    }
}

impl Kind {
    #[inline]
    fn bytes(self) -> usize {
        match self {
            Self::Value {
                value_bytes,
                has_record,
            } => value_bytes as usize + usize::from(has_record) * RECORD_BYTES,
            Self::WrongOwner => OWNERSHIP_BYTES,
            Self::Opened | Self::StoredAs | Self::Refused(VERSION_MISMATCH) => NUMBER_BYTES,
            Self::Missing | Self::Stored | Self::Deleted { .. } | Self::Refused(_) => 0,
        }
    }
}

impl Entry {
    /// Gives the answer with these bytes to `answers`; `false` when it has no room.
    fn hand_on(&self, bytes: &[u8], answers: &mut impl Answers) -> bool {
        let answer = match self.kind {
            Kind::Value { value_bytes, .. } => {
                let (value, record) = bytes.split_at(value_bytes as usize);
                let fits = answers.answer(self.position, Answer::Value(value));
                if let (true, Some(record)) = (fits, record.first_chunk()) {
                    answers.refer(u64::from_le_bytes(*record));
                }
                return fits;
            }
            Kind::Missing => Answer::Missing,
            Kind::Stored => Answer::Stored,
            Kind::Deleted { existed } => Answer::Deleted { existed },
            Kind::Refused(code) => {
                let reason = Refusal::of(code, read_number(bytes));
                Answer::Refused(reason.expect("the code of a reason"))
            }
            Kind::Opened => Answer::Opened {
                stream: read_number(bytes),
            },
            Kind::StoredAs => Answer::StoredAs {
                version: read_number(bytes),
            },
            Kind::WrongOwner => Answer::WrongOwner(read_ownership(bytes)),
        };
        answers.answer(self.position, answer)
    }
}

/// The number that stands there, if there is any.
fn read_number(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |number| u64::from_le_bytes(*number))
}

fn read_ownership(bytes: &[u8]) -> Ownership {
    let (owner, epoch) = bytes.split_at(OWNER_BYTES);
    Ownership {
        owner: u32::from_le_bytes(*owner.first_chunk().expect("an owner")),
        epoch: u64::from_le_bytes(*epoch.first_chunk().expect("an epoch")),
    }
}

impl Answers for KeptAnswers {
    type Mark = KeptMark;

    #[inline]
    fn mark(&self) -> KeptMark {
        KeptMark {
            entries: self.entries.len(),
            filled: self.filled,
        }
    }

    #[inline]
    fn rewind(&mut self, mark: KeptMark) {
        self.entries.truncate(mark.entries);
        self.filled = mark.filled;
    }

    fn answer(&mut self, position: Position, answer: Answer<'_>) -> bool {
        let kind = match answer {
            Answer::Value(value) => {
                let room = self.value(position, value.len());
                return room.map(|room| room.copy_from_slice(value)).is_some();
            }
            Answer::Missing => Kind::Missing,
            Answer::Stored => Kind::Stored,
            Answer::Deleted { existed } => Kind::Deleted { existed },
            Answer::Refused(reason) => Kind::Refused(reason.code()),
            Answer::WrongOwner(_) => Kind::WrongOwner,
            Answer::Opened { .. } => Kind::Opened,
            Answer::StoredAs { .. } => Kind::StoredAs,
        };
        let Some(room) = self.push(position, kind, OWNERSHIP_BYTES - kind.bytes()) else {
            return false;
        };
        match answer {
            Answer::WrongOwner(known) => {
                let (owner, epoch) = room.split_at_mut(OWNER_BYTES);
                owner.copy_from_slice(&known.owner.to_le_bytes());
                epoch.copy_from_slice(&known.epoch.to_le_bytes());
            }
            Answer::Refused(Refusal::VersionMismatch { found: number })
            | Answer::Opened { stream: number }
            | Answer::StoredAs { version: number } => room.copy_from_slice(&number.to_le_bytes()),
            _ => {}
        }
        true
    }

    #[inline]
    fn value(&mut self, position: Position, value_bytes: usize) -> Option<&mut [u8]> {
        debug_assert!(value_bytes <= VALUE_BYTES_MAX);
        let kind = Kind::Value {
            value_bytes: value_bytes as u32,
            has_record: false,
        };
        self.push(position, kind, RECORD_BYTES)
    }

    fn refer(&mut self, record: u64) {
        let Some(entry) = self.entries.last_mut() else {
            return;
        };
        if let Kind::Value { has_record, .. } = &mut entry.kind
            && !std::mem::replace(has_record, true)
        {
            let start = self.grow_to(self.filled + RECORD_BYTES);
            self.bytes[start..self.filled].copy_from_slice(&record.to_le_bytes());
        }
    }
}
