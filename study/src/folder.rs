//! A study's directory: `results.jsonl`, and `results.csv` and `study.json`, which follow from it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use batchkv_cli::screen::say;
use nix::sys::statvfs::statvfs;

use crate::overview::{Begun, Overview};
use crate::plan::{Definition, Run};
use crate::results::{self, Row, Verdict};

/// Free space below which no run is started, MiB: a run's files and the rows need far less.
const FREE_MIB_MIN: u64 = 64;

/// An open study. No other session works on it meanwhile.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) definition: Definition,
    pub(crate) rows: Vec<Row>,
    /// `results.jsonl`, at its end.
    file: File,
    /// Held by this program and by its present run.
    lock: File,
}

impl Folder {
    /// Opens the study `name` below `studies`, or begins it. A last line that was cut off is removed.
    ///
    /// # Errors
    /// When the study has another definition, or cannot be read or written.
    pub(crate) fn open(studies: &Path, name: &str, definition: Definition) -> Result<Self> {
        let dir = studies.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let lock =
            locked(&dir.join(".lock")).with_context(|| format!("cannot lock {}", dir.display()))?;
        let path = dir.join("results.jsonl");
        let (file, text) =
            read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (rows, whole_bytes) =
            results::read(&text).map_err(|error| anyhow::anyhow!("{}, {error}", path.display()))?;
        if !rows.is_empty() {
            check_same(&dir, &definition)?;
        }
        if whole_bytes < text.len() {
            file.set_len(whole_bytes as u64)?;
        }
        let folder = Self {
            dir,
            name: name.into(),
            definition,
            rows,
            file,
            lock,
        };
        folder.write_overview()?;
        Ok(folder)
    }

    /// The runs whose result is not known; with `retry_failed` those too that failed.
    pub(crate) fn pending(&self, retry_failed: bool) -> Vec<Run> {
        let known = |row: &&Row| !(retry_failed && row.verdict == Verdict::Failed);
        let known: Vec<_> = self.rows.iter().filter(known).map(|row| &row.id).collect();
        let mut runs = self.definition.runs();
        runs.retain(|run| !known.contains(&&run.id));
        runs
    }

    /// Keeps a run's result: appended to `results.jsonl` first, then the files that follow from it.
    ///
    /// # Errors
    /// When it cannot be written; `results.jsonl` then is as it was before.
    pub(crate) fn add(&mut self, row: Row) -> Result<()> {
        append(&mut self.file, row.line().as_bytes()).with_context(|| {
            let path = self.dir.join("results.jsonl");
            format!(
                "the run is lost, because {} cannot be written",
                path.display()
            )
        })?;
        results::add(&mut self.rows, row);
        self.write_overview()
    }

    fn write_overview(&self) -> Result<()> {
        let overview = Overview::new(&self.name, &self.definition, &self.rows);
        replace(&self.dir, "study.json", overview.to_json().as_bytes())?;
        replace(&self.dir, "results.csv", &results::csv(&self.rows)?)
    }

    /// Where the launcher puts a run's files.
    pub(crate) fn logs_of(&self, run: &Run) -> PathBuf {
        self.dir.join("runs").join(run.order.to_string())
    }

    /// The study's lock, for whoever works for it.
    pub(crate) fn lock(&self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// A path seen from the study's directory.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.dir)
            .unwrap_or(path)
            .display()
            .to_string()
    }

    /// Checks that there is room for another run.
    ///
    /// # Errors
    /// When the disk is full, or nearly.
    pub(crate) fn check_space(&self) -> Result<()> {
        let disk = statvfs(&self.dir)?;
        let free_mib = (disk.blocks_available() * disk.fragment_size()) >> 20;
        if free_mib < FREE_MIB_MIN {
            bail!(
                "only {free_mib} MiB are free at {}, and a run wants {FREE_MIB_MIN}: make room there",
                self.dir.display()
            );
        }
        Ok(())
    }
}

