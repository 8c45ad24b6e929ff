//! Writing messages.

use bytes::{BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};

use super::{Begin, Body, Envelope, Refused, Reply, Request, kind};
use crate::types::{Entry, LogId, Membership, Round, Types, Vote, entry_bytes};

/// A message's bytes.
pub(crate) fn write(envelope: Envelope, body: &Body) -> Bytes {
    let mut out = Writer(BytesMut::with_capacity(128 + body_bytes(body)));
    match body {
        Body::Request(request) => out.request(envelope, request),
        Body::Reply(reply) => out.reply(envelope, reply),
        Body::Note(bytes) => {
            out.head(kind::NOTE, envelope);
            out.0.put_slice(bytes);
        }
    }
    out.0.freeze()
}

/// Roughly what the long parts of a message take.
fn body_bytes(body: &Body) -> usize {
    match body {
        Body::Request(Request::Append(append)) => append.entries.iter().map(entry_bytes).sum(),
        Body::Request(Request::Chunk { bytes, .. }) | Body::Note(bytes) => bytes.len(),
        _ => 0,
    }
}

struct Writer(BytesMut);

impl Writer {
    fn head(&mut self, kind: u8, envelope: Envelope) {
        self.0.put_u8(kind);
        self.0.put_u32_le(envelope.group);
        self.0.put_u64_le(envelope.call);
    }

    fn request(&mut self, envelope: Envelope, request: &Request) {
        match request {
            Request::Append(append) => {
                self.head(kind::APPEND, envelope);
                self.append(append);
            }
            Request::Vote(vote) => {
                self.head(kind::VOTE, envelope);
                self.vote_request(vote);
            }
            Request::PreVote(vote) => {
                self.head(kind::PRE_VOTE, envelope);
                self.vote_request(vote);
            }
            Request::Transfer(transfer) => {
                self.head(kind::TRANSFER, envelope);
                self.transfer(transfer);
            }
            Request::Begin(begin) => {
                self.head(kind::BEGIN, envelope);
                self.begin(begin);
            }
            Request::Chunk {
                transfer,
                number,
                crc,
                bytes,
            } => {
                self.head(kind::CHUNK, envelope);
                self.0.put_u64_le(*transfer);
                self.0.put_u64_le(*number);
                self.0.put_u32_le(*crc);
                self.0.put_slice(bytes);
            }
            Request::End {
                vote,
                transfer,
                chunks,
            } => {
                self.head(kind::END, envelope);
                self.vote(vote);
                self.0.put_u64_le(*transfer);
                self.0.put_u64_le(*chunks);
            }
        }
    }

    fn reply(&mut self, envelope: Envelope, reply: &Reply) {
        match reply {
            Reply::Appended(appended) => {
                self.head(kind::APPENDED, envelope);
                self.appended(appended);
            }
            Reply::Voted(voted) => {
                self.head(kind::VOTED, envelope);
                self.voted(voted);
            }
            Reply::Handed(handed) => {
                self.head(kind::HANDED, envelope);
                self.handed(handed.as_ref().copied());
            }
            Reply::Next { number } => {
                self.head(kind::NEXT, envelope);
                self.0.put_u64_le(*number);
            }
            Reply::Ended { vote } => {
                self.head(kind::ENDED, envelope);
                self.vote(vote);
            }
            Reply::Refused(refused) => {
                self.head(kind::REFUSED, envelope);
                self.0.put_u8(match refused {
                    Refused::NoGroup => 0,
                    Refused::NoTransfer => 1,
                    Refused::Failed => 2,
                });
            }
        }
    }

