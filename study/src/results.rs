//! `results.jsonl`: one JSON object a line, a run each, appended when the run is known.
//!
//! A line is whole once its line feed is there. What follows the last line feed was cut off by a kill
//! or a full disk: it is no run. Of two lines of one run the later counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::axes::AXES;
use crate::grid::Value;
use crate::metrics::METRICS;
use crate::plan::RunId;

/// Version of `results.jsonl` and `study.json`; it changes when a key changes its meaning or goes away.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// How far a run can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    Valid,
    Qualified,
    Invalid,
    /// It was not done, or not to its end.
    Failed,
}

impl Verdict {
    /// Whether the run's figures are true.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Valid | Self::Qualified)
    }

    /// As result files spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Qualified => "QUALIFIED",
            Self::Invalid => "INVALID",
            Self::Failed => "FAILED",
        }
    }
}

/// A run that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// [`FORMAT_VERSION`].
    pub(crate) format_version: u32,
    pub(crate) study: String,
    #[serde(flatten)]
    pub(crate) id: RunId,
    /// Its place in the shuffled order, from 0.
    pub(crate) order: usize,
    /// Typed in the checkout, it repeats the run.
    pub(crate) command: String,
    pub(crate) flags: BTreeMap<String, Value>,
    pub(crate) seed: u64,
    /// The commit that the programs were built from; `unknown` without a summary.
    pub(crate) commit: String,
    /// The machine that started the run.
    pub(crate) host: String,
    /// RFC 3339, UTC.
    pub(crate) started_at: String,
    pub(crate) elapsed_secs: f64,
    pub(crate) verdict: Verdict,
    /// The summary's reasons.
    pub(crate) reasons: Vec<String>,
    /// What went wrong; null when nothing did.
    pub(crate) failure: Option<String>,
    /// The run's files, seen from the study's directory.
    pub(crate) files: String,
    /// The run's `summary.json`; null when it left none.
    pub(crate) summary: Option<Json>,
}

impl Row {
    /// The row's line, with its end.
    pub(crate) fn line(&self) -> String {
        let json = serde_json::to_string(self);
        json.expect("maps with text keys and plain values have no encoding that fails") + "\n"
    }
}

/// Reads the file's rows, of a run that is there twice the later one, and the bytes of all whole lines.
///
/// # Errors
/// A sentence that names the first whole line that is no row.
pub(crate) fn read(text: &str) -> Result<(Vec<Row>, usize), String> {
    let whole_bytes = text.rfind('\n').map_or(0, |last| last + 1);
    let mut rows: Vec<Row> = Vec::new();
    for (index, line) in text[..whole_bytes].lines().enumerate() {
        let row: Row =
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        add(&mut rows, row);
    }
    Ok((rows, whole_bytes))
}

/// Adds a row, in the place of an earlier one of the same run.
pub(crate) fn add(rows: &mut Vec<Row>, row: Row) {
    rows.retain(|earlier| earlier.id != row.id);
    rows.push(row);
}

/// `results.csv`: a row a run with plain columns; what a run has not is empty.
pub(crate) fn csv(rows: &[Row]) -> Result<Vec<u8>, csv::Error> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let head = ["study", "part", "repetition", "order", "verdict"].into_iter();
    let axes = AXES
        .iter()
        .filter(|axis| rows.iter().any(|row| has(row, axis.name)));
    let axes: Vec<&str> = axes.map(|axis| axis.name).collect();
    let metrics = METRICS.iter().map(|metric| metric.name);
    let tail = [
        "seed",
        "commit",
        "host",
        "started_at",
        "elapsed_secs",
        "failure",
        "command",
    ];
    table.write_record(head.chain(axes.iter().copied()).chain(metrics).chain(tail))?;
    for row in rows {
        table.write_record(cells(row, &axes))?;
    }
    table
        .into_inner()
        .map_err(|error| error.into_error().into())
}

fn has(row: &Row, axis: &str) -> bool {
    row.id.point.contains_key(axis)
}

