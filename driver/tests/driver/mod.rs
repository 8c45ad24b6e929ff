//! What the driver's tests share: servers in this process, honest and lying, and the program itself.

#![allow(dead_code)] // each test program uses its own part
#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

pub mod proxy;

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use batchkv_client::protocol::{Answer, Answers, Counters, Operation, PartitionMap, Refusal};
use batchkv_server::config::{Config, EngineKind};
use batchkv_server::stats::Snapshot;
use batchkv_store::{Engine, Partitioned, Placed, Usage};
use tokio::sync::oneshot;

const PARTITIONS: u32 = 64;

/// A server in this process.
pub struct Server {
    pub address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Snapshot>>,
}

impl Server {
    /// Server `index` of `servers`, with the engine that people use.
    pub fn start(index: u32, servers: u32) -> Self {
        Self::with(index, servers, Partitioned::new(PARTITIONS, None))
    }

    /// A single server that has no more memory than this.
    #[allow(dead_code, reason = "not every test file has a small server")]
    pub fn small(max_memory_bytes: u64) -> Self {
        Self::with(0, 1, Partitioned::new(PARTITIONS, Some(max_memory_bytes)))
    }

    /// A single server that keeps nothing and notes what it is asked, in its order.
    pub fn noting(asked: Asked) -> Self {
        Self::with(0, 1, Noting(asked))
    }

    /// A single server that lies.
    pub fn lying(lie: Lie) -> Self {
        Self::with(0, 1, Liar::new(lie))
    }

