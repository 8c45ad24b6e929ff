//! A partition that cannot be wrong: plain maps, nothing forgotten.

use batchkv_cluster::{Outcome, Outcomes, Proposal, Sequence, Write};
use std::collections::{BTreeMap, HashMap};

/// A write that owns its bytes.
#[derive(Debug, Clone)]
pub(crate) enum Owned {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    PutIf(Vec<u8>, Vec<u8>, u64),
    Get(Vec<u8>),
}

impl Owned {
    pub(crate) fn borrowed(&self) -> Write<'_> {
        match self {
            Self::Put(key, value) => Write::Put { key, value },
            Self::Delete(key) => Write::Delete { key },
            Self::PutIf(key, value, version) => Write::PutIf {
                key,
                value,
                version: *version,
            },
            Self::Get(key) => Write::Get { key },
        }
    }
}

pub(crate) fn encoded(sequence: Option<Sequence>, writes: &[Owned]) -> Vec<u8> {
    let writes = writes.iter().map(Owned::borrowed).collect();
    Proposal::Writes { sequence, writes }.encode().unwrap()
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    version: u64,
    done: HashMap<(u64, u64), Outcomes>,
}

impl Model {
    pub(crate) fn version_of(&self, key: &[u8]) -> u64 {
        self.records.get(key).map_or(0, |(version, _)| *version)
    }

    pub(crate) fn apply(&mut self, sequence: Option<Sequence>, writes: &[Owned]) -> Outcomes {
        let Some(sequence) = sequence else {
            return writes.iter().map(|write| self.execute(write)).collect();
        };
        let group = (sequence.stream, sequence.number);
        if !self.done.contains_key(&group) {
            let outcomes = writes.iter().map(|write| self.execute(write)).collect();
            self.done.insert(group, outcomes);
        }
        self.done[&group].clone()
    }

    fn execute(&mut self, write: &Owned) -> Outcome {
        match write {
            Owned::Put(key, value) => self.put(key, value),
            Owned::PutIf(key, value, wanted) => match self.version_of(key) {
                found if found == *wanted => self.put(key, value),
                found => Outcome::Mismatch { found },
            },
            Owned::Delete(key) => {
                self.version += 1;
                Outcome::Deleted {
                    existed: self.records.remove(key).is_some(),
                }
            }
            Owned::Get(key) => match self.records.get(key) {
                Some((version, value)) => Outcome::Value {
                    version: *version,
                    value: value.clone().into(),
                },
                None => Outcome::Missing,
            },
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome {
        self.version += 1;
        self.records
            .insert(key.to_vec(), (self.version, value.to_vec()));
        Outcome::Stored {
            version: self.version,
        }
    }
}
