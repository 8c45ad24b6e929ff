//! Tasks of the consensus thread.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use openraft::AsyncRuntime;
use tokio::task::JoinHandle;

use crate::types::Runtime;

/// Starts a task of this thread, with random numbers derived from the starter's.
pub(crate) fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    Runtime::spawn(task)
}

/// Runs `task` with random numbers from `seed`, in it and in all tasks that it starts.
pub(crate) fn seeded<F: Future>(seed: u64, task: F) -> impl Future<Output = F::Output> {
    Runtime::scope(seed, task)
}

/// Delays that grow from `first` to `last` by doubling.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Cell<Duration>,
    first: Duration,
    last: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, last: Duration) -> Self {
        Self {
            next: Cell::new(first),
            first,
            last,
        }
    }

    /// The next delay.
    pub(crate) fn step(&self) -> Duration {
        let delay = self.next.get();
        self.next.set((delay * 2).min(self.last));
        delay
    }

    /// Begins again.
    pub(crate) fn reset(&self) {
        self.next.set(self.first);
    }
}
