//! An engine that stores nothing and answers at once: what remains is client, wire and session.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use batchkv_bench::job::{VALUE, map};
use batchkv_protocol::limits::{BUFFER_BYTES_MAX, FRAME_TIME_MAX};
use batchkv_protocol::{Answer, Answers, Counters, Operation};
use batchkv_server::config::{Config, EngineKind};
use batchkv_store::{Engine, Placed, Usage};

struct Null;

impl Engine for Null {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        for (applied, placed) in window.iter().enumerate() {
            let (answer, count) = match placed.operation {
                Operation::Get { .. } => (Answer::Value(&VALUE), &mut counters.gets),
                Operation::Put { .. } => (Answer::Stored, &mut counters.puts),
                Operation::Delete { .. } => {
                    (Answer::Deleted { existed: false }, &mut counters.deletes)
                }
            };
            if !answers.answer(placed.position, answer) {
                return applied;
            }
            *count += 1;
            counters.hits += u64::from(answer == Answer::Value(&VALUE));
        }
        window.len()
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// A server over [`Null`], for as long as the process lives.
pub(crate) struct NullServer {
    pub(crate) address: SocketAddr,
}

impl NullServer {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let config = Config {
            server_index: 0,
            map: map(),
            addresses: Vec::new(),
            // Unused: the engine is handed over.
            engine: EngineKind::Partitioned,
            threads: thread::available_parallelism()?.get(),
            max_memory_bytes: None,
            buffer_bytes_max: BUFFER_BYTES_MAX,
            max_connections: 1000,
            idle_timeout: FRAME_TIME_MAX,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::spawn(move || {
            let serving =
                batchkv_server::serve(config, Null, listener, |_| (), std::future::pending());
            runtime.block_on(serving).map(drop)
        });
        Ok(Self { address })
    }
}
