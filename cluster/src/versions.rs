//! Stored values with their versions behind them.
//!
//! In a cluster a record is stored as its value, then its version as 8 bytes, little-endian. The version
//! stands behind, so that a get's answer is the beginning of what is stored, copied once as ever.

use crate::limits::VERSION_BYTES;
use batchkv_protocol::{Answer, Answers, Position};

/// The value and the version of a stored value; `None` when it is too short to have one.
#[must_use]
pub fn split(stored: &[u8]) -> Option<(&[u8], u64)> {
    let (value, version) = stored.split_last_chunk::<VERSION_BYTES>()?;
    Some((value, u64::from_le_bytes(*version)))
}

/// Hands answers of a cluster's engine on without the versions: for gets that do not ask for them.
#[derive(Debug)]
pub struct Unversioned<'a, A>(pub &'a mut A);

impl<A: Answers> Answers for Unversioned<'_, A> {
    type Mark = A::Mark;

    #[inline(always)]
    fn mark(&self) -> A::Mark {
        self.0.mark()
    }

    #[inline(always)]
    fn rewind(&mut self, mark: A::Mark) {
        self.0.rewind(mark);
    }

    #[inline(always)]
    fn answer(&mut self, position: Position, answer: Answer<'_>) -> bool {
        let answer = match answer {
            Answer::Value(stored) => {
                let value_bytes = stored.len().saturating_sub(VERSION_BYTES);
                Answer::Value(&stored[..value_bytes])
            }
            other => other,
        };
        self.0.answer(position, answer)
    }

    #[inline(always)]
    fn value(&mut self, position: Position, stored_bytes: usize) -> Option<&mut [u8]> {
        self.0
            .value(position, stored_bytes.saturating_sub(VERSION_BYTES))
    }

    #[inline(always)]
    fn refer(&mut self, record: u64) {
        self.0.refer(record);
    }
}
