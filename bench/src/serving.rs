//! What the server does for an operation, without sockets: requests of the standard job are fed to a
//! session over a loaded engine, and the answers thrown away.

use std::sync::Arc;

use batchkv_protocol::control::{MAGIC, VERSION};
use batchkv_protocol::{
    ClientHello, Control, PartitionMap, ReceiveBuffer, RequestWriter, SendBuffer,
};
use batchkv_server::session::{Identity as ServerIdentity, Progress, Session};
use batchkv_server::store::{Dashmap, Engine, Partitioned};
use batchkv_workload::{
    Identity, Inserts, KeyBuf, KeyStyle, Kind, LoadOrder, Options, Phase, Share, Spec, Stream,
};

use crate::timing::medians;

const OPERATIONS: usize = 8192;
const REQUESTS: usize = 64;
const ROUNDS: usize = 15;
const OUTPUT_BYTES: usize = 64 << 10;
const VALUE: [u8; 128] = [7; 128];

fn map() -> PartitionMap {
    PartitionMap::fixed(256, 1).expect("a map")
}

/// Requests of the standard job, or of gets of uniformly drawn records, each as its frames.
fn requests(spec: &Spec) -> Vec<Vec<u8>> {
    let share = Share::new(0, 1, 0, 1).expect("one worker");
    let mut stream = Stream::new(
        spec,
        Identity {
            seed: 1,
            client: 0,
            task: 0,
            phase: Phase::Run,
        },
    );
    let mut inserts = Inserts::new(spec.records(), share);
    (0..REQUESTS)
        .map(|_| {
            let operations = (0..OPERATIONS).map(|_| {
                let operation = stream.next(&mut inserts);
                (
                    KeyBuf::new(KeyStyle::Decimal, operation.record),
                    operation.kind != Kind::Read,
                )
            });
            request(operations.collect())
        })
        .collect()
}

/// The frames of one request, its operations sorted by partition.
fn request(operations: Vec<(KeyBuf, bool)>) -> Vec<u8> {
    let map = map();
    let mut placed: Vec<_> = operations
        .into_iter()
        .map(|(key, put)| (map.partition_of(key.as_bytes()), key, put))
        .collect();
    placed.sort_by_key(|(partition, ..)| *partition);
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 1);
    let mut at = 0;
    while let Some((partition, key, put)) = placed.get(at) {
        let fits = match put {
            true => writer
                .put(*partition, 1, key.as_bytes(), VALUE.len())
                .map(|room| room.copy_from_slice(&VALUE))
                .is_some(),
            false => writer.get(*partition, 1, key.as_bytes()),
        };
        if fits {
            at += 1;
        } else {
            writer.finish(false);
            writer = RequestWriter::begin(&mut out, 1);
        }
    }
    writer.finish(true);
    out.pending().to_vec()
}

/// A greeted session with its buffers.
struct Served<E> {
    engine: E,
    session: Session,
    input: ReceiveBuffer,
    out: SendBuffer,
}

impl<E: Engine> Served<E> {
    fn new(engine: E) -> Self {
        let identity = Arc::new(ServerIdentity {
            server_index: 0,
            threads: 1,
            map: map(),
        });
        let mut served = Self {
            engine,
            session: Session::new(identity),
            input: ReceiveBuffer::default(),
            out: SendBuffer::default(),
        };
        let hello = ClientHello {
            magic: MAGIC,
            version_min: VERSION,
            version_max: VERSION,
            features: 0,
            client_id: [0; 16],
        };
        let mut out = SendBuffer::default();
        Control::ClientHello(hello).write(&mut out);
        served.feed(out.pending());
        served
    }

    fn loaded(engine: E, spec: &Spec) -> Self {
        let mut served = Self::new(engine);
        let share = Share::new(0, 1, 0, 1).expect("one worker");
        let records: Vec<u64> = LoadOrder::new(spec.records(), share).collect();
        for chunk in records.chunks(OPERATIONS) {
            let operations = chunk
                .iter()
                .map(|record| (KeyBuf::new(KeyStyle::Decimal, *record), true));
            served.feed(&request(operations.collect()));
        }
        assert_eq!(served.engine.usage().records, spec.records());
        served
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.input.fill_from(&mut bytes);
            loop {
                let progress = self.session.advance(
                    &self.engine,
                    &mut self.input,
                    &mut self.out,
                    OUTPUT_BYTES,
                );
                self.out.sent(self.out.pending().len());
                match progress {
                    Progress::More => {}
                    Progress::Idle => break,
                    Progress::Failed => panic!("the session refused our own requests"),
                }
            }
        }
    }
}

pub(crate) fn run() {
    for (name, text) in [("standard job", "zipf"), ("uniform keys", "uniform")] {
        let chooser = Some(text.parse().expect("a chooser"));
        let spec = Spec::new(Options {
            chooser,
            ..Options::default()
        })
        .expect("a workload");
        let requests = requests(&spec);
        let mut partitioned = Served::loaded(Partitioned::new(256, None), &spec);
        let mut dashmap = Served::loaded(Dashmap::new(None), &spec);
        let [partitioned_ns, dashmap_ns] = medians(
            ROUNDS,
            OPERATIONS * REQUESTS,
            [
                &mut || {
                    requests
                        .iter()
                        .for_each(|request| partitioned.feed(request))
                },
                &mut || requests.iter().for_each(|request| dashmap.feed(request)),
            ],
        );
        let usage = partitioned.engine.usage();
        println!(
            "{name}: partitioned {partitioned_ns:.1} ns, dashmap {dashmap_ns:.1} ns an operation"
        );
        println!(
            "  partitioned holds {:.1} bytes a record",
            usage.memory_bytes as f64 / usage.records as f64
        );
    }
}
