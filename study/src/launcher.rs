//! One run of `run-cluster.sh`: started, bounded in time, ended, read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value as Json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::sleep;

/// How long the launcher may take to stop its programs: longer than it gives them.
const GRACE: Duration = Duration::from_secs(40);
/// What the launcher puts before a complaint.
const COMPLAINT: &str = "run-cluster.sh: ";
/// The launcher's own output.
const LOG: &str = "launcher.log";

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
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// The launcher's own words about what went wrong.
    pub(crate) complaint: Option<String>,
    pub(crate) summary: Option<Json>,
    /// The run's own directory, or the one above it if it made none.
    pub(crate) files: PathBuf,
}

/// The signals that ask this program to stop. SIGHUP is left alone: under nohup it means nothing, and
/// else it ends this program, which loses only the present run.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl StopSignals {
    /// Catches them from now on.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
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
    ) -> io::Result<Outcome> {
        fs::create_dir_all(logs)?;
        // What an earlier attempt left must not pass for this run's.
        remove(&logs.join("latest"))?;
        let mut child = self.start(words, logs, lock)?;
        let end = watch(&mut child, limit, stop).await?;
        let log = fs::read(logs.join(LOG)).unwrap_or_default();
        let files = logs.join(fs::read_link(logs.join("latest")).unwrap_or_default());
        Ok(Outcome {
            end,
            complaint: complaint(&String::from_utf8_lossy(&log)),
            summary: summary(&files.join("summary.json")),
            files,
        })
    }

    fn start(&self, words: &[String], logs: &Path, lock: File) -> io::Result<Child> {
        let output = File::create(logs.join(LOG))?;
        let mut command = Command::new(&self.path);
        command
            .args(words)
            .args(&self.words)
            .arg("--logs")
            .arg(logs);
        command
            .stdin(Stdio::from(lock))
            .stdout(output.try_clone()?)
            .stderr(output);
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

/// What the launcher complained of, in one line; its last line where it says nothing of its own.
fn complaint(log: &str) -> Option<String> {
    let own = log.lines().filter_map(|line| line.strip_prefix(COMPLAINT));
    let own: Vec<&str> = own.map(sentence).collect();
    if !own.is_empty() {
        return Some(own.join("; "));
    }
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .map(str::to_owned)
}

/// A complaint without the mark before it and the announcement of log lines behind it.
fn sentence(complaint: &str) -> &str {
    let complaint = complaint.strip_prefix("FAILED: ").unwrap_or(complaint);
    complaint
        .split_once("; last lines of ")
        .map_or(complaint, |(sentence, _)| sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_complaints_are_one_line() {
        let log = "1 s 1000 ops/s\n\
            run-cluster.sh: FAILED: node0 (server) ended with exit code 137; last lines of /x.log:\n\
            \u{20}   ready 127.0.0.1:1\n\
            run-cluster.sh: FAILED: node1 (client) ended with exit code 1; last lines of /y.log: none\n";
        assert_eq!(
            complaint(log).unwrap(),
            "node0 (server) ended with exit code 137; node1 (client) ended with exit code 1"
        );
        assert_eq!(complaint("a\nb \n\n").as_deref(), Some("b"));
        assert_eq!(complaint(""), None);
    }
}
