//! What only clusters take and say: groups with options, answers of a certain freshness, operators' frames. Their
//! bytes are bincode's, and no others are let through.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

use batchkv_protocol::limits::{
    ADDRESS_BYTES_MAX, FRAME_BYTES_MAX, KEY_BYTES_MAX, MEMBERS_MAX, PARTITIONS_MAX, SERVERS_MAX,
    VALUE_BYTES_MAX,
};
use batchkv_protocol::operator::{
    GroupStatus, MemberRole, MemberStatus, PartitionStatus, ServerState, ServerStatus,
};
use batchkv_protocol::request::GROUP_BYTES_MAX;
use batchkv_protocol::{
    Ack, Answer, AnswerFrame, AnswerWriter, ClusterStatus, Control, Freshness, GroupOptions, Key,
    Malformed, Operation, OperatorAnswer, OperatorRequest, PartitionMap, Position, Refusal,
    RequestFrame, RequestWriter, SendBuffer, Sequence, frame,
};
use bincode::{Encode, config};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Encode)]
struct Group {
    partition: u32,
    epoch: u64,
    flags: u8,
    operations: [u8; 2],
    length: [u8; 3],
}

#[derive(Encode)]
struct Piece {
    group: u32,
    first: u32,
    answers: [u8; 2],
}

/// bincode's bytes of a value.
fn encoded(value: impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(value, config::standard()).unwrap()
}

fn body(out: &SendBuffer) -> Vec<u8> {
    out.pending()[frame::LENGTH_BYTES..].to_vec()
}

fn map() -> PartitionMap {
    PartitionMap::fixed(4, 1).unwrap()
}

const SEQUENCE: Sequence = Sequence {
    stream: 1 << 33,
    number: 300,
    floor: 250,
};

fn all_options() -> GroupOptions {
    GroupOptions {
        sequence: Some(SEQUENCE),
        any: Some(70_000),
        ack: Ack::All,
        versions: true,
        opens: false,
    }
}

/// A frame of one group, all in the partition of its first key.
fn group(options: &GroupOptions, operations: &[Operation<'_>]) -> SendBuffer {
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 9);
    let partition = map().partition_of(operations[0].key());
    let bytes = operations.iter().map(Operation::bytes).sum();
    assert!(writer.begin_group((partition, 7), options, &operations[0], bytes));
    for operation in &operations[1..] {
        assert!(writer.operation(partition, 7, *operation));
    }
    assert_eq!(writer.groups(), 1);
    writer.finish(true);
    out
}

fn get(key: &[u8]) -> Operation<'_> {
    Operation::Get {
        key: Key::from(key),
    }
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Operation<'a> {
    Operation::Put {
        key: Key::from(key),
        value,
    }
}

/// A body of one group as a server reads it: its options, and its operations as text.
fn read(body: &[u8]) -> Result<(GroupOptions, Vec<String>), Malformed> {
    let request = RequestFrame::parse(body)?;
    request.validate(map().partitioning())?;
    let mut cursor = request.cursor();
    let header = cursor.next_group(body)?.unwrap();
    let options = match header.flags {
        0 => GroupOptions::default(),
        flags => cursor.read_options(flags, body)?,
    };
    let mut read = Vec::new();
    while !options.opens
        && let Some(operation) = cursor.next_operation(body)?
    {
        read.push(format!("{operation:?}"));
    }
    if options.opens {
        cursor.skip_group();
    }
    while cursor.next_group(body)?.is_some() {
        cursor.skip_group();
    }
    Ok((options, read))
}

#[test]
fn a_group_with_options() {
    let (first, second) = (put(b"k", b"value   12345678"), get(b"k"));
    let out = group(&all_options(), &[first, second]);
    let options = encoded((SEQUENCE.stream, SEQUENCE.number, SEQUENCE.floor, 70_000_u64));
    let operations = encoded((
        (1_u8, b"k".to_vec(), b"value   12345678".to_vec()),
        (0_u8, b"k".to_vec()),
    ));
    let length = (options.len() + operations.len()) as u32;
    let header = Group {
        partition: map().partition_of(b"k"),
        epoch: 7,
        flags: 1 + 2 + 4 + 16,
        operations: [2, 0],
        length: length.to_le_bytes()[..3].try_into().unwrap(),
    };
    let expected = [
        encoded((5_u8, 9_u64, true, [1_u8, 0])),
        encoded(header),
        options,
        operations,
    ];
    assert_eq!(body(&out), expected.concat());
}

