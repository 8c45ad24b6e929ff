//! Operations to be executed together.

use crate::kind::OperationKind;
use batchkv_protocol::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use batchkv_protocol::options::VERSION_BYTES;
use batchkv_protocol::{Key, Operation};

/// Gets, puts and deletes in an order of the caller's choice; keys and values are copied in.
///
/// A batch is not atomic and may take effect in part. Its operations on the same key apply in the
/// batch's order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    /// Keys and values, each key directly before its value.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: usize,
    value_bytes: u32,
    key_bytes: u16,
    kind: OperationKind,
    /// Whether it asks for a version; a put then has the version on condition of which it is done behind its value,
    /// and `value_bytes` counts it.
    versions: bool,
}

/// An operation that no server would take; the batch is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The key is empty or too long.
    #[error("a key of {bytes} bytes: allowed are 1 to {KEY_BYTES_MAX}")]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// The value is too long.
    #[error("a value of {bytes} bytes: allowed are 0 to {VALUE_BYTES_MAX}")]
    Value {
        /// Its length.
        bytes: usize,
    },
    /// The batch is full.
    #[error("a batch has at most {} operations", u32::MAX)]
    Full,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a get of `key`, of 1 to [`KEY_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// When the key's length is not allowed, or the batch is full.
    pub fn get(&mut self, key: &[u8]) -> Result<&mut Self, BatchError> {
        self.push(OperationKind::Get, key, &[])
    }

    /// Adds a get of `key` that is answered with the record's version as well. Only clusters have versions.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_with_version(&mut self, key: &[u8]) -> Result<&mut Self, BatchError> {
        self.push(OperationKind::Get, key, &[])?;
        Ok(self.with_version())
    }

    /// Adds a put of `value` under `key` that is done if the record has this `version` and refused otherwise
    /// ([`Refusal::VersionMismatch`](batchkv_protocol::Refusal::VersionMismatch)): 0 = there must be none,
    /// [`ANY_VERSION`](batchkv_protocol::options::ANY_VERSION) = whatever it has. It is answered with the version that
    /// it made. Only clusters have versions.
    ///
    /// # Errors
    /// As [`put`](Self::put), for a value longer by the version's 8 bytes.
    pub fn put_if(
        &mut self,
        key: &[u8],
        value: &[u8],
        version: u64,
    ) -> Result<&mut Self, BatchError> {
        let bytes = value.len() + VERSION_BYTES;
        if bytes > VALUE_BYTES_MAX {
            return Err(BatchError::Value { bytes });
        }
        self.push(OperationKind::Put, key, value)?;
        self.bytes.extend_from_slice(&version.to_le_bytes());
        if let Some(entry) = self.entries.last_mut() {
            entry.value_bytes += VERSION_BYTES as u32;
        }
        Ok(self.with_version())
    }

    fn with_version(&mut self) -> &mut Self {
        if let Some(entry) = self.entries.last_mut() {
            entry.versions = true;
        }
        self
    }

    /// Adds a put of `value`, of up to [`VALUE_BYTES_MAX`] bytes, under `key`.
    ///
    /// # Errors
    /// When one of the lengths is not allowed, or the batch is full.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<&mut Self, BatchError> {
        self.push(OperationKind::Put, key, value)
    }

    /// Adds a delete of `key`.
    ///
    /// # Errors
    /// When the key's length is not allowed, or the batch is full.
    pub fn delete(&mut self, key: &[u8]) -> Result<&mut Self, BatchError> {
        self.push(OperationKind::Delete, key, &[])
    }

    fn push(
        &mut self,
        kind: OperationKind,
        key: &[u8],
        value: &[u8],
    ) -> Result<&mut Self, BatchError> {
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(BatchError::Key { bytes: key.len() });
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(BatchError::Value { bytes: value.len() });
        }
        if self.entries.len() == u32::MAX as usize {
            return Err(BatchError::Full);
        }
        self.entries.push(Entry {
            at: self.bytes.len(),
            value_bytes: value.len() as u32,
            key_bytes: key.len() as u16,
            kind,
            versions: false,
        });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Ok(self)
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes all operations out and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Operation `index`, counted from 0 in the batch's order.
    ///
    /// # Panics
    /// When there is no such operation.
    #[inline]
    #[must_use]
    pub fn operation(&self, index: usize) -> Operation<'_> {
        let entry = &self.entries[index];
        let key_bytes = usize::from(entry.key_bytes);
        let key = Key::within(&self.bytes, entry.at, key_bytes).expect("the arena holds every key");
        let value_at = entry.at + key_bytes;
        match entry.kind {
            OperationKind::Get => Operation::Get { key },
            OperationKind::Put => Operation::Put {
                key,
                value: &self.bytes[value_at..value_at + entry.value_bytes as usize],
            },
            OperationKind::Delete => Operation::Delete { key },
        }
    }

    /// Whether operation `index` asks for a version.
    pub(crate) fn has_version(&self, index: usize) -> bool {
        self.entries[index].versions
    }

    /// Whether any operation does.
    pub(crate) fn has_versions(&self) -> bool {
        self.entries.iter().any(|entry| entry.versions)
    }

    #[inline]
    pub(crate) fn kind(&self, index: usize) -> OperationKind {
        self.entries[index].kind
    }
}

const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize && VALUE_BYTES_MAX <= u32::MAX as usize);
