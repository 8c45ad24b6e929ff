//! The operations of one task: the hot loop of the driver.

use std::sync::Arc;

use crate::chooser::Chooser;
use crate::inserts::Inserts;
use crate::mix::Kind;
use crate::random::Random;
use crate::spec::Spec;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What to do.
    pub kind: Kind,
    /// With which record: `0..records`, or beyond for an insert and what `latest` finds inserted.
    pub record: u64,
}

/// The parts of a run, each of which has streams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the measured window.
    WarmUp = 1,
    /// The measured window.
    Run = 2,
}

/// Whose stream it is. Streams that differ in any field are independent; which record is hot is the
/// same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The run's seed.
    pub seed: u64,
    /// The client among the clients of the run.
    pub client: u32,
    /// The task among the tasks of the client.
    pub task: u32,
    /// The part of the run.
    pub phase: Phase,
}

/// An endless stream of operations, a few nanoseconds each.
#[derive(Clone, Debug)]
pub struct Stream {
    random: Random,
    /// See [`crate::mix::Mix::thresholds`].
    thresholds: [u64; 4],
    chooser: Arc<Chooser>,
}

impl Stream {
    /// The stream of `identity` in the workload `spec`.
    pub fn new(spec: &Spec, identity: Identity) -> Self {
        Self {
            random: Random::new(&[
                identity.seed,
                u64::from(identity.client),
                u64::from(identity.task),
                identity.phase as u64,
            ]),
            thresholds: spec.mix().thresholds(),
            chooser: Arc::clone(spec.tables()),
        }
    }

    /// The next operation. `inserts` is the worker's: it numbers what is inserted here and knows what
    /// `latest` may look at.
    #[inline]
    pub fn next(&mut self, inserts: &mut Inserts) -> Operation {
        let (kind, rank) = self.next_rank();
        let record = match rank {
            None => inserts.next_record(),
            Some(rank) => self.chooser.record(rank, inserts),
        };
        Operation { kind, record }
    }

    /// The next operation's kind, and the rank that was drawn for it; an insert draws none.
    #[inline]
    pub(crate) fn next_rank(&mut self) -> (Kind, Option<u64>) {
        let coin = self.random.word() >> 1;
        let place: usize = self
            .thresholds
            .iter()
            .map(|&threshold| usize::from(coin >= threshold))
            .sum();
        let kind = Kind::ALL[place];
        let draws = kind != Kind::Insert;
        (
            kind,
            draws.then(|| self.chooser.ranks().draw(&mut self.random)),
        )
    }
}