#[test]
fn a_group_that_opens_a_stream() {
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 9);
    assert!(writer.open_stream(3, 1 << 41));
    writer.finish(true);
    let header = Group {
        partition: 3,
        epoch: 1 << 41,
        flags: 32,
        operations: [1, 0],
        length: [3, 0, 0],
    };
    let expected = [
        encoded((5_u8, 9_u64, true, [1_u8, 0])),
        encoded(header),
        vec![3, 0, 0],
    ];
    assert_eq!(body(&out), expected.concat());
    assert_eq!(read(&body(&out)), Ok((GroupOptions::OPENING, vec![])));
    for (at, byte, reason) in [(10, 2, "operation count"), (13, 0, "opening of a stream")] {
        let mut forged = body(&out);
        let at = forged.len() - (16 - at);
        forged[at] = byte;
        let error = read(&forged).unwrap_err().to_string();
        assert!(error.contains(reason), "{at}: {error}");
    }
}

#[test]
fn answers_with_numbers() {
    let mut out = SendBuffer::default();
    let mut writer = AnswerWriter::begin(&mut out, 5);
    let answers = [
        Answer::Opened { stream: 1 << 40 },
        Answer::StoredAs { version: 251 },
        Answer::Refused(Refusal::VersionMismatch { found: 70_000 }),
        Answer::Refused(Refusal::NoLeader),
    ];
    for (operation, answer) in (0..).zip(answers) {
        assert!(writer.answer(
            Position {
                group: 3,
                operation
            },
            answer
        ));
    }
    writer.finish(true);
    let piece = Piece {
        group: 3,
        first: 0,
        answers: [4, 0],
    };
    let expected = [
        encoded((6_u8, 5_u64, true, [1_u8, 0])),
        encoded(piece),
        encoded((7_u8, 1_u64 << 40)),
        encoded((8_u8, 251_u64)),
        encoded((4_u8, 9_u8, 70_000_u64)),
        encoded((4_u8, 3_u8)),
    ];
    assert_eq!(body(&out), expected.concat());
    assert_eq!(read_answers(&body(&out)), Ok((None, answers.to_vec())));
}

/// The freshness that a body tells, and its answers.
fn read_answers(body: &[u8]) -> Result<(Option<Freshness>, Vec<Answer<'_>>), Malformed> {
    let mut frame = AnswerFrame::parse(body)?;
    let mut answers = Vec::new();
    while frame.next_piece()?.is_some() {
        while let Some(answer) = frame.next_answer()? {
            answers.push(answer);
        }
    }
    Ok((frame.freshness, answers))
}

const FRESHNESS: Freshness = Freshness {
    entry: 1 << 40,
    behind: 3,
    heard: Duration::from_millis(5),
};

fn fresh_answer() -> SendBuffer {
    let mut out = SendBuffer::default();
    let mut writer = AnswerWriter::begin(&mut out, 300).fresh(FRESHNESS);
    let first = Position {
        group: 7,
        operation: 0,
    };
    assert!(writer.answer(first, Answer::Value(b"v")));
    writer.took(Duration::from_nanos(1 << 33));
    writer.finish(true);
    out
}

#[test]
fn answers_that_tell_how_fresh_they_are() {
    let piece = Piece {
        group: 7,
        first: 0,
        answers: [1, 0],
    };
    let numbers = [1 << 33, 1 << 40, 3, 5_000_000_u64];
    let expected = [
        encoded((13_u8, 300_u64, true, [1_u8, 0])),
        numbers.map(u64::to_le_bytes).concat(),
        encoded(piece),
        encoded((0_u8, b"v".to_vec())),
    ];
    let body = body(&fresh_answer());
    assert_eq!(body, expected.concat());
    let answers = vec![Answer::Value(b"v")];
    assert_eq!(read_answers(&body), Ok((Some(FRESHNESS), answers)));
    assert_eq!(frame::kind(&body), Ok(frame::Kind::Answer));
    let told = AnswerFrame::parse(&body).unwrap().server_time;
    assert_eq!(told, Some(Duration::from_nanos(1 << 33)));
}

