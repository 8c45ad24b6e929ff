//! The files of a directory of results. Each appears whole: it is written aside and renamed, so that
//! whoever finds one finds all of it, of one run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Names of the files in their directory.
pub(crate) const SUMMARY_FILE: &str = "summary.json";
pub(crate) const SERIES_FILE: &str = "throughput.csv";
pub(crate) const LATENCY_FILE: &str = "latency.hlog";
pub(crate) const NODES_FILE: &str = "nodes.csv";
/// A client's only: its samples as they were taken, but for the clock.
pub(crate) const RESOURCES_FILE: &str = "resources.csv";
/// A client's only, with --check-linearizability.
pub(crate) const HISTORY_FILE: &str = "history.csv";

const ALL: [&str; 6] = [
    SUMMARY_FILE,
    SERIES_FILE,
    LATENCY_FILE,
    NODES_FILE,
    RESOURCES_FILE,
    HISTORY_FILE,
];

/// Why a result file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0} cannot be read: {1}")]
    Io(PathBuf, io::Error),
    #[error("{0} is damaged or cut off: {1}")]
    Damaged(PathBuf, String),
}

/// Makes `dir`, sees that files can be written there, before a run is done for nothing, and takes an
/// earlier run's files away, which might pass for this one's. Other files stay.
///
/// # Errors
/// When it cannot; the error names the path.
pub(crate) fn prepare(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir).map_err(|error| named(dir, error))?;
    let probe = dir.join(format!(".batchkv-{}", std::process::id()));
    fs::write(&probe, "?\n").map_err(|error| named(dir, error))?;
    fs::remove_file(&probe)?;
    for name in ALL {
        remove(&dir.join(name))?;
        remove(&aside(dir, name))?;
    }
    Ok(())
}

/// Takes a file away that may not be there.
///
/// # Errors
/// When it stays; the error names it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(path, error)),
        _ => Ok(()),
    }
}

/// Writes a file of `dir`.
///
/// # Errors
/// When it cannot be written; the error names it. What was there before stays.
pub(crate) fn put(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, aside) = (dir.join(name), aside(dir, name));
    let written = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, &path));
    written.map_err(|error| {
        let _ = fs::remove_file(&aside);
        named(&path, error)
    })
}

/// Reads a text file and what is in it.
pub(crate) fn parse<T>(
    dir: &Path,
    name: &str,
    parser: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ReadError> {
    let path = dir.join(name);
    let text = fs::read_to_string(&path).map_err(|error| ReadError::Io(path.clone(), error))?;
    parser(&text).map_err(|reason| ReadError::Damaged(path, reason))
}

/// Where a file is until it is whole.
fn aside(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}.part"))
}

pub(crate) fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{} cannot be written: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_runs_files_go_and_others_stay() {
        let dir = std::env::temp_dir().join(format!("batchkv-files-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for name in ALL.into_iter().chain(["mine.txt"]) {
            put(&dir, name, b"old").unwrap();
        }
        fs::write(aside(&dir, SUMMARY_FILE), "cut off").unwrap();
        prepare(&dir).unwrap();
        let left: Vec<_> = fs::read_dir(&dir).unwrap().map(Result::unwrap).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].file_name(), "mine.txt");
        // What cannot be written leaves no trace.
        fs::create_dir(dir.join(SERIES_FILE)).unwrap();
        let error = put(&dir, SERIES_FILE, b"new").unwrap_err().to_string();
        assert!(
            error.contains("throughput.csv cannot be written"),
            "{error}"
        );
        assert!(!aside(&dir, SERIES_FILE).exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
