//! The bytes on the wire are bincode's: each frame's body is compared with what the bincode crate
//! makes of the same value, spelled out here as plain types.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

use batchkv_protocol::limits::REQUEST_FRAME_BYTES;
use batchkv_protocol::map::Ownership;
use batchkv_protocol::{
    Answer, AnswerWriter, ClientHello, Control, Counters, ErrorFrame, Position, Refusal,
    RequestWriter, Seen, SendBuffer, ServerHello, ServerLimits, Status,
};
use bincode::enc::Encoder;
use bincode::error::EncodeError;
use bincode::{Encode, config};
use std::time::Duration;

/// A sequence whose length stands elsewhere: its items, one after the other.
struct Bare<T>(Vec<T>);

impl<T: Encode> Encode for Bare<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.iter().try_for_each(|item| item.encode(encoder))
    }
}

#[derive(Encode)]
#[allow(
    dead_code,
    reason = "all variants stand here so that the tags are right"
)]
enum Frame {
    ClientHello {
        magic: [u8; 4],
        version_min: u16,
        version_max: u16,
        features: u64,
        client_id: [u8; 16],
    },
    ServerHello {
        magic: [u8; 4],
        version: u16,
        features: u64,
        server_index: u32,
        threads: u32,
        limits: (u32, u32, u32, u32),
        map_fingerprint: u64,
        partitions: Vec<(u32, u64)>,
    },
    CountersRequest,
    Counters(u64, u64, u64, u64, u64, u64),
    Error {
        text: String,
    },
    Request {
        id: u64,
        last: bool,
        groups: [u8; 2],
        groups_items: Bare<Group>,
    },
    Answer {
        id: u64,
        last: bool,
        pieces: [u8; 2],
        pieces_items: Bare<Piece>,
    },
    StatusRequest,
    Status {
        unix_nanos: u64,
        machine: u64,
        threads_cpu_micros: Vec<u64>,
    },
    TimedAnswer {
        id: u64,
        last: bool,
        pieces: [u8; 2],
        server_nanos: [u8; 8],
        pieces_items: Bare<Piece>,
    },
}

#[derive(Encode)]
struct Group {
    partition: u32,
    epoch: u64,
    flags: u8,
    operations: [u8; 2],
    length: [u8; 3],
    items: Bare<Operation>,
}

#[derive(Encode)]
enum Operation {
    Get { key: Vec<u8> },
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
}

#[derive(Encode)]
struct Piece {
    group: u32,
    first: u32,
    answers: [u8; 2],
    items: Bare<AnswerItem>,
}

#[derive(Encode)]
enum AnswerItem {
    Value(Vec<u8>),
    Missing,
    Stored,
    Deleted { existed: bool },
    Refused(u8),
    WrongOwner { owner: u32, epoch: u64 },
    Reference { distance: u32 },
}

fn assert_same(out: &SendBuffer, oracle: &Frame) {
    let body = bincode::encode_to_vec(oracle, config::standard()).unwrap();
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend(body);
    assert_eq!(out.pending(), frame);
}

#[test]
fn a_clients_hello() {
    let mut out = SendBuffer::default();
    let hello = ClientHello {
        magic: *b"bkv1",
        version_min: 1,
        version_max: 300,
        features: u64::MAX,
        client_id: [7; 16],
    };
    Control::ClientHello(hello).write(&mut out);
    let oracle = Frame::ClientHello {
        magic: *b"bkv1",
        version_min: 1,
        version_max: 300,
        features: u64::MAX,
        client_id: [7; 16],
    };
    assert_same(&out, &oracle);
}

#[test]
fn a_servers_hello() {
    let mut out = SendBuffer::default();
    Control::ServerHello(ServerHello {
        magic: *b"bkv1",
        version: 1,
        features: 1 << 40,
        server_index: 251,
        threads: 16,
        limits: ServerLimits {
            key_bytes: 65_535,
            value_bytes: 1 << 20,
            operations_per_request: 65_536,
            frame_bytes: 9,
        },
        map_fingerprint: 250,
        partitions: vec![
            Ownership { owner: 0, epoch: 1 },
            Ownership {
                owner: 70_000,
                epoch: 1 << 33,
            },
        ],
    })
    .write(&mut out);
    let oracle = Frame::ServerHello {
        magic: *b"bkv1",
        version: 1,
        features: 1 << 40,
        server_index: 251,
        threads: 16,
        limits: (65_535, 1 << 20, 65_536, 9),
        map_fingerprint: 250,
        partitions: vec![(0, 1), (70_000, 1 << 33)],
    };
    assert_same(&out, &oracle);
}

