//! Messages cut into frames: pure.
//!
//! ```text
//! frame := length u32 | to u64 | lane u8 | rest u32 | bytes        integers are little-endian
//! ```
//!
//! `length` counts what follows it; `rest` is what the message still has after this frame. Frames of one
//! lane are the pieces of one message until `rest` is 0; frames of other lanes may stand between them.
//! A frame for another node id than the receiver's ends the connection: an address that a dead node had may
//! be another node's by now.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::{FRAME_BYTES, LANE_BYTES_MAX, MESSAGE_BYTES_MAX, SMALL_LANE_BYTES_MAX};
use crate::transport::{Lane, Unsent};

/// What stands before a frame's bytes, without its length.
const HEAD: usize = 8 + 1 + 4;
/// What a message takes beside its bytes, so that many small ones are bounded too.
const MESSAGE_OVERHEAD: usize = 64;
const LANES: [Lane; 3] = [Lane::Urgent, Lane::Entries, Lane::Snapshot];

/// Why a connection's bytes cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a frame of {0} bytes, where {HEAD} to {max} are allowed", max = FRAME_BYTES + HEAD)]
    Length(u32),
    #[error("a frame for node {0}, which is another")]
    Target(u64),
    #[error("a frame of unknown lane {0}")]
    Lane(u8),
    #[error("a message that is too long, or whose pieces do not fit together")]
    Message,
}

/// Messages that wait for one connection, in bounded lanes.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lanes: [Waiting; 3],
    /// Whose turn it is among the lanes that are not urgent.
    turn: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// What of the first message is on its way.
    sent: usize,
}

impl Outbox {
    /// Takes a message, unless its lane is full.
    pub(crate) fn push(&mut self, lane: Lane, message: Bytes) -> Result<(), Unsent> {
        let max = match lane {
            Lane::Entries => LANE_BYTES_MAX,
            Lane::Urgent | Lane::Snapshot => SMALL_LANE_BYTES_MAX,
        };
        let waiting = &mut self.lanes[lane as usize];
        let bytes = waiting.bytes + message.len() + MESSAGE_OVERHEAD;
        if bytes > max || message.len() > MESSAGE_BYTES_MAX {
            return Err(Unsent);
        }
        waiting.bytes = bytes;
        waiting.messages.push_back(message);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.messages.is_empty())
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.lanes = Default::default();
    }

    /// A new connection begins: messages that were half sent over another begin again.
    pub(crate) fn restart(&mut self) {
        for lane in &mut self.lanes {
            lane.sent = 0;
        }
    }

    /// Writes the next frames for node `to`, about [`FRAME_BYTES`] at most: urgent ones first, the other
    /// lanes in turns.
    pub(crate) fn fill(&mut self, to: u64, out: &mut BytesMut) {
        while out.len() + HEAD < FRAME_BYTES
            && let Some(lane) = self.next_lane()
        {
            let room = FRAME_BYTES - out.len() - HEAD;
            self.lanes[lane].write(to, lane, room, out);
        }
    }

    fn next_lane(&mut self) -> Option<usize> {
        let filled = |lane: &usize| !self.lanes[*lane].messages.is_empty();
        if filled(&0) {
            return Some(0);
        }
        self.turn = 1 - self.turn;
        [1 + self.turn, 2 - self.turn].into_iter().find(filled)
    }
}

impl Waiting {
    fn write(&mut self, to: u64, lane: usize, room: usize, out: &mut BytesMut) {
        let Some(message) = self.messages.front() else {
            return;
        };
        let end = message.len().min(self.sent + room);
        let piece = &message[self.sent..end];
        out.put_u32_le((HEAD + piece.len()) as u32);
        out.put_u64_le(to);
        out.put_u8(lane as u8);
        out.put_u32_le((message.len() - end) as u32);
        out.put_slice(piece);
        self.sent = end;
        if end == message.len() {
            self.bytes -= end + MESSAGE_OVERHEAD;
            self.sent = 0;
            self.messages.pop_front();
        }
    }
}

/// Puts the frames of one connection together again.
#[derive(Debug)]
pub(crate) struct Inbox {
    node: u64,
    partial: [Option<(BytesMut, usize)>; 3],
}

impl Inbox {
    /// For frames that are meant for `node`.
    pub(crate) fn new(node: u64) -> Self {
        Self {
            node,
            partial: [None, None, None],
        }
    }

