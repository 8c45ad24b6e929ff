//! Placement: which servers should hold and lead what. A pure function of what is.
//!
//! [`plan`] finds the placement that is, in this order,
//!
//! 1. complete: each partition has the wanted replicas, on different servers that are up,
//! 2. spread: as few of them on one machine as can be,
//! 3. even: no server holds two replicas more than another, as far as 1 and 2 leave a choice,
//! 4. near: of all such placements the one for which the least is moved,
//!
//! and then hands the partitions out to be led, evenly again and with as few transfers as can be. Both
//! are flows at least cost; a unit is a replica that a partition must have:
//!
//! ```text
//!         wanted             the k-th costs            one           the k-th costs
//! source --------> partition ---------------> machine -----> server ----------------> sink
//!                              2k - 1 (spread)        its bytes,      2k - 1 (even)
//!                                                     where it is not
//! ```
//!
//! Sums of squares are least when all are equal, so these edges spread and even; a placement that is as good as can
//! be already costs nothing to keep, so a plan for its own result is empty. What costs the same is
//! decided by a hash of partition and server, so that partitions of one server share their others with many.
//!
//! Nothing is taken away before there is something in its place: a server that drains, or that is gone,
//! keeps its replica on the list of the partition's members until another is there to replace it.

mod network;

use self::network::{Cost, Network, SINK, SOURCE};
use std::collections::BTreeMap;
use wincode::{SchemaRead, SchemaWrite};

/// What a move costs beside the partition's bytes: a snapshot and four changes of members, in bytes that
/// could be copied meanwhile.
const MOVE_BYTES: i64 = 1 << 20;

/// What may be placed on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum ServerState {
    /// Has an id and is not ready yet: gets nothing.
    Joining,
    /// Holds and leads.
    Up,
    /// Serves what it has until that is elsewhere, and gets nothing.
    Draining,
    /// Dead or removed. Never comes back under its id.
    Gone,
}

/// A server, as placement sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its node id.
    pub id: u64,
    /// The same number for servers that fail together.
    pub machine: u64,
    /// Whether it may hold anything.
    pub state: ServerState,
}

/// A partition as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// Ids of the servers that hold it, as its group's members say.
    pub replicas: Vec<u64>,
    /// Who leads it, if that is known.
    pub leader: Option<u64>,
    /// What a copy of it takes, in bytes.
    pub bytes: u64,
}

/// One step towards a better placement. The steps of a plan can be taken one by one, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// A further replica.
    Add {
        /// Of this partition.
        partition: u32,
        /// On this server.
        to: u64,
    },
    /// A replica in place of another, which leaves when the new one is in.
    Replace {
        /// Of this partition.
        partition: u32,
        /// Who leaves.
        from: u64,
        /// Who comes.
        to: u64,
    },
    /// A replica more than wanted leaves.
    Remove {
        /// Of this partition.
        partition: u32,
        /// From this server.
        from: u64,
    },
    /// The leader hands over.
    Lead {
        /// Of this partition.
        partition: u32,
        /// To this replica.
        to: u64,
    },
}

/// Who should hold and lead a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Ids of servers that are up, rising; fewer than wanted when there are fewer.
    pub replicas: Vec<u64>,
    /// One of them; `None` when there is none.
    pub leader: Option<u64>,
}

/// The moves to the best placement of `wanted` replicas a partition; none when this is it.
#[must_use]
pub fn plan(servers: &[Server], partitions: &[Partition], wanted: usize) -> Vec<Move> {
    let assignments = assign(servers, partitions, wanted);
    let states: BTreeMap<u64, ServerState> = servers
        .iter()
        .map(|server| (server.id, server.state))
        .collect();
    let (mut moves, mut transfers) = (Vec::new(), Vec::new());
    for ((number, partition), assignment) in (0..).zip(partitions).zip(&assignments) {
        replica_moves(number, partition, assignment, wanted, &states, &mut moves);
        if partition.leader.is_some()
            && partition.leader != assignment.leader
            && let Some(to) = assignment.leader
        {
            transfers.push(Move::Lead {
                partition: number,
                to,
            });
        }
    }
    moves.extend(transfers);
    moves
}

/// Who should hold and lead each partition. Of partitions without replicas this is the first placement.
#[must_use]
pub fn assign(servers: &[Server], partitions: &[Partition], wanted: usize) -> Vec<Assignment> {
    let mut up: Vec<Server> = servers
        .iter()
        .copied()
        .filter(|server| server.state == ServerState::Up)
        .collect();
    up.sort_by_key(|server| server.id);
    let replicas = replicas(&up, partitions, wanted);
    let leaders = leaders(&up, partitions, &replicas);
    replicas
        .into_iter()
        .zip(leaders)
        .map(|(replicas, leader)| Assignment { replicas, leader })
        .collect()
}

