//! Whether the recorded operations can have happened one after the other, record by record.
//!
//! Warm-up and window are one history, the closing batches another. All that was written in a part is
//! in its histories, so what is read and was not written there was there before: its write ended before
//! the first operation of the part began. Several clients' instants are widened by what their clocks
//! leave open. Where a worker had no more room, a read that ended later might show a write that is
//! missing here: such reads are left out.

use std::collections::{BTreeMap, BTreeSet};

use batchkv_workload::history::{Action, Event, check, shortest_violation};
use serde::{Deserialize, Serialize};

use crate::history::recorder::{Section, ValueId};
use crate::history::row::{DeedKind, HistoryRow};
use crate::measured::statistics::median;

/// What one client recorded.
#[derive(Debug, Clone)]
pub(crate) struct Testimony<'a> {
    /// The client's name.
    pub(crate) client: &'a str,
    pub(crate) rows: &'a [HistoryRow],
    /// How far its instants may be off.
    pub(crate) bound_nanos: u64,
    /// When it had no more room for the window's operations.
    pub(crate) cut_nanos: Option<u64>,
}

/// What is known of a run's recorded histories.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Linearizability {
    /// What the listed records get of all operations, 0 to 1, by the chooser's probabilities.
    pub(crate) share: f64,
    /// Operations of the window that were not recorded, because memory was full.
    pub(crate) left_out: u64,
    /// When the first of them was queued, since 1970.
    pub(crate) cut_nanos: Option<u64>,
    /// Null in one client's results when there were several.
    pub(crate) window: Option<SectionChecked>,
    /// The small batches on the hottest sampled records, behind the window.
    pub(crate) closing: Option<SectionChecked>,
}

impl Linearizability {
    /// Checks what all clients recorded.
    pub(crate) fn check(&mut self, testimonies: &[Testimony<'_>]) {
        self.window = Some(check_part(Section::Window, testimonies));
        self.closing = Some(check_part(Section::Closing, testimonies));
    }

    /// Operations that were checked.
    pub(crate) fn operations(&self) -> u64 {
        let parts = [&self.window, &self.closing];
        parts
            .into_iter()
            .flatten()
            .map(|part| part.operations)
            .sum()
    }

    /// The first violation that was found, with the part that shows it.
    pub(crate) fn violation(&self) -> Option<String> {
        let parts = [
            ("in the closing batches", &self.closing),
            ("in the window", &self.window),
        ];
        parts.into_iter().find_map(|(place, part)| {
            let violation = part.as_ref()?.violation.as_ref()?;
            Some(format!("{place}, {violation}"))
        })
    }
}

/// What became of one part of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SectionChecked {
    /// Operations that were checked.
    pub(crate) operations: u64,
    /// Records that they are of.
    pub(crate) records: u64,
    /// Records that were left out, because they saw a delete.
    pub(crate) deleted_records: u64,
    /// Recorded operations that were left out behind the moment when memory was full.
    pub(crate) behind_cut: u64,
    /// Between the two instants of an operation.
    pub(crate) median_interval_us: f64,
    /// Pairs of a write and a read of the same record that was sent after the write had been answered.
    pub(crate) ordered_pairs: u64,
    /// The shortest history found that is not linearizable, in words.
    pub(crate) violation: Option<String>,
}

/// An operation of a history, and where it comes from.
#[derive(Debug, Clone, Copy)]
struct Told<'a> {
    event: Event,
    client: &'a str,
    row: &'a HistoryRow,
}