#[test]
fn a_server_s_status() {
    let mut out = SendBuffer::default();
    Control::StatusRequest.write(&mut out);
    assert_same(&out, &Frame::StatusRequest);

    let mut out = SendBuffer::default();
    Control::Status(Status {
        unix_nanos: 1 << 60,
        machine: u64::MAX,
        threads_cpu_micros: vec![0, 251, 1 << 40],
    })
    .write(&mut out);
    let oracle = Frame::Status {
        unix_nanos: 1 << 60,
        machine: u64::MAX,
        threads_cpu_micros: vec![0, 251, 1 << 40],
    };
    assert_same(&out, &oracle);
}

#[test]
fn counters_and_errors() {
    let mut out = SendBuffer::default();
    Control::CountersRequest.write(&mut out);
    assert_same(&out, &Frame::CountersRequest);

    let mut out = SendBuffer::default();
    let counters = Counters {
        gets: 1,
        hits: 251,
        puts: 65_536,
        deletes: 1 << 32,
        refused: 0,
        wrong_owner: 250,
    };
    Control::Counters(counters).write(&mut out);
    assert_same(&out, &Frame::Counters(1, 251, 65_536, 1 << 32, 0, 250));

    let mut out = SendBuffer::default();
    Control::Error(ErrorFrame {
        text: "so \u{e4}h".to_owned(),
    })
    .write(&mut out);
    assert_same(
        &out,
        &Frame::Error {
            text: "so \u{e4}h".to_owned(),
        },
    );
}

#[test]
fn requests() {
    let mut out = SendBuffer::default();
    let mut writer = RequestWriter::begin(&mut out, 300);
    assert!(writer.get(3, 1, b"key"));
    writer.put(3, 1, b"k2", 300).unwrap().fill(9);
    assert!(writer.delete(4000, 1 << 20, &[5; 251]));
    assert_eq!(writer.groups(), 2);
    writer.finish(true);

    let first = vec![
        Operation::Get {
            key: b"key".to_vec(),
        },
        Operation::Put {
            key: b"k2".to_vec(),
            value: vec![9; 300],
        },
    ];
    let second = vec![Operation::Delete { key: vec![5; 251] }];
    let group = |partition, epoch, items: Vec<Operation>, length: u32| Group {
        partition,
        epoch,
        flags: 0,
        operations: (items.len() as u16).to_le_bytes(),
        length: length.to_le_bytes()[..3].try_into().unwrap(),
        items: Bare(items),
    };
    let groups = vec![
        group(3, 1, first, 5 + 4 + 303),
        group(4000, 1 << 20, second, 1 + 3 + 251),
    ];
    let oracle = Frame::Request {
        id: 300,
        last: true,
        groups: 2_u16.to_le_bytes(),
        groups_items: Bare(groups),
    };
    assert_same(&out, &oracle);
}

#[test]
fn answers_that_refer_back() {
    let (mut out, mut seen) = (SendBuffer::default(), Seen::default());
    let mut writer = AnswerWriter::begin(&mut out, 5).referring(Some(&mut seen));
    for (operation, byte) in [1, 2, 1, 1].into_iter().enumerate() {
        let position = Position {
            group: 0,
            operation: operation as u32,
        };
        writer.value(position, 200).unwrap().fill(byte);
        writer.refer(byte.into());
    }
    writer.finish(true);

    // A value's answer is its tag, its length and 200 bytes; a reference is its tag and a distance.
    let items = vec![
        AnswerItem::Value(vec![1; 200]),
        AnswerItem::Value(vec![2; 200]),
        AnswerItem::Reference { distance: 2 * 202 },
        AnswerItem::Reference {
            distance: 2 * 202 + 4,
        },
    ];
    let oracle = Frame::Answer {
        id: 5,
        last: true,
        pieces: 1_u16.to_le_bytes(),
        pieces_items: Bare(vec![Piece {
            group: 0,
            first: 0,
            answers: 4_u16.to_le_bytes(),
            items: Bare(items),
        }]),
    };
    assert_same(&out, &oracle);
}

