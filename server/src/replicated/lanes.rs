//! Keeps the order of one connection's groups of one partition, where some wait for the log and some for a read
//! point.
//!
//! Writes of a connection may follow each other: the log keeps their order. A group that only reads waits until all
//! writes before it have taken effect, and a write until all reads before it are executed.

use std::collections::{HashMap, VecDeque};

/// What a group waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only reads: it waits for a read point.
    Read,
    /// It is proposed.
    Write,
}

/// One partition's groups, by connection. `G` is a group that waits for its turn.
#[derive(Debug)]
pub(super) struct Lanes<G>(HashMap<u64, Lane<G>>);

impl<G> Default for Lanes<G> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[derive(Debug)]
struct Lane<G> {
    /// Groups under way: all of one kind.
    under_way: usize,
    kind: Kind,
    waiting: VecDeque<(Kind, G)>,
}

impl<G> Lanes<G> {
    /// A group comes: it is given back when it may go on at once.
    pub(super) fn enter(&mut self, connection: u64, kind: Kind, group: G) -> Option<G> {
        let lane = self.0.entry(connection).or_insert_with(|| Lane {
            under_way: 0,
            kind,
            waiting: VecDeque::new(),
        });
        if lane.waiting.is_empty() && (lane.under_way == 0 || lane.kind == kind) {
            lane.kind = kind;
            lane.under_way += 1;
            return Some(group);
        }
        lane.waiting.push_back((kind, group));
        None
    }

    /// A group that went on has been executed, or never will be: those that may go on now, in their order.
    pub(super) fn leave(&mut self, connection: u64) -> Vec<(Kind, G)> {
        let Some(lane) = self.0.get_mut(&connection) else {
            return Vec::new();
        };
        lane.under_way -= 1;
        if lane.under_way > 0 {
            return Vec::new();
        }
        let Some((kind, _)) = lane.waiting.front() else {
            self.0.remove(&connection);
            return Vec::new();
        };
        lane.kind = *kind;
        let mut next = Vec::new();
        while lane
            .waiting
            .front()
            .is_some_and(|(kind, _)| *kind == lane.kind)
        {
            next.extend(lane.waiting.pop_front());
        }
        lane.under_way = next.len();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Lanes};
    use proptest::prelude::*;

    proptest! {
        /// Whatever order groups end in: all go on, and no group before those of the other kind in front of it have
        /// ended.
        #[test]
        fn reads_and_writes_of_a_connection_keep_their_order(
            groups in prop::collection::vec((0..3_u64, any::<bool>()), 0..60),
            ends in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut lanes = Lanes::default();
            let mut coming = groups.iter().copied().enumerate();
            let mut under_way: Vec<usize> = Vec::new();
            let mut ended = vec![false; groups.len()];
            let kind = |group: usize| if groups[group].1 { Kind::Write } else { Kind::Read };
            let check = |group: usize, ended: &[bool]| {
                (0..group).all(|earlier| {
                    groups[earlier].0 != groups[group].0
                        || kind(earlier) == kind(group)
                        || ended[earlier]
                })
            };
            let mut ends = ends.into_iter();
            loop {
                let end = ends.next();
                let comes = end.as_ref().is_none_or(|(comes, _)| *comes);
                if comes && let Some((group, (connection, _))) = coming.next() {
                    if let Some(group) = lanes.enter(connection, kind(group), group) {
                        prop_assert!(check(group, &ended));
                        under_way.push(group);
                    }
                } else if !under_way.is_empty() {
                    let place = end.map_or(0, |(_, index)| index.index(under_way.len()));
                    let done = under_way.remove(place);
                    ended[done] = true;
                    for (said, group) in lanes.leave(groups[done].0) {
                        prop_assert_eq!(said, kind(group));
                        prop_assert!(check(group, &ended));
                        under_way.push(group);
                    }
                } else if comes {
                    break;
                }
            }
            prop_assert!(ended.iter().all(|ended| *ended));
            prop_assert!(lanes.0.is_empty(), "nothing is kept of connections without groups");
        }
    }
}
