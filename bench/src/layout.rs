//! Rows or columns inside a group.
//!
//! Rows are the protocol's own writer and reader. Columns hold the same operations as
//! `tag ... | key length ... | value length ... | key and value bytes`, with one byte a tag and
//! bincode's integers for lengths: as many bytes as rows, so only time can tell them apart.

use std::hint::black_box;

use batchkv_bench::job::{OPERATIONS, Source, VALUE, map, spec};
use batchkv_bench::rows::{bodies, read_answer, read_request, rewrite_answer, rewrite_request};
use batchkv_protocol::{Answer, Key, Operation, SendBuffer};

use crate::timing::medians;

const ROUNDS: usize = 400;

/// Groups as columns, one buffer each for what stands together.
#[derive(Default)]
struct Columns {
    tags: Vec<u8>,
    key_lengths: Vec<u8>,
    value_lengths: Vec<u8>,
    bytes: Vec<u8>,
}

impl Columns {
    fn clear(&mut self) {
        self.tags.clear();
        self.key_lengths.clear();
        self.value_lengths.clear();
        self.bytes.clear();
    }

    fn len(&self) -> usize {
        self.tags.len() + self.key_lengths.len() + self.value_lengths.len() + self.bytes.len()
    }

    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.tags.push(u8::from(value.is_some()));
        self.key_lengths.push(key.len() as u8);
        self.bytes.extend_from_slice(key);
        if let Some(value) = value {
            self.value_lengths.push(value.len() as u8);
            self.bytes.extend_from_slice(value);
        }
    }

    /// Hands every operation to `take`, checking each length against what is left.
    fn read<'a>(&'a self, mut take: impl FnMut(Operation<'a>)) -> Option<()> {
        let (mut at, mut value_lengths) = (0, self.value_lengths.iter());
        for (tag, key_bytes) in self.tags.iter().zip(&self.key_lengths) {
            let key = Key::within(&self.bytes, at, usize::from(*key_bytes))?;
            at += key.len();
            if *tag == 0 {
                take(Operation::Get { key });
            } else {
                let value = self
                    .bytes
                    .get(at..at + usize::from(*value_lengths.next()?))?;
                at += value.len();
                take(Operation::Put { key, value });
            }
        }
        Some(())
    }
}

/// What a reader does with an operation, at the least: look at the key's ends.
fn touch(sum: &mut usize, bytes: &[u8]) {
    *sum += bytes.len() + usize::from(bytes[0]);
}

fn requests() {
    let steps = Source::new(&spec("zipf")).steps(&map());
    let mut rows = SendBuffer::default();
    let mut columns = Columns::default();
    rewrite_request(&steps, &mut rows);
    let row_bodies = bodies(&rows);
    let row_bytes = rows.pending().len();
    let mut write_columns = Columns::default();
    let fill = |columns: &mut Columns| {
        columns.clear();
        for step in &steps {
            columns.push(step.key.as_bytes(), step.is_put.then_some(&VALUE[..]));
        }
    };
    fill(&mut columns);
    let [write_row_ns, write_column_ns, read_row_ns, read_column_ns] = medians(
        ROUNDS,
        OPERATIONS,
        [
            &mut || rewrite_request(black_box(&steps), &mut rows),
            &mut || fill(&mut write_columns),
            &mut || {
                let mut sum = 0;
                read_request(black_box(&row_bodies), |operation| {
                    touch(&mut sum, &operation.key())
                });
                black_box(sum);
            },
            &mut || {
                let mut sum = 0;
                black_box(&columns)
                    .read(|operation| touch(&mut sum, &operation.key()))
                    .expect("our own columns");
                black_box(sum);
            },
        ],
    );
    println!(
        "requests, {OPERATIONS} operations, ns an operation and bytes an operation without group headers"
    );
    println!(
        "  rows     write {write_row_ns:5.2}  read {read_row_ns:5.2}  bytes {:.2}",
        per_operation(row_bytes)
    );
    println!(
        "  columns  write {write_column_ns:5.2}  read {read_column_ns:5.2}  bytes {:.2}",
        per_operation(columns.len())
    );
}

fn per_operation(bytes: usize) -> f64 {
    bytes as f64 / OPERATIONS as f64
}

fn answers() {
    let value = VALUE;
    let mut rows = SendBuffer::default();
    rewrite_answer(&value, &mut rows);
    let row_bodies = bodies(&rows);
    let mut columns = Columns::default();
    let fill = |columns: &mut Columns| {
        columns.clear();
        for _ in 0..OPERATIONS {
            columns.push(&value, None);
        }
    };
    let mut filled = Columns::default();
    fill(&mut filled);
    let [write_row_ns, write_column_ns, read_row_ns, read_column_ns] = medians(
        ROUNDS,
        OPERATIONS,
        [
            &mut || rewrite_answer(black_box(&value), &mut rows),
            &mut || fill(&mut columns),
            &mut || {
                let mut sum = 0;
                read_answer(black_box(&row_bodies), |answer| {
                    if let Answer::Value(value) = answer {
                        touch(&mut sum, value);
                    }
                });
                black_box(sum);
            },
            &mut || {
                let mut sum = 0;
                black_box(&filled)
                    .read(|operation| touch(&mut sum, &operation.key()))
                    .expect("our own columns");
                black_box(sum);
            },
        ],
    );
    println!(
        "answers, {OPERATIONS} values of {} bytes, ns an answer",
        VALUE.len()
    );
    println!("  rows     write {write_row_ns:5.2}  read {read_row_ns:5.2}");
    println!("  columns  write {write_column_ns:5.2}  read {read_column_ns:5.2}");
}

pub(crate) fn run() {
    requests();
    answers();
}