/// The file, open for appending, and what it holds; made if it is absent.
fn read(path: &Path) -> io::Result<(File, String)> {
    let mut file = File::options()
        .create(true)
        .read(true)
        .append(true)
        .open(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok((file, text))
}

/// Opens `path` as a lock and waits for it: while another session works on the study, and while the
/// last run of one that was killed comes to its end.
fn locked(path: &Path) -> io::Result<File> {
    let file = File::options()
        .create(true)
        .read(true)
        .append(true)
        .open(path)?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        say(
            "waiting: another session of this study, or the last run of one that was killed, goes on",
        );
        file.lock()?;
    }
    Ok(file)
}

/// Refuses to mix the runs of two studies.
fn check_same(dir: &Path, definition: &Definition) -> Result<()> {
    let path = dir.join("study.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let begun: Begun =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    if begun.definition != *definition {
        bail!(
            "{} holds a study with {}: go on with the flags it was begun with, or choose another --name",
            dir.display(),
            difference(&begun.definition, definition)
        );
    }
    Ok(())
}

/// The first thing in which two definitions differ, as the earlier one has it.
fn difference(begun: &Definition, given: &Definition) -> String {
    let [begun, given] =
        [begun, given].map(|study| serde_json::to_value(study).unwrap_or_default());
    let keys = begun.as_object().into_iter().flatten();
    let differs = keys
        .into_iter()
        .find(|(key, value)| given.get(key.as_str()) != Some(value));
    let (key, old) = differs.map_or(("other", &begun), |(key, value)| (key.as_str(), value));
    format!("{key} {old} and not {}", given[key])
}

/// Appends all of `line`, or leaves the file as it was.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before_bytes = file.metadata()?.len();
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if written.is_err() {
        // A cut line would be tolerated as well; the write's error is the one to tell.
        let _ = file.set_len(before_bytes);
    }
    written
}

/// Replaces a file at once: a reader sees the old content or the new.
fn replace(dir: &Path, name: &str, content: &[u8]) -> Result<()> {
    let fresh = dir.join(format!(".{name}.new"));
    let target = dir.join(name);
    let written = fs::write(&fresh, content).and_then(|()| fs::rename(&fresh, &target));
    written.with_context(|| format!("cannot write {}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::example;
    use crate::results::tests::row;

    struct Dir(PathBuf);

    impl Dir {
        fn new(test: &str) -> Self {
            let name = format!("batchkv-study-{test}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn open(&self, definition: Definition) -> Result<Folder> {
            Folder::open(&self.0, "example", definition)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_study_goes_on_where_it_stopped() {
        let dir = Dir::new("goes-on");
        let mut folder = dir.open(example()).unwrap();
        let runs = folder.pending(false);
        assert_eq!(runs.len(), 12);
        folder.add(row(&runs[0], Verdict::Valid, 1e6)).unwrap();
        folder.add(row(&runs[1], Verdict::Failed, 1e6)).unwrap();
        drop(folder);
        // A kill in the middle of a line.
        let path = dir.0.join("example/results.jsonl");
        let cut = fs::read_to_string(&path).unwrap() + "{\"format_ver";
        fs::write(&path, cut).unwrap();
        let mut folder = dir.open(example()).unwrap();
        assert_eq!(folder.rows.len(), 2);
        assert_eq!(folder.pending(false), runs[2..]);
        assert_eq!(folder.pending(true), runs[1..]);
        folder.add(row(&runs[2], Verdict::Valid, 1e6)).unwrap();
        drop(folder);
        assert_eq!(dir.open(example()).unwrap().rows.len(), 3);
    }

    #[test]
    fn another_definition_is_refused_once_there_are_runs() {
        let dir = Dir::new("another");
        let other = Definition {
            repetitions: 5,
            ..example()
        };
        drop(dir.open(other).unwrap());
        let mut folder = dir.open(example()).unwrap();
        let run = folder.pending(false).remove(0);
        folder.add(row(&run, Verdict::Valid, 1e6)).unwrap();
        drop(folder);
        let error = dir
            .open(Definition {
                repetitions: 5,
                ..example()
            })
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("repetitions 3 and not 5") && error.contains("--name"),
            "{error}"
        );
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = append(&mut full, b"{}\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
