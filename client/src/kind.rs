//! Kinds of operations, and which answers fit them.

use batchkv_protocol::Answer;
use batchkv_protocol::options::VERSION_BYTES;
use std::fmt;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// Reads a value.
    Get,
    /// Stores a value.
    Put,
    /// Removes a key.
    Delete,
}

impl OperationKind {
    /// Whether `answer` can be an answer to such an operation; "refused" and "wrong owner" fit all.
    ///
    /// # Errors
    /// When it cannot.
    #[inline]
    pub fn check(self, answer: &Answer<'_>) -> Result<(), WrongKind> {
        match (self, answer) {
            (Self::Get, Answer::Value(_) | Answer::Missing)
            | (Self::Put, Answer::Stored)
            | (Self::Delete, Answer::Deleted { .. })
            | (_, Answer::Refused(_) | Answer::WrongOwner(_)) => Ok(()),
            _ => Err(WrongKind {
                asked: self.name(),
                answer: answer_name(answer),
            }),
        }
    }

    /// [`check`](Self::check) for an operation of a group that asks for `versions`, or not.
    pub(crate) fn check_with_versions(
        self,
        answer: &Answer<'_>,
        versions: bool,
    ) -> Result<(), WrongKind> {
        match (self, answer) {
            _ if !versions => self.check(answer),
            (Self::Get, Answer::Value(value)) if value.len() < VERSION_BYTES => Err(WrongKind {
                asked: "get with a version",
                answer: "a value without one",
            }),
            (Self::Put, Answer::StoredAs { .. }) => Ok(()),
            (Self::Put, Answer::Stored) => Err(WrongKind {
                asked: "put with a version",
                answer: answer_name(answer),
            }),
            _ => self.check(answer),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cold]
fn answer_name(answer: &Answer<'_>) -> &'static str {
    match answer {
        Answer::Value(_) => "a value",
        Answer::Missing => "\"missing\"",
        Answer::Stored => "\"stored\"",
        Answer::Deleted { .. } => "\"deleted\"",
        Answer::Refused(_) => "\"refused\"",
        Answer::WrongOwner(_) => "\"wrong owner\"",
        Answer::Opened { .. } => "the name of a stream",
        Answer::StoredAs { .. } => "\"stored\" with a version",
    }
}

/// An answer that cannot belong to its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {asked} was answered with {answer}")]
pub struct WrongKind {
    /// What was asked, for people.
    pub asked: &'static str,
    /// What was answered, for people.
    pub answer: &'static str,
}

impl WrongKind {
    /// An answer that names no stream, to an opening of one.
    pub(crate) fn of_opening(answer: &Answer<'_>) -> Self {
        Self {
            asked: "stream to be opened",
            answer: answer_name(answer),
        }
    }
}
