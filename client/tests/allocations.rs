//! What the library allocates is a matter of batches, not of operations.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

mod common;

use batchkv_client::{Batch, Client, Options, Outcome};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted for each thread apart: the server's threads are others.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no count any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting
// touches nothing but a thread's own number.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FEW: u32 = 128;
const MANY: u32 = 64 * FEW;
const ROUNDS: u64 = 10;

/// Puts so many records and gets them; allocations of a batch, on average.
async fn allocations(client: &Client, operations: u32) -> u64 {
    let before = ALLOCATIONS.get();
    for _ in 0..ROUNDS {
        let [mut puts, mut gets] = [Batch::new(), Batch::new()];
        for key in 0..operations {
            puts.put(&key.to_le_bytes(), &[7; 100]).unwrap();
            gets.get(&key.to_le_bytes()).unwrap();
        }
        let stored = client.execute(puts).await;
        assert!(stored.iter().all(|outcome| outcome == Outcome::Stored));
        let found = client.execute(gets).await;
        let expected = Outcome::Value(&[7; 100]);
        assert!(found.iter().all(|outcome| outcome == expected));
    }
    (ALLOCATIONS.get() - before) / (2 * ROUNDS)
}

/// All of the client is on the test's thread.
#[tokio::test]
async fn no_operation_costs_an_allocation() {
    let hosts = [common::start(0, 2), common::start(1, 2)];
    let client = Client::connect(&hosts, Options::default()).await.unwrap();
    // Buffers grow to what they will be.
    allocations(&client, MANY).await;
    let (few, many) = (
        allocations(&client, FEW).await,
        allocations(&client, MANY).await,
    );
    // 64 times the operations: six doublings of each of a batch's few buffers, and turns of its two pumps.
    assert!(many < few + u64::from(FEW), "{many} against {few}");
    client.close().await.unwrap();
}
