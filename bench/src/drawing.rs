//! What a client does for its requests before they are sent, without sockets.

use batchkv_bench::job::{OPERATIONS, Source, Step, write_request};
use batchkv_client::group::Grouping;
use batchkv_protocol::{PartitionMap, SendBuffer};

/// Draws one request's operations, with their keys and partitions.
pub(crate) fn generate(source: &mut Source, map: &PartitionMap) {
    for _ in 0..OPERATIONS {
        let (record, is_put) = source.draw();
        std::hint::black_box(Step::new(map, record, is_put));
    }
}

/// Draws, groups and writes requests, in memory that it keeps.
#[derive(Default)]
pub(crate) struct Encoder {
    asked: Vec<Step>,
    partitions: Vec<u16>,
    grouping: Grouping,
    grouped: Vec<Step>,
    out: SendBuffer,
}

impl Encoder {
    pub(crate) fn request(&mut self, source: &mut Source, map: &PartitionMap) {
        self.asked.clear();
        self.partitions.clear();
        for _ in 0..OPERATIONS {
            let (record, is_put) = source.draw();
            let step = Step::new(map, record, is_put);
            self.asked.push(step);
            self.partitions.push(step.partition as u16);
        }
        let order = self.grouping.sort(&self.partitions, map.partitions().len());
        self.grouped.clear();
        self.grouped
            .extend(order.iter().map(|index| self.asked[*index as usize]));
        self.out.sent(self.out.pending().len());
        write_request(&self.grouped, &mut self.out);
    }
}
