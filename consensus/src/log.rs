//! The log of one member: what it must not forget as long as it votes.
//!
//! [`Log`] is what a member needs of its memory: votes, and entries without a hole. [`MemoryLog`] keeps
//! them in memory, so a server that uses it comes back under a new id ([the crate root](crate) says why).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};

use crate::clock::LogClock;
use crate::limits::APPEND_BYTES;
use crate::steady;
use crate::types::{Entry, LogId, Types, Vote, entry_bytes};

/// A member's votes and entries.
///
/// 1. Entries are consecutive; the first follows what was purged last.
/// 2. What `append`, `save_vote`, `truncate_after` and `purge` did is seen by every later read.
pub(crate) trait Log: 'static {
    fn vote(&self) -> Option<Vote>;

    /// Kept before it returns.
    fn save_vote(&mut self, vote: Vote) -> io::Result<()>;

    /// The last entry that was purged, and the last entry at all.
    fn bounds(&self) -> (Option<LogId>, Option<LogId>);

    /// Adds entries, and calls `kept` when they would survive what the log survives.
    fn append(&mut self, entries: Vec<Entry>, kept: IOFlushed<Types>) -> io::Result<()>;

    /// Entries from `start` on, up to `end`, exclusive, and up to `bytes`, but at least one if there is one.
    fn read(&self, start: u64, end: u64, bytes: usize) -> io::Result<Vec<Entry>>;

    /// Drops what comes after `last`.
    fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()>;

    /// Drops what comes up to `last`, included.
    fn purge(&mut self, last: LogId) -> io::Result<()>;

    /// What the entries take, in bytes.
    fn bytes(&self) -> usize;

    /// The last entry that may be purged so that at least `keep` bytes of entries remain, if any may.
    fn purgeable(&self, keep: usize) -> Option<u64>;
}

/// Votes and entries in memory: forgotten when the process ends.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl MemoryLog {
    /// The index of the entry in front.
    fn first(&self) -> u64 {
        self.purged.map_or(0, |id| id.index + 1)
    }

    fn position(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.first())).unwrap_or(usize::MAX)
    }
}

impl Log for MemoryLog {
    fn vote(&self) -> Option<Vote> {
        self.vote
    }

    fn save_vote(&mut self, vote: Vote) -> io::Result<()> {
        self.vote = Some(vote);
        Ok(())
    }

    fn bounds(&self) -> (Option<LogId>, Option<LogId>) {
        let last = self.entries.back().map(|entry| entry.log_id);
        (self.purged, last.or(self.purged))
    }

    fn append(&mut self, entries: Vec<Entry>, kept: IOFlushed<Types>) -> io::Result<()> {
        for entry in entries {
            let expected = self.first() + self.entries.len() as u64;
            if entry.log_id.index != expected {
                return Err(io::Error::other(format!(
                    "entry {} does not follow entry {}",
                    entry.log_id.index,
                    expected.wrapping_sub(1)
                )));
            }
            self.bytes += entry_bytes(&entry);
            self.entries.push_back(entry);
        }
        kept.io_completed(Ok(()));
        Ok(())
    }

    fn read(&self, start: u64, end: u64, bytes: usize) -> io::Result<Vec<Entry>> {
        let from = self.position(start).min(self.entries.len());
        let until = self.position(end).clamp(from, self.entries.len());
        let mut left = bytes;
        let mut taken = Vec::new();
        for entry in self.entries.range(from..until) {
            let entry_bytes = entry_bytes(entry);
            if entry_bytes > left && !taken.is_empty() {
                break;
            }
            left = left.saturating_sub(entry_bytes);
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let keep = last.map_or(0, |id| self.position(id.index + 1));
        for entry in self.entries.drain(keep.min(self.entries.len())..) {
            self.bytes -= entry_bytes(&entry);
        }
        Ok(())
    }

    fn purge(&mut self, last: LogId) -> io::Result<()> {
        if self.purged.is_some_and(|purged| purged.index >= last.index) {
            return Ok(());
        }
        let gone = self.position(last.index + 1).min(self.entries.len());
        for entry in self.entries.drain(..gone) {
            self.bytes -= entry_bytes(&entry);
        }
        self.purged = Some(last);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn purgeable(&self, keep: usize) -> Option<u64> {
        let mut left = self.bytes;
        let mut last = None;
        for entry in &self.entries {
            left -= entry_bytes(entry);
            if left < keep {
                break;
            }
            last = Some(entry.log_id.index);
        }
        last
    }
}

/// A log that openraft, its replication tasks and the group share, with the log time of its newest entry.
pub(crate) struct SharedLog<L> {
    log: Rc<RefCell<L>>,
    clock: Rc<RefCell<LogClock>>,
}

impl<L> Clone for SharedLog<L> {
    fn clone(&self) -> Self {
        Self {
            log: Rc::clone(&self.log),
            clock: Rc::clone(&self.clock),
        }
    }
}

impl<L: Log> SharedLog<L> {
    pub(crate) fn new(log: L) -> Self {
        Self {
            log: Rc::new(RefCell::new(log)),
            clock: Rc::default(),
        }
    }

    /// The log time for an entry that is proposed now.
    pub(crate) fn time_millis(&self) -> u64 {
        self.clock.borrow().read(steady::now())
    }

    /// A snapshot that was installed came from this time.
    pub(crate) fn observe(&self, time_millis: u64) {
        self.clock.borrow_mut().observe(time_millis, steady::now());
    }

    pub(crate) fn bytes(&self) -> usize {
        self.log.borrow().bytes()
    }

    pub(crate) fn purgeable(&self, keep: usize) -> Option<u64> {
        self.log.borrow().purgeable(keep)
    }
}

impl<L: Log> RaftLogReader<Types> for SharedLog<L> {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.log.borrow().read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.log.borrow().read(start, end, APPEND_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.borrow().vote())
    }
}

impl<L: Log> RaftLogStorage<Types> for SharedLog<L> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let (last_purged_log_id, last_log_id) = self.log.borrow().bounds();
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.log.borrow_mut().save_vote(*vote)
    }

    async fn append<I>(&mut self, entries: I, kept: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let newest = entries.iter().rev().find_map(|entry| match &entry.payload {
            EntryPayload::Normal(round) => Some(round.time_millis),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        });
        if let Some(time_millis) = newest {
            self.observe(time_millis);
        }
        self.log.borrow_mut().append(entries, kept)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.borrow_mut().truncate_after(last)
    }

    async fn purge(&mut self, last: LogId) -> io::Result<()> {
        self.log.borrow_mut().purge(last)
    }
}
