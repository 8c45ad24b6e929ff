//! What the server does for an operation, without sockets: requests of the standard job are fed to a
//! session over a loaded engine, and the answers thrown away.

use std::sync::Arc;

use batchkv_protocol::control::{MAGIC, VERSION};
use batchkv_protocol::{ClientHello, Control, ReceiveBuffer, SendBuffer, Status};
use batchkv_server::session::{Identity, Progress, Session};
use batchkv_server::store::{Dashmap, Engine, Partitioned};
use batchkv_workload::{LoadOrder, Spec};

use crate::job::{OPERATIONS, Source, Step, map, share, spec, write_request};
use crate::mover::Weights;
use crate::timing::medians;

const REQUESTS: usize = 64;
const ROUNDS: usize = 15;
const OUTPUT_BYTES: usize = 64 << 10;

/// Requests of the job, each as its frames.
pub(crate) fn requests(spec: &Spec) -> Vec<Vec<u8>> {
    let (map, mut source) = (map(), Source::new(spec));
    (0..REQUESTS).map(|_| frames(&source.steps(&map))).collect()
}

fn frames(steps: &[Step]) -> Vec<u8> {
    let mut out = SendBuffer::default();
    write_request(steps, &mut out);
    out.pending().to_vec()
}

/// A greeted session with its buffers.
pub(crate) struct Served<E> {
    engine: E,
    session: Session,
    input: ReceiveBuffer,
    out: SendBuffer,
}

impl<E: Engine> Served<E> {
    fn new(engine: E) -> Self {
        let identity = Arc::new(Identity {
            server_index: 0,
            threads: 1,
            map: map(),
            status: Status::default,
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

    pub(crate) fn loaded(engine: E, spec: &Spec) -> Self {
        let mut served = Self::new(engine);
        let map = map();
        let records: Vec<u64> = LoadOrder::new(spec.records(), share()).collect();
        for chunk in records.chunks(OPERATIONS) {
            let mut steps: Vec<Step> = chunk
                .iter()
                .map(|record| Step::new(&map, *record, true))
                .collect();
            steps.sort_by_key(|step| step.partition);
            served.feed(&frames(&steps));
        }
        assert_eq!(served.engine.usage().records, spec.records());
        served
    }

    /// Feeds frames, and gives the bytes of the answers.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut answer_bytes = 0;
        while !bytes.is_empty() {
            self.input.fill_from(&mut bytes);
            loop {
                let progress = self.session.advance(
                    &self.engine,
                    &mut self.input,
                    &mut self.out,
                    OUTPUT_BYTES,
                );
                answer_bytes += self.out.pending().len();
                self.out.sent(self.out.pending().len());
                match progress {
                    Progress::More => {}
                    Progress::Idle => break,
                    Progress::Failed => panic!("the session refused our own requests"),
                }
            }
        }
        answer_bytes
    }
}

/// What the requests weigh, on average, with the answers that `served` gives.
pub(crate) fn weights(requests: &[Vec<u8>], served: &mut Served<impl Engine>) -> Weights {
    let answer_bytes: usize = requests.iter().map(|request| served.feed(request)).sum();
    Weights {
        operations: OPERATIONS as u64,
        request_bytes: requests.iter().map(Vec::len).sum::<usize>() / requests.len(),
        answer_bytes: answer_bytes / requests.len(),
    }
}

/// What a request of the standard job weighs.
pub(crate) fn standard_weights() -> Weights {
    let spec = spec("zipf");
    let mut served = Served::loaded(Partitioned::new(256, None), &spec);
    weights(&requests(&spec), &mut served)
}

fn feed_all(served: &mut Served<impl Engine>, requests: &[Vec<u8>]) {
    for request in requests {
        served.feed(request);
    }
}

pub(crate) fn run() {
    for (name, chooser) in [("standard job", "zipf"), ("uniform keys", "uniform")] {
        let spec = spec(chooser);
        let requests = requests(&spec);
        let mut partitioned = Served::loaded(Partitioned::new(256, None), &spec);
        let mut dashmap = Served::loaded(Dashmap::new(None), &spec);
        let [partitioned_ns, dashmap_ns] = medians(
            ROUNDS,
            OPERATIONS * REQUESTS,
            [&mut || feed_all(&mut partitioned, &requests), &mut || {
                feed_all(&mut dashmap, &requests)
            }],
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
