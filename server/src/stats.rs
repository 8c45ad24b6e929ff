//! What the server has done so far: per-thread counters that only their thread writes, added up by
//! whoever looks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use batchkv_protocol::Counters;

use batchkv_store::Usage;

/// Counters of all threads; cumulative over the server's life.
#[derive(Debug)]
pub struct Stats {
    threads: Box<[ThreadStats]>,
    closed: [AtomicU64; Closed::ALL.len()],
    clients: Mutex<Clients>,
}

/// Who is served.
#[derive(Debug, Default)]
struct Clients {
    /// Open connections of each client.
    connections: HashMap<[u8; 16], u64>,
    newest: [u8; 16],
}

/// Why a connection was closed by the server, which told its peer so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The peer broke the protocol, or was given up.
    Broken,
    /// The buffers of all connections were at their bound.
    Exhausted,
    /// A hello or a frame was not complete in time.
    Late,
    /// As many connections were open as are allowed.
    Crowded,
    /// The process may open no more files.
    NoDescriptor,
}

impl Closed {
    /// All reasons, in the order of [`Snapshot::closed`].
    pub const ALL: [Self; 5] = [
        Self::Broken,
        Self::Exhausted,
        Self::Late,
        Self::Crowded,
        Self::NoDescriptor,
    ];

    /// The reason in a word, for figures.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken_protocol",
            Self::Exhausted => "buffers_exhausted",
            Self::Late => "late",
            Self::Crowded => "too_many_connections",
            Self::NoDescriptor => "no_file_descriptor",
        }
    }
}

/// One thread's counters, on cache lines of their own.
///
/// Invariant: only the owning thread writes what [`add`](Self::add) adds to, so that is a load and a
/// store, no read-modify-write. The other counters are [`Open`]'s.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ThreadStats {
    gets: AtomicU64,
    hits: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    refused: AtomicU64,
    wrong_owner: AtomicU64,
    frames: AtomicU64,
    ruled_out: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    dropped: AtomicU64,
    connections: AtomicU64,
    service: [AtomicU64; SERVICE_BUCKETS],
    service_nanos: AtomicU64,
}

/// Buckets of [`ServiceTimes`]: the last ends at 8 s.
pub const SERVICE_BUCKETS: usize = 24;

/// Times from a frame's reading until its answers were written, of all frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceTimes {
    /// Frames by time: bucket k has those below 2^k microseconds that no bucket before has; the last has
    /// the slower ones too.
    pub buckets: [u64; SERVICE_BUCKETS],
    /// All times added up.
    pub nanos: u64,
}

impl ServiceTimes {
    /// The end of a bucket.
    #[must_use]
    pub fn bound(bucket: usize) -> Duration {
        Duration::from_micros(1 << bucket)
    }

    fn bucket(time: Duration) -> usize {
        let micros = time.as_micros();
        let bits = (u128::BITS - micros.leading_zeros()) as usize;
        bits.min(SERVICE_BUCKETS - 1)
    }

    /// The end of the bucket in which this part of the frames, 0 to 1, is reached; `None` without frames.
    #[must_use]
    pub fn reached(&self, part: f64) -> Option<Duration> {
        let frames: u64 = self.buckets.iter().sum();
        let wanted = ((frames as f64 * part).ceil() as u64).max(1);
        let mut sum = 0;
        let reached = |count: &u64| {
            sum += count;
            sum >= wanted
        };
        self.buckets.iter().position(reached).map(Self::bound)
    }
}

/// What one connection did since it last told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Delta {
    pub(crate) counters: Counters,
    pub(crate) frames: u64,
    pub(crate) ruled_out: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
}

/// The whole server's counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Operations by kind and outcome.
    pub counters: Counters,
    /// Of the operations that were refused, those of groups with a flag that is not known, or that a cluster's
    /// member did not take for another reason; the others were puts that the engine had no memory for.
    pub unknown_flags: u64,
    /// Complete frames that were used: requests, hellos and questions.
    pub frames: u64,
    /// Connections open now.
    pub connections: u64,
    /// Bytes read from sockets.
    pub bytes_received: u64,
    /// Bytes that sockets took.
    pub bytes_sent: u64,
    /// Connections that ended with answers unsent or a frame unfinished, and were not told why.
    pub dropped: u64,
    /// Connections that were closed and told why, by reason as in [`Closed::ALL`].
    pub closed: [u64; Closed::ALL.len()],
    /// Different clients with open connections.
    pub clients: u64,
    /// The client that came last, by its id; zeros before the first. A load driver's id has its run's in its last
    /// eight bytes, little-endian.
    pub newest_client: [u8; 16],
    /// How long the server took.
    pub service: ServiceTimes,
    /// Connections and threads that ended in a panic; known only when the server has stopped.
    pub panics: u64,
    /// Bytes of parked groups and of answers to them.
    pub parked_bytes: u64,
    /// Records and memory of the engine; filled in by the server.
    pub usage: Usage,
}

impl Snapshot {
    /// Puts that were refused because the engine had no memory for them.
    #[must_use]
    pub fn out_of_memory(&self) -> u64 {
        self.counters.refused.saturating_sub(self.unknown_flags)
    }
}

