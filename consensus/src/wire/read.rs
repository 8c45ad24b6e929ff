//! Reading messages. Nothing is reserved by a count before as many bytes as it needs are there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, Bytes};
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::{Begin, Body, Envelope, Malformed, Refused, Reply, Request, kind};
use crate::limits::{ADDRESS_BYTES_MAX, MEMBERS_MAX};
use crate::types::{Entry, LogId, Member, Membership, Round, SnapshotMeta, StoredMembership};
use crate::types::{Types, Vote};

type Read<T> = Result<T, Malformed>;

/// What a message says. Proposals and chunks share the message's memory.
pub(crate) fn read(message: Bytes) -> Read<(Envelope, Body)> {
    let mut rest = Reader(message);
    let kind = rest.u8()?;
    let envelope = Envelope {
        group: rest.u32()?,
        call: rest.u64()?,
    };
    let body = rest.body(kind)?;
    if rest.0.has_remaining() {
        return Err(Malformed("bytes are left over"));
    }
    Ok((envelope, body))
}

struct Reader(Bytes);

impl Reader {
    fn body(&mut self, kind: u8) -> Read<Body> {
        Ok(match kind {
            kind::APPEND => Body::Request(Request::Append(self.append()?)),
            kind::VOTE => Body::Request(Request::Vote(self.vote_request()?)),
            kind::PRE_VOTE => Body::Request(Request::PreVote(self.vote_request()?)),
            kind::TRANSFER => Body::Request(Request::Transfer(self.transfer()?)),
            kind::BEGIN => Body::Request(Request::Begin(Box::new(self.begin()?))),
            kind::CHUNK => Body::Request(self.chunk()?),
            kind::END => Body::Request(Request::End {
                vote: self.vote()?,
                transfer: self.u64()?,
                chunks: self.u64()?,
            }),
            kind::APPENDED => Body::Reply(Reply::Appended(self.appended()?)),
            kind::VOTED => Body::Reply(Reply::Voted(self.voted()?)),
            kind::HANDED => Body::Reply(Reply::Handed(self.handed()?)),
            kind::NEXT => Body::Reply(Reply::Next {
                number: self.u64()?,
            }),
            kind::ENDED => Body::Reply(Reply::Ended { vote: self.vote()? }),
            kind::REFUSED => Body::Reply(Reply::Refused(self.refused()?)),
            kind::NOTE => Body::Note(self.0.split_to(self.0.len())),
            _ => return Err(Malformed("unknown kind")),
        })
    }

    fn append(&mut self) -> Read<AppendEntriesRequest<Types>> {
        Ok(AppendEntriesRequest {
            vote: self.vote()?,
            prev_log_id: self.option()?,
            leader_commit: self.option()?,
            entries: {
                let count = self.count(17)?;
                (0..count).map(|_| self.entry()).collect::<Read<_>>()?
            },
        })
    }

    fn entry(&mut self) -> Read<Entry> {
        Ok(Entry {
            log_id: self.position()?,
            payload: match self.u8()? {
                0 => EntryPayload::Blank,
                1 => EntryPayload::Normal(self.round()?),
                2 => EntryPayload::Membership(self.members()?),
                _ => return Err(Malformed("unknown payload")),
            },
        })
    }

    fn round(&mut self) -> Read<Round> {
        let time_millis = self.u64()?;
        let count = self.count(4)?;
        let lengths = (0..count).map(|_| self.u32()).collect::<Read<Vec<_>>>()?;
        let proposals = lengths
            .into_iter()
            .map(|length| self.bytes(length as usize))
            .collect::<Read<_>>()?;
        Ok(Round {
            ticket: 0,
            time_millis,
            proposals,
        })
    }

    fn members(&mut self) -> Read<Membership> {
        let sets = self.short()?;
        if sets > 2 {
            return Err(Malformed("more than two sets of voters"));
        }
        let sets = (0..sets).map(|_| self.set()).collect::<Read<Vec<_>>>()?;
        let count = self.short()?;
        if count > MEMBERS_MAX {
            return Err(Malformed("too many members"));
        }
        let nodes = (0..count)
            .map(|_| Ok((self.u64()?, self.member()?)))
            .collect::<Read<BTreeMap<_, _>>>()?;
        if sets.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(sets, nodes).map_err(|_| Malformed("a voter is no member"))
    }

    fn set(&mut self) -> Read<BTreeSet<u64>> {
        let count = self.short()?;
        if count > MEMBERS_MAX {
            return Err(Malformed("too many voters"));
        }
        (0..count).map(|_| self.u64()).collect()
    }

