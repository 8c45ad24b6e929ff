//! `run.json`, by which the launcher tells what became of a run; `launcher/record.py` describes it.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// What is read of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Record {
    pub(crate) failures: Vec<Failure>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Failure {
    /// Absent where it is of the whole run.
    pub(crate) node: Option<String>,
    pub(crate) role: Option<Role>,
    pub(crate) reason: String,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Server,
    Client,
}

impl Record {
    /// The record in a run's directory; none where the launcher came to no run, or was killed before.
    pub(crate) fn read(run: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(run.join("run.json")).ok()?).ok()
    }

    /// Whether a server failed: what the clients measured then is not of a whole run.
    pub(crate) fn server_failed(&self) -> bool {
        let server = |failure: &Failure| failure.role == Some(Role::Server);
        self.failures.iter().any(server)
    }

    /// All that went wrong, in one line; none when nothing did.
    pub(crate) fn reasons(&self) -> Option<String> {
        let reasons = self.failures.iter().map(|failure| match &failure.node {
            Some(node) => format!("{node} {}", failure.reason),
            None => failure.reason.clone(),
        });
        let reasons: Vec<String> = reasons.collect();
        (!reasons.is_empty()).then(|| reasons.join("; ").replace('\n', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Record {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn failures_are_one_line() {
        let text = r#"{"format_version": 1, "state": "ended", "exit_code": 1, "nodes": [], "failures": [
            {"node": "node0", "role": "server", "reason": "ended with exit code 137"},
            {"node": null, "role": null, "reason": "no\nroom"}]}"#;
        let record = record(text);
        assert!(record.server_failed());
        assert_eq!(
            record.reasons().as_deref(),
            Some("node0 ended with exit code 137; no room")
        );
    }

    #[test]
    fn a_client_that_fails_is_no_server() {
        let text =
            r#"{"failures": [{"node": "node1", "role": "client", "reason": "(server gone)"}]}"#;
        assert!(!record(text).server_failed());
        assert_eq!(record(r#"{"failures": []}"#).reasons(), None);
        assert_eq!(Record::read(Path::new("/absent")), None);
    }
}