    fn append(&mut self, append: &AppendEntriesRequest<Types>) {
        self.vote(&append.vote);
        self.option(append.prev_log_id.as_ref());
        self.option(append.leader_commit.as_ref());
        self.count(append.entries.len());
        for entry in &append.entries {
            self.entry(entry);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.position(&entry.log_id);
        match &entry.payload {
            EntryPayload::Blank => self.0.put_u8(0),
            EntryPayload::Normal(round) => {
                self.0.put_u8(1);
                self.round(round);
            }
            EntryPayload::Membership(membership) => {
                self.0.put_u8(2);
                self.members(membership);
            }
        }
    }

    fn round(&mut self, round: &Round) {
        self.0.put_u64_le(round.time_millis);
        self.count(round.proposals.len());
        for proposal in round.proposals.iter() {
            self.count(proposal.len());
        }
        for proposal in round.proposals.iter() {
            self.0.put_slice(proposal);
        }
    }

    fn members(&mut self, membership: &Membership) {
        let sets = membership.get_joint_config();
        self.short(sets.len());
        for set in sets {
            self.short(set.len());
            for id in set {
                self.0.put_u64_le(*id);
            }
        }
        self.short(membership.nodes().count());
        for (id, member) in membership.nodes() {
            self.0.put_u64_le(*id);
            self.short(member.address.len());
            self.0.put_slice(member.address.as_bytes());
        }
    }

    fn begin(&mut self, begin: &Begin) {
        self.vote(&begin.vote);
        self.0.put_u64_le(begin.transfer);
        self.0.put_u64_le(begin.time_millis);
        self.option(begin.meta.last_log_id.as_ref());
        self.option(begin.meta.last_membership.log_id().as_ref());
        self.members(begin.meta.last_membership.membership());
    }

    fn vote_request(&mut self, request: &VoteRequest<Types>) {
        self.vote(&request.vote);
        self.option(request.last_log_id.as_ref());
        self.0.put_u8(request.leadership_transfer.into());
    }

    fn transfer(&mut self, transfer: &TransferLeaderRequest<Types>) {
        self.vote(transfer.from_leader());
        self.0.put_u64_le(*transfer.to_node_id());
        self.option(transfer.last_log_id());
    }

    fn appended(&mut self, appended: &AppendEntriesResponse<Types>) {
        match appended {
            AppendEntriesResponse::Success => self.0.put_u8(0),
            AppendEntriesResponse::PartialSuccess(position) => {
                self.0.put_u8(1);
                self.option(position.as_ref());
            }
            AppendEntriesResponse::Conflict => self.0.put_u8(2),
            AppendEntriesResponse::HigherVote(vote) => {
                self.0.put_u8(3);
                self.vote(vote);
            }
        }
    }

    fn voted(&mut self, voted: &VoteResponse<Types>) {
        self.vote(&voted.vote);
        self.0.put_u8(voted.vote_granted.into());
        self.option(voted.last_log_id.as_ref());
    }

    fn handed(&mut self, handed: Result<(), &TransferLeaderError<Types>>) {
        match handed {
            Ok(()) => self.0.put_u8(0),
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                self.0.put_u8(1);
                self.vote(expected);
                self.vote(actual);
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                self.0.put_u8(2);
                self.option(expected.as_ref());
                self.option(actual.as_ref());
            }
        }
    }

    fn vote(&mut self, vote: &Vote) {
        self.0.put_u64_le(vote.leader_id.term);
        self.0.put_u64_le(vote.leader_id.voted_for);
        self.0.put_u8(vote.committed.into());
    }

    fn option(&mut self, position: Option<&LogId>) {
        self.0.put_u8(position.is_some().into());
        if let Some(position) = position {
            self.position(position);
        }
    }

    fn position(&mut self, position: &LogId) {
        self.0.put_u64_le(position.leader_id.term);
        self.0.put_u64_le(position.index);
    }

    /// A count or length that [`crate::limits`] keeps far below 32 bits.
    fn count(&mut self, count: usize) {
        self.0.put_u32_le(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// A count or length that [`crate::limits`] keeps far below 16 bits.
    fn short(&mut self, count: usize) {
        self.0.put_u16_le(u16::try_from(count).unwrap_or(u16::MAX));
    }
}