/// What makes up the difference, without a partition having fewer than it had, or than wanted.
fn replica_moves(
    number: u32,
    partition: &Partition,
    assignment: &Assignment,
    wanted: usize,
    states: &BTreeMap<u64, ServerState>,
    moves: &mut Vec<Move>,
) {
    let coming = assignment
        .replicas
        .iter()
        .filter(|id| !partition.replicas.contains(id));
    let mut leaving: Vec<u64> = partition
        .replicas
        .iter()
        .copied()
        .filter(|id| !assignment.replicas.contains(id))
        .collect();
    // The last ones are replaced first: those that are gone, then those that are about to go.
    leaving.sort_by_key(|id| match states.get(id) {
        Some(ServerState::Up | ServerState::Joining) => 0,
        Some(ServerState::Draining) => 1,
        Some(ServerState::Gone) | None => 2,
    });
    let mut members = partition.replicas.len();
    for &to in coming {
        match leaving.pop() {
            Some(from) if members >= wanted => moves.push(Move::Replace {
                partition: number,
                from,
                to,
            }),
            other => {
                leaving.extend(other);
                members += 1;
                moves.push(Move::Add {
                    partition: number,
                    to,
                });
            }
        }
    }
    while members > wanted
        && let Some(from) = leaving.pop()
    {
        members -= 1;
        moves.push(Move::Remove {
            partition: number,
            from,
        });
    }
}

/// The edge of each candidate, by server.
type Candidates = Vec<(u64, usize)>;

fn replicas(up: &[Server], partitions: &[Partition], wanted: usize) -> Vec<Vec<u64>> {
    let copies = wanted.min(up.len());
    let mut machines: BTreeMap<u64, usize> = BTreeMap::new();
    let mut network = Network::new();
    let nodes = even_servers(&mut network, up, partitions.len());
    for server in up {
        *machines.entry(server.machine).or_default() += 1;
    }
    let mut candidates = Vec::new();
    for (number, partition) in (0..).zip(partitions) {
        let node = network.node();
        network.edge(SOURCE, node, copies, Cost::default());
        let pairs: BTreeMap<u64, usize> = machines
            .keys()
            .map(|machine| (*machine, network.node()))
            .collect();
        for (machine, pair) in &pairs {
            for unit in 0..machines[machine].min(copies) {
                network.edge(node, *pair, 1, Cost([nth(unit), 0, 0, 0]));
            }
        }
        let edges = up.iter().zip(&nodes).map(|(server, node)| {
            let is_here = partition.replicas.contains(&server.id);
            let cost = cost_of(is_here, partition.bytes, number, server.id);
            let edge = network.edge(pairs[&server.machine], *node, 1, cost);
            (server.id, edge)
        });
        candidates.push(edges.collect::<Candidates>());
    }
    network.fill();
    candidates
        .iter()
        .map(|candidates| chosen(&network, candidates).collect())
        .collect()
}

fn leaders(up: &[Server], partitions: &[Partition], replicas: &[Vec<u64>]) -> Vec<Option<u64>> {
    let mut network = Network::new();
    let nodes = even_servers(&mut network, up, partitions.len());
    let mut candidates = Vec::new();
    for ((number, partition), replicas) in (0..).zip(partitions).zip(replicas) {
        let node = network.node();
        network.edge(SOURCE, node, 1, Cost::default());
        let holders = up.iter().zip(&nodes);
        let holders = holders.filter(|(server, _)| replicas.contains(&server.id));
        let edges = holders.map(|(server, holder)| {
            let leads = partition.leader == Some(server.id);
            let cost = cost_of(leads, 0, number, server.id);
            (server.id, network.edge(node, *holder, 1, cost))
        });
        candidates.push(edges.collect::<Candidates>());
    }
    network.fill();
    candidates
        .iter()
        .map(|candidates| chosen(&network, candidates).next())
        .collect()
}

/// A node for each server, of which each further unit costs more than the one before.
fn even_servers(network: &mut Network, up: &[Server], units_max: usize) -> Vec<usize> {
    let mut add = |_| {
        let node = network.node();
        for unit in 0..units_max {
            network.edge(node, SINK, 1, Cost([0, nth(unit), 0, 0]));
        }
        node
    };
    up.iter().map(&mut add).collect()
}

/// What a unit costs after `before` others on its way: their sum is the square of their number.
fn nth(before: usize) -> i64 {
    2 * before as i64 + 1
}

/// What it costs to have partition `number` on `server`.
fn cost_of(is_here: bool, bytes: u64, number: u32, server: u64) -> Cost {
    let moved = if is_here {
        0
    } else {
        // Sums over all partitions stay far below the type's end.
        MOVE_BYTES + i64::try_from(bytes).unwrap_or(i64::MAX).min(1 << 48)
    };
    let drawn = [server.to_le_bytes(), u64::from(number).to_le_bytes()].concat();
    let draw = batchkv_protocol::placement(&drawn) as u16;
    Cost([0, 0, moved, i64::from(draw)])
}

fn chosen<'a>(network: &'a Network, candidates: &'a Candidates) -> impl Iterator<Item = u64> + 'a {
    candidates
        .iter()
        .filter(|(_, edge)| network.flow(*edge) > 0)
        .map(|(id, _)| *id)
}
