//! The pieces of the standard job that several measurements are made of.

use batchkv_protocol::{Key, PartitionMap, RequestWriter, SendBuffer};
use batchkv_workload::{
    Identity, Inserts, KeyBuf, KeyStyle, Kind, Options, Phase, Share, Spec, Stream,
};

/// Operations of a request.
pub const OPERATIONS: usize = 8192;
/// Every value that is written.
pub const VALUE: [u8; 128] = [7; 128];

/// YCSB-B over a million records with the named chooser.
#[must_use]
pub fn spec(chooser: &str) -> Spec {
    let chooser = Some(chooser.parse().expect("a chooser's name"));
    Spec::new(Options {
        chooser,
        ..Options::default()
    })
    .expect("a workload")
}

/// One server with the default number of partitions.
#[must_use]
pub fn map() -> PartitionMap {
    PartitionMap::fixed(256, 1).expect("a map")
}

/// All of the work, for one worker.
#[must_use]
pub fn share() -> Share {
    Share::new(0, 1, 0, 1).expect("one worker of one client")
}

/// One operation, ready to be written.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Of the key.
    pub partition: u32,
    /// The record's key.
    pub key: KeyBuf,
    /// Whether [`VALUE`] is put; else the key is asked for.
    pub is_put: bool,
}

impl Step {
    /// The operation on the key of `record`.
    #[must_use]
    pub fn new(map: &PartitionMap, record: u64, is_put: bool) -> Self {
        let key = KeyBuf::new(KeyStyle::Decimal, record);
        Self {
            partition: map.partition_of(wire_key(&key)),
            key,
            is_put,
        }
    }
}

/// The stream of one task with what it draws from.
pub struct Source {
    stream: Stream,
    inserts: Inserts,
}

impl Source {
    /// A stream over `spec`; every source of a spec gives the same operations.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        let identity = Identity {
            seed: 1,
            client: 0,
            task: 0,
            phase: Phase::Run,
        };
        Self {
            stream: Stream::new(spec, identity),
            inserts: Inserts::new(spec.records(), share()),
        }
    }

    /// The next operation: its record, and whether it is a put.
    #[inline]
    pub fn draw(&mut self) -> (u64, bool) {
        let operation = self.stream.next(&mut self.inserts);
        (operation.record, operation.kind != Kind::Read)
    }

    /// The steps of one request, sorted by partition.
    pub fn steps(&mut self, map: &PartitionMap) -> Vec<Step> {
        let mut steps: Vec<Step> = (0..OPERATIONS)
            .map(|_| {
                let (record, is_put) = self.draw();
                Step::new(map, record, is_put)
            })
            .collect();
        steps.sort_by_key(|step| step.partition);
        steps
    }
}

/// The key as the protocol's writer takes it.
#[inline]
#[must_use]
pub fn wire_key(key: &KeyBuf) -> Key<'_> {
    let (buffer, key_bytes) = key.padded();
    Key::within(buffer, 0, key_bytes).expect("a key lies within its buffer")
}

/// Appends the frames of one request of `steps`, sorted by partition.
pub fn write_request(steps: &[Step], out: &mut SendBuffer) {
    let mut writer = RequestWriter::begin(out, 1);
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        let key = wire_key(&step.key);
        let fits = if step.is_put {
            let room = writer.put(step.partition, 1, key, VALUE.len());
            room.map(|room| room.copy_from_slice(&VALUE)).is_some()
        } else {
            writer.get(step.partition, 1, key)
        };
        if fits {
            at += 1;
        } else {
            writer.finish(false);
            writer = RequestWriter::begin(out, 1);
        }
    }
    writer.finish(true);
}
