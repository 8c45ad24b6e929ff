//! In the steady state a worker allocates nothing for an operation or a batch, and holds no more with
//! time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::TcpListener;
use std::ops::ControlFlow;

use batchkv_cli::parse_with_config;
use batchkv_client::protocol::PartitionMap;
use batchkv_server::config::{Config as ServerConfig, EngineKind};

use super::*;

use crate::command::args::Args;

/// The system's allocator, counted for each thread apart.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(allocations: u64, bytes: i64) {
    // A thread that ends has no counts any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = LIVE_BYTES.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting touches
// two cells of the thread, which allocate nothing.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH_SIZE: u64 = 256;
/// Allocations that a second may cost.
const SECOND_MAX: u64 = 100;

/// A server on threads of its own, for as long as the process lives.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = ServerConfig {
        server_index: 0,
        map: PartitionMap::fixed(64, 1).unwrap(),
        addresses: Vec::new(),
        engine: EngineKind::Partitioned,
        threads: 1,
        max_memory_bytes: None,
        buffer_bytes_max: 1 << 30,
        max_connections: 10,
        idle_timeout: Duration::from_secs(60),
    };
    thread::spawn(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let serving = batchkv_server::run(config, listener, |_| (), pending());
        runtime.unwrap().block_on(serving).map(drop)
    });
    address
}

/// Takes messages until `seen`, which gets the operations so far, says that it has seen enough.
async fn hear(
    reports: &mut UnboundedReceiver<Report>,
    mut seen: impl FnMut(&Message, u64) -> ControlFlow<()>,
) {
    let mut ops = 0;
    loop {
        let (_, message) = reports.recv().await.expect("the worker goes on");
        if let Message::Failed(text) = &message {
            panic!("{text}");
        }
        if let Message::Second(second) = &message {
            ops += second.interval.counts.ops();
        }
        if seen(&message, ops).is_break() {
            return;
        }
    }
}

async fn until_done(reports: &mut UnboundedReceiver<Report>) {
    let done = |message: &Message| matches!(message, Message::Done | Message::Connected(_));
    hear(reports, |message, _| match done(message) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
    .await;
}

/// Hears of at least `ops` operations more, and gives how many there were, and in how many seconds.
async fn until_ops(reports: &mut UnboundedReceiver<Report>, ops: u64) -> (u64, u64) {
    let (mut sum, mut seconds) = (0, 0);
    hear(reports, |_, so_far| {
        (sum, seconds) = (so_far, seconds + 1);
        match so_far >= ops {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
    .await;
    (sum, seconds)
}

#[test]
fn batches_allocate_nothing() {
    let flags = format!(
        "--hosts {} --records 5000 --batch-size {BATCH_SIZE} --tasks 8 --threads 1",
        server()
    );
    let typed = ["batchkv-client"].into_iter().chain(flags.split(' '));
    let config = Config::new(&parse_with_config::<Args>(typed).unwrap().run).unwrap();
    let (report, mut reports) = unbounded_channel();
    let (commander, commands) = unbounded_channel();
    let listening = async {
        until_done(&mut reports).await;
        commander.send(Command::Load).unwrap();
        until_done(&mut reports).await;
        commander.send(Command::Run).unwrap();
        until_ops(&mut reports, 300_000).await;
        let (allocations, live_bytes) = (ALLOCATIONS.get(), LIVE_BYTES.get());
        let (ops, seconds) = until_ops(&mut reports, 1_000_000).await;
        // However many seconds it takes, each has histograms of its own.
        let of_batches = (ALLOCATIONS.get() - allocations).saturating_sub(seconds * SECOND_MAX);
        let per_million = of_batches * 1_000_000 / ops;
        let grown = LIVE_BYTES.get() - live_bytes;
        let batches = ops / BATCH_SIZE;
        assert!(
            per_million < 1_000_000 / BATCH_SIZE / 4,
            "{per_million} allocations for a million operations"
        );
        assert!(
            grown < 64 << 10,
            "{grown} bytes more after {batches} batches"
        );
        commander.send(Command::Stop).unwrap();
        until_done(&mut reports).await;
        commander.send(Command::Finish).unwrap();
    };
    let working = work(&config, 1, 0, None, report, commands);
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.unwrap(), async {
        tokio::join!(working, listening)
    });
}

#[test]
fn a_worker_that_panics_is_not_waited_for() {
    let (report, mut reports) = unbounded_channel();
    let told = PanicTold { report, index: 3 };
    let worker = thread::spawn(move || {
        let _told = told;
        panic!("as a test wants it");
    });
    assert!(worker.join().is_err());
    let (index, message) = reports.try_recv().unwrap();
    assert_eq!(index, 3);
    assert!(matches!(message, Message::Failed(text) if text.contains("Worker 3 ended")));
}