#[test]
fn every_refusal_is_read_as_it_was_written() {
    let all = [
        Refusal::OutOfMemory,
        Refusal::UnknownFlag,
        Refusal::NoCluster,
        Refusal::NoLeader,
        Refusal::Busy,
        Refusal::Unsettled,
        Refusal::StreamExpired,
        Refusal::Answered,
        Refusal::TooFarAhead,
        Refusal::VersionMismatch { found: 300 },
        Refusal::Forgotten,
        Refusal::ValueTooLong,
    ];
    let mut out = SendBuffer::default();
    let mut writer = AnswerWriter::begin(&mut out, 0);
    for (operation, reason) in (0..).zip(all) {
        let position = Position {
            group: 0,
            operation,
        };
        assert!(writer.answer(position, Answer::Refused(reason)));
    }
    writer.finish(true);
    let body = body(&out);
    let (_, answers) = read_answers(&body).unwrap();
    assert_eq!(answers, all.map(Answer::Refused));
    let mut forged = body.clone();
    *forged.last_mut().unwrap() = all.len() as u8;
    let unknown = Malformed::Unknown {
        what: "refusal reason",
        value: all.len() as u64,
    };
    assert_eq!(read_answers(&forged), Err(unknown));
}

#[test]
fn flags_without_a_meaning_are_measured_and_others_read() {
    let plain = body(&group(&GroupOptions::default(), &[get(b"k")]));
    let flags_at = 7;
    assert_eq!(plain[flags_at], 0);
    for (flags, expected) in [
        (0, None),
        (4, None),
        (8, None),
        (16, None),
        (64, None),
        (128 + 1, None),
        (12, Some("unknown group flags 12")),
        (33, Some("unknown group flags 33")),
        (32, Some("unknown opening of a stream")),
        (1, Some("floor is 107: allowed are 0 to 1")),
        (2, Some("")),
    ] {
        let mut forged = plain.clone();
        forged[flags_at] = flags;
        let request = RequestFrame::parse(&forged).unwrap();
        let checked = request.validate(map().partitioning());
        match expected {
            None => assert!(checked.is_ok(), "{flags}: {checked:?}"),
            Some(reason) => {
                let error = checked.unwrap_err().to_string();
                assert!(error.contains(reason), "{flags}: {error}");
            }
        }
    }
}

#[test]
fn keys_and_conditions_behind_options_are_checked() {
    let options = GroupOptions {
        versions: true,
        ..GroupOptions::default()
    };
    let short = body(&group(&options, &[put(b"k", b"1234567")]));
    let error = read(&short).unwrap_err().to_string();
    assert!(
        error.contains("length of a value with a version is 7"),
        "{error}"
    );
    let foreign =
        (0..=255_u8).find(|byte| map().partition_of(&[*byte]) != map().partition_of(b"k"));
    let mut group = body(&group(&all_options(), &[get(b"k")]));
    *group.last_mut().unwrap() = foreign.unwrap();
    let error = read(&group).unwrap_err();
    assert!(matches!(error, Malformed::WrongPartition { .. }), "{error}");
}

#[test]
fn the_longest_group_of_each_kind_fits_a_frame() {
    let options = GroupOptions {
        sequence: Some(Sequence {
            stream: u64::MAX,
            number: u64::MAX,
            floor: u64::MAX,
        }),
        any: Some(u64::MAX),
        ..all_options()
    };
    let (key, value) = (vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]);
    let whole = [put(&key, &value)];
    let (partition, bytes) = (map().partition_of(&key), whole[0].bytes());
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, u64::MAX);
    assert!(writer.begin_group((partition, u64::MAX), &options, &whole[0], bytes));
    assert!(!writer.begin_group((partition, 1), &options, &get(&key), 1));
    writer.finish(true);
    assert!(out.pending().len() <= FRAME_BYTES_MAX);
    assert_eq!(read(&body(&out)).unwrap().1.len(), 1);

    // Gets of one byte, as many as are promised a frame of their own.
    let operations = vec![get(b"k"); GROUP_BYTES_MAX / get(b"k").bytes()];
    let (got, read) = read(&body(&group(&options, &operations))).unwrap();
    assert_eq!((got, read.len()), (options, operations.len()));
}