    fn member(&mut self) -> Read<Member> {
        let length = self.short()?;
        if length > ADDRESS_BYTES_MAX {
            return Err(Malformed("an address is too long"));
        }
        let address = self.bytes(length)?;
        let address =
            std::str::from_utf8(&address).map_err(|_| Malformed("an address is no text"))?;
        Ok(Member {
            address: address.into(),
        })
    }

    fn begin(&mut self) -> Read<Begin> {
        Ok(Begin {
            vote: self.vote()?,
            transfer: self.u64()?,
            time_millis: self.u64()?,
            meta: SnapshotMeta {
                last_log_id: self.option()?,
                last_membership: StoredMembership::new(self.option()?, self.members()?),
            },
        })
    }

    fn chunk(&mut self) -> Read<Request> {
        Ok(Request::Chunk {
            transfer: self.u64()?,
            number: self.u64()?,
            crc: self.u32()?,
            bytes: self.0.split_off(0),
        })
    }

    fn vote_request(&mut self) -> Read<VoteRequest<Types>> {
        let mut request = VoteRequest::new(self.vote()?, self.option()?);
        request.leadership_transfer = self.flag()?;
        Ok(request)
    }

    fn transfer(&mut self) -> Read<TransferLeaderRequest<Types>> {
        Ok(TransferLeaderRequest::new(
            self.vote()?,
            self.u64()?,
            self.option()?,
        ))
    }

    fn appended(&mut self) -> Read<AppendEntriesResponse<Types>> {
        Ok(match self.u8()? {
            0 => AppendEntriesResponse::Success,
            1 => AppendEntriesResponse::PartialSuccess(self.option()?),
            2 => AppendEntriesResponse::Conflict,
            3 => AppendEntriesResponse::HigherVote(self.vote()?),
            _ => return Err(Malformed("unknown answer to an append")),
        })
    }

    fn voted(&mut self) -> Read<VoteResponse<Types>> {
        Ok(VoteResponse {
            vote: self.vote()?,
            vote_granted: self.flag()?,
            last_log_id: self.option()?,
        })
    }

    fn handed(&mut self) -> Read<TransferLeaderResponse<Types>> {
        Ok(match self.u8()? {
            0 => Ok(()),
            1 => Err(TransferLeaderError::VoteChanged {
                expected: self.vote()?,
                actual: self.vote()?,
            }),
            2 => Err(TransferLeaderError::LogNotFlushed {
                expected: self.option()?,
                actual: self.option()?,
            }),
            _ => return Err(Malformed("unknown answer to a transfer")),
        })
    }

    fn refused(&mut self) -> Read<Refused> {
        Ok(match self.u8()? {
            0 => Refused::NoGroup,
            1 => Refused::NoTransfer,
            2 => Refused::Failed,
            _ => return Err(Malformed("unknown refusal")),
        })
    }

    fn vote(&mut self) -> Read<Vote> {
        let (term, node) = (self.u64()?, self.u64()?);
        Ok(if self.flag()? {
            Vote::new_committed(term, node)
        } else {
            Vote::new(term, node)
        })
    }

    fn option(&mut self) -> Read<Option<LogId>> {
        self.flag()?.then(|| self.position()).transpose()
    }

    fn position(&mut self) -> Read<LogId> {
        Ok(LogId::new_term_index(self.u64()?, self.u64()?))
    }

    fn flag(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// A count of things that take `each` bytes or more, which must be there.
    fn count(&mut self, each: usize) -> Read<usize> {
        let count = self.u32()? as usize;
        if count > self.0.remaining() / each {
            return Err(Malformed("a count exceeds the message"));
        }
        Ok(count)
    }

    fn bytes(&mut self, length: usize) -> Read<Bytes> {
        if length > self.0.remaining() {
            return Err(Malformed("cut short"));
        }
        Ok(self.0.split_to(length))
    }

    fn short(&mut self) -> Read<usize> {
        self.0
            .try_get_u16_le()
            .map(usize::from)
            .map_err(|_| Malformed("cut short"))
    }

    fn u8(&mut self) -> Read<u8> {
        self.0.try_get_u8().map_err(|_| Malformed("cut short"))
    }

    fn u32(&mut self) -> Read<u32> {
        self.0.try_get_u32_le().map_err(|_| Malformed("cut short"))
    }

    fn u64(&mut self) -> Read<u64> {
        self.0.try_get_u64_le().map_err(|_| Malformed("cut short"))
    }
}
