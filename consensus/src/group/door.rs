//! Requests of other members, handed to openraft.

use std::future::ready;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use openraft::storage::Snapshot;

use crate::calls::Door;
use crate::log::{MemoryLog, SharedLog};
use crate::machine::{Adapter, Carried, StateMachine};
use crate::snapshot::{End, Receiver};
use crate::types::{Types, Vote};
use crate::wire::{Begin, Refused, Reply, Request};

/// What a group shows to its other members.
pub(crate) struct Member<S: StateMachine> {
    pub(crate) raft: Raft<Types, Adapter<S>>,
    pub(crate) log: SharedLog<MemoryLog>,
    pub(crate) receiver: Receiver<S::Import>,
}

impl<S: StateMachine> Door for Member<S> {
    fn serve(self: Rc<Self>, from: u64, request: Request) -> LocalBoxFuture<'static, Reply> {
        async move { self.reply(from, request).await }
            .unwrap_or_else(Reply::Refused)
            .boxed_local()
    }
}

impl<S: StateMachine> Member<S> {
    async fn reply(&self, from: u64, request: Request) -> Result<Reply, Refused> {
        let failed = |_| Refused::Failed;
        match request {
            Request::Append(append) => {
                let appended = self.raft.append_entries(append).map_err(failed);
                appended.await.map(Reply::Appended)
            }
            Request::Vote(vote) => self.raft.vote(vote).await.map(Reply::Voted).map_err(failed),
            Request::PreVote(vote) => {
                let voted = self.raft.pre_vote(vote).map_err(failed);
                voted.await.map(Reply::Voted)
            }
            Request::Transfer(transfer) => {
                let handed = self.raft.handle_transfer_leader(transfer);
                handed.await.map(Reply::Handed).map_err(|_| Refused::Failed)
            }
            Request::Begin(begin) => self.begin(from, *begin).await,
            Request::Chunk {
                transfer,
                number,
                crc,
                bytes,
            } => {
                let taken = self.receiver.chunk(from, transfer, number, crc, bytes);
                Ok(taken.await)
            }
            Request::End {
                vote,
                transfer,
                chunks,
            } => self.end(from, vote, transfer, chunks).await,
        }
    }

    fn vote(&self) -> Vote {
        self.raft.server_metrics().borrow_watched().vote
    }

    async fn begin(&self, from: u64, begin: Begin) -> Result<Reply, Refused> {
        let own = self.vote();
        if own > begin.vote {
            return Ok(Reply::Ended { vote: own });
        }
        if let Some(reply) = self.receiver.resumed(from, &begin) {
            return Ok(reply);
        }
        let import = self
            .raft
            .with_state_machine(|adapter| Box::pin(ready(adapter.import())))
            .await
            .map_err(|_| Refused::Failed)?;
        Ok(self.receiver.begin(from, begin, import))
    }

    async fn end(
        &self,
        from: u64,
        vote: Vote,
        transfer: u64,
        chunks: u64,
    ) -> Result<Reply, Refused> {
        let (begin, import) = match self.receiver.end(from, transfer, chunks) {
            End::Install { begin, import } => (begin, import),
            End::Installing => return Ok(Reply::Next { number: chunks }),
            End::Installed => return Ok(Reply::Ended { vote: self.vote() }),
            End::Unknown => return Err(Refused::NoTransfer),
        };
        self.log.observe(begin.time_millis);
        let snapshot = Snapshot {
            meta: begin.meta,
            snapshot: Carried::Import {
                time_millis: begin.time_millis,
                import,
            },
        };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        self.receiver.installed(installed.is_ok());
        match installed {
            Ok(response) => Ok(Reply::Ended {
                vote: response.vote,
            }),
            Err(_stopped) => Err(Refused::Failed),
        }
    }
}