fn arbitrary_options() -> impl Strategy<Value = GroupOptions> {
    let sequence = any::<Option<[u64; 3]>>();
    (sequence, any::<Option<u64>>(), 0..3_u8, any::<bool>()).prop_map(
        |(sequence, any, ack, versions)| GroupOptions {
            sequence: sequence.map(|[stream, one, other]| Sequence {
                stream,
                number: one.max(other),
                floor: one.min(other),
            }),
            any,
            ack: [Ack::Quorum, Ack::All, Ack::Leader][usize::from(ack)],
            versions,
            opens: false,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_round_trip(
        options in arbitrary_options(),
        kinds in prop::collection::vec((0..3_u8, 8..300_usize), 1..50),
    ) {
        let content = [5; 300];
        let operations: Vec<_> = kinds.iter().map(|&(kind, bytes)| match kind {
            0 => get(b"key"),
            1 => put(b"key", &content[..bytes]),
            _ => Operation::Delete { key: Key::from(b"key") },
        }).collect();
        let out = group(&options, &operations);
        let (read_options, read_operations) = read(&body(&out)).unwrap();
        prop_assert_eq!(read_options, options);
        let expected: Vec<_> = operations.iter().map(|operation| format!("{operation:?}")).collect();
        prop_assert_eq!(read_operations, expected);
    }

    #[test]
    fn garbage_is_an_error_or_a_frame(tag in 13..=16_u8, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut tagged = vec![tag];
        tagged.extend(&bytes);
        let _ = read_answers(&tagged);
        if let Ok(control) = Control::decode(&tagged) {
            prop_assert_eq!(Control::decode(&control_body(&control)), Ok(control));
        }
    }
}

fn control_body(control: &Control) -> Vec<u8> {
    let mut out = SendBuffer::default();
    control.write(&mut out);
    body(&out)
}

fn server(id: u64) -> ServerStatus {
    ServerStatus {
        id,
        index: 3,
        address: "127.0.0.1:8081".into(),
        peer_address: "127.0.0.1:9081".into(),
        machine: u64::MAX,
        state: ServerState::Draining,
        heard_millis: Some(251),
        ops_per_sec: 5_000_000,
        records: 1 << 20,
        bytes: 1 << 33,
        leads: 5,
        holds: 16,
    }
}

fn cluster() -> ClusterStatus {
    let member = |id, role, behind| MemberStatus { id, role, behind };
    let members = vec![
        member(1, MemberRole::Voter, Some(0)),
        member(300, MemberRole::Learner, None),
    ];
    let group = GroupStatus {
        leader: Some(1),
        term: 7,
        members,
    };
    ClusterStatus {
        cluster: u128::MAX / 3,
        replicas: 3,
        missing: 1,
        directory: group.clone(),
        servers: vec![server(1)],
        partitions: vec![PartitionStatus {
            incarnation: 1,
            group,
        }],
    }
}

fn operator_frames() -> [Control; 6] {
    [
        Control::OperatorRequest(OperatorRequest::Status),
        Control::OperatorRequest(OperatorRequest::Transfer {
            partition: 300,
            to: 1 << 40,
        }),
        Control::OperatorAnswer(OperatorAnswer::status(cluster())),
        Control::OperatorAnswer(OperatorAnswer::Done),
        Control::OperatorAnswer(OperatorAnswer::Refused {
            reason: "no".into(),
        }),
        Control::OperatorAnswer(OperatorAnswer::NotHere {
            address: "a:1".into(),
        }),
    ]
}

#[test]
fn operators_frames() {
    let group = || (Some(1_u64), 7_u64, members());
    let members_of = group();
    let server = (
        (
            1_u64,
            3_u32,
            "127.0.0.1:8081",
            "127.0.0.1:9081",
            u64::MAX,
            2_u8,
        ),
        (
            Some(251_u64),
            5_000_000_u64,
            1_u64 << 20,
            1_u64 << 33,
            5_u32,
            16_u32,
        ),
    );
    let status = (
        (15_u8, 0_u8, u128::MAX / 3, 3_u32, 1_u32),
        members_of,
        vec![server],
        vec![(1_u64, group())],
    );
    let expected = [
        encoded((14_u8, 0_u8)),
        encoded((14_u8, 1_u8, 300_u32, 1_u64 << 40)),
        encoded(status),
        encoded((15_u8, 1_u8)),
        encoded((15_u8, 2_u8, "no")),
        encoded((15_u8, 3_u8, "a:1")),
    ];
    for (control, expected) in operator_frames().iter().zip(expected) {
        assert_eq!(control_body(control), expected, "{control:?}");
        assert_eq!(frame::kind(&expected), Ok(frame::Kind::Control));
        assert_eq!(Control::decode(&expected).as_ref(), Ok(control));
    }
}

fn members() -> Vec<(u64, u8, Option<u64>)> {
    vec![(1, 0, Some(0)), (300, 1, None)]
}

#[test]
fn a_status_that_cannot_be_is_refused() {
    let forge = |change: fn(&mut ClusterStatus)| {
        let mut forged = cluster();
        change(&mut forged);
        let answer = OperatorAnswer::Status(forged);
        Control::decode(&control_body(&Control::OperatorAnswer(answer)))
    };
    assert!(forge(|_| ()).is_ok());
    let faults: [fn(&mut ClusterStatus); 6] = [
        |status| status.servers = vec![server(1); SERVERS_MAX as usize + 1],
        |status| status.servers[0].index = SERVERS_MAX,
        |status| status.servers[0].address.clear(),
        |status| status.servers[0].peer_address = "a".repeat(ADDRESS_BYTES_MAX + 1),
        |status| status.partitions = vec![PartitionStatus::default(); PARTITIONS_MAX as usize + 1],
        |status| {
            let members = &mut status.directory.members;
            *members = vec![members[0]; MEMBERS_MAX + 1];
        },
    ];
    for fault in faults {
        assert_eq!(forge(fault), Err(Malformed::Control));
    }
    let long = OperatorAnswer::Refused {
        reason: "a".repeat(513),
    };
    let long = control_body(&Control::OperatorAnswer(long));
    assert_eq!(Control::decode(&long), Err(Malformed::Control));
}

#[test]
fn a_status_too_large_for_a_frame_is_told_as_such() {
    let mut large = cluster();
    large.partitions = vec![large.partitions[0].clone(); PARTITIONS_MAX as usize];
    let whole = OperatorAnswer::status(large.clone());
    let read = Control::decode(&control_body(&Control::OperatorAnswer(whole.clone())));
    assert!(
        read == Ok(Control::OperatorAnswer(whole)),
        "a large one is read"
    );
    large.servers = vec![
        ServerStatus {
            address: "a".repeat(ADDRESS_BYTES_MAX),
            peer_address: "a".repeat(ADDRESS_BYTES_MAX),
            ..server(u64::MAX)
        };
        SERVERS_MAX as usize
    ];
    for partition in &mut large.partitions {
        let member = partition.group.members[1];
        partition.group.members = vec![
            MemberStatus {
                behind: Some(u64::MAX),
                ..member
            };
            MEMBERS_MAX
        ];
    }
    let OperatorAnswer::Refused { reason } = OperatorAnswer::status(large) else {
        panic!("it does not fit");
    };
    assert!(
        reason.contains("1024 servers and 4096 partitions"),
        "{reason}"
    );
}

#[test]
fn every_truncation_is_an_error_and_no_flip_panics() {
    let put = put(b"k", b"value   12345678");
    let request = body(&group(&all_options(), &[put, get(b"k")]));
    let mut bodies = vec![request, body(&fresh_answer())];
    bodies.extend(operator_frames().iter().map(control_body));
    let read_any = |body: &[u8]| match frame::kind(body)? {
        frame::Kind::Control => Control::decode(body).map(drop),
        frame::Kind::Request => read(body).map(drop),
        frame::Kind::Answer => read_answers(body).map(drop),
    };
    for mut whole in bodies {
        read_any(&whole).unwrap();
        for end in 0..whole.len() {
            assert!(read_any(&whole[..end]).is_err(), "cut at {end}: {whole:?}");
        }
        for at in 0..whole.len() {
            for flip in 1..=255 {
                whole[at] ^= flip;
                let _ = read_any(&whole);
                whole[at] ^= flip;
            }
        }
        whole.push(0);
        assert!(read_any(&whole).is_err());
    }
}
