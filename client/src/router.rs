//! Which operations of a batch go to which server, in which order and in which requests.

use crate::answers::Reply;
use crate::batch::Batch;
use crate::exchange::{Exchange, Lost};
use crate::group::Grouping;
use crate::kind::WrongKind;
use batchkv_protocol::limits::{OPERATIONS_PER_REQUEST_MAX, PARTITIONS_MAX};
use batchkv_protocol::{Answer, Operation, PartitionMap, RequestWriter};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Who owns which partition at one moment, and the order in which partitions are sent.
#[derive(Debug)]
pub(crate) struct Plan {
    map: PartitionMap,
    /// Each partition's place when all are sorted by owner, then by number: its class when a batch
    /// is sorted, so that a server's operations stand together and in groups.
    ranks: Vec<u16>,
    /// Where each server's partitions stand in that order.
    server_ranks: Vec<Range<usize>>,
}

/// A batch with its operations in send order.
#[derive(Debug)]
pub(crate) struct Routed {
    plan: Arc<Plan>,
    batch: Arc<Batch>,
    grouping: Grouping,
    /// The operations, as indices into the batch, in send order.
    order: Vec<u32>,
}

impl Plan {
    pub(crate) fn new(map: PartitionMap) -> Self {
        let owner_of = |partition: u32| map.partitions()[partition as usize].owner;
        let mut sorted: Vec<u32> = (0..map.partitions().len() as u32).collect();
        sorted.sort_by_key(|&partition| owner_of(partition));
        let mut ranks = vec![0; sorted.len()];
        for (rank, &partition) in (0..).zip(&sorted) {
            ranks[partition as usize] = rank;
        }
        let server_ranks = (0..map.servers())
            .map(|server| {
                let start = sorted.partition_point(|&partition| owner_of(partition) < server);
                let end = sorted.partition_point(|&partition| owner_of(partition) <= server);
                start..end
            })
            .collect();
        Self {
            map,
            ranks,
            server_ranks,
        }
    }

    /// The servers that own something.
    pub(crate) fn owners(&self) -> impl Iterator<Item = u32> {
        let ranks = (0..).zip(&self.server_ranks);
        ranks.filter_map(|(server, ranks)| (!ranks.is_empty()).then_some(server))
    }

    pub(crate) fn partition_of(&self, operation: &Operation<'_>) -> u32 {
        self.map.partition_of(operation.key())
    }

    /// Puts `operations` of the batch, given as rising indices, into send order.
    pub(crate) fn route(self: &Arc<Self>, batch: &Arc<Batch>, operations: &[u32]) -> Routed {
        let rank = |&index: &u32| {
            let operation = batch.operation(index as usize);
            self.ranks[self.partition_of(&operation) as usize]
        };
        let classes: Vec<u16> = operations.iter().map(rank).collect();
        let mut grouping = Grouping::default();
        let sorted = grouping.sort(&classes, self.ranks.len());
        let order = sorted.iter().map(|&at| operations[at as usize]).collect();
        Routed {
            plan: Arc::clone(self),
            batch: Arc::clone(batch),
            grouping,
            order,
        }
    }
}

impl Routed {
    /// The requests to `server`, as ranges of the send order. They are sent one after the other's
    /// answers, so that operations on one key keep their order.
    pub(crate) fn requests(&self, server: u32) -> impl Iterator<Item = Range<usize>> + use<> {
        let ranks = &self.plan.server_ranks[server as usize];
        let (start, end) = match ranks.is_empty() {
            true => (0, 0),
            false => (
                self.grouping.range(ranks.start).start,
                self.grouping.range(ranks.end - 1).end,
            ),
        };
        (start..end)
            .step_by(OPERATIONS_PER_REQUEST_MAX)
            .map(move |at| at..end.min(at + OPERATIONS_PER_REQUEST_MAX))
    }

    /// The servers that the plan knows as owners of something.
    pub(crate) fn owners(&self) -> impl Iterator<Item = u32> {
        self.plan.owners()
    }

    /// The operations, as indices into the batch, in send order.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }
}

/// A request of the library: a range of a routed batch, and the answers so far.
#[derive(Debug)]
pub(crate) struct Request {
    routed: Arc<Routed>,
    range: Range<usize>,
    reply: Reply,
    done: oneshot::Sender<Reply>,
}

impl Request {
    /// A request for `range` of the send order, and where its answers will come.
    pub(crate) fn new(
        routed: Arc<Routed>,
        range: Range<usize>,
    ) -> (Self, oneshot::Receiver<Reply>) {
        let (done, answers) = oneshot::channel();
        let reply = Reply::with_operations(range.len());
        let request = Self {
            routed,
            range,
            reply,
            done,
        };
        (request, answers)
    }