    fn with(index: u32, servers: u32, engine: impl Engine) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = Config {
            server_index: index,
            map: PartitionMap::fixed(PARTITIONS, servers).unwrap(),
            addresses: Vec::new(),
            engine: EngineKind::Partitioned,
            threads: 1,
            max_memory_bytes: None,
            buffer_bytes_max: 1 << 30,
            max_connections: 100,
            idle_timeout: Duration::from_secs(60),
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let stopped = async { drop(stopped.await) };
            runtime
                .block_on(batchkv_server::serve(
                    config,
                    engine,
                    listener,
                    |_| (),
                    stopped,
                ))
                .unwrap()
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Stops the server and gives its totals.
    pub fn stop(mut self) -> Snapshot {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

/// Operations, as whether each is a put, and of which record.
pub type Asked = Arc<Mutex<Vec<(bool, u64)>>>;

struct Noting(Asked);

impl Engine for Noting {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let mut asked = self.0.lock().unwrap();
        for (done, placed) in window.iter().enumerate() {
            let is_put = matches!(placed.operation, Operation::Put { .. });
            let answer = if is_put {
                Answer::Stored
            } else {
                Answer::Missing
            };
            if !answers.answer(placed.position, answer) {
                return done;
            }
            count(answer, counters);
            let key = String::from_utf8_lossy(placed.operation.key().bytes());
            asked.push((is_put, key.parse().unwrap()));
        }
        window.len()
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// How a server can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Acknowledges overwrites and keeps the first value.
    DropsOverwrites,
    /// Acknowledges overwrites of the hottest 33 records, and keeps the first value.
    FreezesTheHottest,
    /// Acknowledges overwrites of all but the hottest 4,000 records, and keeps the first value.
    FreezesTheColdest,
    /// Acknowledges deletes, and does nothing.
    DropsDeletes,
    /// Answers a get of a deleted record with the first value that was deleted.
    BringsDeletedBack,
    /// Answers a get in so many with a damaged value.
    DamagesValues,
    /// Answers a get in so many with nothing.
    LosesKeys,
    /// Refuses a put in so many.
    RefusesPuts,
    /// Counts a put in so many twice.
    Miscounts,
}

/// So many operations between two lies of the occasional kind.
const LIE_ONE_IN: u64 = 100;

/// A store that lies.
struct Liar {
    lie: Lie,
    state: Mutex<LiarState>,
}

/// A lie that keeps the first value of a record.
fn keeps(lie: Lie, key: &[u8]) -> bool {
    let record: u64 = String::from_utf8_lossy(key).parse().unwrap();
    match lie {
        Lie::DropsOverwrites => true,
        Lie::FreezesTheHottest => record < 33,
        Lie::FreezesTheColdest => record >= 4_000,
        _ => false,
    }
}

#[derive(Default)]
struct LiarState {
    store: HashMap<Vec<u8>, Vec<u8>>,
    /// Values of deleted records, where they come back.
    deleted: HashMap<Vec<u8>, Vec<u8>>,
    /// Operations so far.
    operations: u64,
}

impl Liar {
    fn new(lie: Lie) -> Self {
        Self {
            lie,
            state: Mutex::default(),
        }
    }
}

impl Engine for Liar {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let LiarState {
            store,
            deleted,
            operations,
        } = &mut *self.state.lock().unwrap();
        for (done, placed) in window.iter().enumerate() {
            *operations += 1;
            let lies = |lie| self.lie == lie && operations.is_multiple_of(LIE_ONE_IN);
            let key = placed.operation.key().to_vec();
            let mut value = Vec::new();
            let answer = match placed.operation {
                Operation::Get { .. } if lies(Lie::LosesKeys) => Answer::Missing,
                Operation::Get { .. } => match store.get(&key).or_else(|| deleted.get(&key)) {
                    None => Answer::Missing,
                    Some(stored) => {
                        value.clone_from(stored);
                        value[0] ^= u8::from(lies(Lie::DamagesValues));
                        Answer::Value(&value)
                    }
                },
                Operation::Put { .. } if lies(Lie::RefusesPuts) => {
                    Answer::Refused(Refusal::OutOfMemory)
                }
                Operation::Put { .. } => Answer::Stored,
                Operation::Delete { .. } => Answer::Deleted {
                    existed: store.contains_key(&key),
                },
            };
            if !answers.answer(placed.position, answer) {
                return done;
            }
            count(answer, counters);
            counters.puts += u64::from(answer == Answer::Stored && lies(Lie::Miscounts));
            match placed.operation {
                Operation::Put { .. } if keeps(self.lie, &key) && store.contains_key(&key) => {}
                Operation::Delete { .. } if self.lie == Lie::DropsDeletes => {}
                Operation::Delete { .. } if self.lie == Lie::BringsDeletedBack => {
                    if let Some(value) = store.remove(&key) {
                        deleted.entry(key).or_insert(value);
                    }
                }
                Operation::Put { value, .. } => drop(store.insert(key, value.to_vec())),
                Operation::Delete { .. } => drop(store.remove(&key)),
                Operation::Get { .. } => {}
            }
        }
        window.len()
    }

    fn usage(&self) -> Usage {
        Usage {
            records: 0,
            memory_bytes: 0,
        }
    }
}

fn count(answer: Answer<'_>, counters: &mut Counters) {
    match answer {
        Answer::Value(_) => {
            counters.gets += 1;
            counters.hits += 1;
        }
        Answer::Missing => counters.gets += 1,
        Answer::Stored | Answer::StoredAs { .. } => counters.puts += 1,
        Answer::Deleted { .. } => counters.deletes += 1,
        Answer::Refused(_) => counters.refused += 1,
        Answer::WrongOwner(_) => counters.wrong_owner += 1,
        Answer::Opened { .. } => {}
    }
}

/// A small and short run.
pub const SMALL: &str =
    "--records 5000 --batch-size 256 --tasks 6 --threads 2 --secs 1 --warmup-secs 0";

/// The program, with what its words say.
pub fn program(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_batchkv-client"));
    command.args(words.split_whitespace());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program; gives exit status, output and complaints.
pub fn client(words: &str) -> (i32, String, String) {
    outcome(program(words).output().unwrap())
}

/// Exit status, output and complaints.
pub fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let complaints = text(output.stderr);
    assert!(!complaints.contains("panicked"), "{complaints}");
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        complaints,
    )
}

/// What a rule said in a run.
pub fn reasons(summary: &serde_json::Value, rule: &str) -> Vec<String> {
    let findings = summary["findings"].as_array().unwrap();
    let of_rule = findings.iter().filter(|finding| finding["rule"] == rule);
    of_rule
        .map(|finding| finding["reason"].as_str().unwrap().into())
        .collect()
}

/// A directory of the test's own, removed at its end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(test: &str) -> Self {
        let name = format!("batchkv-driver-{}-{test}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A summary in it.
    pub fn summary(&self, below: &str) -> serde_json::Value {
        let path = self.0.join(below).join("summary.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
