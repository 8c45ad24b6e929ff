//! The two programs, started and ended by a measurement.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The programs as `cargo build --release --workspace` leaves them, and a directory for their results.
pub(crate) struct Programs {
    directory: PathBuf,
    output: PathBuf,
}

/// What a run of the client says of itself.
pub(crate) struct Ran {
    /// Answered over its whole life: load, warm-up and window.
    pub(crate) operations: u64,
    /// Of the measured window.
    pub(crate) ops_per_sec: f64,
    /// Commit that the program was built from.
    pub(crate) commit: String,
}

impl Programs {
    pub(crate) fn find() -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let directory = own.parent().unwrap_or(Path::new(".")).to_owned();
        for name in ["batchkv-server", "batchkv-client"] {
            if !directory.join(name).is_file() {
                let text =
                    format!("{name} is not built; run cargo build --release --workspace first");
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
        }
        let output = std::env::temp_dir().join(format!("batchkv-bench-{}", std::process::id()));
        Ok(Self { directory, output })
    }

    pub(crate) fn server(&self) -> PathBuf {
        self.directory.join("batchkv-server")
    }

    pub(crate) fn client(&self) -> PathBuf {
        self.directory.join("batchkv-client")
    }

    /// A file that is gone when the measurement ends.
    pub(crate) fn scratch(&self, name: &str) -> io::Result<PathBuf> {
        std::fs::create_dir_all(&self.output)?;
        Ok(self.output.join(name))
    }

    /// Runs `command`, which is the client or starts it, against the server at `address`.
    pub(crate) fn run(
        &self,
        mut command: Command,
        address: &str,
        flags: &[&str],
    ) -> io::Result<Ran> {
        let status = command
            .args(["--hosts", address, "--output"])
            .arg(&self.output)
            .args(flags)
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(io::Error::other(format!("batchkv-client failed: {status}")));
        }
        let summary: Value =
            serde_json::from_slice(&std::fs::read(self.output.join("summary.json"))?)?;
        let answered = &summary["per_server"][0]["answered"];
        let kinds = ["gets", "puts", "deletes"].map(|kind| answered[kind].as_u64().unwrap_or(0));
        Ok(Ran {
            operations: kinds.iter().sum(),
            ops_per_sec: summary["ops_per_sec"].as_f64().unwrap_or(0.0),
            commit: summary["commit"].as_str().unwrap_or("unknown").to_owned(),
        })
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // Nothing but this process's own results is lost.
        let _ = std::fs::remove_dir_all(&self.output);
    }
}

/// A server program; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts `command`, which is the server or starts it, and waits until it is ready.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut line = String::new();
        lines.read_line(&mut line)?;
        // The rest is read and thrown away, or the server would block on a full pipe.
        std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
        let address = line.trim().trim_start_matches("ready ").to_owned();
        Ok(Self { child, address })
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        }
        self.child.wait().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already unless the measurement failed.
        let _ = self.stop();
    }
}
