//! Kinds of operations, and which answers fit them.

use batchkv_protocol::Answer;
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
                asked: self,
                answer: answer_name(answer),
            }),
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
        })
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
    /// What was asked.
    pub asked: OperationKind,
    /// What was answered, for people.
    pub answer: &'static str,
}
