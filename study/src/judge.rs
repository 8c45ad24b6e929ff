//! What a run counts as, from what the launcher left.

use serde_json::Value as Json;

use crate::launcher::{End, Outcome};
use crate::results::Verdict;

/// A run's verdict, and what went wrong where something did.
///
/// A summary that says INVALID stands, unless a server failed: then the figures are of a run that did
/// not come to its end. Whatever else ends with an exit code other than 0 FAILED too.
pub(crate) fn judge(outcome: &Outcome, limit_secs: f64) -> (Verdict, Option<String>) {
    let status = match outcome.end {
        End::Exited(status) => status,
        End::TimedOut => return failed(format!("it was ended after its limit of {limit_secs} s")),
        End::Interrupted => return failed("it was interrupted".into()),
    };
    let complaint = outcome.complaint.as_deref();
    let server_failed = complaint.is_some_and(|text| text.contains(" (server"));
    match (status.success(), said(outcome.summary.as_ref())) {
        (true, Some(verdict)) => (verdict, None),
        (true, None) => failed("it left no summary.json with a verdict".into()),
        (false, Some(Verdict::Invalid)) if !server_failed => (Verdict::Invalid, None),
        (false, _) => failed(complaint.map_or_else(|| status.to_string(), str::to_owned)),
    }
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

    #[track_caller]
    fn judged(
        code: i32,
        verdict: Option<&str>,
        complaint: Option<&str>,
    ) -> (Verdict, Option<String>) {
        let outcome = Outcome {
            end: End::Exited(ExitStatus::from_raw(code << 8)),
            complaint: complaint.map(str::to_owned),
            summary: verdict.map(|verdict| summary(verdict, 1e6)),
            files: PathBuf::new(),
        };
        judge(&outcome, 60.0)
    }

    #[test]
    fn a_run_that_ends_well_has_its_own_verdict() {
        assert_eq!(
            judged(0, Some("VALID"), Some("a line")),
            (Verdict::Valid, None)
        );
        assert_eq!(
            judged(0, Some("QUALIFIED"), None),
            (Verdict::Qualified, None)
        );
        let client = "node1 (client) ended with exit code 1";
        assert_eq!(
            judged(1, Some("INVALID"), Some(client)),
            (Verdict::Invalid, None)
        );
    }

    #[test]
    fn a_run_that_ends_badly_failed() {
        let server = Some("node0 (server on x) ended with exit code 137".to_owned());
        let expected = (Verdict::Failed, server.clone());
        assert_eq!(judged(1, Some("INVALID"), server.as_deref()), expected);
        assert_eq!(judged(1, Some("VALID"), server.as_deref()), expected);
        let silent = judged(1, None, None).1.unwrap();
        assert!(silent.contains("exit status: 1"), "{silent}");
        let empty = judged(0, None, Some("a line")).1.unwrap();
        assert!(empty.contains("no summary.json"), "{empty}");
    }

    #[test]
    fn a_run_past_its_limit_failed_whatever_it_left() {
        let summary = Some(summary("VALID", 1e6));
        let outcome = Outcome {
            end: End::TimedOut,
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
