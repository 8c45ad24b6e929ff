//! A study's definition, and what follows from it alone: its runs, their order, their commands.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::axes::{self, Taker};
use crate::grid::{AxisValues, Point, Value, points};

/// Most runs of a study: a month of them.
pub(crate) const RUNS_MAX: usize = 100_000;

/// The form of a study, for who draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Sweep,
    Scaling,
    Load,
    Skew,
}

/// All that makes a study; two runs of one belong together exactly if this is equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) kind: Kind,
    pub(crate) title: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) repetitions: u32,
    /// Shuffles the runs.
    pub(crate) order_seed: u64,
    /// Flags of every client that no axis varies, like `secs`.
    pub(crate) flags: BTreeMap<String, Value>,
    /// More words for the servers, the clients and `run-cluster.sh` itself.
    pub(crate) server_args: String,
    pub(crate) client_args: String,
    pub(crate) launcher_args: Vec<String>,
}

/// One grid of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) axes: Vec<AxisValues>,
}

/// One run to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    /// Its place in the shuffled order, from 0.
    pub(crate) order: usize,
    pub(crate) id: RunId,
}

/// What tells the runs of a study apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunId {
    /// The name of its [`Part`].
    pub(crate) part: String,
    pub(crate) point: Point,
    /// From 0.
    pub(crate) repetition: u32,
}

impl Part {
    /// A part with the axes that the texts name, each `AXIS=VALUES`.
    ///
    /// # Errors
    /// A sentence that names what is wrong and what is allowed.
    pub(crate) fn new(name: &str, axes: &[impl AsRef<str>]) -> Result<Self, String> {
        let mut part = Self {
            name: name.into(),
            axes: Vec::new(),
        };
        for text in axes {
            let axis = AxisValues::parse(text.as_ref())?;
            if part.axes.iter().any(|other| other.name == axis.name) {
                return Err(format!(
                    "{} is given twice; give all its values in one list",
                    axis.name
                ));
            }
            part.axes.push(axis);
        }
        Ok(part)
    }
}

impl Definition {
    /// All runs in the order in which they are done: one repetition of every point after the other,
    /// each shuffled, so that a drift of the machine meets all points alike.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.order_seed);
        let mut ids = Vec::new();
        for repetition in 0..self.repetitions {
            let mut round: Vec<RunId> = self.round(repetition).collect();
            round.shuffle(&mut random);
            ids.extend(round);
        }
        let runs = ids.into_iter().enumerate();
        runs.map(|(order, id)| Run { order, id }).collect()
    }

    fn round(&self, repetition: u32) -> impl Iterator<Item = RunId> {
        self.parts.iter().flat_map(move |part| {
            let id = move |point| RunId {
                part: part.name.clone(),
                point,
                repetition,
            };
            points(&part.axes).into_iter().map(id)
        })
    }

    /// Runs of the whole study.
    pub(crate) fn runs_total(&self) -> usize {
        let sizes = self.parts.iter().map(|part| {
            let counts = part.axes.iter().map(|axis| axis.values.len());
            counts.fold(1, usize::saturating_mul)
        });
        sizes
            .fold(0, usize::saturating_add)
            .saturating_mul(self.repetitions as usize)
    }

    /// The workload's seed in a repetition: the repetitions draw different operations, the points
    /// of one repetition the same.
    pub(crate) fn seed(repetition: u32) -> u64 {
        u64::from(repetition) + 1
    }

    /// The flags of a run, with its point's values.
    pub(crate) fn flags(&self, id: &RunId) -> BTreeMap<String, Value> {
        let mut flags = self.flags.clone();
        flags.extend(id.point.clone());
        flags.insert("seed".into(), Value::Whole(Self::seed(id.repetition)));
        flags
    }

    /// The words behind `run-cluster.sh` that do a run.
    pub(crate) fn words(&self, id: &RunId) -> Vec<String> {
        let mut words = Vec::new();
        let mut server_args = self.server_args.clone();
        let mut client_args = self.client_args.clone();
        for (name, value) in self.flags(id) {
            let (flag, value) = (format!("--{name}"), spelled(&name, &value));
            match taker(&name) {
                Taker::Launcher => words.extend([flag, value]),
                Taker::Server => append(&mut server_args, &flag, &value),
                Taker::Client => append(&mut client_args, &flag, &value),
            }
        }
        for (flag, args) in [
            ("--server-args", server_args),
            ("--client-args", client_args),
        ] {
            if !args.is_empty() {
                words.extend([flag.into(), args]);
            }
        }
        words.extend(self.launcher_args.iter().cloned());
        words
    }

    /// What a user types in the checkout to repeat a run.
    pub(crate) fn command(&self, id: &RunId) -> String {
        let words = self.words(id);
        quoted(std::iter::once("./run-cluster.sh").chain(words.iter().map(String::as_str)))
    }
}

