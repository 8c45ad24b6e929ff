//! What the server does for requests, without sockets.

use std::sync::Arc;
use std::time::Instant;

use batchkv_protocol::limits::{BUFFER_BYTES_MAX, FRAME_BYTES};
use batchkv_protocol::{Hello, ReceiveBuffer, Role, SendBuffer, Status};
use batchkv_server::budget::Budget;
use batchkv_server::executor::{Executor as _, Immediate};
use batchkv_server::session::{Identity, Progress, Scratch, Session};
use batchkv_server::shared_map::SharedMap;
use batchkv_store::Engine;
use batchkv_workload::{LoadOrder, Spec};

use crate::job::{OPERATIONS, Source, Step, map, share, write_request};

/// Requests that a measurement takes turns with.
pub const REQUESTS: usize = 64;

/// Requests of the job, each as its frames.
#[must_use]
pub fn requests(spec: &Spec) -> Vec<Vec<u8>> {
    let (map, mut source) = (map(), Source::new(spec));
    (0..REQUESTS).map(|_| frames(&source.steps(&map))).collect()
}

/// The frames of one request.
#[must_use]
pub fn frames(steps: &[Step]) -> Vec<u8> {
    let mut out = SendBuffer::default();
    write_request(steps, &mut out);
    out.pending().to_vec()
}

/// A greeted session with its buffers.
pub struct Served<E> {
    /// What the session hands operations to.
    pub executor: Immediate<E>,
    session: Session,
    scratch: Scratch,
    input: ReceiveBuffer,
    out: SendBuffer,
}

impl<E: Engine> Served<E> {
    fn new(engine: E) -> Self {
        let map = Arc::new(SharedMap::new(&map(), Vec::new()));
        let executor = Immediate::new(engine, map.clone(), 0);
        let identity = Arc::new(Identity {
            server_index: 0,
            threads: 1,
            map,
            status: Status::default,
            clock: Instant::now,
        });
        let mut served = Self {
            executor,
            session: Session::new(identity, Arc::new(Budget::new(BUFFER_BYTES_MAX))),
            scratch: Scratch::default(),
            input: ReceiveBuffer::default(),
            out: SendBuffer::default(),
        };
        let mut out = SendBuffer::default();
        Hello::new(Role::Client { id: [0; 16] }, 0).write(&mut out);
        served.feed(out.pending());
        served
    }

    /// A session over `engine`, which gets all records of `spec`.
    ///
    /// # Panics
    /// When they are not there then.
    #[must_use]
    pub fn loaded(engine: E, spec: &Spec) -> Self {
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
        assert_eq!(served.executor.usage().records, spec.records());
        served
    }

    /// Feeds frames, and gives the bytes of the answers.
    ///
    /// # Panics
    /// When the session refuses them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut answer_bytes = 0;
        while !bytes.is_empty() {
            self.input.fill_from(&mut bytes);
            loop {
                let progress = self.session.advance(
                    &self.executor,
                    &mut self.scratch,
                    &mut self.input,
                    &mut self.out,
                    FRAME_BYTES,
                );
                answer_bytes += self.out.pending().len();
                self.out.sent(self.out.pending().len());
                match progress {
                    Progress::More => {}
                    Progress::Idle => break,
                    Progress::Waiting | Progress::Failed => {
                        panic!("the session refused our own requests")
                    }
                }
            }
        }
        answer_bytes
    }
}
