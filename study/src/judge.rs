//! What a run counts as, from what the launcher left.

use serde_json::Value as Json;

use crate::launcher::{End, LaunchOutcome};
use crate::record::Record;
use crate::results::Verdict;

/// A run's verdict, and what went wrong where something did.
///
/// A summary that says INVALID stands, unless a server failed: then the figures are of a run that did
/// not come to its end. Whatever else ends with an exit code other than 0 FAILED too.
pub(crate) fn judge(outcome: &LaunchOutcome, limit_secs: f64) -> (Verdict, Option<String>) {
    let status = match outcome.end {
        End::Exited(status) => status,
        End::TimedOut => return failed(format!("it was ended after its limit of {limit_secs} s")),
        End::Interrupted => return failed("it was interrupted".into()),
    };
    let record = outcome.record.as_ref();
    let server_failed = record.is_some_and(Record::server_failed);
    match (status.success(), said(outcome.summary.as_ref())) {
        (true, Some(verdict)) => (verdict, None),
        (true, None) => failed("it left no summary.json with a verdict".into()),
        (false, Some(Verdict::Invalid)) if !server_failed => (Verdict::Invalid, None),
        (false, _) => failed(why(outcome).unwrap_or_else(|| status.to_string())),
    }
}

/// What went wrong: by the run's record, or in the words for people where there is none.
pub(crate) fn why(outcome: &LaunchOutcome) -> Option<String> {
    let recorded = outcome.record.as_ref().and_then(Record::reasons);
    recorded.or_else(|| outcome.complaint.clone())
}

/// The summary's reasons.
pub(crate) fn reasons(summary: Option<&Json>) -> Vec<String> {
    let reasons = summary.and_then(|summary| summary["reasons"].as_array());
    let texts = reasons.into_iter().flatten().filter_map(Json::as_str);
    texts.map(str::to_owned).collect()
}

fn said(summary: Option<&Json>) -> Option<Verdict> {
    serde_json::from_value(summary?.get("verdict")?.clone()).ok()
}

fn failed(failure: String) -> (Verdict, Option<String>) {
    (Verdict::Failed, Some(failure))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::PathBuf;
    use std::process::ExitStatus;

    use super::*;
    use crate::metrics::tests::summary;
    use crate::record::{Failure, Role};

    fn record(role: Role) -> Record {
        let failure = Failure {
            node: Some("node0".into()),
            role: Some(role),
            reason: "ended with exit code 137".into(),
        };
        Record {
            failures: vec![failure],
        }
    }

    #[track_caller]
    fn judged(code: i32, verdict: Option<&str>, failed: Option<Role>) -> (Verdict, Option<String>) {
        let outcome = LaunchOutcome {
            end: End::Exited(ExitStatus::from_raw(code << 8)),
            record: failed.map(record),
            complaint: Some("run-cluster.sh: words for people (server on x)".into()),
            summary: verdict.map(|verdict| summary(verdict, 1e6)),
            files: PathBuf::new(),
        };
        judge(&outcome, 60.0)
    }

    #[test]
    fn a_run_that_ends_well_has_its_own_verdict() {
        assert_eq!(judged(0, Some("VALID"), None), (Verdict::Valid, None));
        let qualified = (Verdict::Qualified, None);
        assert_eq!(judged(0, Some("QUALIFIED"), None), qualified);
        let invalid = (Verdict::Invalid, None);
        assert_eq!(judged(1, Some("INVALID"), Some(Role::Client)), invalid);
        assert_eq!(judged(1, Some("INVALID"), None), invalid);
    }

    #[test]
    fn a_run_that_ends_badly_failed() {
        let expected = failed("node0 ended with exit code 137".into());
        for verdict in ["INVALID", "VALID"] {
            assert_eq!(judged(1, Some(verdict), Some(Role::Server)), expected);
        }
        let words = judged(1, None, None).1.unwrap();
        assert!(words.contains("words for people"), "{words}");
        let empty = judged(0, None, None).1.unwrap();
        assert!(empty.contains("no summary.json"), "{empty}");
    }

    #[test]
    fn a_run_past_its_limit_failed_whatever_it_left() {
        let summary = Some(summary("VALID", 1e6));
        let outcome = LaunchOutcome {
            end: End::TimedOut,
            record: None,
            complaint: None,
            summary,
            files: PathBuf::new(),
        };
        let (verdict, failure) = judge(&outcome, 60.0);
        assert_eq!(verdict, Verdict::Failed);
        assert!(failure.unwrap().contains("limit of 60 s"));
    }

    #[test]
    fn reasons_are_the_summarys() {
        assert_eq!(reasons(Some(&summary("QUALIFIED", 1e6))), ["why"]);
        assert!(reasons(None).is_empty());
    }
}
