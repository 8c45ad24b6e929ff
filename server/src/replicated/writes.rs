//! Groups that write: what is proposed of them, and how they are answered.

use batchkv_cluster::answering::{Written, answer_group};
use batchkv_cluster::host;
use batchkv_cluster::map;
use batchkv_cluster::versions::split;
use batchkv_cluster::{Answer as Applied, Outcome, Proposal, Refused, Sequence, Write, WriteSet};
use batchkv_consensus::ProposeError;
use batchkv_protocol::options::{ANY_VERSION, GroupOptions};
use batchkv_protocol::{Answer, Counters, KeptAnswers, Operation, Position, Refusal};
use batchkv_store::{Movable, Placed, WINDOW_OPERATIONS};

use super::{Parked, Turn};

/// From this share of its memory on a store takes no further put: what is agreed on must find room, and members do
/// not fill alike.
const MEMORY_SHARE_MAX: f64 = 0.9;

/// A group whose writes are proposed.
pub struct Writing<E: Movable> {
    group: Parked<E>,
    /// Where in the group each of its writes stands.
    positions: Vec<u16>,
    versions: bool,
    turn: Turn<E>,
}

/// Proposes a group's writes; it is answered when they are applied.
pub(super) fn propose<E: Movable>(group: Parked<E>, turn: Turn<E>) {
    let shared = &turn.partition.shared;
    let Some(handle) = shared.groups.of(turn.partition.number) else {
        return shared.send_away(group);
    };
    if is_memory_short(&turn) {
        return group.refuse(Answer::Refused(Refusal::OutOfMemory));
    }
    let term = map::term(group.group().header.epoch);
    let options = group.group().options();
    let Some((bytes, positions)) = proposal(&group, &options) else {
        return group.refuse(Answer::Refused(Refusal::ValueTooLong));
    };
    let writing = Writing {
        group,
        positions,
        versions: options.versions,
        turn,
    };
    // Answered through what is parked.
    drop(handle.propose_in(term, bytes.into(), writing));
}

/// What of a group is proposed, and where in it each write stands; `None` when a value is too long.
fn proposal<E: Movable>(group: &Parked<E>, options: &GroupOptions) -> Option<(Vec<u8>, Vec<u16>)> {
    if options.opens {
        return Some((Proposal::OpenStream.encode().ok()?, Vec::new()));
    }
    let operations: Vec<Operation<'_>> = group.group().operations().collect();
    let WriteSet {
        mut writes,
        positions,
    } = WriteSet::of(&operations);
    if options.versions {
        writes.iter_mut().try_for_each(make_conditional)?;
    }
    let sequence = options.sequence.map(|sequence| Sequence {
        stream: sequence.stream,
        number: sequence.number,
        floor: sequence.floor,
    });
    let proposal = Proposal::Writes { sequence, writes };
    Some((proposal.encode().ok()?, positions))
}

/// A put of a group with versions has the version behind its value that the record must have.
fn make_conditional(write: &mut Write<'_>) -> Option<()> {
    if let Write::Put { key, value } = *write {
        let (value, version) = split(value)?;
        *write = match version {
            ANY_VERSION => Write::Put { key, value },
            version => Write::PutIf {
                key,
                value,
                version,
            },
        };
    }
    Some(())
}

/// Whether the store is so full that what is agreed on might find no room.
fn is_memory_short<E: Movable>(turn: &Turn<E>) -> bool {
    let shared = &turn.partition.shared;
    shared.max_memory_bytes.is_some_and(|max| {
        shared.engine.usage().memory_bytes as f64 > max as f64 * MEMORY_SHARE_MAX
    })
}

impl<E: Movable> host::Parked for Writing<E> {
    type Done = ();

    fn applied(self, answer: Applied, slot: u32) {
        match answer {
            Applied::Applied(outcomes) => {
                let (answers, counters) = self.answers(&outcomes, slot);
                self.group.answer(answers, counters);
            }
            Applied::Refused(reason) => self.group.refuse(Answer::Refused(refusal(reason))),
            Applied::Opened { stream } => self.group.refuse(Answer::Opened { stream }),
            Applied::Unknown => {
                self.group.refuse(Answer::Refused(Refusal::Unsettled));
            }
        }
    }

    fn refused(self, error: &ProposeError) {
        let answer = match error {
            ProposeError::NotLeader { .. } | ProposeError::Stopped => {
                return self.turn.partition.shared.send_away(self.group);
            }
            ProposeError::Busy => Answer::Refused(Refusal::Busy),
            ProposeError::TooLong { .. } => Answer::Refused(Refusal::ValueTooLong),
            ProposeError::Unknown => Answer::Refused(Refusal::Unsettled),
        };
        self.group.refuse(answer);
    }
}

impl<E: Movable> Writing<E> {
    /// The group's answers: its writes as they were applied, its gets as the records are now.
    fn answers(&self, outcomes: &[Outcome], slot: u32) -> (KeptAnswers, Counters) {
        let mut kept = KeptAnswers::new(usize::MAX);
        let mut counters = Counters::default();
        let positions = &self.positions[..];
        let written = Written {
            positions,
            outcomes,
            versions: self.versions,
        };
        let engine = (&*self.turn.partition.shared.engine, slot);
        let group = self.group.group();
        let placed = (0..)
            .zip(group.operations())
            .map(|(number, operation)| Placed {
                position: Position {
                    group: group.number,
                    operation: number,
                },
                partition: slot,
                operation,
            });
        let placed: Vec<Placed<'_>> = placed.collect();
        for window in placed.chunks(WINDOW_OPERATIONS) {
            answer_group(written, window, engine, refuse, &mut kept, &mut counters);
        }
        (kept, counters)
    }
}

/// What no other answer can tell.
fn refuse(outcome: &Outcome) -> Answer<'static> {
    Answer::Refused(match outcome {
        Outcome::Mismatch { found } => Refusal::VersionMismatch { found: *found },
        _ => Refusal::Forgotten,
    })
}

fn refusal(reason: Refused) -> Refusal {
    match reason {
        Refused::StreamExpired => Refusal::StreamExpired,
        Refused::Answered => Refusal::Answered,
        Refused::TooFarAhead => Refusal::TooFarAhead,
        Refused::Full => Refusal::Busy,
    }
}
