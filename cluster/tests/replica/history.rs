//! Random histories with copies in the middle of writes, and mutants that they catch.

use crate::model::{Owned, encoded};
use crate::world::{Mutant, World};
use batchkv_cluster::{Answer, Proposal, Sequence};
use batchkv_store::{Dashmap, Movable, Partitioned};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// Kind, number of the key, bytes of the value.
type Drawn = (u8, u8, usize);

#[derive(Debug, Clone)]
enum Step {
    /// Groups of one entry; whether each belongs to the stream.
    Entry(Vec<(bool, Vec<Drawn>)>),
    /// A group of the stream that was sent before, counted from the last.
    Again(usize),
    BeginTransfer,
    Fetch(usize),
}

fn write() -> impl Strategy<Value = Drawn> {
    let value_bytes =
        prop_oneof![6 => 0..40usize, 3 => 5_000..9_000usize, 1 => 60_000..70_000usize];
    (any::<u8>(), 0..30u8, value_bytes)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => vec((any::<bool>(), vec(write(), 1..8)), 1..4).prop_map(Step::Entry),
        2 => (0..6usize).prop_map(Step::Again),
        2 => Just(Step::BeginTransfer),
        4 => (1..4usize).prop_map(Step::Fetch),
    ]
}

/// One history: the world, and the groups of its one stream.
struct History<E> {
    world: World<E>,
    stream: u64,
    sent: Vec<(Sequence, Vec<Owned>)>,
}

impl<E: Movable> History<E> {
    fn begin(make: fn() -> E, mutant: Mutant) -> Result<Self, String> {
        let mut world = World::new(make, mutant);
        let answers = world.apply(vec![Proposal::OpenStream.encode().unwrap()])?;
        let [Answer::Opened { stream }] = answers[..] else {
            return Err(format!("{answers:?}"));
        };
        Ok(Self {
            world,
            stream,
            sent: Vec::new(),
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Entry(groups) => {
                let groups = groups.iter().map(|(is_numbered, drawn)| {
                    let writes: Vec<Owned> = drawn.iter().map(|one| self.write(*one)).collect();
                    (*is_numbered, writes)
                });
                let groups: Vec<_> = groups.collect();
                let groups = groups
                    .into_iter()
                    .map(|(is_numbered, writes)| {
                        (is_numbered.then(|| self.number(&writes)), writes)
                    })
                    .collect();
                self.apply(groups)
            }
            Step::Again(before) => match self.sent.iter().rev().nth(*before).cloned() {
                Some((sequence, writes)) => self.apply(vec![(Some(sequence), writes)]),
                None => Ok(()),
            },
            Step::BeginTransfer => {
                self.world.begin_transfer();
                Ok(())
            }
            Step::Fetch(chunks) => self.world.fetch(*chunks),
        }
    }

    fn write(&self, (kind, number, value_bytes): Drawn) -> Owned {
        let key = vec![number; usize::from(number % 12) + 1];
        let value = vec![kind; value_bytes];
        let version = self.world.model.version_of(&key);
        match kind % 8 {
            0..=2 => Owned::Put(key, value),
            3 => Owned::Delete(key),
            4 => Owned::PutIf(key, value, version),
            5 => Owned::PutIf(key, value, 0),
            6 => Owned::PutIf(key, value, version + 1),
            _ => Owned::Get(key),
        }
    }

    fn number(&mut self, writes: &[Owned]) -> Sequence {
        let sequence = Sequence {
            stream: self.stream,
            number: self.sent.len() as u64,
            floor: 0,
        };
        self.sent.push((sequence, writes.to_vec()));
        sequence
    }

    fn apply(&mut self, groups: Vec<(Option<Sequence>, Vec<Owned>)>) -> Result<(), String> {
        let proposals = groups
            .iter()
            .map(|(sequence, writes)| encoded(*sequence, writes))
            .collect();
        let answers = self.world.apply(proposals)?;
        let model = &mut self.world.model;
        for ((sequence, writes), answer) in groups.iter().zip(answers) {
            let expected = Answer::Applied(model.apply(*sequence, writes));
            if answer != expected {
                return Err(format!("{writes:?}: {answer:?}, not {expected:?}"));
            }
        }
        Ok(())
    }
}

fn check<E: Movable>(make: fn() -> E, mutant: Mutant, steps: &[Step]) -> Result<(), String> {
    let mut history = History::begin(make, mutant)?;
    for step in steps {
        history.step(step)?;
    }
    history.world.finish()
}

fn dashmap() -> Dashmap {
    Dashmap::new(1, None)
}

fn partitioned() -> Partitioned {
    Partitioned::new(4, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn replicas_and_their_copies_agree_with_a_model(steps in vec(step(), 1..40)) {
        check(dashmap, Mutant::Nothing, &steps).map_err(TestCaseError::fail)?;
        check(partitioned, Mutant::Nothing, &steps).map_err(TestCaseError::fail)?;
    }
}

fn is_caught(mutant: Mutant) -> bool {
    let config = Config {
        max_shrink_iters: 0,
        ..Config::with_cases(100)
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&vec(step(), 1..40), |steps| {
        check(dashmap, mutant, &steps).map_err(TestCaseError::fail)
    });
    result.is_err()
}

#[test]
fn mutants_are_caught() {
    assert!(!is_caught(Mutant::Nothing));
    assert!(is_caught(Mutant::WritesMeanwhileLost));
    assert!(is_caught(Mutant::TableOfTheBeginning));
    assert!(is_caught(Mutant::NothingSkipped));
}
