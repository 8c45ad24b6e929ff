//! Into how many partitions keys are split, and who owns which.

use crate::key::Key;
use crate::limits::{EPOCH_MAX, PARTITIONS_MAX, SERVERS_MAX};
use crate::placement::placement;
use wincode::{SchemaRead, SchemaWrite};

/// Owner and epoch of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Ownership {
    /// Index of the owning server in the clients' list of hosts.
    pub owner: u32,
    /// Rises with every change of owner; a group names the epoch that its sender believes in.
    pub epoch: u64,
}

/// How many partitions the keys are split into: a power of two up to [`PARTITIONS_MAX`], the same for a
/// cluster's whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitioning {
    mask: u32,
}

impl Partitioning {
    /// A split into `partitions`.
    ///
    /// # Errors
    /// When that is no power of two up to [`PARTITIONS_MAX`].
    pub fn new(partitions: usize) -> Result<Self, MapError> {
        if partitions.is_power_of_two() && partitions <= PARTITIONS_MAX as usize {
            let mask = partitions as u32 - 1;
            Ok(Self { mask })
        } else {
            Err(MapError::Partitions(partitions))
        }
    }

    /// Number of partitions.
    #[inline]
    #[must_use]
    pub fn partitions(self) -> u32 {
        self.mask + 1
    }

    /// The partition of `key`.
    #[inline]
    #[must_use]
    pub fn of<'a>(self, key: impl Into<Key<'a>>) -> u32 {
        placement(key) as u32 & self.mask
    }
}

/// Owner and epoch of each partition at one moment; [`LiveMap`](crate::LiveMap) is what changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMap {
    partitions: Box<[Ownership]>,
    partitioning: Partitioning,
}

/// Why a map cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The number of partitions is no power of two, zero, or too large.
    #[error("{0} partitions: must be a power of two, from 1 to {PARTITIONS_MAX}")]
    Partitions(usize),
    /// The number of servers is zero, or larger than that of partitions or [`SERVERS_MAX`].
    #[error("{servers} servers for {partitions} partitions: must be from 1 to {max}", max = SERVERS_MAX.min(*partitions))]
    Servers {
        /// Servers asked for.
        servers: u32,
        /// Partitions asked for.
        partitions: u32,
    },
    /// An epoch is above [`EPOCH_MAX`].
    #[error("epoch {0}: must be from 0 to {EPOCH_MAX}")]
    Epoch(u64),
}

impl PartitionMap {
    /// The map of a fixed set of servers: server `i` of `servers` owns every partition `p` with
    /// `p mod servers = i`, all at epoch 1.
    ///
    /// # Errors
    /// When the partitions are no power of two up to [`PARTITIONS_MAX`], or there are more servers
    /// than partitions.
    pub fn fixed(partitions: u32, servers: u32) -> Result<Self, MapError> {
        if servers == 0 || servers > SERVERS_MAX.min(partitions) {
            Partitioning::new(partitions as usize)?;
            return Err(MapError::Servers {
                servers,
                partitions,
            });
        }
        Self::new(
            (0..partitions)
                .map(|p| Ownership {
                    owner: p % servers,
                    epoch: 1,
                })
                .collect(),
        )
    }

    /// A map as it came from a server.
    ///
    /// # Errors
    /// When its length is no power of two up to [`PARTITIONS_MAX`], an owner's index is not below
    /// [`SERVERS_MAX`], or an epoch is above [`EPOCH_MAX`].
    pub fn new(partitions: Box<[Ownership]>) -> Result<Self, MapError> {
        let partitioning = Self::check(&partitions)?;
        Ok(Self {
            partitions,
            partitioning,
        })
    }

    pub(crate) fn check(partitions: &[Ownership]) -> Result<Partitioning, MapError> {
        let partitioning = Partitioning::new(partitions.len())?;
        if let Some(entry) = partitions.iter().find(|entry| entry.owner >= SERVERS_MAX) {
            let servers = entry.owner.saturating_add(1);
            return Err(MapError::Servers {
                servers,
                partitions: partitioning.partitions(),
            });
        }
        match partitions.iter().find(|entry| entry.epoch > EPOCH_MAX) {
            Some(entry) => Err(MapError::Epoch(entry.epoch)),
            None => Ok(partitioning),
        }
    }

    /// How keys are split into partitions.
    #[inline]
    #[must_use]
    pub fn partitioning(&self) -> Partitioning {
        self.partitioning
    }

    /// The partition of `key`.
    #[inline]
    #[must_use]
    pub fn partition_of<'a>(&self, key: impl Into<Key<'a>>) -> u32 {
        self.partitioning.of(key)
    }

    /// Owner and epoch of `partition`, or `None` when there is no such partition.
    #[inline]
    #[must_use]
    pub fn ownership(&self, partition: u32) -> Option<Ownership> {
        self.partitions.get(partition as usize).copied()
    }

    /// Owners and epochs, indexed by partition.
    #[must_use]
    pub fn partitions(&self) -> &[Ownership] {
        &self.partitions
    }

    /// One more than the highest owner's index: the number of servers when each owns something.
    #[must_use]
    pub fn servers(&self) -> u32 {
        self.partitions
            .iter()
            .map(|entry| entry.owner + 1)
            .max()
            .unwrap_or(0)
    }

    /// A 64-bit fingerprint of the whole map, for comparing what two servers say.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let bytes: Vec<u8> = self
            .partitions
            .iter()
            .flat_map(|entry| {
                entry
                    .owner
                    .to_le_bytes()
                    .into_iter()
                    .chain(entry.epoch.to_le_bytes())
            })
            .collect();
        placement(bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_map_deals_partitions_in_turn() {
        let map = PartitionMap::fixed(8, 3).unwrap();
        let owners: Vec<u32> = map.partitions().iter().map(|entry| entry.owner).collect();
        assert_eq!(owners, [0, 1, 2, 0, 1, 2, 0, 1]);
        assert_eq!(map.servers(), 3);
        assert_eq!(map.ownership(8), None);
    }

    #[test]
    fn impossible_maps_are_refused() {
        assert_eq!(PartitionMap::fixed(12, 1), Err(MapError::Partitions(12)));
        assert_eq!(PartitionMap::fixed(0, 1), Err(MapError::Partitions(0)));
        assert_eq!(
            PartitionMap::fixed(8192, 1),
            Err(MapError::Partitions(8192))
        );
        assert_eq!(
            PartitionMap::fixed(4, 5),
            Err(MapError::Servers {
                servers: 5,
                partitions: 4
            })
        );
        assert_eq!(
            PartitionMap::fixed(4, 0),
            Err(MapError::Servers {
                servers: 0,
                partitions: 4
            })
        );
        let stray = Ownership {
            owner: SERVERS_MAX,
            epoch: 1,
        };
        assert!(PartitionMap::new(Box::new([stray])).is_err());
        let late = Ownership {
            owner: 0,
            epoch: EPOCH_MAX + 1,
        };
        let error = PartitionMap::new(Box::new([late]));
        assert_eq!(error, Err(MapError::Epoch(EPOCH_MAX + 1)));
    }

    #[test]
    fn fingerprints_tell_maps_apart() {
        let prints = [(4, 1), (4, 2), (8, 2), (256, 2)]
            .map(|(p, s)| PartitionMap::fixed(p, s).unwrap().fingerprint());
        for (index, print) in prints.iter().enumerate() {
            assert!(!prints[..index].contains(print));
        }
    }
}
