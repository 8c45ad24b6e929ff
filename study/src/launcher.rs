//! One run of `run-cluster.sh`: started, bounded in time, ended, read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use batchkv_cli::stop::StopSignals;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value as Json;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::record::Record;

/// How long the launcher may take to stop its programs: longer than it gives them.
const GRACE: Duration = Duration::from_secs(40);
/// The launcher's own output, and what it complains of.
const LOG: &str = "launcher.log";
const COMPLAINTS: &str = "launcher-complaints.log";
/// Most lines of complaints that are shown, the last ones.
const COMPLAINT_LINES_MAX: usize = 5;

/// `run-cluster.sh`, or what takes its place.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) path: PathBuf,
    /// Words before those of a run.
    pub(crate) words: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exited(ExitStatus),
    /// It was ended because its time was over.
    TimedOut,
    /// It was ended because the user wants to stop.
    Interrupted,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct LaunchOutcome {
    pub(crate) end: End,
    /// What the launcher tells of the run; none where it came to no run.
    pub(crate) record: Option<Record>,
    /// The launcher's words for people, of which nothing follows.
    pub(crate) complaint: Option<String>,
    pub(crate) summary: Option<Json>,
    /// The run's own directory, or the one above it if it made none.
    pub(crate) files: PathBuf,
}

impl Launcher {
    /// Does a run whose files go below the directory `logs`. Leaves no process behind. The launcher
    /// holds `lock` as its empty input, so that the lock lasts as long as the run if this program is
    /// killed.
    pub(crate) async fn run(
        &self,
        words: &[String],
        logs: &Path,
        lock: File,
        limit: Duration,
        stop: &mut StopSignals,
    ) -> io::Result<LaunchOutcome> {
        fs::create_dir_all(logs)?;
        // What an earlier attempt left must not pass for this run's.
        remove(&logs.join("latest"))?;
        let mut child = self.start(words, logs, lock)?;
        let end = watch(&mut child, limit, stop).await?;
        let words = fs::read(logs.join(COMPLAINTS)).unwrap_or_default();
        let files = logs.join(fs::read_link(logs.join("latest")).unwrap_or_default());
        Ok(LaunchOutcome {
            end,
            record: Record::read(&files),
            complaint: complaint(&String::from_utf8_lossy(&words)),
            summary: summary(&files.join("summary.json")),
            files,
        })
    }

    fn start(&self, words: &[String], logs: &Path, lock: File) -> io::Result<Child> {
        let output = File::create(logs.join(LOG))?;
        let complaints = File::create(logs.join(COMPLAINTS))?;
        let mut command = Command::new(&self.path);
        command
            .args(words)
            .args(&self.words)
            .arg("--logs")
            .arg(logs);
        command
            .stdin(Stdio::from(lock))
            .stdout(output)
            .stderr(complaints);
        // A group of its own: the terminal's Ctrl-C is for this program, which ends the run in order.
        command.process_group(0).spawn()
    }
}

async fn watch(child: &mut Child, limit: Duration, stop: &mut StopSignals) -> io::Result<End> {
    let end = tokio::select! {
        status = child.wait() => return Ok(End::Exited(status?)),
        () = sleep(limit) => End::TimedOut,
        () = stop.next() => End::Interrupted,
    };
    let Some(id) = child.id() else { return Ok(end) };
    let leader = Pid::from_raw(id.cast_signed());
    accept_gone(kill(leader, Signal::SIGTERM))?;
    tokio::select! {
        _ = child.wait() => {}
        () = sleep(GRACE) => {}
        () = stop.next() => {}
    }
    // Whoever of the group is left; the programs themselves end with the launcher.
    accept_gone(killpg(leader, Signal::SIGKILL))?;
    child.wait().await?;
    Ok(end)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn accept_gone(sent: Result<(), Errno>) -> io::Result<()> {
    match sent {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn summary(path: &Path) -> Option<Json> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The last lines of what the launcher complained of, as one.
fn complaint(words: &str) -> Option<String> {
    let lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    let last = &lines[lines.len().saturating_sub(COMPLAINT_LINES_MAX)..];
    (!last.is_empty()).then(|| last.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_complaints_are_one_line() {
        assert_eq!(complaint("a\n  b \n\n").as_deref(), Some("a; b"));
        assert_eq!(
            complaint(&"x\n".repeat(99)).as_deref(),
            Some("x; x; x; x; x")
        );
        assert_eq!(complaint("\n"), None);
    }
}
