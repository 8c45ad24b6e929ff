//! The table of streams against a model that remembers everything, and mutants that the model catches.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::limits::{
    NUMBERS_AHEAD_MAX, STREAM_BYTES_MAX, STREAM_IDLE_MAX, STREAMS_BYTES_MAX, STREAMS_MAX,
};
use batchkv_cluster::{Admission, Outcome, Outcomes, Refused, Sequence, Streams};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::collections::HashMap;

const IDLE_MILLIS: u64 = STREAM_IDLE_MAX.as_millis() as u64;

#[derive(Debug, Clone)]
enum Step {
    Open,
    /// A group of the stream-th opened one, its number and floor relative to what the model knows.
    Send {
        stream: usize,
        ahead: u64,
        floor_behind: u64,
    },
    Pass {
        millis: u64,
    },
    /// The table moves to another server.
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    let near = prop_oneof![8 => 0..6u64, 1 => NUMBERS_AHEAD_MAX - 3..NUMBERS_AHEAD_MAX + 5];
    prop_oneof![
        1 => any::<bool>().prop_map(|_| Step::Open),
        20 => (0..5usize, near, 0..8u64)
            .prop_map(|(stream, ahead, floor_behind)| Step::Send { stream, ahead, floor_behind }),
        2 => prop_oneof![0..1000u64, IDLE_MILLIS - 2..IDLE_MILLIS + 3]
            .prop_map(|millis| Step::Pass { millis }),
        1 => any::<bool>().prop_map(|_| Step::Move),
    ]
}

/// What is tested: the table, or a mutant of it.
trait Table {
    fn table(&mut self) -> &mut Streams;

    fn advance(&mut self, now_millis: u64) {
        self.table().advance(now_millis);
    }
    fn admit(&mut self, sequence: Sequence) -> Admission {
        self.table().admit(sequence)
    }
    fn remember(&mut self, sequence: Sequence, outcomes: &Outcomes) {
        self.table().remember(sequence, outcomes);
    }
    fn moved(&mut self) {
        let image = self.table().encode();
        let moved = Streams::decode(&image).unwrap();
        assert_eq!(&moved, self.table());
        *self.table() = moved;
    }
}

#[derive(Default)]
struct Real(Streams);

impl Table for Real {
    fn table(&mut self) -> &mut Streams {
        &mut self.0
    }
}

/// Each group counts as one that never came.
#[derive(Default)]
struct NumbersIgnored(Streams, u64);

impl Table for NumbersIgnored {
    fn table(&mut self) -> &mut Streams {
        &mut self.0
    }
    fn admit(&mut self, mut sequence: Sequence) -> Admission {
        self.1 += 1;
        sequence.number = self.1;
        self.0.admit(sequence)
    }
}

#[derive(Default)]
struct FloorIgnored(Streams);

impl Table for FloorIgnored {
    fn table(&mut self) -> &mut Streams {
        &mut self.0
    }
    fn admit(&mut self, mut sequence: Sequence) -> Admission {
        sequence.floor = 0;
        self.0.admit(sequence)
    }
}

#[derive(Default)]
struct MovesWithoutTable(Streams);

impl Table for MovesWithoutTable {
    fn table(&mut self) -> &mut Streams {
        &mut self.0
    }
    fn moved(&mut self) {
        self.0 = Streams::default();
    }
}

#[derive(Default)]
struct NeverExpires(Streams);

impl Table for NeverExpires {
    fn table(&mut self) -> &mut Streams {
        &mut self.0
    }
    fn advance(&mut self, _: u64) {}
}

#[derive(Default)]
struct OutcomesForgotten(Streams);

impl Table for OutcomesForgotten {
    fn table(&mut self) -> &mut Streams {
        &mut self.0
    }
    fn remember(&mut self, sequence: Sequence, _: &Outcomes) {
        self.0.remember(sequence, &Outcomes::from([]));
    }
}

/// A stream as the model sees it: nothing is ever dropped.
struct Known {
    name: u64,
    used_millis: u64,
    floor: u64,
    applied: HashMap<u64, Outcomes>,
}

#[derive(Default)]
struct Model {
    now_millis: u64,
    index: u64,
    streams: Vec<Known>,
}

