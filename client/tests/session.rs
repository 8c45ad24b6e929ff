//! The session on exact bytes, without a socket.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

mod recorder;

use batchkv_client::error::{AnswerError, Loss};
use batchkv_client::protocol::control::{FEATURE_REFERENCES, FEATURE_SERVER_TIME};
use batchkv_client::protocol::limits::{FRAME_BYTES, REQUESTS_UNANSWERED_MAX};
use batchkv_client::protocol::{
    Answer, AnswerWriter, Control, Counters, ErrorFrame, Malformed, Operation, Position,
    References, RequestFrame, Seen, SendBuffer, Status,
};
use batchkv_client::session::Session;
use proptest::prelude::*;
use recorder::{Recorder, answers, asked, control, fault, feed, lost, sent, timed_answer};
use std::time::Duration;

#[test]
fn the_servers_time_is_told_where_it_was_asked_for() {
    let told = Duration::from_micros(7);
    let mut session = Session::new(FEATURE_SERVER_TIME);
    let (recorder, log) = Recorder::gets(&[3]);
    session.enqueue(recorder);
    sent(&mut session);
    feed(&mut session, &timed_answer(0, told)).unwrap();
    assert_eq!(log.borrow().server_times, [told]);
    assert!(matches!(log.borrow().ended, Some(Ok(()))));

    for timed in [false, true] {
        let mut session = Session::new(if timed { FEATURE_SERVER_TIME } else { 0 });
        session.enqueue(Recorder::gets(&[3]).0);
        sent(&mut session);
        let other = match timed {
            true => answers(0, true, &[(0, 0, Answer::Missing)]),
            false => timed_answer(0, told),
        };
        let loss = feed(&mut session, &other);
        assert!(matches!(loss, Err(Loss::Unasked(_))), "{loss:?}");
    }
}

#[test]
fn a_reference_is_its_value_where_references_were_asked_for() {
    const BYTES: u64 = 100;
    let (mut out, mut seen) = (SendBuffer::default(), Seen::default());
    let mut writer = AnswerWriter::begin(&mut out, 0).referring(Some(&mut seen));
    for operation in 0..2 {
        let group = 0;
        let room = writer.value(Position { group, operation }, BYTES as usize);
        room.unwrap().fill(7);
        writer.refer(1);
    }
    writer.finish(true);

    let mut session = Session::new(FEATURE_REFERENCES);
    let (recorder, log) = Recorder::gets(&[3, 3]);
    session.enqueue(recorder);
    sent(&mut session);
    feed(&mut session, out.pending()).unwrap();
    let value = format!("{:?}", Answer::Value(&[7; BYTES as usize]));
    assert_eq!(log.borrow().answers, [[value.clone()], [value]]);
    let references = References {
        answers: 1,
        value_bytes: BYTES,
    };
    assert_eq!(session.references(), references);
    assert_eq!(session.answered().hits, 2);

    let mut session = Session::default();
    session.enqueue(Recorder::gets(&[3, 3]).0);
    sent(&mut session);
    let loss = feed(&mut session, out.pending());
    assert!(
        matches!(loss, Err(Loss::Unasked("a reference"))),
        "{loss:?}"
    );
}

const MISSING: Answer<'static> = Answer::Missing;

#[test]
fn a_request_is_written_as_these_bytes() {
    let mut session = Session::default();
    session.enqueue(Recorder::gets(&[3, 3, 5]).0);
    let group = |partition, operations: u8| {
        let mut bytes = vec![partition, 1, 0, operations, 0, 3 * operations, 0, 0];
        bytes.extend([0, 1, b'k'].repeat(operations.into()));
        bytes
    };
    let body = [vec![5, 0, 1, 2, 0], group(3, 2), group(5, 1)].concat();
    let frame = [(body.len() as u32).to_le_bytes().to_vec(), body].concat();
    assert_eq!(sent(&mut session), frame);
    assert_eq!(session.unanswered(), 1);
    assert!(session.is_waiting());
}