fn cells(row: &Row, axes: &[&str]) -> Vec<String> {
    let id = &row.id;
    let mut cells = vec![
        row.study.clone(),
        id.part.clone(),
        id.repetition.to_string(),
        row.order.to_string(),
        row.verdict.name().to_owned(),
    ];
    cells.extend(axes.iter().map(|axis| shown(id.point.get(*axis))));
    let summary = row.summary.as_ref();
    cells.extend(
        METRICS
            .iter()
            .map(|metric| shown(summary.and_then(metric.of))),
    );
    cells.extend([
        row.seed.to_string(),
        row.commit.clone(),
        row.host.clone(),
        row.started_at.clone(),
        row.elapsed_secs.to_string(),
        shown(row.failure.as_ref()),
        row.command.clone(),
    ]);
    cells
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metrics::tests::summary;
    use crate::plan::Run;
    use crate::plan::tests::example;

    /// The row of a run of [`example`].
    pub(crate) fn row(run: &Run, verdict: Verdict, ops_per_sec: f64) -> Row {
        Row {
            format_version: FORMAT_VERSION,
            study: "example".into(),
            id: run.id.clone(),
            order: run.order,
            command: example().command(&run.id),
            flags: example().flags(&run.id),
            seed: 1,
            commit: "abc".into(),
            host: "here".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            elapsed_secs: 1.5,
            verdict,
            reasons: Vec::new(),
            failure: None,
            files: "runs/0/latest".into(),
            summary: (verdict != Verdict::Failed).then(|| summary(verdict.name(), ops_per_sec)),
        }
    }

    #[test]
    fn rows_survive_their_file_and_a_cut_line_is_no_run() {
        let runs = example().runs();
        let rows = [0, 1].map(|i| row(&runs[i], Verdict::Valid, 1e6));
        let text: String = rows.iter().map(Row::line).collect();
        assert_eq!(read(&text).unwrap(), (rows.to_vec(), text.len()));
        let first_bytes = rows[0].line().len();
        for cut in first_bytes..text.len() {
            assert_eq!(
                read(&text[..cut]).unwrap(),
                (rows[..1].to_vec(), first_bytes),
                "{cut}"
            );
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let text = row(&example().runs()[0], Verdict::Valid, 1e6).line() + "{}\n";
        let error = read(&text).unwrap_err();
        assert!(error.starts_with("line 2: missing field"), "{error}");
    }

    #[test]
    fn of_two_lines_of_a_run_the_later_counts() {
        let run = &example().runs()[0];
        let rows = [Verdict::Failed, Verdict::Valid].map(|verdict| row(run, verdict, 1e6));
        let text: String = rows.iter().map(Row::line).collect();
        assert_eq!(read(&text).unwrap().0, rows[1..]);
    }

    #[test]
    fn the_keys_are_plain() {
        let line = row(&example().runs()[0], Verdict::Qualified, 1e6).line();
        let json: Json = serde_json::from_str(&line).unwrap();
        assert_eq!(json["repetition"], 0);
        assert_eq!(json["verdict"], "QUALIFIED");
        assert!(json["point"]["batch-size"].is_u64());
    }

    #[test]
    fn the_table_has_a_cell_in_each_column() {
        let runs = example().runs();
        let rows = [
            row(&runs[0], Verdict::Valid, 1e6),
            row(&runs[1], Verdict::Failed, 0.0),
        ];
        let bytes = csv(&rows).unwrap();
        let mut table = csv::Reader::from_reader(bytes.as_slice());
        let head = table.headers().unwrap().clone();
        let read: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
        let column = |name: &str| head.iter().position(|cell| cell == name).unwrap();
        assert_eq!(&read[0][column("throughput")], "1000000");
        assert_eq!(&read[1][column("throughput")], "");
        assert_eq!(
            read[0][column("window")],
            rows[0].id.point["window"].to_string()
        );
        assert!(read[1][column("command")].starts_with("./run-cluster.sh --batch-size"));
    }
}
