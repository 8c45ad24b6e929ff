//! `study.json`: what a study is, how far it is, and what its points came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::grid::{AxisValues, Point, points};
use crate::metrics::METRICS;
use crate::plan::{Definition, Kind, Part, RunId};
use crate::results::{FORMAT_VERSION, Row, Verdict};
use crate::statistics::{Estimate, INTERVAL, estimate};

/// The file's content.
#[derive(Debug, Serialize)]
pub(crate) struct Overview<'a> {
    format_version: u32,
    name: &'a str,
    title: &'a str,
    kind: Kind,
    /// The axes of all parts, with all their values.
    axes: Vec<AxisValues>,
    parts: &'a [Part],
    repetitions: u32,
    complete: bool,
    runs_done: usize,
    runs_total: usize,
    interval: &'static str,
    points: Vec<PointOverview>,
    definition: &'a Definition,
}

/// What the runs of one point came to.
#[derive(Debug, Serialize)]
struct PointOverview {
    part: String,
    point: Point,
    command: String,
    valid: usize,
    qualified: usize,
    invalid: usize,
    failed: usize,
    metrics: BTreeMap<&'static str, Estimate>,
}

/// The part of the file that says whether a study can go on.
#[derive(Debug, Deserialize)]
pub(crate) struct Begun {
    pub(crate) definition: Definition,
}

impl<'a> Overview<'a> {
    /// The state of the study `name` after these rows.
    pub(crate) fn new(name: &'a str, definition: &'a Definition, rows: &[Row]) -> Self {
        let runs_total = definition.runs_total();
        Self {
            format_version: FORMAT_VERSION,
            name,
            title: &definition.title,
            kind: definition.kind,
            axes: all_axes(&definition.parts),
            parts: &definition.parts,
            repetitions: definition.repetitions,
            complete: rows.len() == runs_total,
            runs_done: rows.len(),
            runs_total,
            interval: INTERVAL,
            points: overviews(definition, rows),
            definition,
        }
    }

    pub(crate) fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("maps with text keys and plain values have no encoding that fails") + "\n"
    }
}

fn all_axes(parts: &[Part]) -> Vec<AxisValues> {
    let mut all: Vec<AxisValues> = Vec::new();
    for axis in parts.iter().flat_map(|part| &part.axes) {
        match all.iter_mut().find(|known| known.name == axis.name) {
            None => all.push(axis.clone()),
            Some(known) => {
                let fresh = axis
                    .values
                    .iter()
                    .filter(|value| !known.values.contains(value));
                let fresh: Vec<_> = fresh.cloned().collect();
                known.values.extend(fresh);
            }
        }
    }
    all
}

fn overviews(definition: &Definition, rows: &[Row]) -> Vec<PointOverview> {
    let ids = definition.parts.iter().flat_map(|part| {
        let id = |point| RunId {
            part: part.name.clone(),
            point,
            repetition: 0,
        };
        points(&part.axes).into_iter().map(id)
    });
    ids.map(|id| overview(definition.command(&id), id, rows))
        .collect()
}

fn overview(command: String, id: RunId, rows: &[Row]) -> PointOverview {
    let here = |row: &&Row| row.id.part == id.part && row.id.point == id.point;
    let rows: Vec<&Row> = rows.iter().filter(here).collect();
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    PointOverview {
        command,
        valid: count(Verdict::Valid),
        qualified: count(Verdict::Qualified),
        invalid: count(Verdict::Invalid),
        failed: count(Verdict::Failed),
        metrics: metrics(&rows),
        part: id.part,
        point: id.point,
    }
}

fn metrics(rows: &[&Row]) -> BTreeMap<&'static str, Estimate> {
    let estimated = METRICS.iter().filter_map(|metric| {
        let counted = rows
            .iter()
            .filter(|row| metric.of_invalid || row.verdict.counts());
        let values = counted.filter_map(|row| row.summary.as_ref().and_then(metric.of));
        Some((metric.name, estimate(&values.collect::<Vec<f64>>())?))
    });
    estimated.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::example;
    use crate::results::tests::row;
    use serde_json::Value as Json;

    fn overview_of(rows: &[Row]) -> Json {
        serde_json::from_str(&Overview::new("example", &example(), rows).to_json()).unwrap()
    }

    /// Three runs of one point with these verdicts.
    fn rows(verdicts: [Verdict; 3]) -> Vec<Row> {
        let runs = example().runs();
        let point = runs[0].id.point.clone();
        let runs = runs.iter().filter(|run| run.id.point == point);
        let ops = [10.0, 20.0, 90.0];
        let rows = runs.zip(verdicts).zip(ops);
        rows.map(|((run, verdict), ops)| row(run, verdict, ops))
            .collect()
    }

    fn seen(json: &Json) -> &Json {
        let points = json["points"].as_array().unwrap();
        let done = |point: &&Json| {
            ["valid", "qualified", "invalid", "failed"]
                .iter()
                .any(|key| point[key] != 0)
        };
        points.iter().find(done).unwrap()
    }

    #[test]
    fn invalid_and_failed_runs_stay_out_of_the_curves() {
        let json = overview_of(&rows([
            Verdict::Valid,
            Verdict::Qualified,
            Verdict::Invalid,
        ]));
        let point = seen(&json);
        assert_eq!(
            (&point["valid"], &point["qualified"], &point["invalid"]),
            (&1.into(), &1.into(), &1.into())
        );
        assert_eq!(point["metrics"]["throughput"]["median"], 15.0);
        assert_eq!(point["metrics"]["throughput"]["n"], 2);
        assert_eq!(point["metrics"]["failure_rate"]["n"], 3);
        let json = overview_of(&rows([Verdict::Failed; 3]));
        assert_eq!(seen(&json)["metrics"], serde_json::json!({}));
        assert_eq!(seen(&json)["failed"], 3);
    }

    #[test]
    fn it_says_how_far_the_study_is() {
        let json = overview_of(&rows([Verdict::Valid; 3]));
        assert_eq!(
            (&json["runs_done"], &json["runs_total"]),
            (&3.into(), &12.into())
        );
        assert_eq!(json["complete"], false);
        assert_eq!(json["points"].as_array().unwrap().len(), 4);
        assert_eq!(json["axes"][0]["values"], serde_json::json!([64, 256]));
        let begun: Begun = serde_json::from_value(json).unwrap();
        assert_eq!(begun.definition, example());
    }
}
