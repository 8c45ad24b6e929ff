//! `history.csv`: what happened to the listed records, a row an operation, by the clock of client 0.

use std::time::Instant;

use csv::{Reader, Writer};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Offset};
use crate::history::recorder::{Deed, Recorded, Section, ValueId};

const NANOS_PER_SEC: f64 = 1e9;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryRow {
    pub(crate) part: Section,
    pub(crate) record: u64,
    pub(crate) kind: DeedKind,
    pub(crate) status: Status,
    /// Writer and sequence of the value, where there is one.
    pub(crate) writer: Option<u16>,
    pub(crate) sequence: Option<u64>,
    /// Of the client's workers.
    pub(crate) worker: usize,
    /// Of the worker's batches.
    pub(crate) batch: u32,
    /// Its index in the batch.
    pub(crate) position: u32,
    /// Since 1970.
    pub(crate) queued_nanos: u64,
    /// When its answer's frame had been read; empty when the outcome is not known.
    pub(crate) answered_nanos: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeedKind {
    Get,
    Put,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Found,
    Missing,
    Stored,
    Unknown,
}

impl HistoryRow {
    /// What a worker recorded, by [`shifted_nanos`].
    pub(crate) fn new(recorded: &Recorded, worker: usize, clock: &Clock, offset: Offset) -> Self {
        let nanos = |instant| shifted_nanos(clock, offset, instant);
        let (kind, value, known) = match recorded.deed {
            Deed::Read(None) => (DeedKind::Get, None, Status::Missing),
            Deed::Read(value) => (DeedKind::Get, value, Status::Found),
            Deed::Write(value) => (DeedKind::Put, Some(value), Status::Stored),
            Deed::Delete => (DeedKind::Delete, None, Status::Unknown),
        };
        Self {
            part: recorded.part,
            record: recorded.record,
            kind,
            status: recorded.answered.map_or(Status::Unknown, |_| known),
            writer: value.map(ValueId::writer),
            sequence: value.map(ValueId::sequence),
            worker,
            batch: recorded.batch,
            position: recorded.position,
            queued_nanos: nanos(recorded.queued),
            answered_nanos: recorded.answered.map(nanos),
        }
    }

    /// The value that was read or written.
    pub(crate) fn value(&self) -> Option<ValueId> {
        Some(ValueId::new(self.writer?, self.sequence?))
    }
}

/// An instant in nanoseconds since 1970, on the axis that `offset` leads to from `clock`.
pub(crate) fn shifted_nanos(clock: &Clock, offset: Offset, instant: Instant) -> u64 {
    let shift = (offset.secs * NANOS_PER_SEC) as i64;
    clock.unix_nanos(instant).saturating_add_signed(shift)
}

pub(crate) fn to_csv(rows: &[HistoryRow]) -> String {
    let mut writer = Writer::from_writer(Vec::new());
    for row in rows {
        let written = writer.serialize(row);
        written.expect("plain fields have no encoding that fails");
    }
    let bytes = writer.into_inner().expect("memory takes every byte");
    String::from_utf8(bytes).expect("numbers and names are text")
}

/// Reads [`to_csv`]'s text.
///
/// # Errors
/// What is wrong and in which line.
pub(crate) fn from_csv(text: &str) -> Result<Vec<HistoryRow>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("its last line is cut off".into());
    }
    let rows: Result<_, _> = Reader::from_reader(text.as_bytes())
        .into_deserialize()
        .collect();
    rows.map_err(|error: csv::Error| error.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row of the closing part, for record 7.
    pub(crate) fn row(
        kind: DeedKind,
        sequence: Option<u64>,
        nanos: (u64, Option<u64>),
    ) -> HistoryRow {
        let status = match (kind, sequence, nanos.1) {
            (_, _, None) => Status::Unknown,
            (DeedKind::Get, None, _) => Status::Missing,
            (DeedKind::Get, ..) => Status::Found,
            _ => Status::Stored,
        };
        HistoryRow {
            part: Section::Closing,
            record: 7,
            kind,
            status,
            writer: sequence.map(|_| 3),
            sequence,
            worker: 1,
            batch: 12,
            position: 5,
            queued_nanos: nanos.0,
            answered_nanos: nanos.1,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let rows = vec![
            row(DeedKind::Get, Some(1), (10, Some(20))),
            row(DeedKind::Get, None, (10, Some(20))),
            row(DeedKind::Put, Some(2), (10, None)),
        ];
        let text = to_csv(&rows);
        assert!(
            text.contains("\nclosing,7,put,unknown,3,2,1,12,5,10,\n"),
            "{text}"
        );
        assert_eq!(from_csv(&text), Ok(rows));
        assert_eq!(from_csv(""), Ok(Vec::new()));
        assert!(from_csv(&text[..text.len() - 1]).is_err());
        assert!(from_csv("part,record\nwindow,x\n").is_err());
    }
}