/// Checks all records of one part.
pub(crate) fn check_part(part: Section, testimonies: &[Testimony<'_>]) -> SectionChecked {
    let mut checked = SectionChecked::default();
    let deleted = deleted_records(part, testimonies);
    checked.deleted_records = deleted.len() as u64;
    let cuts = testimonies.iter().filter(|_| part == Section::Window);
    let cut = cuts.filter_map(|t| Some(t.cut_nanos?.saturating_sub(t.bound_nanos)));
    let cut = cut.min().unwrap_or(u64::MAX);
    let mut records: BTreeMap<u64, Vec<Told<'_>>> = BTreeMap::new();
    for testimony in testimonies {
        let rows = testimony.rows.iter().filter(|row| row.part == part);
        for row in rows.filter(|row| !deleted.contains(&row.record)) {
            let Some(event) = event(row, testimony.bound_nanos) else {
                continue;
            };
            if is_read(&event) && event.answered >= Some(cut) {
                checked.behind_cut += 1;
                continue;
            }
            let client = testimony.client;
            let told = Told { event, client, row };
            records.entry(row.record).or_default().push(told);
        }
    }
    let begin = records.values().flatten().map(|told| told.event.sent).min();
    for history in records.values_mut() {
        known_once(history);
        checked.add(history, begin.unwrap_or(0));
    }
    checked.records = records.len() as u64;
    let lengths = records.values().flatten().filter_map(|told| {
        let row = told.row;
        Some(row.answered_nanos?.saturating_sub(row.queued_nanos))
    });
    checked.median_interval_us = median(lengths) / 1e3;
    checked
}

fn deleted_records(part: Section, testimonies: &[Testimony<'_>]) -> BTreeSet<u64> {
    let rows = testimonies.iter().flat_map(|testimony| testimony.rows);
    let deletes = rows.filter(|row| row.part == part && row.kind == DeedKind::Delete);
    deletes.map(|row| row.record).collect()
}

/// A row as the checker takes it; `None`: a read without answer, which says nothing.
fn event(row: &HistoryRow, bound_nanos: u64) -> Option<Event> {
    let value = row.value().map(|value| value.0);
    let action = match row.kind {
        DeedKind::Get => Action::Read(value),
        _ => Action::Write(value?),
    };
    let answered = row.answered_nanos.map(|nanos| nanos + bound_nanos);
    let says = row.kind == DeedKind::Put || answered.is_some();
    says.then(|| Event {
        action,
        sent: row.queued_nanos.saturating_sub(bound_nanos),
        answered,
    })
}

fn is_read(event: &Event) -> bool {
    matches!(event.action, Action::Read(_))
}

/// A write of a lost batch may have been answered before: what is known of it counts.
fn known_once(history: &mut Vec<Told<'_>>) {
    let write = |told: &Told<'_>| match told.event.action {
        Action::Write(value) => Some(value),
        Action::Read(_) => None,
    };
    let answered = |told: &&Told<'_>| told.event.answered.is_some();
    let known: BTreeSet<u64> = history.iter().filter(answered).filter_map(write).collect();
    history.retain(|told| {
        let doubt = told.event.answered.is_none();
        !(doubt && write(told).is_some_and(|value| known.contains(&value)))
    });
}

/// The writes of what was read and not written here, over before `begin`.
fn writes_before(history: &[Told<'_>], begin: u64) -> Vec<Event> {
    let (mut read, mut written) = (BTreeSet::new(), BTreeSet::new());
    for told in history {
        match told.event.action {
            Action::Read(Some(value)) => read.insert(value),
            Action::Write(value) => written.insert(value),
            Action::Read(None) => false,
        };
    }
    let before = |&value: &u64| Event {
        action: Action::Write(value),
        sent: 0,
        answered: Some(begin.saturating_sub(1)),
    };
    read.difference(&written).map(before).collect()
}

impl SectionChecked {
    fn add(&mut self, history: &[Told<'_>], begin: u64) {
        self.operations += history.len() as u64;
        self.ordered_pairs += ordered_pairs(history);
        let mut events = writes_before(history, begin);
        events.extend(history.iter().map(|told| told.event));
        if self.violation.is_none() && check(&events).is_err() {
            self.violation = Some(in_words(&shortest_violation(&events), history));
        }
    }
}

/// Pairs of a write and a read that was sent after the write's answer had come.
fn ordered_pairs(history: &[Told<'_>]) -> u64 {
    let (reads, writes): (Vec<&Told<'_>>, Vec<&Told<'_>>) =
        history.iter().partition(|told| is_read(&told.event));
    let ends = writes.iter().filter_map(|told| told.event.answered);
    let mut ends: Vec<u64> = ends.collect();
    ends.sort_unstable();
    let before = |told: &&Told<'_>| ends.partition_point(|end| *end < told.event.sent) as u64;
    reads.iter().map(before).sum()
}

/// A violation, event by event, in milliseconds since the first that was recorded.
fn in_words(events: &[Event], history: &[Told<'_>]) -> String {
    let sent = history.iter().filter(|told| events.contains(&told.event));
    let begin = sent.map(|told| told.event.sent).min().unwrap_or(0);
    let ms = |nanos: u64| nanos.saturating_sub(begin) as f64 / 1e6;
    let describe = |event: &Event| {
        let value = match event.action {
            Action::Read(None) => "found nothing".into(),
            Action::Read(Some(value)) => format!("read {}", ValueId(value)),
            Action::Write(value) => format!("wrote {}", ValueId(value)),
        };
        let Some(told) = history.iter().find(|told| told.event == *event) else {
            return format!("{value} before the first of these operations");
        };
        let Told { client, row, .. } = told;
        let end = event.answered.map_or("and was not answered".into(), |end| {
            format!("to {:.3} ms", ms(end))
        });
        format!(
            "{value} from {:.3} {end} ({client}, worker {}, batch {}, position {})",
            ms(event.sent),
            row.worker,
            row.batch,
            row.position
        )
    };
    let words: Vec<String> = events.iter().map(describe).collect();
    let record = history.first().map_or(0, |told| told.row.record);
    format!("record {record}: {}", words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::row::tests::row;

    fn put(sequence: u64, from: u64, to: u64) -> HistoryRow {
        row(DeedKind::Put, Some(sequence), (from, Some(to)))
    }

    fn get(sequence: u64, from: u64, to: u64) -> HistoryRow {
        row(DeedKind::Get, Some(sequence), (from, Some(to)))
    }

    fn testimony(rows: &[HistoryRow]) -> Testimony<'_> {
        Testimony {
            client: "client-node1",
            rows,
            bound_nanos: 0,
            cut_nanos: None,
        }
    }

    fn checked(rows: &[HistoryRow]) -> SectionChecked {
        check_part(Section::Closing, &[testimony(rows)])
    }

    #[test]
    fn a_stale_read_is_told_with_the_operations_that_show_it() {
        let mut rows = vec![
            put(1, 1_000, 2_000),
            put(2, 3_000, 4_000),
            get(2, 5_000, 6_000),
        ];
        let good = checked(&rows);
        assert_eq!(
            (good.violation, good.ordered_pairs, good.operations),
            (None, 2, 3)
        );
        assert_eq!(good.median_interval_us, 1.0);
        rows.push(get(1, 7_000, 8_000));
        let words = checked(&rows).violation.unwrap();
        assert_eq!(
            words,
            "record 7: wrote write 1 of writer 3 from 0.000 to 0.001 ms (client-node1, worker 1, batch 12, \
             position 5); wrote write 2 of writer 3 from 0.002 to 0.003 ms (client-node1, worker 1, batch \
             12, position 5); read write 1 of writer 3 from 0.006 to 0.007 ms (client-node1, worker 1, \
             batch 12, position 5)"
        );
    }

    #[test]
    fn what_was_there_before_may_not_come_back() {
        let rows = [get(9, 10, 20), put(1, 30, 40), get(9, 50, 60)];
        let words = checked(&rows).violation.unwrap();
        assert!(
            words.contains("wrote write 9 of writer 3 before the first"),
            "{words}"
        );
        assert_eq!(checked(&rows[..2]).violation, None);
        // Two values that were both there before.
        assert!(
            checked(&[get(9, 10, 20), get(8, 30, 40), get(9, 50, 60)])
                .violation
                .is_some()
        );
    }

    #[test]
    fn a_write_of_unknown_outcome_may_show_at_any_time() {
        let unknown = row(DeedKind::Put, Some(2), (30, None));
        let mut rows = vec![put(1, 10, 20), unknown, get(1, 100, 110), get(2, 120, 130)];
        assert_eq!(checked(&rows).violation, None);
        // It was answered, before its batch was lost.
        rows.push(put(2, 30, 40));
        assert!(checked(&rows).violation.is_some());
    }

    #[test]
    fn clocks_that_leave_the_order_open_raise_no_alarm() {
        let (writes, reads) = ([put(1, 10, 20), put(2, 30, 40)], [get(1, 50, 60)]);
        let mut both = [testimony(&writes), testimony(&reads)];
        assert!(check_part(Section::Closing, &both).violation.is_some());
        both.iter_mut().for_each(|one| one.bound_nanos = 10);
        assert_eq!(check_part(Section::Closing, &both).violation, None);
    }

    #[test]
    fn records_with_deletes_are_left_out() {
        let delete = row(DeedKind::Delete, None, (45, None));
        let rows = [put(1, 10, 20), put(2, 30, 40), delete, get(1, 50, 60)];
        let checked = checked(&rows);
        assert_eq!(
            (checked.violation, checked.deleted_records, checked.records),
            (None, 1, 0)
        );
    }

    #[test]
    fn reads_behind_full_memory_are_left_out() {
        let of_window = |mut row: HistoryRow| {
            row.part = Section::Window;
            row
        };
        // The read's value was written at 50, when there was no more room.
        let rows = [put(1, 10, 20), get(1, 30, 40), get(7, 60, 70)].map(of_window);
        let mut one = testimony(&rows);
        assert!(
            check_part(Section::Window, &[one.clone()])
                .violation
                .is_some()
        );
        one.cut_nanos = Some(50);
        let checked = check_part(Section::Window, &[one]);
        assert_eq!((checked.violation, checked.behind_cut), (None, 1));
    }
}
