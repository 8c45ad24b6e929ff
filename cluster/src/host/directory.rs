//! The directory, driven by its group.

use crate::directory::{Command, Directory, Refusal, Reply};
use batchkv_consensus::limits::CHUNK_BYTES;
use batchkv_consensus::{Committed, Image, Import, StateMachine};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::watch;

/// Longest directory that is received, in bytes: all servers and partitions that there may be take less.
const DIRECTORY_BYTES_MAX: usize = 4 << 20;

/// One member of the directory's group. Small enough to be applied where it is.
#[derive(Debug)]
pub struct DirectoryMachine {
    directory: watch::Sender<Arc<Directory>>,
}

impl DirectoryMachine {
    /// The empty directory, and whoever wants to hear of its changes.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Arc<Directory>>) {
        let (directory, changes) = watch::channel(Arc::default());
        (Self { directory }, changes)
    }

    fn apply_one(&mut self, bytes: &[u8]) -> Result<Reply, Refusal> {
        let command = Command::decode(bytes).map_err(|_| Refusal::Malformed)?;
        let mut reply = Err(Refusal::Malformed);
        self.directory.send_if_modified(|directory| {
            let before = directory.version();
            reply = Arc::make_mut(directory).apply(command);
            directory.version() != before
        });
        reply
    }
}

impl StateMachine for DirectoryMachine {
    type Parked = ();
    type Answer = Result<Reply, Refusal>;
    type Image = DirectoryImage;
    type Import = DirectoryImport;

    async fn apply(&mut self, entries: Vec<Committed<()>>) -> Vec<Self::Answer> {
        let mut answers = Vec::new();
        for proposal in entries.into_iter().flat_map(|entry| entry.proposals) {
            let reply = self.apply_one(&proposal.bytes);
            answers.extend(proposal.parked.map(|()| reply));
        }
        answers
    }

    fn image(&mut self) -> DirectoryImage {
        DirectoryImage(self.directory.borrow().encode().into())
    }

    fn import(&mut self) -> DirectoryImport {
        DirectoryImport(Vec::new())
    }

    async fn install(&mut self, import: DirectoryImport) -> Result<(), String> {
        let directory = Directory::decode(&import.0).map_err(|error| error.to_string())?;
        self.directory.send_replace(Arc::new(directory));
        Ok(())
    }
}

/// What is left of an image.
#[derive(Debug)]
pub struct DirectoryImage(Bytes);

impl Image for DirectoryImage {
    async fn next(&mut self) -> Option<Bytes> {
        let chunk = self.0.split_to(self.0.len().min(CHUNK_BYTES));
        (!chunk.is_empty()).then_some(chunk)
    }
}

/// What has come of an image.
#[derive(Debug)]
pub struct DirectoryImport(Vec<u8>);

impl Import for DirectoryImport {
    async fn take(&mut self, chunk: Bytes) -> Result<(), String> {
        if self.0.len() + chunk.len() > DIRECTORY_BYTES_MAX {
            return Err(format!(
                "a directory has at most {DIRECTORY_BYTES_MAX} bytes"
            ));
        }
        self.0.extend_from_slice(&chunk);
        Ok(())
    }
}