#[test]
fn groups_are_answered_in_any_order_and_in_pieces() {
    let (mut session, log) = asked();
    feed(&mut session, &answers(0, false, &[(1, 0, MISSING)])).unwrap();
    feed(
        &mut session,
        &answers(0, false, &[(0, 0, Answer::Value(b"v"))]),
    )
    .unwrap();
    assert!(log.borrow().ended.is_none());
    feed(&mut session, &answers(0, true, &[(0, 1, MISSING)])).unwrap();
    let log = log.borrow();
    assert_eq!(log.frames, [1, 1, 1]);
    assert_eq!(log.answers, [["Value([118])"], ["Missing"], ["Missing"]]);
    assert!(matches!(log.ended, Some(Ok(()))));
    assert!(session.is_idle());
    assert_eq!((session.answered().gets, session.answered().hits), (3, 1));
}

#[test]
fn what_answers_nothing_that_was_asked_is_refused() {
    let (id, group) = (0, 0);
    let both = [(0, 0, MISSING), (0, 1, MISSING)];
    let repeated = [both[0], both[1], (0, 0, MISSING)];
    assert_eq!(
        fault(&answers(0, false, &repeated)),
        AnswerError::Repeated {
            id,
            group,
            first: 0,
            expected: 2
        }
    );
    assert_eq!(
        fault(&answers(0, false, &both[1..])),
        AnswerError::Gap {
            id,
            group,
            first: 1,
            expected: 0
        }
    );
    let too_many = [both[0], both[1], (0, 2, MISSING)];
    assert_eq!(
        fault(&answers(0, false, &too_many)),
        AnswerError::TooMany {
            id,
            group,
            answers: 3,
            left: 2
        }
    );
    assert_eq!(
        fault(&answers(0, false, &[(2, 0, MISSING)])),
        AnswerError::Group {
            id,
            group: 2,
            groups: 2
        }
    );
    assert_eq!(
        fault(&answers(7, false, &both)),
        AnswerError::Request { id: 7 }
    );
    let stored = fault(&answers(0, false, &[(1, 0, Answer::Stored)]));
    assert_eq!(
        stored.to_string(),
        "operation 2 of request 0: a get was answered with \"stored\""
    );
}

#[test]
fn the_last_mark_stands_where_the_last_answer_is() {
    let early = fault(&answers(0, true, &[(1, 0, MISSING)]));
    assert_eq!(
        early.to_string(),
        "request 0 is marked as done with 2 operations unanswered"
    );
    let all = [(0, 0, MISSING), (0, 1, MISSING), (1, 0, MISSING)];
    let missing = fault(&answers(0, false, &all));
    assert_eq!(
        missing.to_string(),
        "request 0 is not marked as done with 0 operations unanswered"
    );
}

#[test]
fn a_late_answer_is_not_taken_for_that_of_a_later_request() {
    let mut session = Session::default();
    let answer = |id| answers(id, true, &[(0, 0, MISSING)]);
    for id in [0, REQUESTS_UNANSWERED_MAX as u64] {
        session.enqueue(Recorder::gets(&[1]).0);
        sent(&mut session);
        let late = feed(&mut session, &answer(id + 1));
        assert!(matches!(
            late,
            Err(Loss::Answer(AnswerError::Request { .. }))
        ));
        feed(&mut session, &answer(id)).unwrap();
        let again = feed(&mut session, &answer(id));
        assert!(matches!(
            again,
            Err(Loss::Answer(AnswerError::Request { .. }))
        ));
    }
}

#[test]
fn answers_count_up_to_the_fault() {
    let (mut session, log) = asked();
    let bytes = answers(0, false, &[(0, 0, MISSING), (1, 0, Answer::Stored)]);
    feed(&mut session, &bytes).unwrap_err();
    lost(&mut session);
    assert_eq!(session.answered().gets, 1);
    let log = log.borrow();
    let Some(Err(end)) = &log.ended else {
        panic!("expected a loss, got {log:?}");
    };
    assert_eq!((end.sent, end.answered, end.unknown()), (3, 1, 2));
}

