//! What the server does for an operation, without sockets: requests of the standard job are fed to a
//! session over a loaded engine, and the answers thrown away.

use batchkv_bench::job::{OPERATIONS, spec};
use batchkv_bench::served::{REQUESTS, Served, requests};
use batchkv_cli::screen::say;
use batchkv_server::executor::Executor as _;
use batchkv_store::{Dashmap, Engine, Partitioned};

use crate::mover::Weights;
use crate::timing::medians;

const ROUNDS: usize = 15;

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
        let mut dashmap = Served::loaded(Dashmap::new(256, None), &spec);
        let [partitioned_ns, dashmap_ns] = medians(
            ROUNDS,
            OPERATIONS * REQUESTS,
            [&mut || feed_all(&mut partitioned, &requests), &mut || {
                feed_all(&mut dashmap, &requests)
            }],
        );
        let usage = partitioned.executor.usage();
        say(format_args!(
            "{name}: partitioned {partitioned_ns:.1} ns, dashmap {dashmap_ns:.1} ns an operation"
        ));
        say(format_args!(
            "  partitioned holds {:.1} bytes a record",
            usage.memory_bytes as f64 / usage.records as f64
        ));
    }
}
