//! The protocol's own writer and reader, on one request of the standard job and on its answer.

use batchkv_protocol::{
    Answer, AnswerFrame, AnswerWriter, Operation, Position, ReceiveBuffer, RequestFrame, SendBuffer,
};

use crate::job::{OPERATIONS, Step, write_request};

/// Replaces what is in `out` by the frames of one request.
pub fn rewrite_request(steps: &[Step], out: &mut SendBuffer) {
    out.sent(out.pending().len());
    write_request(steps, out);
}

/// Hands every operation of the frames with these bodies to `take`.
pub fn read_request<'a>(bodies: &'a [Vec<u8>], mut take: impl FnMut(Operation<'a>)) {
    for body in bodies {
        let mut cursor = RequestFrame::parse(body).expect("our own frame").cursor();
        while cursor.next_group(body).expect("our own group").is_some() {
            while let Some(operation) = cursor.next_operation(body).expect("our own operation") {
                take(operation);
            }
        }
    }
}

/// The bodies of all frames in `out`.
#[must_use]
pub fn bodies(out: &SendBuffer) -> Vec<Vec<u8>> {
    let mut input = ReceiveBuffer::default();
    let mut left = out.pending();
    while !left.is_empty() {
        input.fill_from(&mut left);
    }
    let mut bodies = Vec::new();
    while let Some(body) = input.body().expect("our own frames") {
        bodies.push(body.to_vec());
        input.consume();
    }
    bodies
}

/// Replaces what is in `out` by the frames of an answer: a request's gets, each with `value`.
pub fn rewrite_answer(value: &[u8], out: &mut SendBuffer) {
    out.sent(out.pending().len());
    let mut writer = AnswerWriter::begin(out, 1);
    let mut at = 0;
    while at < OPERATIONS {
        let position = Position {
            group: (at / 32) as u32,
            operation: (at % 32) as u32,
        };
        if writer.answer(position, Answer::Value(value)) {
            at += 1;
        } else {
            writer.finish(false);
            writer = AnswerWriter::begin(out, 1);
        }
    }
    writer.finish(true);
}

/// Hands every answer of the frames with these bodies to `take`.
pub fn read_answer<'a>(bodies: &'a [Vec<u8>], mut take: impl FnMut(Answer<'a>)) {
    for body in bodies {
        let mut frame = AnswerFrame::parse(body).expect("our own frame");
        while frame.next_piece().expect("our own piece").is_some() {
            while let Some(answer) = frame.next_answer().expect("our own answer") {
                take(answer);
            }
        }
    }
}
