//! A group's answers, once its writes are applied: outcomes where it wrote, and the gets that stayed behind.

use crate::limits::VERSION_BYTES;
use crate::outcome::Outcome;
use crate::versions::Unversioned;
use batchkv_protocol::{Answer, Answers, Counters, Position};
use batchkv_store::{Engine, Placed};

/// A group's writes and what came of them.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// Where each stands in the group, see [`WriteSet::positions`](crate::WriteSet).
    pub positions: &'a [u16],
    /// What came of each.
    pub outcomes: &'a [Outcome],
    /// Whether the group asks for versions: behind its values, and of what it stores.
    pub versions: bool,
}

impl<'a> Written<'a> {
    /// What came of the group's operation with this number, if it was among the writes.
    fn outcome(&self, operation: u32) -> Option<&'a Outcome> {
        let operation = u16::try_from(operation).ok()?;
        let place = self.positions.binary_search(&operation).ok()?;
        self.outcomes.get(place)
    }

    /// Answers an operation by its outcome; `false` when there was no room.
    fn answer(
        &self,
        position: Position,
        outcome: &Outcome,
        refuse: &impl Fn(&Outcome) -> Answer<'static>,
        answers: &mut impl Answers,
    ) -> bool {
        match outcome {
            Outcome::Stored { version } if self.versions => {
                let version = *version;
                answers.answer(position, Answer::StoredAs { version })
            }
            Outcome::Value { version, value } if self.versions => {
                let room = answers.value(position, value.len() + VERSION_BYTES);
                room.map(|room| {
                    room[..value.len()].copy_from_slice(value);
                    room[value.len()..].copy_from_slice(&version.to_le_bytes());
                })
                .is_some()
            }
            _ => answers.answer(
                position,
                as_answer(outcome).unwrap_or_else(|| refuse(outcome)),
            ),
        }
    }
}

/// Answers operations of a group, in their order: the writes as they were `written`, the gets as the
/// records are now, which lie at the partition `slot` of the engine. What no answer of the protocol can tell
/// is answered by `refuse`. Stops before the first operation whose answer has no room, and returns how many were
/// answered.
///
/// The records must hold what was written, and nothing of the connection's later groups.
pub fn answer_group<E: Engine>(
    written: Written<'_>,
    window: &[Placed<'_>],
    (engine, slot): (&E, u32),
    refuse: impl Fn(&Outcome) -> Answer<'static>,
    answers: &mut impl Answers,
    counters: &mut Counters,
) -> usize {
    let outcome = |placed: &Placed<'_>| written.outcome(placed.position.operation);
    let mut answered = 0;
    while let Some(next) = window.get(answered) {
        if let Some(outcome) = outcome(next) {
            if !written.answer(next.position, outcome, &refuse, answers) {
                break;
            }
            count(outcome, counters);
            answered += 1;
            continue;
        }
        let rest = &window[answered..];
        let writes_at = rest.iter().position(|placed| outcome(placed).is_some());
        let gets = &rest[..writes_at.unwrap_or(rest.len())];
        let read = read(gets, (engine, slot), written.versions, answers, counters);
        answered += read;
        if read < gets.len() {
            break;
        }
    }
    answered
}

/// Executes gets in one window; how many had room.
fn read<E: Engine>(
    gets: &[Placed<'_>],
    (engine, slot): (&E, u32),
    versions: bool,
    answers: &mut impl Answers,
    counters: &mut Counters,
) -> usize {
    let moved: Vec<Placed<'_>> = gets
        .iter()
        .map(|get| Placed {
            partition: slot,
            ..*get
        })
        .collect();
    match versions {
        true => engine.apply(&moved, answers, counters),
        false => engine.apply(&moved, &mut Unversioned(answers), counters),
    }
}

fn as_answer(outcome: &Outcome) -> Option<Answer<'_>> {
    match outcome {
        Outcome::Stored { .. } => Some(Answer::Stored),
        Outcome::Deleted { existed } => Some(Answer::Deleted { existed: *existed }),
        Outcome::Value { value, .. } => Some(Answer::Value(value)),
        Outcome::Missing => Some(Answer::Missing),
        Outcome::Mismatch { .. } | Outcome::Forgotten => None,
    }
}

fn count(outcome: &Outcome, counters: &mut Counters) {
    match outcome {
        Outcome::Stored { .. } => counters.puts += 1,
        Outcome::Deleted { .. } => counters.deletes += 1,
        Outcome::Value { .. } => {
            counters.gets += 1;
            counters.hits += 1;
        }
        Outcome::Missing => counters.gets += 1,
        Outcome::Mismatch { .. } | Outcome::Forgotten => counters.refused += 1,
    }
}
