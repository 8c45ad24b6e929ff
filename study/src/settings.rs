//! What was typed, with a study file's part, becomes a checked [`Study`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};
use std::time::Duration;

use serde::Deserialize;

use crate::args::{OnFailure, StudyArgs};
use crate::grid::{AxisValues, Value};
use crate::named::{self, Room};
use crate::plan::{Definition, Kind, RUNS_MAX};
use crate::runner::Manner;

/// A study and how its runs are to be done.
#[derive(Debug)]
pub(crate) struct Study {
    pub(crate) name: String,
    pub(crate) definition: Definition,
    pub(crate) manner: Manner,
}

/// A study in a file: the flags of the same names, and the grid.
///
/// ```toml
/// title = "Batches and tasks"
/// repetitions = 5
/// [axes]
/// batch-size = "64..16384*2"
/// tasks = [1, 8, 128]
/// ```
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StudyFile {
    name: Option<String>,
    title: Option<String>,
    repetitions: Option<u32>,
    secs: Option<u64>,
    warmup_secs: Option<u64>,
    order_seed: Option<u64>,
    server_args: Option<String>,
    client_args: Option<String>,
    launcher_args: Vec<String>,
    axes: toml::Table,
}

impl StudyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong in it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("--file {name}: {error}"))?;
        toml::from_str(&text).map_err(|error| format!("--file {name}: {error}"))
    }

    fn axes(&self) -> Result<Vec<AxisValues>, String> {
        self.axes
            .iter()
            .map(|(name, values)| axis(name, values))
            .collect()
    }
}

fn axis(name: &str, values: &toml::Value) -> Result<AxisValues, String> {
    match values {
        toml::Value::String(text) => AxisValues::new(name, text),
        toml::Value::Array(items) => {
            let items: Option<Vec<Value>> = items.iter().map(value).collect();
            AxisValues::of(name, items.ok_or_else(|| not_values(name, values))?)
        }
        single => AxisValues::of(
            name,
            vec![value(single).ok_or_else(|| not_values(name, values))?],
        ),
    }
}

fn value(item: &toml::Value) -> Option<Value> {
    match item {
        toml::Value::String(text) => Some(Value::parse(text)),
        toml::Value::Integer(number) => Some(Value::parse(&number.to_string())),
        toml::Value::Float(number) => Some(Value::parse(&number.to_string())),
        _ => None,
    }
}

fn not_values(name: &str, values: &toml::Value) -> String {
    format!(
        "{name} is {values}; allowed are a number, a text like \"64..16384*2\" and a list of these"
    )
}

impl Study {
    /// Checks what was typed; what it leaves out is taken from `file`, then from the defaults.
    ///
    /// # Errors
    /// A sentence that names what is wrong and what is allowed.
    pub(crate) fn new(
        kind: Kind,
        typed: &StudyArgs,
        file: StudyFile,
        room: Room,
    ) -> Result<Self, String> {
        let name = typed.name.clone().or_else(|| file.name.clone());
        let manner = manner(typed, &file);
        let definition = definition(kind, typed, file, room)?;
        let name = name.unwrap_or_else(|| default_name(kind, typed.quick));
        check_name(&name)?;
        Ok(Self {
            name,
            definition,
            manner,
        })
    }
}

fn definition(
    kind: Kind,
    typed: &StudyArgs,
    file: StudyFile,
    room: Room,
) -> Result<Definition, String> {
    let mut given = file.axes()?;
    for text in &typed.axes {
        given.push(AxisValues::parse(text)?);
    }
    let definition = Definition {
        kind,
        parts: named::parts(kind, typed.quick, room, given)?,
        repetitions: typed.repetitions.or(file.repetitions).unwrap_or(3),
        order_seed: typed.order_seed.or(file.order_seed).unwrap_or(1),
        flags: flags(typed, &file),
        title: file.title.unwrap_or_else(|| title(kind).into()),
        server_args: typed
            .server_args
            .clone()
            .or(file.server_args)
            .unwrap_or_default(),
        client_args: typed
            .client_args
            .clone()
            .or(file.client_args)
            .unwrap_or_default(),
        launcher_args: [file.launcher_args, typed.launcher_args.clone()].concat(),
    };
    if definition.parts.iter().any(|part| part.axes.is_empty()) {
        return Err("a sweep needs an axis, like tasks=1,8,128".into());
    }
    match definition.runs_total() {
        1..=RUNS_MAX => Ok(definition),
        runs => Err(format!(
            "the study has {runs} runs; allowed are 1 to {RUNS_MAX}"
        )),
    }
}