impl Model {
    fn expected(&mut self, sequence: Sequence) -> Admission {
        let now_millis = self.now_millis;
        let known = self
            .streams
            .iter_mut()
            .find(|known| known.name == sequence.stream);
        let Some(known) = known.filter(|known| now_millis - known.used_millis <= IDLE_MILLIS)
        else {
            return Admission::Refuse(Refused::StreamExpired);
        };
        known.used_millis = now_millis;
        known.floor = known.floor.max(sequence.floor);
        if sequence.number < known.floor {
            Admission::Refuse(Refused::Answered)
        } else if let Some(outcomes) = known.applied.get(&sequence.number) {
            Admission::Repeat(outcomes.clone())
        } else if sequence.number >= known.floor + NUMBERS_AHEAD_MAX {
            Admission::Refuse(Refused::TooFarAhead)
        } else {
            Admission::Apply
        }
    }

    fn sequence(&self, stream: usize, ahead: u64, floor_behind: u64) -> Option<Sequence> {
        let known = self.streams.get(stream)?;
        let number = (known.floor + ahead).saturating_sub(2);
        Some(Sequence {
            stream: known.name,
            number,
            floor: number.saturating_sub(floor_behind),
        })
    }
}

fn send(table: &mut impl Table, model: &mut Model, sequence: Sequence) -> Result<(), String> {
    let (found, expected) = (table.admit(sequence), model.expected(sequence));
    if found != expected {
        return Err(format!("{sequence:?}: {found:?}, not {expected:?}"));
    }
    if found == Admission::Apply {
        let outcomes: Outcomes = [
            Outcome::Stored {
                version: model.index,
            },
            Outcome::Deleted {
                existed: model.index.is_multiple_of(2),
            },
        ]
        .into();
        table.remember(sequence, &outcomes);
        let known = model.streams.iter_mut();
        for known in known.filter(|known| known.name == sequence.stream) {
            known.applied.insert(sequence.number, outcomes.clone());
        }
    }
    Ok(())
}