    #[inline]
    fn operation_index(&self, index: usize) -> usize {
        self.routed.order()[self.range.start + index] as usize
    }
}

impl Exchange for Request {
    fn operations(&self) -> usize {
        self.range.len()
    }

    #[inline]
    fn write(&mut self, index: usize, frame: &mut RequestWriter<'_>) -> bool {
        let operation = self.routed.batch.operation(self.operation_index(index));
        let plan = &self.routed.plan;
        let partition = plan.partition_of(&operation);
        // Of the plan and not of the moment: a server that gets the partition back takes no later part of a
        // group of which it has refused the beginning.
        let epoch = plan.map.partitions()[partition as usize].epoch;
        frame.operation(partition, epoch, operation)
    }

    #[inline]
    fn answer(&mut self, index: usize, answer: Answer<'_>) -> Result<(), WrongKind> {
        let kind = self.routed.batch.kind(self.operation_index(index));
        kind.check(&answer)?;
        self.reply.take(index, answer);
        Ok(())
    }

    fn answered(&mut self, _operations: usize) {}

    fn ended(mut self, outcome: Result<(), Lost>) {
        if let Err(lost) = outcome {
            self.reply.lose(lost.sent, lost.cause);
        }
        // Whoever executed the batch may have stopped waiting.
        let _ = self.done.send(self.reply);
    }
}

const _: () = assert!(PARTITIONS_MAX as usize <= u16::MAX as usize + 1);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route(plan: &Arc<Plan>, batch: Batch) -> Routed {
        let operations: Vec<u32> = (0..batch.len() as u32).collect();
        plan.route(&Arc::new(batch), &operations)
    }

    proptest! {
        /// Every operation is in one request, to its owner, with its partition's in one stretch,
        /// and behind the operations on its key that precede it in the batch.
        #[test]
        fn every_operation_is_routed_once_to_its_owner_in_order(
            keys in prop::collection::vec(0..50_u8, 0..400),
            servers in 1..5_u32,
        ) {
            let map = PartitionMap::fixed(16, servers).unwrap();
            let mut batch = Batch::new();
            for key in &keys {
                batch.get(&[*key]).unwrap();
            }
            let routed = route(&Arc::new(Plan::new(map.clone())), batch);
            let mut seen = vec![false; keys.len()];
            let mut partitions = Vec::new();
            for server in 0..servers {
                for &index in routed.requests(server).flat_map(|r| &routed.order()[r]) {
                    let partition = map.partition_of(&[keys[index as usize]]);
                    prop_assert_eq!(map.ownership(partition).unwrap().owner, server);
                    let earlier = &keys[..index as usize];
                    for (earlier, _) in earlier.iter().zip(&seen).filter(|(_, seen)| !**seen) {
                        prop_assert_ne!(*earlier, keys[index as usize]);
                    }
                    prop_assert!(!std::mem::replace(&mut seen[index as usize], true));
                    partitions.push(partition);
                }
            }
            prop_assert!(seen.iter().all(|&seen| seen));
            partitions.dedup();
            let stretches = partitions.len();
            partitions.sort_unstable();
            partitions.dedup();
            prop_assert_eq!(stretches, partitions.len());
        }
    }

    #[test]
    fn a_server_without_partitions_and_an_empty_batch_get_no_requests() {
        let owner = |owner| batchkv_protocol::map::Ownership { owner, epoch: 1 };
        let map = PartitionMap::new([owner(2), owner(0)].into()).unwrap();
        let plan = Arc::new(Plan::new(map));
        let mut batch = Batch::new();
        batch.get(b"a").unwrap();
        assert_eq!(route(&plan, batch).requests(1).count(), 0);
        assert_eq!(plan.owners().collect::<Vec<_>>(), [0, 2]);
        let empty = route(&plan, Batch::new());
        assert!((0..3).all(|server| empty.requests(server).count() == 0));
    }

    #[test]
    fn requests_hold_as_many_operations_as_are_allowed() {
        let map = PartitionMap::fixed(4, 1).unwrap();
        let mut batch = Batch::new();
        for _ in 0..2 * OPERATIONS_PER_REQUEST_MAX + 1 {
            batch.get(b"a").unwrap();
        }
        let routed = route(&Arc::new(Plan::new(map)), batch);
        let lengths: Vec<_> = routed.requests(0).map(|range| range.len()).collect();
        let max = OPERATIONS_PER_REQUEST_MAX;
        assert_eq!(lengths, [max, max, 1]);
    }
}