    /// The next whole message in `bytes`; `None` when more bytes are needed. Each message has memory of its
    /// own, since parts of it may stay for long.
    pub(crate) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
        while let Some((lane, rest, piece)) = self.frame(bytes)? {
            if let Some(message) = self.add(lane, rest, &piece)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn frame(&self, bytes: &mut BytesMut) -> Result<Option<(Lane, usize, BytesMut)>, Broken> {
        let Some(mut head) = bytes.get(..4) else {
            return Ok(None);
        };
        let length = head.get_u32_le();
        if !(HEAD..=FRAME_BYTES + HEAD).contains(&(length as usize)) {
            return Err(Broken::Length(length));
        }
        if bytes.len() < 4 + length as usize {
            return Ok(None);
        }
        bytes.advance(4);
        let mut frame = bytes.split_to(length as usize);
        let to = frame.get_u64_le();
        if to != self.node {
            return Err(Broken::Target(to));
        }
        let lane = frame.get_u8();
        let lane = *LANES.get(usize::from(lane)).ok_or(Broken::Lane(lane))?;
        Ok(Some((lane, frame.get_u32_le() as usize, frame)))
    }

    fn add(&mut self, lane: Lane, rest: usize, piece: &[u8]) -> Result<Option<Bytes>, Broken> {
        let slot = &mut self.partial[lane as usize];
        let (mut message, missing) = match slot.take() {
            Some(begun) => begun,
            None if piece.len() + rest > MESSAGE_BYTES_MAX => return Err(Broken::Message),
            None => {
                let whole = piece.len() + rest;
                (BytesMut::with_capacity(whole), whole)
            }
        };
        if piece.len() + rest != missing {
            return Err(Broken::Message);
        }
        message.put_slice(piece);
        if rest == 0 {
            return Ok(Some(message.freeze()));
        }
        *slot = Some((message, rest));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{Broken, HEAD, Inbox, Outbox};
    use crate::limits::{FRAME_BYTES, LANE_BYTES_MAX, MESSAGE_BYTES_MAX};
    use crate::transport::Lane;
    use bytes::{Buf, Bytes, BytesMut};
    use proptest::prelude::*;

    fn all(outbox: &mut Outbox, to: u64) -> Vec<u8> {
        let mut stream = Vec::new();
        while !outbox.is_empty() {
            let mut batch = BytesMut::new();
            outbox.fill(to, &mut batch);
            assert!(batch.len() <= FRAME_BYTES + 4 * 8 + HEAD, "{}", batch.len());
            stream.extend_from_slice(&batch);
        }
        stream
    }

    fn read(inbox: &mut Inbox, stream: &[u8], step: usize) -> Result<Vec<Bytes>, Broken> {
        let (mut bytes, mut messages) = (BytesMut::new(), Vec::new());
        for part in stream.chunks(step.max(1)) {
            bytes.extend_from_slice(part);
            while let Some(message) = inbox.next(&mut bytes)? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    fn lane() -> impl Strategy<Value = Lane> {
        prop::sample::select(vec![Lane::Urgent, Lane::Entries, Lane::Snapshot])
    }

    proptest! {
        #[test]
        fn what_is_cut_is_put_together_in_order_of_its_lane(
            messages in prop::collection::vec((lane(), 0_usize..200_000), 1..12),
            step in 1_usize..100_000,
        ) {
            let mut outbox = Outbox::default();
            let mut sent = [Vec::new(), Vec::new(), Vec::new()];
            for (number, (lane, bytes)) in messages.into_iter().enumerate() {
                let message = Bytes::from(vec![number as u8; bytes]);
                if outbox.push(lane, message.clone()).is_ok() {
                    sent[lane as usize].push(message);
                }
            }
            let stream = all(&mut outbox, 5);
            let mut got = read(&mut Inbox::new(5), &stream, step).expect("just written");
            let count: usize = sent.iter().map(Vec::len).sum();
            prop_assert_eq!(got.len(), count);
            for lane in sent {
                for message in lane {
                    let place = got.iter().position(|it| *it == message);
                    prop_assert!(place.is_some());
                    got.remove(place.expect("just seen"));
                }
            }
        }

        #[test]
        fn noise_is_refused_or_waits_for_more_and_never_panics(
            noise in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _either = read(&mut Inbox::new(5), &noise, 7);
        }

        #[test]
        fn a_cut_stream_yields_only_whole_messages(end in any::<prop::sample::Index>()) {
            let mut outbox = Outbox::default();
            let message = Bytes::from(vec![7; 150_000]);
            outbox.push(Lane::Entries, message.clone()).expect("room");
            outbox.push(Lane::Entries, message.clone()).expect("room");
            let stream = all(&mut outbox, 5);
            let got = read(&mut Inbox::new(5), &stream[..end.index(stream.len())], 999).expect("a prefix");
            prop_assert!(got.len() < 2);
            prop_assert!(got.iter().all(|it| *it == message));
        }
    }

    #[test]
    fn an_urgent_message_waits_for_one_frame_at_most() {
        let mut outbox = Outbox::default();
        outbox
            .push(Lane::Entries, Bytes::from(vec![1; 1 << 20]))
            .expect("room");
        let mut batch = BytesMut::new();
        outbox.fill(5, &mut batch);
        outbox
            .push(Lane::Urgent, Bytes::from_static(b"beat"))
            .expect("room");
        let mut next = BytesMut::new();
        outbox.fill(5, &mut next);
        assert_eq!(next[4 + HEAD..4 + HEAD + 4], *b"beat");
    }

    #[test]
    fn entries_and_chunks_take_turns() {
        let mut outbox = Outbox::default();
        outbox
            .push(Lane::Entries, Bytes::from(vec![1; 1 << 20]))
            .expect("room");
        outbox
            .push(Lane::Snapshot, Bytes::from(vec![2; 60_000]))
            .expect("room");
        let mut lanes = Vec::new();
        for _ in 0..3 {
            let mut batch = BytesMut::new();
            outbox.fill(5, &mut batch);
            batch.advance(4 + 8);
            lanes.push(batch.get_u8());
        }
        assert!(lanes.contains(&1) && lanes.contains(&2), "{lanes:?}");
    }

    #[test]
    fn a_lane_is_bounded_and_others_are_not_held_up() {
        let mut outbox = Outbox::default();
        let megabyte = Bytes::from(vec![0; 1 << 20]);
        let taken = (0..100).filter(|_| outbox.push(Lane::Entries, megabyte.clone()).is_ok());
        assert_eq!(taken.count(), (LANE_BYTES_MAX >> 20) - 1);
        assert!(
            outbox
                .push(Lane::Urgent, Bytes::from_static(b"beat"))
                .is_ok()
        );
    }

    #[test]
    fn a_half_sent_message_begins_again_on_a_new_connection() {
        let mut outbox = Outbox::default();
        let message = Bytes::from(vec![3; 200_000]);
        outbox.push(Lane::Entries, message.clone()).expect("room");
        outbox.fill(5, &mut BytesMut::new());
        outbox.restart();
        let stream = all(&mut outbox, 5);
        assert_eq!(read(&mut Inbox::new(5), &stream, 4_096), Ok(vec![message]));
    }

    #[test]
    fn frames_that_break_the_rules_are_named() {
        let frame = |length: u32, to: u64, lane: u8, rest: u32, bytes: &[u8]| {
            let mut frame = length.to_le_bytes().to_vec();
            frame.extend(to.to_le_bytes());
            frame.push(lane);
            frame.extend(rest.to_le_bytes());
            frame.extend(bytes);
            frame
        };
        let refused = |stream: &[u8]| read(&mut Inbox::new(5), stream, 1 << 20).err();
        let head = HEAD as u32;
        assert_eq!(refused(&frame(3, 5, 0, 0, b"")), Some(Broken::Length(3)));
        assert_eq!(
            refused(&frame(u32::MAX, 5, 0, 0, b"")),
            Some(Broken::Length(u32::MAX))
        );
        assert_eq!(refused(&frame(head, 6, 0, 0, b"")), Some(Broken::Target(6)));
        assert_eq!(refused(&frame(head, 5, 3, 0, b"")), Some(Broken::Lane(3)));
        let long = MESSAGE_BYTES_MAX as u32 + 1;
        assert_eq!(
            refused(&frame(head, 5, 0, long, b"")),
            Some(Broken::Message)
        );
        let mut misfit = frame(head + 1, 5, 0, 9, b"x");
        misfit.extend(frame(head + 1, 5, 0, 3, b"x"));
        assert_eq!(refused(&misfit), Some(Broken::Message));
    }
}