fn check(mut table: impl Table, steps: &[Step]) -> Result<(), String> {
    let mut model = Model::default();
    for step in steps {
        model.index += 1;
        match *step {
            Step::Open => {
                table.table().open(model.index).unwrap();
                model.streams.push(Known {
                    name: model.index,
                    used_millis: model.now_millis,
                    floor: 0,
                    applied: HashMap::new(),
                });
            }
            Step::Send {
                stream,
                ahead,
                floor_behind,
            } => {
                if let Some(sequence) = model.sequence(stream, ahead, floor_behind) {
                    send(&mut table, &mut model, sequence)?;
                }
            }
            Step::Pass { millis } => {
                model.now_millis += millis;
                table.advance(model.now_millis);
            }
            Step::Move => table.moved(),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_table_agrees_with_a_model_that_remembers_everything(steps in vec(step(), 1..200)) {
        check(Real::default(), &steps).map_err(TestCaseError::fail)?;
    }
}

fn is_caught<T: Table + Default>() -> bool {
    let mut runner = TestRunner::deterministic();
    let result = runner.run(&vec(step(), 1..200), |steps| {
        check(T::default(), &steps).map_err(TestCaseError::fail)
    });
    result.is_err()
}

#[test]
fn mutants_are_caught() {
    assert!(!is_caught::<Real>());
    assert!(is_caught::<NumbersIgnored>());
    assert!(is_caught::<FloorIgnored>());
    assert!(is_caught::<MovesWithoutTable>());
    assert!(is_caught::<NeverExpires>());
    assert!(is_caught::<OutcomesForgotten>());
}

fn first_group(stream: u64, number: u64) -> Sequence {
    Sequence {
        stream,
        number,
        floor: 0,
    }
}

fn value(value_bytes: usize) -> Outcomes {
    [Outcome::Value {
        version: 7,
        value: vec![1; value_bytes].into(),
    }]
    .into()
}

#[test]
fn a_stream_that_is_full_takes_more_when_its_floor_rises() {
    let mut table = Streams::default();
    table.open(1).unwrap();
    table.open(2).unwrap();
    let outcomes: Outcomes = vec![Outcome::Missing; 4000].into();
    let mut number = 0;
    while table.admit(first_group(1, number)) == Admission::Apply {
        table.remember(first_group(1, number), &outcomes);
        number += 1;
    }
    assert!(table.bytes() >= STREAM_BYTES_MAX && table.bytes() < 2 * STREAM_BYTES_MAX);
    let full = Admission::Refuse(Refused::Full);
    assert_eq!(table.admit(first_group(1, number)), full);
    assert_eq!(
        table.admit(first_group(1, 0)),
        Admission::Repeat(outcomes.clone())
    );
    assert_eq!(table.admit(first_group(2, 0)), Admission::Apply);
    let later = Sequence {
        stream: 1,
        number,
        floor: number,
    };
    assert_eq!(table.admit(later), Admission::Apply);
    assert_eq!(table.bytes(), 0);
}

#[test]
fn a_value_without_room_is_forgotten_and_says_so() {
    let mut table = Streams::default();
    table.open(1).unwrap();
    let short = value(100);
    table.remember(first_group(1, 0), &short);
    table.remember(first_group(1, 1), &value(STREAM_BYTES_MAX));
    assert_eq!(table.admit(first_group(1, 0)), Admission::Repeat(short));
    let forgotten: Outcomes = [Outcome::Forgotten].into();
    assert_eq!(table.admit(first_group(1, 1)), Admission::Repeat(forgotten));
}

#[test]
fn a_full_table_refuses_groups_and_streams_until_others_have_ended() {
    let mut table = Streams::default();
    for name in 0..STREAMS_MAX as u64 {
        table.open(name).unwrap();
    }
    assert_eq!(table.open(9999), Err(Refused::Full));
    let outcomes = value(STREAM_BYTES_MAX - 1000);
    let mut name = 0;
    while table.admit(first_group(name, 0)) == Admission::Apply {
        table.remember(first_group(name, 0), &outcomes);
        name += 1;
    }
    assert!(table.bytes() >= STREAMS_BYTES_MAX);
    assert_eq!(
        table.admit(first_group(name + 1, 0)),
        Admission::Refuse(Refused::Full)
    );
    table.advance(IDLE_MILLIS + 1);
    assert!(table.is_empty() && table.bytes() == 0);
    table.open(9999).unwrap();
    assert_eq!(table.admit(first_group(9999, 0)), Admission::Apply);
}

fn small_table() -> Streams {
    let mut table = Streams::default();
    table.advance(1000);
    table.open(300).unwrap();
    let sequence = Sequence {
        stream: 300,
        number: 5,
        floor: 4,
    };
    assert_eq!(table.admit(sequence), Admission::Apply);
    let outcomes = [
        Outcome::Stored { version: 9 },
        Outcome::Deleted { existed: true },
        Outcome::Mismatch { found: 3 },
        Outcome::Value {
            version: 2,
            value: Box::new([7, 8]),
        },
        Outcome::Missing,
        Outcome::Forgotten,
    ];
    table.remember(sequence, &outcomes.into());
    table
}

#[test]
fn golden_bytes() {
    let expected = [
        1, 251, 0xE8, 3, // format, log time 1000
        1, 251, 0x2C, 1, 4, 251, 0xE8, 3, // one stream: 300, floor 4, used at 1000
        1, 5, 6, // one group: number 5, six outcomes
        0, 9, 1, 1, 2, 3, 3, 2, 2, 7, 8, 4, 5,
    ];
    assert_eq!(small_table().encode(), expected);
    assert_eq!(Streams::decode(&expected).unwrap(), small_table());
}

#[test]
fn damaged_images_are_refused_or_give_a_table() {
    let image = small_table().encode();
    for end in 0..image.len() {
        assert!(Streams::decode(&image[..end]).is_err(), "cut at {end}");
    }
    let mut longer = image.clone();
    longer.push(0);
    assert!(Streams::decode(&longer).is_err());
    for at in 0..image.len() {
        for bit in 0..8 {
            let mut flipped = image.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(table) = Streams::decode(&flipped) {
                assert_eq!(Streams::decode(&table.encode()).unwrap(), table);
            }
        }
    }
}

#[test]
fn images_of_impossible_tables_are_refused() {
    let names_fall = [1, 9, 2, 5, 0, 9, 0, 4, 0, 9, 0];
    let from_the_future = [1, 9, 1, 5, 0, 10, 0];
    let below_its_floor = [1, 9, 1, 5, 3, 9, 1, 2, 0];
    for image in [
        names_fall.as_slice(),
        from_the_future.as_slice(),
        below_its_floor.as_slice(),
    ] {
        assert!(Streams::decode(image).is_err(), "{image:?}");
    }
    let forged_count = [1, 9, 253, 255, 255, 255, 255, 255, 255, 255, 127];
    assert!(Streams::decode(&forged_count).is_err());
}
