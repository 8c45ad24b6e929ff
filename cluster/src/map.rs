//! What clients are told: who owns which partition, and where the owners are.
//!
//! A server keeps one [`LiveMap`](batchkv_protocol::LiveMap). It begins as the directory [wants](wanted) it, and whenever
//! a group or gossip says who leads it, that is [offered](ownership): the highest epoch of a
//! partition wins, wherever it was heard. What it is at one moment, with the directory's [addresses], is what clients
//! are sent.

use crate::directory::{Directory, Server};
use crate::placement::ServerState;
use batchkv_protocol::PartitionMap;
use batchkv_protocol::control::ServerAddress;
use batchkv_protocol::limits::EPOCH_MAX;
use batchkv_protocol::map::Ownership;

/// Bits of an epoch that are the term; the partition's incarnation stands above them.
const TERM_BITS: u32 = 40;

/// A partition's epoch on the wire: it rises with each leader, and with each incarnation beyond all
/// leaders of the one before.
#[must_use]
pub fn epoch(incarnation: u64, term: u64) -> u64 {
    let term = term.min((1 << TERM_BITS) - 1);
    incarnation.min(EPOCH_MAX >> TERM_BITS) << TERM_BITS | term
}

/// The term that an [epoch] tells of.
#[must_use]
pub fn term(epoch: u64) -> u64 {
    epoch & ((1 << TERM_BITS) - 1)
}

/// What `server` leading `partition` in `term` means for clients; `None` when the directory, as it is
/// known here, has no such server or partition.
#[must_use]
pub fn ownership(
    directory: &Directory,
    partition: u32,
    server: u64,
    term: u64,
) -> Option<Ownership> {
    let wanted = directory.partitions().get(partition as usize)?;
    let server = directory.server(server).filter(|server| is_alive(server))?;
    Some(Ownership {
        owner: server.index,
        epoch: epoch(wanted.incarnation, term),
    })
}

/// The map while nobody has been heard of: each partition belongs to the first server that should hold it, at
/// an epoch below that of any leader. `None` before there is a cluster.
#[must_use]
pub fn wanted(directory: &Directory) -> Option<PartitionMap> {
    directory.cluster()?;
    let wanted = (0..).zip(directory.partitions());
    let owned = wanted.map(|(partition, wanted)| {
        let mut replicas = wanted.replicas.iter();
        let owned = replicas.find_map(|id| ownership(directory, partition, *id, 0));
        owned.unwrap_or(Ownership {
            owner: 0,
            epoch: epoch(wanted.incarnation, 0),
        })
    });
    PartitionMap::new(owned.collect()).ok()
}

/// Where clients reach the servers, those that are gone left out.
///
/// An owner that the directory does not know, or no longer, has no address: a newer map tells another.
#[must_use]
pub fn addresses(directory: &Directory) -> Vec<ServerAddress> {
    let alive = directory.servers().iter().filter(|server| is_alive(server));
    let address = |server: &Server| ServerAddress {
        id: server.index,
        address: server.arrival.address.clone(),
    };
    alive.map(address).collect()
}

fn is_alive(server: &Server) -> bool {
    server.state != ServerState::Gone
}