#[test]
fn a_frame_that_is_cut_or_too_long_inside_is_malformed() {
    let whole = answers(0, false, &[(0, 0, Answer::Value(b"value"))]);
    for body_bytes in 1..whole.len() - 4 {
        let mut cut = whole[..4 + body_bytes].to_vec();
        cut[..4].copy_from_slice(&(body_bytes as u32).to_le_bytes());
        let error = feed(&mut asked().0, &cut).unwrap_err();
        assert!(matches!(error, Loss::Malformed(_)), "{error:?}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    longer[0] += 1;
    let error = feed(&mut asked().0, &longer).unwrap_err();
    assert!(
        matches!(error, Loss::Malformed(Malformed::Trailing(1))),
        "{error:?}"
    );
    let (mut session, log) = asked();
    feed(&mut session, &whole[..whole.len() - 1]).unwrap();
    assert!(log.borrow().frames.is_empty(), "an incomplete frame waits");
}

#[test]
fn an_oversize_frame_has_one_answer() {
    let value = vec![1; FRAME_BYTES];
    let (mut session, _log) = asked();
    feed(
        &mut session,
        &answers(0, false, &[(0, 0, Answer::Value(&value))]),
    )
    .unwrap();
    // By hand: no writer makes such a frame.
    let mut body = vec![6, 0, 0, 1, 0, 0, 0, 2, 0, 0, 252];
    body.extend((FRAME_BYTES as u32).to_le_bytes());
    body.extend(&value);
    body.push(1);
    let bytes = [(body.len() as u32).to_le_bytes().to_vec(), body].concat();
    let oversize = AnswerError::Oversize { id: 0, answers: 2 };
    assert_eq!(fault(&bytes), oversize);
}

#[test]
fn the_servers_error_comes_with_its_text() {
    let text = "too many frames".to_owned();
    let bytes = control(&Control::Error(ErrorFrame { text }));
    let error = feed(&mut asked().0, &bytes).unwrap_err();
    assert_eq!(error.to_string(), "the server says: too many frames");
}

#[test]
fn counters_are_asked_for_behind_the_last_answer() {
    let counters = Counters {
        gets: 3,
        ..Counters::default()
    };
    let (mut session, _log) = asked();
    session.ask_counters();
    assert!(sent(&mut session).is_empty());
    let unasked = feed(&mut session, &control(&Control::Counters(counters)));
    assert!(matches!(unasked, Err(Loss::Unasked("counters"))));
    let all = [(0, 0, MISSING), (0, 1, MISSING), (1, 0, MISSING)];
    feed(&mut session, &answers(0, true, &all)).unwrap();
    assert_eq!(sent(&mut session), control(&Control::CountersRequest));
    assert!(session.is_waiting());
    assert_eq!(session.served(), None);
    feed(&mut session, &control(&Control::Counters(counters))).unwrap();
    assert_eq!(session.served(), Some(counters));
    assert_eq!(session.answered(), counters);
    assert!(sent(&mut session).is_empty(), "asked once");
}

#[test]
fn statuses_come_in_the_order_in_which_they_were_asked_for() {
    let status = |machine| Status {
        machine,
        ..Status::default()
    };
    let told = |machine| control(&Control::Status(status(machine)));
    let (mut session, _log) = asked();
    session.ask_status();
    session.ask_status();
    let question = control(&Control::StatusRequest);
    assert_eq!(sent(&mut session), [question.clone(), question].concat());
    feed(&mut session, &[told(1), told(2)].concat()).unwrap();
    assert_eq!(session.take_status(), Some(status(1)));
    assert_eq!(session.take_status(), Some(status(2)));
    assert_eq!(session.take_status(), None);
    let unasked = feed(&mut session, &told(3));
    assert!(matches!(unasked, Err(Loss::Unasked("a status"))));
}

#[test]
fn frames_that_only_clients_send_are_refused() {
    let request = {
        let mut session = Session::default();
        session.enqueue(Recorder::gets(&[1]).0);
        sent(&mut session)
    };
    let questions = [Control::CountersRequest, Control::StatusRequest].map(|asked| control(&asked));
    for bytes in [[request].as_slice(), &questions].concat() {
        let error = feed(&mut asked().0, &bytes).unwrap_err();
        assert!(matches!(error, Loss::Unasked(_)), "{error:?}");
    }
}

#[test]
fn a_long_request_is_cut_into_frames_and_its_groups_counted_over_all() {
    let mut session = Session::default();
    let puts = vec![(9, Some(vec![1; 7_000])); 5];
    let (recorder, log) = Recorder::new(puts);
    session.enqueue(recorder);
    let mut out = SendBuffer::default();
    let mut frames = Vec::new();
    loop {
        session.produce(&mut out, 1);
        let Some((_, body)) = out.pending().split_at_checked(4) else {
            break;
        };
        let frame = RequestFrame::parse(body).unwrap();
        let mut cursor = frame.cursor();
        let group = cursor.next_group(body).unwrap().unwrap();
        frames.push((group.operations, frame.last));
        while let Some(operation) = cursor.next_operation(body).unwrap() {
            assert!(matches!(operation, Operation::Put { .. }));
        }
        assert!(cursor.next_group(body).unwrap().is_none());
        out.sent(out.pending().len());
    }
    assert_eq!(frames, [(2, false), (2, false), (1, true)]);
    let positions = [(2, 0), (0, 0), (0, 1), (1, 0), (1, 1)];
    let stored = positions.map(|(group, operation)| (group, operation, Answer::Stored));
    feed(&mut session, &answers(0, true, &stored)).unwrap();
    assert!(log.borrow().answers.iter().all(|got| got == &["Stored"]));
}

#[test]
fn a_loss_tells_not_sent_from_unknown() {
    let mut session = Session::default();
    let (answered_in_part, first) = Recorder::gets(&[1, 2]);
    let (written_in_part, second) = Recorder::new(vec![(9, Some(vec![1; 40_000])); 3]);
    let (queued, third) = Recorder::gets(&[1, 2]);
    session.enqueue(answered_in_part);
    sent(&mut session);
    feed(&mut session, &answers(0, false, &[(1, 0, MISSING)])).unwrap();
    session.enqueue(written_in_part);
    session.enqueue(queued);
    session.produce(&mut SendBuffer::default(), 1);
    lost(&mut session);
    let known = [first, second, third].map(|log| {
        let log = log.borrow();
        let Some(Err(end)) = &log.ended else {
            panic!("expected a loss, got {log:?}");
        };
        (end.sent, end.answered)
    });
    assert_eq!(known, [(2, 1), (1, 0), (0, 0)]);
    assert!(session.is_idle());
}

#[test]
fn no_more_requests_are_unanswered_than_allowed() {
    let mut session = Session::default();
    for _ in 0..=REQUESTS_UNANSWERED_MAX {
        session.enqueue(Recorder::gets(&[1]).0);
    }
    sent(&mut session);
    assert_eq!(session.unanswered(), REQUESTS_UNANSWERED_MAX);
    assert!(sent(&mut session).is_empty());
    feed(&mut session, &answers(17, true, &[(0, 0, MISSING)])).unwrap();
    assert!(!sent(&mut session).is_empty());
    assert_eq!(session.unanswered(), REQUESTS_UNANSWERED_MAX);
}

proptest! {
    /// Groups in any order and interleaving, in order within each: every operation is answered
    /// once. Any answer more is refused.
    #[test]
    fn any_honest_order_is_taken_and_no_answer_more(
        groups in prop::collection::vec(1..5_u32, 1..8),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 40),
        extra in any::<prop::sample::Index>(),
        cut in 1..6_usize,
    ) {
        let partitions: Vec<u32> = (0..)
            .zip(&groups)
            .flat_map(|(group, &operations)| vec![group; operations as usize])
            .collect();
        let mut session = Session::default();
        let (recorder, log) = Recorder::gets(&partitions);
        session.enqueue(recorder);
        sent(&mut session);
        let mut next = vec![0; groups.len()];
        let mut order = Vec::new();
        for pick in picks {
            let open: Vec<usize> = (0..groups.len()).filter(|&g| next[g] < groups[g]).collect();
            let Some(&group) = open.get(pick.index(open.len().max(1))) else { break };
            order.push((group as u32, next[group], MISSING));
            next[group] += 1;
        }
        let doubled = order[extra.index(order.len())];
        let at_end = extra.index(2) == 0;
        for (number, frame) in order.chunks(cut).enumerate() {
            let last = (number + 1) * cut >= order.len();
            if last && at_end {
                let more = [frame, &[doubled]].concat();
                prop_assert!(feed(&mut session, &answers(0, true, &more)).is_err());
                return Ok(());
            }
            feed(&mut session, &answers(0, last, frame)).unwrap();
        }
        prop_assert!(log.borrow().answers.iter().all(|got| got.len() == 1));
        prop_assert!(matches!(log.borrow().ended, Some(Ok(()))));
        prop_assert!(feed(&mut session, &answers(0, true, &[doubled])).is_err());
    }
}
