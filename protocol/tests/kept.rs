//! Answers that are kept first become the frames that they would have been at once.

#![allow(clippy::unwrap_used)] // a test stops at the first thing that fails

use batchkv_protocol::{
    Answer, AnswerWriter, Answers, KeptAnswers, KeptCursor, Ownership, Position, Refusal, Seen,
    SendBuffer,
};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};

/// An answer that owns its value, whose value it is, and whether it is taken back.
type Owned = (u8, usize, Option<u64>, bool);

static CONTENT: [u8; 70_000] = [7; 70_000];

fn owned() -> impl Strategy<Value = Owned> {
    (0..12_u8, 0..300_usize, any::<Option<u64>>(), any::<bool>())
}

fn answer(kind: u8, number: usize) -> Answer<'static> {
    match kind {
        0 => Answer::Missing,
        1 => Answer::Stored,
        2 | 3 => Answer::Deleted { existed: kind == 3 },
        4 => Answer::Refused(Refusal::UnknownFlag),
        5 => Answer::WrongOwner(Ownership {
            owner: number as u32,
            epoch: u64::MAX - number as u64,
        }),
        6 if number == 0 => Answer::Value(&CONTENT),
        9 => Answer::Refused(Refusal::VersionMismatch {
            found: number as u64,
        }),
        10 => Answer::Opened {
            stream: u64::MAX - number as u64,
        },
        11 => Answer::StoredAs {
            version: number as u64,
        },
        _ => Answer::Value(&CONTENT[..number]),
    }
}

/// Gives one answer, and takes it back and gives it again where that is wanted; `false` when it has no room.
fn give(answers: &mut impl Answers, number: usize, (kind, bytes, record, again): Owned) -> bool {
    let position = Position {
        group: number as u32 / 50,
        operation: number as u32 % 50,
    };
    let mark = answers.mark();
    for _ in 0..=usize::from(again) {
        answers.rewind(mark);
        if !answers.answer(position, answer(kind, bytes)) {
            return false;
        }
        if let (Answer::Value(_), Some(record)) = (answer(kind, bytes), record) {
            answers.refer(record % 8);
        }
    }
    true
}

/// Frames that `fill` writes, which says whether it has written all.
fn frames(mut fill: impl FnMut(&mut AnswerWriter<'_>) -> bool) -> Vec<u8> {
    let (mut out, mut seen) = (SendBuffer::default(), Seen::default());
    loop {
        let mut writer = AnswerWriter::begin(&mut out, 1)
            .within(4096)
            .referring(Some(&mut seen));
        let all = fill(&mut writer);
        writer.finish(all);
        if all {
            return out.pending().to_vec();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn kept_answers_become_the_same_frames(all in vec(owned(), 0..200)) {
        let mut written = 0;
        let at_once = frames(|writer| {
            while let Some(owned) = all.get(written) && give(writer, written, *owned) {
                written += 1;
            }
            written == all.len()
        });

        let mut kept = KeptAnswers::new(usize::MAX);
        give(&mut kept, 0, (6, 0, None, false));
        kept.clear();
        for (number, owned) in all.iter().enumerate() {
            prop_assert!(give(&mut kept, number, *owned));
        }
        prop_assert_eq!(kept.len(), all.len());
        let mut cursor = KeptCursor::default();
        prop_assert_eq!(frames(|writer| kept.hand_on(&mut cursor, writer)), at_once);
    }

    #[test]
    fn no_more_is_kept_than_is_allowed(all in vec(owned(), 1..200), bytes_max in 0..5000_usize) {
        let mut kept = KeptAnswers::new(bytes_max);
        for (number, owned) in all.iter().enumerate() {
            let before = (kept.len(), kept.bytes());
            if give(&mut kept, number, *owned) {
                prop_assert!(number == 0 || kept.bytes() <= bytes_max);
            } else {
                prop_assert!(number > 0);
                prop_assert_eq!((kept.len(), kept.bytes()), before);
                // Where a status has no room, no other has.
                if !matches!(answer(owned.0, owned.1), Answer::Value(_)) {
                    prop_assert!((0..6).chain(9..12).all(|kind| !give(&mut kept, number, (kind, 1, None, false))));
                }
                return Ok(());
            }
        }
    }
}
