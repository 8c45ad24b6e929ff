//! Whatever bytes come: what was written is read again, and nothing else panics or is let through.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

use batchkv_protocol::limits::{
    FRAME_BYTES, FRAME_BYTES_MAX, KEY_BYTES_MAX, REQUEST_FRAME_BYTES, VALUE_BYTES_MAX,
};
use batchkv_protocol::{
    Answer, AnswerFrame, AnswerWriter, Control, Malformed, Operation, PartitionMap, Position,
    ReceiveBuffer, References, Refusal, RequestFrame, RequestWriter, Seen, SendBuffer, frame,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Owned {
    Get(Vec<u8>),
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

fn operations() -> impl Strategy<Value = Vec<Owned>> {
    let key = || vec(any::<u8>(), 1..300);
    let one = prop_oneof![
        key().prop_map(Owned::Get),
        (key(), vec(any::<u8>(), 0..600)).prop_map(|(key, value)| Owned::Put(key, value)),
        key().prop_map(Owned::Delete),
    ];
    vec(one, 1..200)
}

fn key(operation: &Owned) -> &[u8] {
    match operation {
        Owned::Get(key) | Owned::Put(key, _) | Owned::Delete(key) => key,
    }
}

fn map() -> PartitionMap {
    PartitionMap::fixed(4, 1).unwrap()
}

fn write_one(writer: &mut RequestWriter<'_>, operation: &Owned, partition: u32) -> bool {
    match operation {
        Owned::Get(key) => writer.get(partition, 1, key),
        Owned::Delete(key) => writer.delete(partition, 1, key),
        Owned::Put(key, value) => match writer.put(partition, 1, key, value.len()) {
            Some(room) => {
                room.copy_from_slice(value);
                true
            }
            None => false,
        },
    }
}

/// All operations as frames, in the order given, each in the group of its partition.
fn write_request(operations: &[Owned]) -> SendBuffer {
    let (map, mut out) = (map(), SendBuffer::default());
    let mut writer = RequestWriter::begin(&mut out, 77);
    let mut at = 0;
    while at < operations.len() {
        if write_one(
            &mut writer,
            &operations[at],
            map.partition_of(key(&operations[at])),
        ) {
            at += 1;
        } else {
            writer.finish(false);
            writer = RequestWriter::begin(&mut out, 77);
        }
    }
    writer.finish(true);
    out
}

fn receive(bytes: &[u8]) -> ReceiveBuffer {
    let mut input = ReceiveBuffer::default();
    let mut left = bytes;
    while !left.is_empty() {
        input.fill_from(&mut left);
    }
    input
}

/// Reads a whole body as a server does: checked first, then walked.
fn read_request(body: &[u8]) -> Result<Vec<Owned>, Malformed> {
    let request = RequestFrame::parse(body)?;
    let content = request.validate(map().partitioning())?;
    let (mut cursor, mut read) = (request.cursor(), Vec::new());
    let mut flagged = 0;
    while let Some(group) = cursor.next_group(body)? {
        if group.flags != 0 {
            flagged += usize::from(group.operations);
            cursor.skip_group();
            continue;
        }
        while let Some(operation) = cursor.next_operation(body)? {
            read.push(match operation {
                Operation::Get { key } => Owned::Get(key.to_vec()),
                Operation::Put { key, value } => Owned::Put(key.to_vec(), value.to_vec()),
                Operation::Delete { key } => Owned::Delete(key.to_vec()),
            });
        }
    }
    assert_eq!(content.operations, read.len() + flagged);
    Ok(read)
}

/// Reads a whole body as a client does.
fn read_answers(body: &[u8]) -> Result<usize, Malformed> {
    let mut answers = AnswerFrame::parse(body)?;
    let mut read = 0;
    while let Some(piece) = answers.next_piece()? {
        let before = read;
        while answers.next_answer()?.is_some() {
            read += 1;
        }
        assert_eq!(read - before, usize::from(piece.answers));
    }
    Ok(read)
}

/// Reads a body of any kind to its end.
fn read_any(body: &[u8]) -> Result<(), Malformed> {
    match frame::kind(body)? {
        frame::Kind::Control => Control::decode(body).map(drop),
        frame::Kind::Request => read_request(body).map(drop),
        frame::Kind::Answer => read_answers(body).map(drop),
    }
}

fn sample_answers(server_time: Option<Duration>) -> SendBuffer {
    let (mut out, mut seen) = (SendBuffer::default(), Seen::default());
    let mut writer = AnswerWriter::begin(&mut out, 9).referring(Some(&mut seen));
    if server_time.is_some() {
        writer = writer.timed();
    }
    let all = [
        Answer::Value(b"some value"),
        Answer::Missing,
        Answer::Stored,
        Answer::Deleted { existed: false },
        Answer::Refused(Refusal::OutOfMemory),
        Answer::WrongOwner(map().ownership(1).unwrap()),
    ];
    for group in 0..3 {
        for (operation, answer) in all.iter().enumerate() {
            assert!(writer.answer(
                Position {
                    group,
                    operation: operation as u32
                },
                *answer
            ));
            if let Answer::Value(_) = answer {
                writer.refer(1);
            }
        }
    }
    if let Some(server_time) = server_time {
        writer.took(server_time);
    }
    writer.finish(true);
    out
}

/// Bodies of each form that answers have.
fn sample_answer_bodies() -> [Vec<u8>; 2] {
    [None, Some(Duration::from_nanos(u64::MAX))].map(|time| body(&sample_answers(time)))
}

fn body(out: &SendBuffer) -> Vec<u8> {
    out.pending()[frame::LENGTH_BYTES..].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_round_trip(operations in operations()) {
        let out = write_request(&operations);
        let mut input = receive(out.pending());
        let mut read = Vec::new();
        while let Some(body) = input.body().unwrap() {
            prop_assert!(body.len() + frame::LENGTH_BYTES <= REQUEST_FRAME_BYTES);
            read.extend(read_request(body).unwrap());
            input.consume();
        }
        prop_assert!(input.is_empty());
        prop_assert_eq!(format!("{read:?}"), format!("{operations:?}"));
    }

    #[test]
    fn answers_are_the_same_with_references(
        // Record and version: versions of a record differ in their bytes, and all have a few lengths.
        gets in vec((0..20_u64, 0..3_u8), 1..400),
        bytes in prop_oneof![0..10_usize, 100..110_usize, 250..2000_usize],
    ) {
        let value = |&(record, version): &(u64, u8)| vec![record as u8 ^ version; bytes];
        let (mut out, mut seen) = (SendBuffer::default(), Seen::default());
        let mut writer = AnswerWriter::begin(&mut out, 1).referring(Some(&mut seen));
        for (number, get) in gets.iter().enumerate() {
            let position = Position { group: 0, operation: number as u32 };
            while !writer.answer(position, Answer::Value(&value(get))) {
                writer.finish(false);
                writer = AnswerWriter::begin(&mut out, 1).referring(Some(&mut seen));
            }
            writer.refer(get.0);
        }
        writer.finish(true);
        let (mut frames, mut read, mut references) = (receive(out.pending()), Vec::new(), References::default());
        while let Some(body) = frames.body().unwrap() {
            prop_assert!(body.len() + 4 <= FRAME_BYTES);
            let mut answers = AnswerFrame::parse(body).unwrap();
            while answers.next_piece().unwrap().is_some() {
                while let Some(answer) = answers.next_answer().unwrap() {
                    let Answer::Value(value) = answer else { panic!("{answer:?}") };
                    read.push(value.to_vec());
                }
            }
            references += answers.references;
            frames.consume();
        }
        prop_assert_eq!(read, gets.iter().map(value).collect::<Vec<_>>());
        prop_assert_eq!(references.value_bytes, references.answers * bytes as u64);
        // In one frame every record is sent again only when its version changed.
        let mut last = HashMap::new();
        let repeated = gets.iter().filter(|get| last.insert(get.0, get.1) == Some(get.1)).count() as u64;
        if gets.len() * (bytes + 5) < FRAME_BYTES / 2 && bytes > 3 {
            prop_assert!(references.answers * 10 >= repeated * 9, "{references:?} of {repeated}");
        }
    }

    #[test]
    fn garbage_is_an_error_or_a_frame(bytes in vec(any::<u8>(), 0..400)) {
        let _ = read_any(&bytes);
        for tag in 0..=10 {
            let mut tagged = vec![tag];
            tagged.extend(&bytes);
            let _ = read_any(&tagged);
        }
    }
}

#[test]
fn a_timed_frame_is_a_plain_one_with_its_time() {
    let [plain, timed] = sample_answer_bodies();
    assert_eq!(timed.len(), plain.len() + 8);
    assert_eq!(read_answers(&plain), read_answers(&timed));
    let told = |body: &[u8]| AnswerFrame::parse(body).unwrap().server_time;
    assert_eq!(told(&plain), None);
    assert_eq!(told(&timed), Some(Duration::from_nanos(u64::MAX)));
}

#[test]
fn every_truncation_is_incomplete_or_malformed() {
    let operations = [
        Owned::Put(vec![1; 20], vec![2; 300]),
        Owned::Get(vec![3; 9]),
        Owned::Delete(vec![4]),
    ];
    let [plain, timed] = sample_answer_bodies();
    for whole in [body(&write_request(&operations)), plain, timed] {
        read_any(&whole).unwrap();
        for end in 0..whole.len() {
            assert!(read_any(&whole[..end]).is_err(), "cut at {end}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(read_any(&longer).is_err());
    }
    let out = write_request(&operations);
    for end in 0..out.pending().len() {
        assert_eq!(receive(&out.pending()[..end]).body(), Ok(None));
    }
}

#[test]
fn no_flipped_bit_panics() {
    let operations = [
        Owned::Put(vec![1; 20], vec![2; 30]),
        Owned::Get(vec![3; 9]),
        Owned::Delete(vec![4]),
    ];
    let [plain, timed] = sample_answer_bodies();
    for mut bytes in [body(&write_request(&operations)), plain, timed] {
        for at in 0..bytes.len() {
            for flip in 1..=255 {
                bytes[at] ^= flip;
                let _ = read_any(&bytes);
                bytes[at] ^= flip;
            }
        }
    }
}

/// Behind the first key stand enough bytes for a whole word, whatever its length says.
#[test]
fn a_forged_key_length_is_named_in_the_middle_of_a_frame_too() {
    let (map, keys) = (map(), [b"k1", b"k2", b"k3", b"k4", b"k5", b"k6"]);
    let first = map.partition_of(keys[0]);
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 1);
    assert!(writer.get(first, 1, keys[0]));
    for key in &keys[1..] {
        assert!(writer.get((first + 1) % 4, 1, *key));
    }
    writer.finish(true);
    let frame = body(&out);
    // tag, id, last, groups (2), partition, epoch, flags, operations (2), length (3), tag, key length
    let length_at = 14;
    assert_eq!(frame[length_at..length_at + 3], [2, b'k', b'1']);
    for (length, expected) in [
        (0, "key length is 0"),
        (8, "ends inside its group"),
        (9, "ends inside its group"),
        (250, "ends inside its key"),
        (251, "ends inside its key"),
        (255, "integer marker 255"),
    ] {
        let mut forged = frame.clone();
        forged[length_at] = length;
        let request = RequestFrame::parse(&forged).unwrap();
        let error = request
            .validate(map.partitioning())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{length}: {error}");
    }
}

#[test]
fn forged_lengths_and_counts_are_named() {
    for length in [0_u32, u32::MAX, FRAME_BYTES_MAX as u32] {
        let mut input = receive(&length.to_le_bytes());
        assert!(matches!(
            input.body(),
            Err(Malformed::OutOfRange {
                what: "frame length",
                ..
            })
        ));
        // Only what came is held, whatever the length promises.
        assert!(input.spare().len() <= 2 * FRAME_BYTES);
    }
    let plain = body(&write_request(&[Owned::Get(b"k".to_vec())]));
    // tag, id, last, groups (2), partition, epoch, flags, operations (2), length (3), operation
    for (at, expected) in [
        (3, "ends inside its partition"),
        (8, "operation count"),
        (10, "inside its group"),
    ] {
        let mut forged = plain.clone();
        forged[at] = 0xFF;
        let error = read_request(&forged).unwrap_err().to_string();
        assert!(error.contains(expected), "{at}: {error}");
    }
    let mut empty_key = plain.clone();
    empty_key[14] = 0;
    assert!(
        read_request(&empty_key)
            .unwrap_err()
            .to_string()
            .contains("key length is 0: allowed are 1 to 65535")
    );
    let mut huge_key = plain.clone();
    huge_key[14] = 253;
    assert!(read_request(&huge_key).is_err());
}

#[test]
fn forged_references_are_named() {
    let sample = body(&sample_answers(None));
    // tag, id, last, pieces (2), group, first, answers (2): then the first answer.
    let answer_at = 9;
    let second = sample
        .windows(2)
        .position(|bytes| bytes[0] == 6 && usize::from(bytes[1]) > answer_at)
        .unwrap();
    // Behind the value's answer: its tag, its length and 10 bytes.
    let missing_at = answer_at + 12;
    for (distance, expected) in [
        (0, "distance is 0: allowed are 1 to"),
        (250, "distance is 250: allowed are 1 to"),
        (
            (second - missing_at) as u8,
            "unknown tag of an answer that is referred to",
        ),
    ] {
        let mut forged = sample.clone();
        forged[second + 1] = distance;
        let error = read_answers(&forged).unwrap_err().to_string();
        assert!(error.contains(expected), "{distance}: {error}");
    }
    // The value that is referred to may not reach to the reference, let alone beyond.
    let mut forged = sample;
    forged[answer_at + 1] = 250;
    assert!(read_answers(&forged).is_err());
}

#[test]
fn a_key_in_the_wrong_group_is_found() {
    let mut out = SendBuffer::default();
    let actual = map().partition_of(b"k");
    let mut writer = RequestWriter::begin(&mut out, 1);
    assert!(writer.get(actual ^ 1, 1, b"k"));
    writer.finish(true);
    assert_eq!(
        read_request(&body(&out)).unwrap_err(),
        Malformed::WrongPartition {
            claimed: actual ^ 1,
            actual
        }
    );
}

#[test]
fn a_large_operation_stands_alone() {
    let large = Owned::Put(vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]);
    let operations = [
        Owned::Get(vec![5]),
        large.clone(),
        large,
        Owned::Get(vec![6]),
    ];
    let out = write_request(&operations);
    let mut input = receive(out.pending());
    let mut counts = Vec::new();
    while let Some(body) = input.body().unwrap() {
        counts.push(read_request(body).unwrap().len());
        input.consume();
    }
    assert_eq!(counts, [1, 1, 1, 1]);

    let mut out = SendBuffer::default();
    let at = |operation| Position {
        group: 0,
        operation,
    };
    let mut writer = AnswerWriter::begin(&mut out, 1);
    assert!(writer.value(at(0), VALUE_BYTES_MAX).is_some());
    assert!(writer.value(at(1), 1).is_none());
    assert!(!writer.answer(at(1), Answer::Stored));
    writer.finish(true);
    assert_eq!(read_answers(&body(&out)), Ok(1));
}

#[test]
fn an_oversize_frame_of_two_operations_is_refused() {
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 1);
    writer
        .put(map().partition_of(b"a"), 1, b"a", REQUEST_FRAME_BYTES)
        .unwrap()
        .fill(0);
    writer.finish(true);
    let mut forged = body(&out);
    // The same bytes, said to be two operations: the group's rest parses as another get.
    let count_at = 8;
    forged[count_at] = 2;
    let length = u32::from_le_bytes([forged[10], forged[11], forged[12], 0]) + 3;
    forged[10..13].copy_from_slice(&length.to_le_bytes()[..3]);
    forged.extend([0, 1, b'a']);
    let error = read_request(&forged).unwrap_err().to_string();
    assert!(
        error.contains("operations in an oversize frame is 2"),
        "{error}"
    );
}