#[test]
fn answers() {
    let mut out = SendBuffer::default();
    let mut writer = AnswerWriter::begin(&mut out, 5);
    let at = |group, operation| Position { group, operation };
    assert!(writer.answer(at(0, 0), Answer::Value(b"value")));
    writer.value(at(0, 1), 1000).unwrap().fill(1);
    assert!(writer.answer(at(0, 2), Answer::Missing));
    assert!(writer.answer(at(300, 17), Answer::Stored));
    assert!(writer.answer(at(300, 18), Answer::Deleted { existed: true }));
    let mark = writer.mark();
    assert!(writer.answer(at(301, 0), Answer::Stored));
    writer.rewind(mark);
    assert!(writer.answer(at(300, 19), Answer::Refused(Refusal::UnknownFlag)));
    assert!(writer.answer(
        at(300, 20),
        Answer::WrongOwner(Ownership {
            owner: 3,
            epoch: 1000
        })
    ));
    writer.finish(false);

    let first = vec![
        AnswerItem::Value(b"value".to_vec()),
        AnswerItem::Value(vec![1; 1000]),
        AnswerItem::Missing,
    ];
    let second = vec![
        AnswerItem::Stored,
        AnswerItem::Deleted { existed: true },
        AnswerItem::Refused(1),
        AnswerItem::WrongOwner {
            owner: 3,
            epoch: 1000,
        },
    ];
    let piece = |group, first, items: Vec<AnswerItem>| Piece {
        group,
        first,
        answers: (items.len() as u16).to_le_bytes(),
        items: Bare(items),
    };
    let pieces = vec![piece(0, 0, first), piece(300, 17, second)];
    let oracle = Frame::Answer {
        id: 5,
        last: false,
        pieces: 2_u16.to_le_bytes(),
        pieces_items: Bare(pieces),
    };
    assert_same(&out, &oracle);
}

#[test]
fn answers_that_tell_the_servers_time() {
    let mut out = SendBuffer::default();
    let mut writer = AnswerWriter::begin(&mut out, 300).timed();
    let first = Position {
        group: 7,
        operation: 0,
    };
    assert!(writer.answer(first, Answer::Stored));
    writer.took(Duration::from_nanos(1 << 40));
    writer.finish(true);
    let piece = Piece {
        group: 7,
        first: 0,
        answers: 1_u16.to_le_bytes(),
        items: Bare(vec![AnswerItem::Stored]),
    };
    let oracle = Frame::TimedAnswer {
        id: 300,
        last: true,
        pieces: 1_u16.to_le_bytes(),
        server_nanos: (1_u64 << 40).to_le_bytes(),
        pieces_items: Bare(vec![piece]),
    };
    assert_same(&out, &oracle);
}

#[test]
fn framing_keeps_its_budget() {
    const OPERATIONS: usize = 8192;
    const PARTITIONS: usize = 256;
    let mut out = SendBuffer::default();
    let (mut frames, mut groups) = (1, 0);
    let mut writer = RequestWriter::begin(&mut out, 1);
    for operation in 0..OPERATIONS {
        let partition = (operation * PARTITIONS / OPERATIONS) as u32;
        if !writer.get(partition, 1, b"abc") {
            frames += 1;
            groups += writer.groups();
            writer.finish(false);
            writer = RequestWriter::begin(&mut out, 1);
            assert!(writer.get(partition, 1, b"abc"));
        }
    }
    groups += writer.groups();
    writer.finish(true);
    let bytes = out.pending().len();
    assert!(bytes <= frames * REQUEST_FRAME_BYTES);
    assert!(
        bytes <= OPERATIONS * (3 + 2) + groups * 8 + frames * 32,
        "{bytes} in {groups} groups and {frames} frames"
    );
    assert!(
        groups < PARTITIONS + frames,
        "only a frame's end cuts a group"
    );
}
