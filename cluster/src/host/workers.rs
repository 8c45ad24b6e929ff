//! Threads for what the consensus thread must not do itself.

use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads, each with a queue; what is asked of one partition is done in its order.
///
/// Dropped, they finish what waits, and end.
#[derive(Debug)]
pub struct Workers {
    queues: Vec<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `threads` of them, at least one.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let mut workers = Self {
            queues: Vec::new(),
            threads: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let (queue, jobs) = mpsc::channel::<Job>();
            let name = format!("apply-{number}");
            let work = move || jobs.iter().for_each(|job| job());
            workers.threads.push(Builder::new().name(name).spawn(work)?);
            workers.queues.push(queue);
        }
        Ok(workers)
    }

    /// Has `work` done by the partition's worker, behind what waits there; `None` when that has ended by a panic.
    pub async fn run<T: Send + 'static>(
        &self,
        partition: u32,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let queue = &self.queues[partition as usize % self.queues.len()];
        let _ended = queue.send(Box::new(move || {
            let _left = done.send(work());
        }));
        result.await.ok()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queues.clear();
        // A job may have held the last of what holds the workers: its thread cannot wait for itself.
        let me = std::thread::current().id();
        for thread in self.threads.drain(..) {
            if thread.thread().id() != me {
                let _panicked = thread.join();
            }
        }
    }
}
