//! `batchkv-study`: runs `run-cluster.sh` over a grid of flags and keeps what comes out.
//!
//! ```text
//! args, --file -> settings -> plan: runs in shuffled order, a command each
//!                    named      |
//!                               v
//!      launcher: run-cluster.sh, one run -> judge -> folder: results.jsonl, then results.csv and
//!                                                    study.json (overview, metrics, statistics)
//!      report: plots/ draws what lies in the folder
//! ```
//! It knows the programs by their flags and by their result files alone. `axes` and `metrics` are the
//! tables to extend.

mod args;
mod axes;
mod folder;
mod grid;
mod judge;
mod launcher;
mod metrics;
mod named;
mod overview;
mod place;
mod plan;
mod progress;
mod record;
mod report;
mod results;
mod runner;
mod settings;
mod statistics;

use std::fmt::Display;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result};
use batchkv_cli::screen::{self, say};

use args::{Args, Command, PlaceArgs, StudyArgs};
use folder::Folder;
use named::Room;
use place::Place;
use plan::Kind;
use progress::Progress;
use results::Verdict;
use runner::{Finish, run_all};
use settings::{Study, StudyFile};

/// A run was INVALID or FAILED, or the study could not be done.
const FAILED: u8 = 1;
/// The command line cannot be understood.
const WRONG_USAGE: u8 = 2;
/// Ended by hand: what shells give for SIGINT.
const INTERRUPTED: u8 = 130;

fn complain(line: impl Display) {
    screen::complain("batchkv-study", line);
}

fn main() -> ExitCode {
    let args: Args = match batchkv_cli::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(said) => return screen::end(&said),
    };
    let done = match args.command {
        Command::Scaling(typed) => named(Kind::Scaling, &typed),
        Command::Load(typed) => named(Kind::Load, &typed),
        Command::Skew(typed) => named(Kind::Skew, &typed),
        Command::Sweep { study, file } => sweep(&study, file.as_deref()),
        Command::Report { name, place } => report_again(&name, &place),
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        complain(format_args!("{error:#}"));
        FAILED
    }))
}

fn named(kind: Kind, typed: &StudyArgs) -> Result<u8> {
    let place = Place::find(&typed.place)?;
    let nodes = place.nodes(&typed.launcher_args)?;
    study(kind, typed, StudyFile::default(), &place, nodes)
}

fn sweep(typed: &StudyArgs, file: Option<&std::path::Path>) -> Result<u8> {
    let place = Place::find(&typed.place)?;
    match file.map_or_else(|| Ok(StudyFile::default()), StudyFile::read) {
        Ok(file) => study(Kind::Sweep, typed, file, &place, 0),
        Err(wrong) => Ok(wrong_usage(&wrong)),
    }
}

fn wrong_usage(wrong: &str) -> u8 {
    complain(wrong);
    WRONG_USAGE
}

fn study(
    kind: Kind,
    typed: &StudyArgs,
    file: StudyFile,
    place: &Place,
    nodes: usize,
) -> Result<u8> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let study = match Study::new(kind, typed, file, Room { cores, nodes }) {
        Ok(study) => study,
        Err(wrong) => return Ok(wrong_usage(&wrong)),
    };
    if typed.dry_run {
        let runs = study.definition.runs();
        runs.iter()
            .for_each(|run| say(study.definition.command(&run.id)));
        return Ok(0);
    }
    let Study {
        name,
        definition,
        manner,
    } = study;
    let launcher = place.launcher(&definition.launcher_args);
    let mut folder = Folder::open(&place.studies, &name, definition)?;
    let runs = folder.pending(typed.retry_failed);
    let total = folder.definition.runs_total();
    say(format_args!(
        "study {name}: {} of {total} runs to do; files: {}",
        runs.len(),
        folder.dir.display()
    ));
    let mut progress = Progress::new(total, total - runs.len());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let finish = runtime.block_on(run_all(
        &mut folder,
        &runs,
        &launcher,
        manner,
        &mut progress,
    ));
    progress.end();
    let kept = format!(
        "{} of {total} runs are kept; the same command goes on",
        folder.rows.len()
    );
    let finish = finish.with_context(|| kept.clone())?;
    conclude(&folder, finish, &kept);
    if finish == Finish::Complete && !typed.no_report {
        report(place, &folder);
    }
    Ok(exit_code(&folder, finish))
}

/// The closing lines.
fn conclude(folder: &Folder, finish: Finish, kept: &str) {
    let verdicts = [
        Verdict::Valid,
        Verdict::Qualified,
        Verdict::Invalid,
        Verdict::Failed,
    ];
    let counts = verdicts.map(|verdict| {
        let count = folder
            .rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count();
        format!("{count} {}", verdict.name())
    });
    say(counts.join(", "));
    match finish {
        Finish::Complete => {}
        Finish::Stopped => complain(format_args!("stopped at a run that failed; {kept}")),
        Finish::Interrupted => complain(format_args!("interrupted; {kept}")),
    }
}

fn report(place: &Place, folder: &Folder) {
    if let Err(error) = report::make(&place.checkout, &folder.dir) {
        complain(format_args!(
            "{error:#}. The figures are in {}",
            folder.dir.display()
        ));
    }
}

fn exit_code(folder: &Folder, finish: Finish) -> u8 {
    let wrong = folder.rows.iter().any(|row| !row.verdict.counts());
    match finish {
        Finish::Interrupted => INTERRUPTED,
        Finish::Complete if !wrong => 0,
        Finish::Complete | Finish::Stopped => FAILED,
    }
}

fn report_again(name: &str, typed: &PlaceArgs) -> Result<u8> {
    if let Err(wrong) = settings::check_name(name) {
        return Ok(wrong_usage(&wrong));
    }
    let place = Place::find(typed)?;
    let dir = place.studies.join(name);
    anyhow::ensure!(
        dir.join("study.json").is_file(),
        "{} holds no study",
        dir.display()
    );
    report::make(&place.checkout, &dir)?;
    Ok(0)
}
