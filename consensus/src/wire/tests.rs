//! Round trips, truncations and noise.

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use proptest::prelude::*;

use super::{Begin, Body, Envelope, Refused, Reply, Request, read, write};
use crate::types::{Entry, LogId, Member, Membership, Round, SnapshotMeta, StoredMembership};
use crate::types::{Types, Vote};

fn position() -> impl Strategy<Value = LogId> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| LogId::new_term_index(term, index))
}

fn option() -> impl Strategy<Value = Option<LogId>> {
    prop::option::of(position())
}

fn vote() -> impl Strategy<Value = Vote> {
    (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| {
        if committed {
            Vote::new_committed(term, node)
        } else {
            Vote::new(term, node)
        }
    })
}

fn members() -> impl Strategy<Value = Membership> {
    prop::collection::btree_map(any::<u64>(), "[a-z0-9:.]{0,20}", 1..6).prop_map(|nodes| {
        let voters = nodes.keys().take(3).copied().collect();
        let next = nodes.keys().skip(1).take(3).copied().collect();
        let members = nodes.into_iter().map(|(id, address)| {
            let address = address.as_str().into();
            (id, Member { address })
        });
        let members: std::collections::BTreeMap<_, _> = members.collect();
        let sets = if members.len() > 1 {
            vec![voters, next]
        } else {
            vec![voters]
        };
        Membership::new(sets, members).expect("every voter is a member")
    })
}

fn payload() -> impl Strategy<Value = EntryPayload<Round, u64, Member>> {
    let proposal = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let round = (any::<u64>(), prop::collection::vec(proposal, 0..4)).prop_map(
        |(time_millis, proposals)| Round {
            ticket: 0,
            time_millis,
            proposals: proposals.into(),
        },
    );
    prop_oneof![
        Just(EntryPayload::Blank),
        round.prop_map(EntryPayload::Normal),
        members().prop_map(EntryPayload::Membership),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (position(), payload()).prop_map(|(log_id, payload)| Entry { log_id, payload })
}

fn append() -> impl Strategy<Value = AppendEntriesRequest<Types>> {
    (
        vote(),
        option(),
        option(),
        prop::collection::vec(entry(), 0..4),
    )
        .prop_map(
            |(vote, prev_log_id, leader_commit, entries)| AppendEntriesRequest {
                vote,
                prev_log_id,
                entries,
                leader_commit,
            },
        )
}

fn begin() -> impl Strategy<Value = Begin> {
    (
        vote(),
        any::<u64>(),
        any::<u64>(),
        option(),
        option(),
        members(),
    )
        .prop_map(
            |(vote, transfer, time_millis, last_log_id, at, members)| Begin {
                vote,
                transfer,
                time_millis,
                meta: SnapshotMeta {
                    last_log_id,
                    last_membership: StoredMembership::new(at, members),
                },
            },
        )
}

fn request() -> impl Strategy<Value = Request> {
    let ask = || {
        (vote(), option(), any::<bool>()).prop_map(|(vote, last, transfer)| {
            let mut request = VoteRequest::new(vote, last);
            request.leadership_transfer = transfer;
            request
        })
    };
    let bytes = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    prop_oneof![
        append().prop_map(Request::Append),
        ask().prop_map(Request::Vote),
        ask().prop_map(Request::PreVote),
        (vote(), any::<u64>(), option())
            .prop_map(|(vote, to, last)| TransferLeaderRequest::new(vote, to, last))
            .prop_map(Request::Transfer),
        begin().prop_map(|begin| Request::Begin(Box::new(begin))),
        (any::<u64>(), any::<u64>(), any::<u32>(), bytes).prop_map(
            |(transfer, number, crc, bytes)| Request::Chunk {
                transfer,
                number,
                crc,
                bytes
            }
        ),
        (vote(), any::<u64>(), any::<u64>()).prop_map(|(vote, transfer, chunks)| Request::End {
            vote,
            transfer,
            chunks
        }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let appended = prop_oneof![
        Just(AppendEntriesResponse::Success),
        option().prop_map(AppendEntriesResponse::PartialSuccess),
        Just(AppendEntriesResponse::Conflict),
        vote().prop_map(AppendEntriesResponse::HigherVote),
    ];
    let handed = prop_oneof![
        Just(Ok(())),
        (vote(), vote()).prop_map(|(expected, actual)| Err(TransferLeaderError::VoteChanged {
            expected,
            actual
        })),
        (option(), option()).prop_map(|(expected, actual)| Err(
            TransferLeaderError::LogNotFlushed { expected, actual }
        )),
    ];
    prop_oneof![
        appended.prop_map(Reply::Appended),
        (vote(), any::<bool>(), option()).prop_map(|(vote, vote_granted, last_log_id)| {
            Reply::Voted(VoteResponse {
                vote,
                vote_granted,
                last_log_id,
            })
        }),
        handed.prop_map(Reply::Handed),
        any::<u64>().prop_map(|number| Reply::Next { number }),
        vote().prop_map(|vote| Reply::Ended { vote }),
        prop::sample::select(vec![Refused::NoGroup, Refused::NoTransfer, Refused::Failed])
            .prop_map(Reply::Refused),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        request().prop_map(Body::Request),
        reply().prop_map(Body::Reply),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Body::Note(bytes.into()))
    ]
}

/// Carries whatever follows its head, so cutting one short leaves another; a chunk's CRC tells, and who reads a
/// note.
fn is_open_ended(body: &Body) -> bool {
    matches!(body, Body::Request(Request::Chunk { .. }) | Body::Note(_))
}

proptest! {
    #[test]
    fn what_is_written_is_read(group in any::<u32>(), call in any::<u64>(), body in body()) {
        let envelope = Envelope { group, call };
        let (seen, again) = read(write(envelope, &body)).expect("just written");
        prop_assert_eq!(seen, envelope);
        prop_assert_eq!(format!("{body:?}"), format!("{again:?}"));
    }

    #[test]
    fn every_truncation_and_every_byte_too_many_is_malformed(body in body()) {
        prop_assume!(!is_open_ended(&body));
        let whole = write(Envelope { group: 1, call: 2 }, &body);
        for length in 0..whole.len() {
            prop_assert!(read(whole.slice(..length)).is_err(), "cut to {length}");
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        prop_assert!(read(longer.into()).is_err());
    }

    #[test]
    fn noise_never_panics(body in body(), place in any::<prop::sample::Index>(), flip in 1_u8.., noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = write(Envelope { group: 1, call: 2 }, &body).to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let _either = read(bytes.into());
        let _either = read(noise.into());
    }
}

#[test]
fn a_forged_count_reserves_nothing() {
    let mut bytes = vec![1; 1 + 4 + 8];
    bytes.extend([0; 17 + 1 + 1]);
    bytes.extend(u32::MAX.to_le_bytes());
    assert_eq!(
        read(bytes.into()).map(|_| ()),
        Err(super::Malformed("a count exceeds the message"))
    );
}
