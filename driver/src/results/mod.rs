//! The files of a client, and of a whole run: what they hold, how they are written and read.

pub(crate) mod files;
mod fits;
mod gather;
pub(crate) mod latency_log;
pub(crate) mod merge;
pub(crate) mod nodes;
pub(crate) mod report;
pub(crate) mod series;
pub(crate) mod summary;
pub(crate) mod sums;

use std::fs;
use std::io;
use std::path::Path;

use crate::history::row::{self as history, HistoryRow};
use batchkv_telemetry::Series as Samples;

use files::{
    HISTORY_FILE, LATENCY_FILE, NODES_FILE, RESOURCES_FILE, ReadError, SERIES_FILE, SUMMARY_FILE,
    parse,
};
use latency_log::LatencyLog;
use nodes::NodeSeries;
use series::Series;
use summary::Summary;

/// A line that begins like this says whose a table is.
const STAMP: &str = "# run ";

/// What a client, or a whole run, has measured.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    pub(crate) summary: Summary,
    pub(crate) series: Series,
    pub(crate) latency: LatencyLog,
    /// A client's own samples, by the clock of client 0; none in a whole run's results.
    pub(crate) resources: Option<Samples>,
    /// What a client recorded of listed records; none in a whole run's results.
    pub(crate) history: Option<Vec<HistoryRow>>,
    /// The nodes that could be looked at; not read back.
    pub(crate) nodes: Vec<NodeSeries>,
    /// Of each other file that was read whose it says that it is.
    pub(crate) stamps: Vec<(&'static str, Option<String>)>,
}

impl Results {
    /// Writes the files into `dir`, which is created if absent; an earlier summary goes first, and this
    /// one comes last.
    ///
    /// # Errors
    /// When a file cannot be written; the error names it.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir).map_err(|error| files::named(dir, error))?;
        files::remove(&dir.join(SUMMARY_FILE))?;
        let stamp = &self.summary.stamp();
        let put = |name: &str, bytes: &[u8]| files::put(dir, name, bytes);
        put(SERIES_FILE, self.series.to_csv(stamp).as_bytes())?;
        put(LATENCY_FILE, &self.latency.to_bytes(stamp))?;
        let start = self.latency.start_unix_time;
        let nodes = nodes::to_csv(&self.nodes, start, self.series.secs(), stamp);
        put(NODES_FILE, nodes.as_bytes())?;
        if let Some(resources) = &self.resources {
            put(
                RESOURCES_FILE,
                stamped(stamp, &resources.to_csv()).as_bytes(),
            )?;
        }
        if let Some(history) = &self.history {
            put(
                HISTORY_FILE,
                stamped(stamp, &history::to_csv(history)).as_bytes(),
            )?;
        }
        self.write_summary(dir)
    }

    /// Writes the summary alone, once it says more than before.
    ///
    /// # Errors
    /// When it cannot be written; the error names it.
    pub(crate) fn write_summary(&self, dir: &Path) -> io::Result<()> {
        files::put(dir, SUMMARY_FILE, self.summary.to_json().as_bytes())
    }

    /// Reads what [`write`](Self::write) wrote. A client on a machine that does not count leaves no
    /// samples.
    ///
    /// # Errors
    /// When another file is missing, or one is damaged or cut off.
    pub(crate) fn read(dir: &Path) -> Result<Self, ReadError> {
        let summary = parse(dir, SUMMARY_FILE, Summary::from_json)?;
        let mut stamps = Vec::new();
        let mut note = |name: &'static str, stamp: Option<String>| stamps.push((name, stamp));
        let series = parse(dir, SERIES_FILE, |text| {
            note(SERIES_FILE, series::stamp(text));
            Series::from_csv(text)
        })?;
        let latency = parse(dir, LATENCY_FILE, |text| {
            note(LATENCY_FILE, latency_log::stamp(text));
            LatencyLog::from_bytes(text.as_bytes())
        })?;
        let history = match summary.linearizability {
            Some(_) => Some(parse(dir, HISTORY_FILE, |text| {
                let (stamp, text) = unstamped(text);
                note(HISTORY_FILE, stamp);
                history::from_csv(text)
            })?),
            None => None,
        };
        let resources = parse(dir, RESOURCES_FILE, |text| {
            let (stamp, text) = unstamped(text);
            note(RESOURCES_FILE, stamp);
            Samples::from_csv(text)
        });
        let resources = match resources {
            Err(ReadError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => None,
            resources => Some(resources?),
        };
        Ok(Self {
            summary,
            series,
            latency,
            resources,
            history,
            nodes: Vec::new(),
            stamps,
        })
    }
}

/// A table with a line in front that says whose it is.
fn stamped(stamp: &str, table: &str) -> String {
    format!("{STAMP}{stamp}\n{table}")
}

/// What [`stamped`] put together.
fn unstamped(text: &str) -> (Option<String>, &str) {
    match text.split_once('\n') {
        Some((line, table)) if line.starts_with(STAMP) => {
            (Some(line[STAMP.len()..].to_owned()), table)
        }
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use summary::tests::example;

    #[test]
    fn what_was_written_is_read() {
        let dir = std::env::temp_dir().join(format!("batchkv-results-{}", std::process::id()));
        let results = example(2, 3);
        results.write(&dir).unwrap();
        let read = Results::read(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(read.summary.to_json(), results.summary.to_json());
        assert_eq!(read.series, results.series);
        assert_eq!(read.latency.intervals, results.latency.intervals);
        assert_eq!(read.resources, results.resources);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Results::read(Path::new("/nonexistent/batchkv")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("/nonexistent/batchkv/summary.json")
        );
    }
}
