//! The loop over a study's runs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use crate::folder::Folder;
use batchkv_cli::stop::StopSignals;

use crate::judge::{judge, reasons, why};
use crate::launcher::{End, LaunchOutcome, Launcher};
use crate::plan::{Definition, Run};
use crate::progress::Progress;
use crate::results::{FORMAT_VERSION, Row, Verdict};

/// How runs are done; none of it changes what a run measures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Between two runs.
    pub(crate) pause: Duration,
    /// Longest time of a run.
    pub(crate) limit: Duration,
    /// Whether a run that FAILED ends the session.
    pub(crate) stop_on_failure: bool,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Every run is known.
    Complete,
    /// A run failed, and that was to end the session.
    Stopped,
    /// By the user.
    Interrupted,
}

/// Does the runs in order and keeps each result at once.
///
/// # Errors
/// When the disk is full, a result cannot be kept, or the launcher cannot be started or refuses its
/// flags; what was kept stays.
pub(crate) async fn run_all(
    folder: &mut Folder,
    runs: &[Run],
    launcher: &Launcher,
    manner: Manner,
    progress: &mut Progress,
) -> Result<Finish> {
    let mut stop = StopSignals::new()?;
    for (index, run) in runs.iter().enumerate() {
        if index > 0 && paused(manner.pause, &mut stop).await == Finish::Interrupted {
            return Ok(Finish::Interrupted);
        }
        folder.check_space()?;
        progress.begin(&run.id);
        let Some(row) = run_one(folder, run, launcher, manner.limit, &mut stop).await? else {
            return Ok(Finish::Interrupted);
        };
        let failed = row.verdict == Verdict::Failed;
        progress.done(&row);
        folder.add(row)?;
        if failed && manner.stop_on_failure {
            return Ok(Finish::Stopped);
        }
    }
    Ok(Finish::Complete)
}

async fn paused(pause: Duration, stop: &mut StopSignals) -> Finish {
    tokio::select! {
        () = tokio::time::sleep(pause) => Finish::Complete,
        () = stop.next() => Finish::Interrupted,
    }
}

/// One run's row; none when the user interrupted it.
async fn run_one(
    folder: &Folder,
    run: &Run,
    launcher: &Launcher,
    limit: Duration,
    stop: &mut StopSignals,
) -> Result<Option<Row>> {
    let started_at = Timestamp::now();
    let clock = Instant::now();
    let words = folder.definition.words(&run.id);
    let (logs, lock) = (folder.logs_of(run), folder.lock()?);
    let outcome = launcher.run(&words, &logs, lock, limit, stop).await;
    let outcome = outcome.with_context(|| format!("{} cannot be run", launcher.path.display()))?;
    if outcome.end == End::Interrupted {
        return Ok(None);
    }
    if wrong_usage(&outcome) {
        let complaint = why(&outcome).unwrap_or_default();
        bail!(
            "{} refuses the flags of a run: {complaint}",
            launcher.path.display()
        );
    }
    let (verdict, failure) = judge(&outcome, limit.as_secs_f64());
    Ok(Some(Row {
        format_version: FORMAT_VERSION,
        study: folder.name.clone(),
        id: run.id.clone(),
        order: run.order,
        command: folder.definition.command(&run.id),
        flags: folder.definition.flags(&run.id),
        seed: Definition::seed(run.id.repetition),
        commit: commit(&outcome),
        host: host(),
        started_at: started_at.to_string(),
        elapsed_secs: clock.elapsed().as_secs_f64(),
        verdict,
        reasons: reasons(outcome.summary.as_ref()),
        failure,
        files: folder.shown(&outcome.files),
        summary: outcome.summary,
    }))
}

/// Whether the launcher found fault with its flags. That is no result: it would be the same again.
fn wrong_usage(outcome: &LaunchOutcome) -> bool {
    matches!(outcome.end, End::Exited(status) if status.code() == Some(2))
}

fn commit(outcome: &LaunchOutcome) -> String {
    let commit = outcome
        .summary
        .as_ref()
        .and_then(|summary| summary["commit"].as_str());
    commit.unwrap_or("unknown").to_owned()
}

fn host() -> String {
    let name = nix::unistd::gethostname();
    name.map_or_else(
        |_| "unknown".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}