impl Stats {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| ThreadStats::default()).collect(),
            closed: Default::default(),
            clients: Mutex::default(),
        }
    }

    /// Counts a connection that is closed for this reason.
    pub(crate) fn closed(&self, reason: Closed) {
        self.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection of a client, until the mark goes.
    pub(crate) fn meet(self: &Arc<Self>, client: [u8; 16]) -> ClientMark {
        let mut clients = self.clients();
        *clients.connections.entry(client).or_default() += 1;
        clients.newest = client;
        drop(clients);
        ClientMark {
            stats: self.clone(),
            client,
        }
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn thread(&self, index: usize) -> &ThreadStats {
        &self.threads[index]
    }

    /// The thread with the fewest open connections.
    pub(crate) fn idlest(&self) -> usize {
        let connections = |index: &usize| self.threads[*index].connections.load(Ordering::Relaxed);
        (0..self.threads.len()).min_by_key(connections).unwrap_or(0)
    }

    /// Connections open now.
    pub(crate) fn connections(&self) -> u64 {
        self.threads
            .iter()
            .map(|thread| thread.connections.load(Ordering::Relaxed))
            .sum()
    }

    /// All threads' counters added up; the engine's part stays empty.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut all = Snapshot {
            closed: std::array::from_fn(|reason| self.closed[reason].load(Ordering::Relaxed)),
            ..Snapshot::default()
        };
        let clients = self.clients();
        (all.clients, all.newest_client) = (clients.connections.len() as u64, clients.newest);
        drop(clients);
        for thread in &self.threads {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            all.counters += Counters {
                gets: read(&thread.gets),
                hits: read(&thread.hits),
                puts: read(&thread.puts),
                deletes: read(&thread.deletes),
                refused: read(&thread.refused),
                wrong_owner: read(&thread.wrong_owner),
            };
            all.frames += read(&thread.frames);
            all.unknown_flags += read(&thread.ruled_out);
            all.connections += read(&thread.connections);
            all.bytes_received += read(&thread.bytes_received);
            all.bytes_sent += read(&thread.bytes_sent);
            all.dropped += read(&thread.dropped);
            for (sum, bucket) in all.service.buckets.iter_mut().zip(&thread.service) {
                *sum += read(bucket);
            }
            all.service.nanos += read(&thread.service_nanos);
        }
        all
    }
}

/// For a counter that only its thread writes.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl ThreadStats {
    /// The answers to `frames` frames were written, so long after they had been read.
    pub(crate) fn served(&self, frames: u64, time: Duration) {
        add(&self.service[ServiceTimes::bucket(time)], frames);
        add(&self.service_nanos, frames * time.as_nanos() as u64);
    }

    pub(crate) fn add(&self, delta: &Delta) {
        add(&self.gets, delta.counters.gets);
        add(&self.hits, delta.counters.hits);
        add(&self.puts, delta.counters.puts);
        add(&self.deletes, delta.counters.deletes);
        add(&self.refused, delta.counters.refused);
        add(&self.wrong_owner, delta.counters.wrong_owner);
        add(&self.frames, delta.frames);
        add(&self.ruled_out, delta.ruled_out);
        add(&self.bytes_received, delta.bytes_received);
        add(&self.bytes_sent, delta.bytes_sent);
    }
}

/// Counts a connection of a client until it goes.
#[derive(Debug)]
pub(crate) struct ClientMark {
    stats: Arc<Stats>,
    client: [u8; 16],
}

impl Drop for ClientMark {
    fn drop(&mut self) {
        let clients = &mut self.stats.clients().connections;
        if let Some(connections) = clients.get_mut(&self.client) {
            *connections -= 1;
            if *connections == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// Counts a connection that was admitted as open until it goes, wherever that happens.
#[derive(Debug)]
pub(crate) struct Open {
    stats: Arc<Stats>,
    thread: usize,
    /// Whether it counts as dropped if it goes now.
    pub(crate) dropped: bool,
}

impl Open {
    /// A connection of the thread with the number `thread`.
    pub(crate) fn new(stats: Arc<Stats>, thread: usize) -> Self {
        let connections = &stats.thread(thread).connections;
        connections.fetch_add(1, Ordering::Relaxed);
        Self {
            stats,
            thread,
            dropped: false,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let stats = self.stats.thread(self.thread);
        stats.connections.fetch_sub(1, Ordering::Relaxed);
        stats
            .dropped
            .fetch_add(u64::from(self.dropped), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_times_are_below_the_ends_of_their_buckets() {
        let stats = Stats::new(2);
        assert_eq!(stats.snapshot().service.reached(0.5), None);
        let micros = Duration::from_micros;
        for (thread, frames, time) in [
            (0, 97, Duration::from_nanos(900)),
            (1, 2, micros(64)),
            (1, 1, Duration::from_secs(60)),
        ] {
            stats.thread(thread).served(frames, time);
        }
        let service = stats.snapshot().service;
        assert_eq!(service.reached(0.97), Some(micros(1)));
        assert_eq!(service.reached(0.98), Some(micros(128)));
        assert_eq!(
            service.reached(1.0),
            Some(ServiceTimes::bound(SERVICE_BUCKETS - 1))
        );
        assert_eq!(service.nanos, 97 * 900 + 2 * 64_000 + 60_000_000_000);
    }
}
