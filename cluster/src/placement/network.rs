//! Flow at least cost: units go from a source to a sink through edges that each hold a number of them.
//!
//! Successive shortest paths: each unit takes the cheapest way that is left, where going back along an
//! edge takes a unit off it again and returns its cost. Every step keeps the flow the cheapest of its
//! size (Ahuja, Magnanti, Orlin: Network Flows, 9.7).

use std::collections::VecDeque;
use std::ops::{Add, Neg};

/// A cost in parts of falling weight: no amount of a later part outweighs an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost(pub(super) [i64; 4]);

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|part| self.0[part] + other.0[part]))
    }
}

impl Neg for Cost {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.map(i64::neg))
    }
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    to: usize,
    /// Units that it still takes.
    room: usize,
    cost: Cost,
}

/// Nodes are numbers; 0 is the source and 1 the sink.
#[derive(Debug)]
pub(super) struct Network {
    /// Edge `e` and its way back `e ^ 1` stand side by side.
    edges: Vec<Edge>,
    leaving: Vec<Vec<usize>>,
}

pub(super) const SOURCE: usize = 0;
pub(super) const SINK: usize = 1;

impl Network {
    pub(super) fn new() -> Self {
        Self {
            edges: Vec::new(),
            leaving: vec![Vec::new(), Vec::new()],
        }
    }

    pub(super) fn node(&mut self) -> usize {
        self.leaving.push(Vec::new());
        self.leaving.len() - 1
    }

    /// An edge for `units`, each of which costs `cost`; its number.
    pub(super) fn edge(&mut self, from: usize, to: usize, units: usize, cost: Cost) -> usize {
        let edge = self.edges.len();
        for (from, to, room, cost) in [(from, to, units, cost), (to, from, 0, -cost)] {
            self.leaving[from].push(self.edges.len());
            self.edges.push(Edge { to, room, cost });
        }
        edge
    }

    /// How many units go through `edge`.
    pub(super) fn flow(&self, edge: usize) -> usize {
        self.edges[edge ^ 1].room
    }

    /// Sends as many units as there is room for, at the least cost of all ways to send so many.
    pub(super) fn fill(&mut self) {
        while let Some(path) = self.cheapest_path() {
            for edge in path {
                self.edges[edge].room -= 1;
                self.edges[edge ^ 1].room += 1;
            }
        }
    }

    /// The edges of the cheapest path from source to sink, from its end (Bellman and Ford, with a queue).
    fn cheapest_path(&self) -> Option<Vec<usize>> {
        let nodes = self.leaving.len();
        let mut best: Vec<Option<Cost>> = vec![None; nodes];
        let mut arrived_by = vec![usize::MAX; nodes];
        let mut is_queued = vec![false; nodes];
        let mut queue = VecDeque::from([SOURCE]);
        best[SOURCE] = Some(Cost::default());
        while let Some(from) = queue.pop_front() {
            is_queued[from] = false;
            let Some(so_far) = best[from] else { continue };
            for &edge in &self.leaving[from] {
                let Edge { to, room, cost } = self.edges[edge];
                let total = so_far + cost;
                if room == 0 || best[to].is_some_and(|known| known <= total) {
                    continue;
                }
                best[to] = Some(total);
                arrived_by[to] = edge;
                if !std::mem::replace(&mut is_queued[to], true) {
                    queue.push_back(to);
                }
            }
        }
        best[SINK]?;
        Some(self.walk_back(&arrived_by))
    }

    fn walk_back(&self, arrived_by: &[usize]) -> Vec<usize> {
        let mut path = Vec::new();
        let mut node = SINK;
        while node != SOURCE {
            let edge = arrived_by[node];
            path.push(edge);
            node = self.edges[edge ^ 1].to;
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::{Cost, Network, SINK, SOURCE};

    fn cost(units: i64) -> Cost {
        Cost([0, units, 0, 0])
    }

    #[test]
    fn a_later_unit_moves_an_earlier_one_out_of_its_way() {
        let mut network = Network::new();
        let (a, b) = (network.node(), network.node());
        network.edge(SOURCE, a, 1, cost(0));
        network.edge(SOURCE, b, 1, cost(0));
        // The first unit takes a to c, which is all that b could have.
        let (c, d) = (network.node(), network.node());
        let a_to_c = network.edge(a, c, 1, cost(1));
        let a_to_d = network.edge(a, d, 1, cost(5));
        let b_to_c = network.edge(b, c, 1, cost(1));
        network.edge(c, SINK, 1, cost(0));
        network.edge(d, SINK, 1, cost(0));
        network.fill();
        assert_eq!(
            [a_to_c, a_to_d, b_to_c].map(|edge| network.flow(edge)),
            [0, 1, 1]
        );
    }

    #[test]
    fn no_later_part_outweighs_an_earlier_one() {
        assert!(
            Cost([0, 9, 9, 9]) < Cost([1, 0, 0, 0]) && Cost([0, 0, 1, -9]) > Cost([0, 0, 0, 9])
        );
    }
}
