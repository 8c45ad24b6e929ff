//! A worker's place among all workers of a run: what it loads, inserts and signs.

use thiserror::Error;

/// Worker `worker` of the `workers` of client `client` of `clients`. All count from 0.
///
/// Clients may have different numbers of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub(crate) client: u32,
    pub(crate) clients: u32,
    pub(crate) worker: u32,
    pub(crate) workers: u32,
}

/// A place that no worker can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShareError {
    /// The client's index does not fit the number of clients.
    #[error("client {0}/{1}: the client must be one of 0/{1} to N-1/N, with N at least 1")]
    Client(u32, u32),
    /// The worker's index does not fit the number of workers.
    #[error("worker {0} of {1}: the worker must be 0 to {1}-1, of at least 1")]
    Worker(u32, u32),
    /// Writer ids have 16 bits.
    #[error(
        "{clients} clients with {workers} workers each: at most 65536 workers in all are allowed"
    )]
    TooMany {
        /// Clients of the run.
        clients: u32,
        /// Workers of this client.
        workers: u32,
    },
}

impl Share {
    /// The place of `worker` of `workers` in `client` of `clients`.
    ///
    /// # Errors
    /// When an index is not below its count, or there are too many workers for their ids.
    pub fn new(client: u32, clients: u32, worker: u32, workers: u32) -> Result<Self, ShareError> {
        if client >= clients {
            return Err(ShareError::Client(client, clients));
        }
        if worker >= workers {
            return Err(ShareError::Worker(worker, workers));
        }
        if u64::from(clients) * u64::from(workers) > 1 << 16 {
            return Err(ShareError::TooMany { clients, workers });
        }
        Ok(Self {
            client,
            clients,
            worker,
            workers,
        })
    }

    /// The id that signs this worker's writes: no other worker of the run has it, however many
    /// workers each client has.
    pub fn writer(&self) -> u16 {
        // Below clients * workers, which `new` bounds.
        (self.worker * self.clients + self.client) as u16
    }
}
