//! Gets from a cluster's records, on each engine.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::limits::{VALUE_BYTES_MAX, VERSION_BYTES};
use batchkv_cluster::versions::{Unversioned, split};
use batchkv_protocol::{
    Answer, AnswerFrame, AnswerWriter, Counters, Operation, Position, SendBuffer,
};
use batchkv_store::{Dashmap, Engine, Partitioned, Placed};

const POSITION: Position = Position {
    group: 0,
    operation: 0,
};

fn apply(engine: &impl Engine, out: &mut SendBuffer, operation: Operation<'_>) {
    let placed = Placed {
        position: POSITION,
        partition: 0,
        operation,
    };
    let mut writer = AnswerWriter::begin(out, 1);
    let mut answers = Unversioned(&mut writer);
    let applied = engine.apply(&[placed], &mut answers, &mut Counters::default());
    assert_eq!(applied, 1);
    writer.finish(true);
}

/// The one answer that waits in `out`, whole.
fn answer(out: &SendBuffer) -> Answer<'_> {
    let mut frame = AnswerFrame::parse(&out.pending()[4..]).unwrap();
    assert_eq!(frame.next_piece().unwrap().unwrap().answers, 1);
    let answer = frame.next_answer().unwrap().unwrap();
    assert_eq!(frame.next_piece(), Ok(None));
    answer
}

fn check(engine: &impl Engine) {
    let key = b"key".into();
    let lengths = (0..40).chain(240..270).chain([5_000, VALUE_BYTES_MAX]);
    for value_bytes in lengths {
        let value = vec![value_bytes as u8; value_bytes];
        let stored = [&value[..], &0x0102_0304_0506_0708_u64.to_le_bytes()].concat();
        let mut out = SendBuffer::default();
        let value_of_put = stored.as_slice();
        let put = Operation::Put {
            key,
            value: value_of_put,
        };
        apply(engine, &mut out, put);
        assert_eq!(answer(&out), Answer::Stored);

        let mut out = SendBuffer::default();
        apply(engine, &mut out, Operation::Get { key });
        assert_eq!(answer(&out), Answer::Value(&value));
    }
    let mut out = SendBuffer::default();
    apply(engine, &mut out, Operation::Get { key: b"no".into() });
    assert_eq!(answer(&out), Answer::Missing);
}

#[test]
fn answers_are_the_values_without_their_versions() {
    check(&Dashmap::new(1, None));
    check(&Partitioned::new(4, None));
}

#[test]
fn a_version_stands_behind_its_value() {
    let stored = [1, 2, 9, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(split(&stored), Some((&stored[..2], 9)));
    assert_eq!(split(&stored[2..]), Some((&[][..], 9)));
    assert_eq!(split(&[0; VERSION_BYTES - 1]), None);
}
