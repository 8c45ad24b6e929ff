//! A partition's state machine: what one member makes of the entries that its group has agreed on.
//!
//! Every member applies the same entries in the same order and has the same state afterwards: the records
//! with their versions, the counter that versions come from, and the table of [`streams`](crate::streams). The
//! member that proposed has the outcomes as well, and answers with them.
//!
//! 1. The state depends on nothing but the entries: no clock, no order of threads, no other partition.
//! 2. Each put, each delete and each conditional put that has its way takes the next version, whether or
//!    not a delete finds anything. It is stored behind the value, see [`versions`](crate::versions).
//! 3. An entry that is in the state already changes nothing. So a state that was copied may be later than the
//!    entry that its copy is named after, see [`image`].
//! 4. A replica that cannot do what its group agreed on stops for good ([`Fault`]): it must not go on with a
//!    state that differs. It is cleared and copied anew. What can be refused is refused before it is
//!    proposed: a server looks at its memory while it may still say no.
//!
//! Reads need none of this: whoever has a read point executes them on the engine.

mod digest;
mod execute;
pub mod image;
mod import;
mod records;

pub use self::digest::Digest;
pub use self::image::{ImageError, ImageId};
pub use self::import::{Import, ImportError};

use self::execute::Execution;
use self::image::Images;
use crate::codec::Malformed;
use crate::outcome::{Outcomes, Refused};
use crate::proposal::{Proposal, Write};
use crate::streams::{Admission, Streams};
use batchkv_protocol::Sequence;
use batchkv_store::Engine;
use std::sync::Arc;

/// Bits of a stream's name that are the place of its opening within the entry; the entry's index stands above.
const PLACE_BITS: u32 = 16;
const _: () = assert!(batchkv_consensus::limits::ROUND_PROPOSALS_MAX <= 1 << PLACE_BITS);

/// What came of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The stream is open under this name.
    Opened {
        /// To be named by its groups, see [`Sequence`].
        stream: u64,
    },
    /// The group took effect, now or when it came before: what came of its writes.
    Applied(Outcomes),
    /// The proposal changed nothing.
    Refused(Refused),
    /// It is part of a state that was copied here. Send it again.
    Unknown,
}

/// Why a replica has stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What was agreed on is no proposal.
    #[error("an entry that was agreed on does not decode: {0}")]
    Malformed(#[from] Malformed),
    /// The engine has no room for a put that was agreed on.
    #[error("the store's memory is at its limit, and a put that was agreed on has no room")]
    OutOfMemory,
    /// The store has a record that no replica wrote.
    #[error("a record in the store has no version")]
    NoVersion,
}

/// One member's copy of a partition, over `engine`'s records of it.
///
/// Nobody else writes to the partition; reads go on at any time.
#[derive(Debug)]
pub struct Replica<E> {
    engine: Arc<E>,
    partition: u32,
    state: State,
    images: Images,
    fault: Option<Fault>,
}

/// All of the state but the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// Index of the last entry that the state contains.
    applied: u64,
    /// The last version that was taken.
    version: u64,
    streams: Streams,
}

impl<E: Engine> Replica<E> {
    /// An empty replica, before the first entry. `engine` has no record of `partition`.
    #[must_use]
    pub fn new(engine: Arc<E>, partition: u32) -> Self {
        Self::with_state(engine, partition, State::default())
    }

    fn with_state(engine: Arc<E>, partition: u32, state: State) -> Self {
        Self {
            engine,
            partition,
            state,
            images: Images::default(),
            fault: None,
        }
    }

    /// Index of the last entry that the state contains; 0 before the first.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.state.applied
    }

    /// The last version that was taken.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// Why the replica has stopped, if it has.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Applies the entry `index`, with the group's log time and the bytes of its proposals. What came of each
    /// proposal is given to `answer` before the next one is applied.
    ///
    /// # Errors
    /// Why the replica has stopped, now or before: no further answer is given then.
    pub fn apply<'p>(
        &mut self,
        index: u64,
        time_millis: u64,
        proposals: impl IntoIterator<Item = &'p [u8]>,
        mut answer: impl FnMut(Answer),
    ) -> Result<(), Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if index <= self.state.applied {
            proposals.into_iter().for_each(|_| answer(Answer::Unknown));
            return Ok(());
        }
        self.state.streams.advance(time_millis);
        for (place, bytes) in (0..).zip(proposals) {
            let applied = self.apply_one(index << PLACE_BITS | place, bytes);
            answer(applied.inspect_err(|fault| self.fault = Some(fault.clone()))?);
        }
        self.state.applied = index;
        Ok(())
    }

    fn apply_one(&mut self, name: u64, bytes: &[u8]) -> Result<Answer, Fault> {
        match Proposal::decode(bytes)? {
            Proposal::OpenStream => Ok(match self.state.streams.open(name) {
                Ok(()) => Answer::Opened { stream: name },
                Err(refused) => Answer::Refused(refused),
            }),
            Proposal::Writes {
                sequence: None,
                writes,
            } => self.execute(&writes).map(Answer::Applied),
            Proposal::Writes {
                sequence: Some(sequence),
                writes,
            } => self.apply_once(sequence, &writes),
        }
    }

    fn apply_once(&mut self, sequence: Sequence, writes: &[Write<'_>]) -> Result<Answer, Fault> {
        match self.state.streams.admit(sequence) {
            Admission::Repeat(outcomes) => Ok(Answer::Applied(outcomes)),
            Admission::Refuse(refused) => Ok(Answer::Refused(refused)),
            Admission::Apply => {
                let outcomes = self.execute(writes)?;
                self.state.streams.remember(sequence, &outcomes);
                Ok(Answer::Applied(outcomes))
            }
        }
    }

    fn execute(&mut self, writes: &[Write<'_>]) -> Result<Outcomes, Fault> {
        let version = &mut self.state.version;
        Execution::new(&*self.engine, self.partition, version, &mut self.images).run(writes)
    }
}
