//! The referee: sees each entry on each member, each answer and each read.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of a run so far. Operations are unique numbers; a position counts those before one.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// All operations in the order in which the first member applied them.
    pub(super) order: Vec<u64>,
    positions: BTreeMap<u64, usize>,
    /// By index of the entry: the position that it begins at, its term and time.
    entries: BTreeMap<u64, (usize, u64, u64)>,
    acknowledged: BTreeSet<u64>,
    /// Operations that were refused as certainly not appended.
    refused: BTreeSet<u64>,
    /// How many operations everybody must see who begins to read or write now.
    floor: usize,
    faults: Vec<String>,
    pub(super) reads: u64,
    pub(super) unknown: u64,
    pub(super) installs: u64,
}

impl Book {
    pub(super) fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    /// What has to be visible to whoever begins now.
    pub(super) fn floor(&self) -> usize {
        self.floor
    }

    /// Log time of the last entry.
    pub(super) fn last_time(&self) -> u64 {
        let last = self.entries.last_key_value();
        last.map_or(0, |(_, (_, _, time))| *time)
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// A member applies an entry whose operations begin at `position`.
    pub(super) fn entry(&mut self, node: u64, index: u64, position: usize, term: u64, time: u64) {
        let seen = (position, term, time);
        let first = *self.entries.entry(index).or_insert(seen);
        if first != seen {
            self.fault(format!(
                "node {node}, entry {index}: {seen:?}, elsewhere {first:?}"
            ));
        }
        let before = self.entries.range(..index).next_back();
        if before.is_some_and(|(_, (_, _, earlier))| *earlier > time) {
            self.fault(format!(
                "node {node}, entry {index}: log time went back to {time}"
            ));
        }
    }

    /// A member applies an operation at a position.
    pub(super) fn applied(&mut self, node: u64, position: usize, operation: u64) {
        match self.order.get(position) {
            Some(first) if *first == operation => {}
            Some(first) => {
                let text =
                    format!("node {node}, position {position}: {operation}, elsewhere {first}");
                self.fault(text);
            }
            None if position == self.order.len() => {
                self.order.push(operation);
                if let Some(earlier) = self.positions.insert(operation, position) {
                    self.fault(format!(
                        "{operation} took effect at {earlier} and {position}"
                    ));
                }
                if self.refused.contains(&operation) {
                    self.fault(format!("{operation} took effect though it was refused"));
                }
            }
            None => self.fault(format!("node {node} skips to position {position}")),
        }
    }

    /// A member installed a state of these operations.
    pub(super) fn installed(&mut self, node: u64, operations: &[u64]) {
        self.installs += 1;
        if !self.order.starts_with(operations) {
            self.fault(format!("node {node} installed a state that never was"));
        }
    }

    /// An operation that began at `floor` was acknowledged, at `position` as its answer says.
    pub(super) fn answered(&mut self, operation: u64, floor: usize, position: Option<usize>) {
        self.acknowledged.insert(operation);
        let Some(position) = position else { return };
        if self.order.get(position) != Some(&operation) {
            self.fault(format!("{operation} was answered for position {position}"));
        }
        if position < floor {
            self.fault(format!(
                "{operation} took effect at {position}, before {floor} that had ended before it began"
            ));
        }
        self.floor = self.floor.max(position + 1);
    }

    pub(super) fn refused(&mut self, operation: u64) {
        self.refused.insert(operation);
        if self.positions.contains_key(&operation) {
            self.fault(format!("{operation} was refused though it took effect"));
        }
    }

    /// A read that began at `floor` saw this many operations.
    pub(super) fn read(&mut self, node: u64, floor: usize, seen: usize) {
        self.reads += 1;
        if seen < floor {
            self.fault(format!(
                "node {node} read {seen} operations where {floor} had ended"
            ));
        }
        self.floor = self.floor.max(seen);
    }

    /// At the end: nothing acknowledged is lost.
    pub(super) fn close(&mut self) -> Result<(), String> {
        let lost = |operation: &&u64| !self.positions.contains_key(operation);
        let lost: Vec<u64> = self.acknowledged.iter().filter(lost).copied().collect();
        if !lost.is_empty() {
            self.fault(format!("acknowledged and lost: {lost:?}"));
        }
        match self.faults.first() {
            None => Ok(()),
            Some(first) => Err(format!("{first} ({} faults)", self.faults.len())),
        }
    }
}