/// Words as a shell reads them.
pub(crate) fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    // A command line holds no NUL, so no word is refused.
    shlex::try_join(words).unwrap_or_default()
}

fn append(args: &mut String, flag: &str, value: &str) {
    let space = if args.is_empty() { "" } else { " " };
    *args += &format!("{space}{}", quoted([flag, value].into_iter()));
}

/// Flags of `run-cluster.sh` that no axis varies.
const LAUNCHER_FLAGS: [&str; 2] = ["secs", "warmup-secs"];

fn taker(name: &str) -> Taker {
    match axes::find(name) {
        Ok(axis) => axis.taker,
        Err(_) if LAUNCHER_FLAGS.contains(&name) => Taker::Launcher,
        Err(_) => Taker::Client,
    }
}

/// A value as the programs read it.
fn spelled(name: &str, value: &Value) -> String {
    let text = value.to_string();
    let shares = text
        .split_once('/')
        .map(|(reads, updates)| (reads.parse(), updates.parse()));
    match shares {
        Some((Ok(reads), Ok(updates))) if name == "mix" => {
            let (reads, updates): (f64, f64) = (reads, updates);
            let all = reads + updates;
            format!("read={},update={}", reads / all, updates / all)
        }
        _ => text,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A study of 2 x 2 points with three repetitions.
    pub(crate) fn example() -> Definition {
        Definition {
            kind: Kind::Sweep,
            title: "Example".into(),
            parts: vec![Part::new("grid", &["batch-size=64,256", "window=1,2"]).unwrap()],
            repetitions: 3,
            order_seed: 1,
            flags: [("secs".into(), Value::Whole(1))].into(),
            server_args: String::new(),
            client_args: String::new(),
            launcher_args: Vec::new(),
        }
    }

    fn id(axes: &[&str]) -> RunId {
        let part = Part::new("grid", axes).unwrap();
        RunId {
            part: "grid".into(),
            point: points(&part.axes).remove(0),
            repetition: 2,
        }
    }

    #[test]
    fn each_round_visits_every_point_once_in_its_own_order() {
        let runs = example().runs();
        assert_eq!(runs.len(), 12);
        assert_eq!(example().runs_total(), 12);
        let order = |round: usize| -> Vec<String> {
            let runs = &runs[round * 4..][..4];
            assert!(runs.iter().all(|run| run.id.repetition as usize == round));
            runs.iter()
                .map(|run| format!("{:?}", run.id.point))
                .collect()
        };
        let rounds = [0, 1, 2].map(order);
        for round in &rounds {
            assert_eq!(round.iter().collect::<HashSet<_>>().len(), 4);
        }
        assert!(rounds.iter().collect::<HashSet<_>>().len() > 1);
    }

    #[test]
    fn a_seed_gives_its_order_again() {
        let other = Definition {
            order_seed: 2,
            ..example()
        };
        assert_eq!(example().runs(), example().runs());
        assert_ne!(other.runs(), example().runs());
    }

    #[test]
    fn each_flag_goes_to_who_takes_it() {
        let mut study = example();
        study.server_args = "--threads 2".into();
        study.launcher_args = vec!["--hosts-file".into(), "my nodes".into()];
        let id = id(&["servers=2", "engine=dashmap", "mix=95/5", "theta=0.5"]);
        assert_eq!(
            study.command(&id),
            "./run-cluster.sh --secs 1 --servers 2 --theta 0.5 \
             --server-args '--threads 2 --engine dashmap' \
             --client-args \"--mix 'read=0.95,update=0.05' --seed 3\" \
             --hosts-file 'my nodes'"
        );
    }

    #[test]
    fn an_axis_has_one_list() {
        let error = Part::new("grid", &["tasks=1", "tasks=2"]).unwrap_err();
        assert!(error.contains("tasks is given twice"), "{error}");
    }
}
