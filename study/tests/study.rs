//! Whole studies with a stand-in for `run-cluster.sh`, which ends its runs as told.

#![allow(clippy::unwrap_used)] // the helpers of tests, too

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// Time for what was killed to be gone.
const PATIENCE: Duration = Duration::from_secs(240);

/// A directory of studies of one test.
struct Studies(PathBuf);

impl Studies {
    fn new(test: &str) -> Self {
        let name = format!("batchkv-studies-{test}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// `batchkv-study sweep` with these words.
    fn sweep(&self, words: &[&str]) -> Output {
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launcher.sh");
        let mut command = Command::new(env!("CARGO_BIN_EXE_batchkv-study"));
        command
            .arg("sweep")
            .args(words)
            .args(["--pause", "0", "--no-report", "--launcher"]);
        command
            .arg(launcher)
            .arg("--studies")
            .arg(&self.0)
            .output()
            .unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join("sweep").join(name)).unwrap()
    }

    fn rows(&self) -> Vec<Json> {
        let text = self.read("results.jsonl");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn overview(&self) -> Json {
        serde_json::from_str(&self.read("study.json")).unwrap()
    }

    /// Waits until no process has this directory in its command line: one that was killed may still be ending.
    fn all_ended(&self) -> bool {
        let begin = Instant::now();
        while self.processes() > 0 {
            if begin.elapsed() > PATIENCE {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    fn processes(&self) -> usize {
        let own = self.0.to_str().unwrap().as_bytes();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines
            .filter(|line| line.windows(own.len()).any(|part| part == own))
            .count()
    }
}

impl Drop for Studies {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_end_of_a_run_is_kept_with_its_reason() {
    let studies = Studies::new("ends");
    let output = studies.sweep(&["workload=good,careful,wrong,dying", "--repetitions", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let rows = studies.rows();
    assert_eq!(rows.len(), 8);
    let of = |ending: &str| {
        rows.iter()
            .find(|row| row["point"]["workload"] == ending)
            .unwrap()
    };
    let verdicts: BTreeMap<&str, &str> = ["good", "careful", "wrong", "dying"]
        .map(|ending| (ending, of(ending)["verdict"].as_str().unwrap()))
        .into();
    let expected = [
        ("good", "VALID"),
        ("careful", "QUALIFIED"),
        ("wrong", "INVALID"),
        ("dying", "FAILED"),
    ];
    assert_eq!(verdicts, expected.into());
    assert_eq!(of("dying")["failure"], "node0 ended with exit code 137");
    assert_eq!(of("wrong")["reasons"][0], "told to");
    assert_eq!(of("good")["summary"]["ops_per_sec"], 1000);
    let order = of("good")["order"].to_string();
    assert_eq!(of("good")["files"], format!("runs/{order}/run"));
    let overview = studies.overview();
    assert_eq!(
        (&overview["complete"], &overview["runs_done"]),
        (&true.into(), &8.into())
    );
    assert_eq!(studies.read("results.csv").lines().count(), 9);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.ends_with("2 VALID, 2 QUALIFIED, 2 INVALID, 2 FAILED\n"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_run_that_hangs_is_ended_with_all_that_it_started() {
    let studies = Studies::new("hangs");
    let output = studies.sweep(&[
        "workload=hanging",
        "--repetitions",
        "1",
        "--run-limit",
        "0.5",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let failure = studies.rows()[0]["failure"].clone();
    assert_eq!(failure, "it was ended after its limit of 0.5 s");
    assert!(studies.all_ended());
}

#[test]
fn a_study_stops_at_a_failure_if_asked_and_goes_on() {
    let studies = Studies::new("stops");
    let words = ["workload=dying-once", "--on-failure", "stop"];
    let output = studies.sweep(&words);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("1 of 3 runs are kept"),
        "{}",
        stderr(&output)
    );
    let output = studies.sweep(&[&words[..], &["--retry-failed"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(studies.overview()["points"][0]["valid"], 3);
    // The failure stays in the file.
    assert_eq!(studies.rows().len(), 4);
}

#[test]
fn flags_that_the_launcher_refuses_end_the_study_without_a_result() {
    let studies = Studies::new("usage");
    let output = studies.sweep(&["workload=refused"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("refuses the flags of a run: run-cluster.sh: --workload refused"),
        "{said}"
    );
    assert!(studies.rows().is_empty());
}

#[test]
fn another_study_of_the_same_name_is_refused() {
    let studies = Studies::new("refused");
    assert_eq!(studies.sweep(&["workload=good"]).status.code(), Some(0));
    let output = studies.sweep(&["workload=good", "--repetitions", "4"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("repetitions 3 and not 4") && said.contains("--name"),
        "{said}"
    );
    assert_eq!(studies.rows().len(), 3);
}

#[test]
fn a_study_file_gives_the_grid() {
    let studies = Studies::new("file");
    let file = studies.0.join("study.toml");
    fs::write(
        &file,
        "repetitions = 1\n[axes]\nworkload = ['good']\ntasks = '1..4*2'\n",
    )
    .unwrap();
    let output = studies.sweep(&["--file", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(studies.rows().len(), 3);
    fs::write(&file, "axis = 1\n").unwrap();
    let output = studies.sweep(&["--file", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("unknown field `axis`"),
        "{}",
        stderr(&output)
    );
}
