//! Groups by way of their write sets against groups that are executed as they came, on each engine.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::answering::{Written, answer_group};
use batchkv_cluster::{Answer as Applied, Outcome, Proposal, Replica, WriteSet};
use batchkv_protocol::{Answer, Answers, Counters, Operation, Position, Refusal};
use batchkv_store::{Dashmap, Engine, Partitioned, Placed};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};
use std::sync::Arc;

/// An answer that owns its value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Value(Vec<u8>),
    Other(Answer<'static>),
}

/// Answers in order, up to a number of them.
struct Kept {
    kept: Vec<(Position, Owned)>,
    room: usize,
}

impl Answers for Kept {
    type Mark = usize;

    fn mark(&self) -> usize {
        self.kept.len()
    }
    fn rewind(&mut self, mark: usize) {
        self.kept.truncate(mark);
    }
    fn answer(&mut self, position: Position, answer: Answer<'_>) -> bool {
        let owned = match answer {
            Answer::Value(value) => Owned::Value(value.to_vec()),
            Answer::Missing => Owned::Other(Answer::Missing),
            Answer::Stored => Owned::Other(Answer::Stored),
            Answer::Deleted { existed } => Owned::Other(Answer::Deleted { existed }),
            Answer::Refused(reason) => Owned::Other(Answer::Refused(reason)),
            Answer::WrongOwner(known) => Owned::Other(Answer::WrongOwner(known)),
            Answer::Opened { stream } => Owned::Other(Answer::Opened { stream }),
            Answer::StoredAs { version } => Owned::Other(Answer::StoredAs { version }),
        };
        let fits = self.kept.len() < self.room;
        if fits {
            self.kept.push((position, owned));
        }
        fits
    }
    fn value(&mut self, position: Position, value_bytes: usize) -> Option<&mut [u8]> {
        if !self.answer(position, Answer::Value(&vec![0; value_bytes])) {
            return None;
        }
        match self.kept.last_mut() {
            Some((_, Owned::Value(value))) => Some(value),
            _ => None,
        }
    }
    fn refer(&mut self, _: u64) {}
}

const GROUP: u32 = 3;
/// Where the replica's records are, while operations name partition 0.
const SLOT: u32 = 2;

fn refused(_: &Outcome) -> Answer<'static> {
    Answer::Refused(Refusal::UnknownFlag)
}

fn place<'o>((operation, one): (u32, &Operation<'o>)) -> Placed<'o> {
    Placed {
        position: Position {
            group: GROUP,
            operation,
        },
        partition: 0,
        operation: *one,
    }
}

/// The group as it came, by an engine that knows no versions.
fn directly(engine: &impl Engine, operations: &[Operation<'_>]) -> (Kept, Counters) {
    let mut kept = Kept {
        kept: vec![],
        room: usize::MAX,
    };
    let mut counters = Counters::default();
    let placed: Vec<Placed<'_>> = (0..).zip(operations).map(place).collect();
    for window in placed.chunks(64) {
        engine.apply(window, &mut kept, &mut counters);
    }
    (kept, counters)
}

fn replicated<E: Engine>(
    engine: &Arc<E>,
    replica: &mut Replica<E>,
    operations: &[Operation<'_>],
    room: usize,
) -> (bool, Kept, Counters) {
    let set = WriteSet::of(operations);
    let mut outcomes = None;
    if !set.writes.is_empty() {
        let writes = set.writes;
        let proposal = Proposal::Writes {
            sequence: None,
            writes,
        };
        let bytes = proposal.encode().unwrap();
        let index = replica.applied() + 1;
        let applied = replica.apply(index, 0, [&bytes[..]], |answer| outcomes = Some(answer));
        applied.unwrap();
    }
    let outcomes = match &outcomes {
        Some(Applied::Applied(outcomes)) => &outcomes[..],
        None => &[],
        Some(other) => panic!("{other:?}"),
    };
    let written = Written {
        positions: &set.positions,
        outcomes,
        versions: false,
    };
    let mut kept = Kept { kept: vec![], room };
    let mut counters = Counters::default();
    let placed: Vec<Placed<'_>> = (0..).zip(operations).map(place).collect();
    let mut answered = 0;
    for window in placed.chunks(64) {
        let at = (&**engine, SLOT);
        let more = answer_group(written, window, at, refused, &mut kept, &mut counters);
        answered += more;
        if more < window.len() {
            break;
        }
    }
    (answered == operations.len(), kept, counters)
}

/// Kind, key, length of the value.
type Drawn = (u8, u8, u8);

fn check<E: Engine>(make: fn() -> E, groups: &[Vec<Drawn>], room: usize) {
    let plain = make();
    let engine = Arc::new(make());
    let mut replica = Replica::new(Arc::clone(&engine), SLOT);
    let value = [9; 256];
    for group in groups {
        let keys: Vec<[u8; 2]> = group.iter().map(|one| [one.1 % 9, 1]).collect();
        let operations: Vec<Operation<'_>> = group
            .iter()
            .zip(&keys)
            .map(|(drawn, key)| {
                let key = key.into();
                match drawn.0 % 8 {
                    0 => Operation::Put {
                        key,
                        value: &value[..usize::from(drawn.2)],
                    },
                    1 => Operation::Delete { key },
                    _ => Operation::Get { key },
                }
            })
            .collect();
        let (expected, expected_counters) = directly(&plain, &operations);
        let (fits, found, counters) = replicated(&engine, &mut replica, &operations, room);
        assert_eq!(fits, room >= operations.len());
        assert_eq!(found.kept, expected.kept[..room.min(operations.len())]);
        if fits {
            assert_eq!(counters, expected_counters);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_group_is_answered_as_if_it_had_been_executed_as_it_came(
        groups in vec(vec(any::<Drawn>(), 1..150), 1..6), room in 0..300usize
    ) {
        check(|| Dashmap::new(4, None), &groups, room);
        check(|| Partitioned::new(4, None), &groups, room);
    }
}

#[test]
fn what_has_no_answer_is_refused() {
    let operations = [Operation::Get { key: b"a".into() }; 2];
    let written = Written {
        positions: &[0, 1],
        outcomes: &[Outcome::Forgotten, Outcome::Mismatch { found: 4 }],
        versions: false,
    };
    let engine = Dashmap::new(1, None);
    let mut kept = Kept {
        kept: vec![],
        room: 9,
    };
    let mut counters = Counters::default();
    let placed: Vec<Placed<'_>> = (0..).zip(&operations).map(place).collect();
    let at = (&engine, SLOT);
    let answered = answer_group(written, &placed, at, refused, &mut kept, &mut counters);
    assert_eq!(answered, 2);
    let refused = Owned::Other(Answer::Refused(Refusal::UnknownFlag));
    let answers: Vec<&Owned> = kept.kept.iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers, [&refused, &refused]);
    assert_eq!(counters.refused, 2);
}