fn flags(typed: &StudyArgs, file: &StudyFile) -> BTreeMap<String, Value> {
    let (secs, warmup_secs) = seconds(typed, file);
    let mut flags: BTreeMap<String, Value> = [("secs", secs), ("warmup-secs", warmup_secs)]
        .map(|(name, secs)| (name.to_owned(), Value::Whole(secs)))
        .into();
    if typed.quick {
        flags.insert("records".into(), Value::Whole(100_000));
    }
    flags
}

/// Measured seconds, and those before.
fn seconds(typed: &StudyArgs, file: &StudyFile) -> (u64, u64) {
    let (secs, warmup_secs) = if typed.quick { (1, 1) } else { (10, 2) };
    (
        typed.secs.or(file.secs).unwrap_or(secs),
        typed
            .warmup_secs
            .or(file.warmup_secs)
            .unwrap_or(warmup_secs),
    )
}

fn manner(typed: &StudyArgs, file: &StudyFile) -> Manner {
    let (secs, warmup_secs) = seconds(typed, file);
    let usual = Duration::from_secs(
        secs.saturating_add(warmup_secs)
            .saturating_mul(3)
            .saturating_add(120),
    );
    Manner {
        pause: typed.pause,
        limit: typed.run_limit.unwrap_or(usual),
        stop_on_failure: typed.on_failure == OnFailure::Stop,
    }
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Sweep => "Sweep",
        Kind::Scaling => "Scaling over batch size, tasks, servers and clients",
        Kind::Load => "Latency and failures under rising load",
        Kind::Skew => "Shares of the servers under skew",
    }
}

fn default_name(kind: Kind, quick: bool) -> String {
    let name = match kind {
        Kind::Sweep => "sweep",
        Kind::Scaling => "scaling",
        Kind::Load => "load",
        Kind::Skew => "skew",
    };
    format!("{name}{}", if quick { "-quick" } else { "" })
}

/// A name is one directory.
///
/// # Errors
/// When it is not.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => Ok(()),
        _ => Err(format!(
            "--name {name:?}: allowed is the name of one directory"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};

    fn study(line: &str, file: &str) -> Result<Study, String> {
        let words = std::iter::once("batchkv-study").chain(line.split_whitespace());
        let (kind, typed) = match batchkv_cli::parse::<Args>(words).unwrap().command {
            Command::Scaling(study) => (Kind::Scaling, study),
            Command::Sweep { study, .. } => (Kind::Sweep, study),
            other => panic!("{other:?}"),
        };
        let file = toml::from_str(file).map_err(|error: toml::de::Error| error.to_string())?;
        Study::new(kind, &typed, file, Room { cores: 2, nodes: 0 })
    }

    #[test]
    fn what_is_typed_wins_over_the_file_and_the_file_over_the_defaults() {
        let file = "title = 'T'\nrepetitions = 5\nsecs = 3\n[axes]\ntasks = [1, 2]\ntheta = 0.5";
        let study = study("sweep tasks=4 --secs 2s -- --local", file)
            .unwrap()
            .definition;
        assert_eq!((study.title.as_str(), study.repetitions), ("T", 5));
        assert_eq!(study.flags["secs"], Value::Whole(2));
        assert_eq!(study.flags["warmup-secs"], Value::Whole(2));
        assert_eq!(study.launcher_args, ["--local"]);
        let axes: Vec<_> = study.parts[0]
            .axes
            .iter()
            .map(|axis| (&*axis.name, &*axis.values))
            .collect();
        let half = [Value::Number(0.5)];
        assert_eq!(
            axes,
            [("tasks", &[Value::Whole(4)][..]), ("theta", &half[..])]
        );
    }

    #[test]
    fn quick_studies_have_a_name_of_their_own() {
        assert_eq!(study("scaling --quick", "").unwrap().name, "scaling-quick");
        assert_eq!(study("scaling", "").unwrap().name, "scaling");
        assert_eq!(study("scaling --name mine", "").unwrap().name, "mine");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (line, file, named) in [
            ("sweep", "", "needs an axis"),
            ("sweep tasks=1 --name ../x", "", "one directory"),
            ("sweep tasks=1 --name a/b", "", "one directory"),
            (
                "sweep tasks=1..100 window=1..100 records=1..100",
                "",
                "3000000 runs",
            ),
            (
                "sweep tasks=1",
                "repetition = 3",
                "unknown field `repetition`",
            ),
            (
                "sweep",
                "[axes]\ntasks = true",
                "tasks is true; allowed are a number",
            ),
        ] {
            let error = study(line, file).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
