//! What is sent, and sent again, as one: a group of a batch's operations, always the same ones in the same order.
//!
//! A partition's units are sent one behind the answers to the other, those of different partitions side by side.
//! So operations on one key keep the batch's order, however often a unit is sent.

use crate::batch::Batch;
use crate::kind::OperationKind;
use batchkv_protocol::Partitioning;
use batchkv_protocol::limits::OPERATIONS_PER_GROUP_MAX;
use batchkv_protocol::request::GROUP_BYTES_MAX;
use std::collections::BTreeMap;

/// One group of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) partition: u32,
    /// The operations, as rising indices into the batch.
    pub(crate) operations: Vec<u32>,
    /// What they take in a group, in bytes.
    pub(crate) bytes: usize,
    /// Whether it changes anything.
    pub(crate) writes: bool,
    /// Whether it asks for versions; it holds no operation that does not.
    pub(crate) versions: bool,
}

/// Each partition's units, in the order in which they are to take effect. A unit fits a frame, or is a single
/// operation.
pub(crate) fn units(batch: &Batch, partitioning: Partitioning) -> BTreeMap<u32, Vec<Unit>> {
    let mut partitions: BTreeMap<u32, Vec<Unit>> = BTreeMap::new();
    for index in 0..batch.len() {
        let operation = batch.operation(index);
        let (bytes, versions) = (operation.bytes(), batch.has_version(index));
        let partition = partitioning.of(operation.key());
        let units = partitions.entry(partition).or_default();
        let fits = |unit: &Unit| {
            unit.versions == versions
                && unit.bytes + bytes <= GROUP_BYTES_MAX
                && unit.operations.len() < OPERATIONS_PER_GROUP_MAX
        };
        if !units.last().is_some_and(fits) {
            units.push(Unit {
                partition,
                operations: Vec::new(),
                bytes: 0,
                writes: false,
                versions,
            });
        }
        if let Some(unit) = units.last_mut() {
            unit.operations.push(index as u32);
            unit.bytes += bytes;
            unit.writes |= batch.kind(index) != OperationKind::Get;
        }
    }
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchkv_protocol::PartitionMap;
    use proptest::prelude::*;

    proptest! {
        /// Every operation is in one unit of its partition, behind those that precede it there; a unit fits a
        /// frame unless it is a single operation.
        #[test]
        fn every_operation_is_in_one_unit_in_order(
            drawn in prop::collection::vec((0..50_u8, 0..4_u8, 0..9000_usize), 0..200),
        ) {
            let (partitioning, value) = (PartitionMap::fixed(16, 1).unwrap().partitioning(), vec![0; 20_000]);
            let mut batch = Batch::new();
            for &(key, kind, bytes) in &drawn {
                // Some are too long to share a frame.
                let value = &value[..bytes * usize::from(bytes < 2000) + 19_000 * usize::from(bytes > 8900)];
                match kind {
                    0 => batch.get(&[key]).unwrap(),
                    1 => batch.put(&[key], value).unwrap(),
                    2 => batch.put_if(&[key], value, 7).unwrap(),
                    _ => batch.get_with_version(&[key]).unwrap(),
                };
            }
            let units = units(&batch, partitioning);
            let mut seen = vec![false; drawn.len()];
            for (partition, units) in &units {
                let indices: Vec<_> = units.iter().flat_map(|unit| &unit.operations).collect();
                prop_assert!(indices.is_sorted());
                for &&index in &indices {
                    prop_assert_eq!(partitioning.of(&[drawn[index as usize].0]), *partition);
                    prop_assert!(!std::mem::replace(&mut seen[index as usize], true));
                }
                for unit in units {
                    let operations = || unit.operations.iter().map(|&index| index as usize);
                    let bytes: usize = operations().map(|index| batch.operation(index).bytes()).sum();
                    prop_assert_eq!(unit.bytes, bytes);
                    prop_assert!(bytes <= GROUP_BYTES_MAX || unit.operations.len() == 1);
                    prop_assert!(operations().all(|index| batch.has_version(index) == unit.versions));
                    let kinds = operations().map(|index| drawn[index].1);
                    prop_assert_eq!(unit.writes, kinds.into_iter().any(|kind| kind == 1 || kind == 2));
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
