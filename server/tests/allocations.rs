//! In the steady state a server allocates nothing for operations or requests, and holds no more with time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use batchkv_protocol::control::{MAGIC, VERSION};
use batchkv_protocol::{
    ClientHello, Control, PartitionMap, ReceiveBuffer, RequestWriter, SendBuffer, Status,
};
use batchkv_server::budget::Budget;
use batchkv_server::executor::{Executor, Immediate};
use batchkv_server::session::{Identity, Progress, Scratch, Session};
use batchkv_server::shared_map::SharedMap;
use batchkv_store::Partitioned;

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting
// touches nothing but two atomics.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        LIVE_BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RECORDS: u64 = 20_000;
const OPERATIONS: u64 = 8192;
const ROUNDS: usize = 20;

/// One request: gets, and a put in `puts_every`, of records that follow one another.
fn request(map: &PartitionMap, first: u64, puts_every: u64) -> Vec<u8> {
    let mut keys: Vec<String> = (first..first + OPERATIONS)
        .map(|n| (n % RECORDS).to_string())
        .collect();
    keys.sort_by_key(|key| map.partition_of(key));
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, first);
    let mut at = 0;
    while let Some(key) = keys.get(at) {
        let partition = map.partition_of(key);
        let fits = if (at as u64).is_multiple_of(puts_every) {
            writer
                .put(partition, 1, key, 128)
                .map(|room| room.fill(at as u8))
                .is_some()
        } else {
            writer.get(partition, 1, key)
        };
        if fits {
            at += 1;
        } else {
            writer.finish(false);
            writer = RequestWriter::begin(&mut out, first);
        }
    }
    writer.finish(true);
    out.pending().to_vec()
}

#[test]
fn operations_and_requests_allocate_nothing() {
    let map = PartitionMap::fixed(256, 1).unwrap();
    let shared = Arc::new(SharedMap::new(&map, Vec::new()));
    let executor = Immediate::new(Partitioned::new(256, None), shared.clone(), 0);
    let identity = Identity {
        server_index: 0,
        threads: 1,
        map: shared,
        status: Status::default,
        clock: Instant::now,
    };
    let budget = Arc::new(Budget::new(1 << 30));
    let mut session = Session::new(Arc::new(identity), budget);
    let mut scratch = Scratch::default();
    let (mut input, mut out) = (ReceiveBuffer::default(), SendBuffer::default());
    let mut feed = |mut bytes: &[u8]| {
        while !bytes.is_empty() {
            input.fill_from(&mut bytes);
            let mut advance =
                |out: &mut _| session.advance(&executor, &mut scratch, &mut input, out, 64 << 10);
            while advance(&mut out) == Progress::More {
                out.sent(out.pending().len());
            }
            out.sent(out.pending().len());
        }
    };
    let mut hello = SendBuffer::default();
    let (version_min, version_max) = (VERSION, VERSION);
    Control::ClientHello(ClientHello {
        magic: MAGIC,
        version_min,
        version_max,
        features: 0,
        client_id: [0; 16],
    })
    .write(&mut hello);
    feed(hello.pending());
    for first in (0..RECORDS).step_by(OPERATIONS as usize) {
        feed(&request(&map, first, 1));
    }
    let requests: Vec<Vec<u8>> = (0..10).map(|n| request(&map, n * OPERATIONS, 20)).collect();
    requests.iter().for_each(|request| feed(request));
    let (allocations, live_bytes) = (ALLOCATIONS.load(Relaxed), LIVE_BYTES.load(Relaxed));
    for _ in 0..ROUNDS {
        requests.iter().for_each(|request| feed(request));
    }
    let operations = ROUNDS * requests.len() * OPERATIONS as usize;
    let allocated = ALLOCATIONS.load(Relaxed) - allocations;
    assert_eq!(allocated, 0, "allocations for {operations} operations");
    let grown = LIVE_BYTES.load(Relaxed).saturating_sub(live_bytes);
    assert!(
        grown < 64 << 10,
        "{grown} bytes more are held after {operations} operations"
    );
    assert_eq!(executor.usage().records, RECORDS);
}
