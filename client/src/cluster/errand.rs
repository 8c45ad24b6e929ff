//! One unit, sent until it is settled or its time is over.

use super::request::{NotOpened, Opening, Request, Sending};
use super::stream::Stream;
use super::unit::Unit;
use super::verdict::{Fate, Next};
use super::{Cluster, GRACE_TIME, PAUSE_TIMES, Partition, Reads};
use crate::answers::Reply;
use crate::batch::Batch;
use crate::connection::Connection;
use crate::error::{ConnectionError, Loss};
use crate::line::random_share;
use batchkv_protocol::map::Ownership;
use batchkv_protocol::{Ack, GroupOptions, Sequence};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

type Result<T> = std::result::Result<T, Arc<ConnectionError>>;

pub(super) struct Errand<'a> {
    cluster: &'a Cluster,
    batch: &'a Arc<Batch>,
    unit: &'a Arc<Unit>,
    deadline: Instant,
    /// The stream's name, and the unit's number in it: from its first sending until it is settled.
    numbered: Option<(u64, u64)>,
    fate: Fate,
    /// Whether it is sent for the first time.
    is_first: bool,
    /// Whether it was redirected before.
    is_redirected: bool,
    pause: Duration,
}

impl<'a> Errand<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        batch: &'a Arc<Batch>,
        unit: &'a Arc<Unit>,
        deadline: Instant,
    ) -> Self {
        Self {
            cluster,
            batch,
            unit,
            deadline,
            numbered: None,
            fate: Fate::default(),
            is_first: true,
            is_redirected: false,
            pause: PAUSE_TIMES[0],
        }
    }

    /// Sends the unit until something stands; what came of it.
    pub(super) async fn run(mut self) -> Reply {
        loop {
            let news = self.cluster.lines.routes().news();
            let mut reply = self.send().await;
            match self.fate.next(&reply) {
                Next::Done => {
                    self.see(&reply);
                    return reply;
                }
                Next::Unknown => return self.given_up(reply),
                Next::Anew => self.forget_stream(),
                Next::Again(Some(owner)) => {
                    self.hear(owner);
                    // A replica that was not the leader, and has named it: there is nothing to wait for.
                    if !std::mem::replace(&mut self.is_redirected, true) {
                        continue;
                    }
                }
                Next::Again(None) => {}
            }
            // What is sent as the time runs out has no time to be answered, and is unknown for nothing.
            if Instant::now() + self.pause >= self.deadline || is_closed(&reply) {
                if !self.fate.may_be_applied && reply.lost().is_none() {
                    // What follows on the same keys must not overtake it.
                    reply.lose(0, self.too_late());
                }
                return self.given_up(reply);
            }
            self.wait(news).await;
        }
    }

    fn partition(&self) -> &'a Partition {
        &self.cluster.partitions[self.unit.partition as usize]
    }

    /// Who leads the partition, as is known now.
    fn owner(&self) -> Ownership {
        let live = self.cluster.lines.routes().live();
        live.ownership(self.unit.partition)
            .expect("a unit's partition is one of the map's")
    }

    /// One sending, whatever comes of it.
    async fn send(&mut self) -> Reply {
        let owner = self.owner();
        let Ok(sequence) = self.sequence(owner).await else {
            return Reply::not_sent(self.unit.operations.len(), self.too_late());
        };
        let connection = match self.connection(owner).await {
            Ok(connection) => connection,
            Err(cause) => return Reply::not_sent(self.unit.operations.len(), cause),
        };
        if !std::mem::replace(&mut self.is_first, false) {
            self.cluster.resent.fetch_add(1, Ordering::Relaxed);
        }
        let options = self.options(sequence);
        let (sending, reply) = Sending::new(self.batch, self.unit, owner.epoch, options);
        connection.submit(Request::Unit(sending));
        self.reply(owner, reply).await.unwrap_or_else(|| {
            self.fate.unanswered();
            let mut reply = Reply::with_operations(self.unit.operations.len());
            reply.lose(self.unit.operations.len(), self.too_late());
            reply
        })
    }

    fn options(&self, sequence: Option<Sequence>) -> GroupOptions {
        let any = self.cluster.options.reads == Reads::Any;
        GroupOptions {
            sequence,
            any: any.then(|| self.partition().newest.load(Ordering::Relaxed)),
            ack: match self.unit.writes {
                true => self.cluster.options.ack,
                false => Ack::default(),
            },
            versions: self.unit.versions,
            opens: false,
        }
    }

    /// The connection to send over: the leader's, or any where any replica will do and none has refused yet. Waits
    /// for one as long as the leader is who it was.
    async fn connection(&self, owner: Ownership) -> Result<Arc<Connection<Request>>> {
        let lines = &self.cluster.lines;
        if self.is_first && !self.unit.writes && self.cluster.options.reads == Reads::Any {
            let turn = self.cluster.turn.fetch_add(1, Ordering::Relaxed);
            if let Some(connection) = lines.any_standing(turn) {
                return Ok(connection);
            }
        }
        tokio::select! {
            connection = lines.connection(owner.owner, self.deadline) => connection,
            () = self.another_than(owner) => Err(self.too_late()),
        }
    }

    /// Waits until another leads the partition than `owner`.
    async fn another_than(&self, owner: Ownership) {
        let routes = self.cluster.lines.routes();
        loop {
            let news = routes.news();
            if self.owner().epoch > owner.epoch {
                return;
            }
            routes.more_than(news).await;
        }
    }

    /// The reply of `owner`; `None` when it does not come in time, or another leads and it does not come soon.
    async fn reply(&self, owner: Ownership, mut reply: oneshot::Receiver<Reply>) -> Option<Reply> {
        tokio::select! {
            biased;
            reply = &mut reply => return reply.ok(),
            () = self.another_than(owner) => {}
            () = sleep_until(self.deadline) => return None,
        }
        timeout(GRACE_TIME, reply).await.ok()?.ok()
    }

    /// The unit's place in the partition's stream; it is given one when it has none. `Err` when the time is over.
    async fn sequence(&mut self, owner: Ownership) -> std::result::Result<Option<Sequence>, ()> {
        if !self.unit.writes {
            return Ok(None);
        }
        loop {
            let room = self.partition().room.notified();
            if let Some(sequence) = self.take_sequence() {
                return Ok(Some(sequence));
            }
            let is_open = self.partition().stream().is_some();
            let opened = async {
                match is_open {
                    true => room.await,
                    false => self.open_stream(owner).await,
                }
            };
            timeout_at(self.deadline, opened).await.map_err(drop)?;
        }
    }

    /// The unit's place in the stream that is open, if there is one and it has room.
    fn take_sequence(&mut self) -> Option<Sequence> {
        let mut stream = self.partition().stream();
        let stream = stream.as_mut()?;
        match self.numbered {
            Some((name, number)) if name == stream.name() => Some(stream.sequence(number)),
            // It may have taken effect under a number of a stream that is no more: the partition will say so.
            Some((name, number)) if self.fate.may_be_applied => Some(Sequence {
                stream: name,
                number,
                floor: number,
            }),
            _ => {
                let number = stream.take()?;
                self.numbered = Some((stream.name(), number));
                Some(stream.sequence(number))
            }
        }
    }

    /// Opens a stream, unless somebody else has; returns in any case, so that owner and time are looked at again.
    async fn open_stream(&self, owner: Ownership) {
        let partition = self.partition();
        let _opening = partition.opening.lock().await;
        if partition.stream().is_some() {
            return;
        }
        let news = self.cluster.lines.routes().news();
        let owner = match self.owner() {
            now if now.epoch > owner.epoch => now,
            _ => owner,
        };
        if let Ok(connection) = self.connection(owner).await {
            let (opening, opened) = Opening::new(self.unit.partition, owner.epoch);
            connection.submit(Request::Opening(opening));
            let opened = tokio::select! {
                opened = opened => opened.unwrap_or(Err(NotOpened::Unanswered)),
                () = self.another_than(owner) => Err(NotOpened::Unanswered),
            };
            match opened {
                Ok(name) => {
                    *partition.stream() = Some(Stream::new(name));
                    partition.room.notify_waiters();
                    return;
                }
                Err(NotOpened::WrongOwner(known)) => self.hear(known),
                Err(NotOpened::Refused(_) | NotOpened::Unanswered) => {}
            }
        }
        self.pause_once(self.pause, news).await;
    }

    /// The stream of this unit is no more: the next one opens another, and the unit gets a number of that.
    fn forget_stream(&mut self) {
        let mut stream = self.partition().stream();
        if stream.as_ref().map(Stream::name) == self.numbered.map(|(name, _)| name) {
            *stream = None;
        }
        self.numbered = None;
    }

    /// Takes note of whom a refusal names.
    fn hear(&self, owner: Ownership) {
        self.cluster.redirected.fetch_add(1, Ordering::Relaxed);
        let routes = self.cluster.lines.routes();
        routes.offer(self.unit.partition, owner);
    }

    /// Takes note of the newest entry that was seen.
    fn see(&self, reply: &Reply) {
        if let Some(freshness) = reply.freshness {
            let newest = &self.partition().newest;
            newest.fetch_max(freshness.entry, Ordering::Relaxed);
        }
    }

    /// A pause that grows and is drawn, so that many clients do not come back at once; news end it.
    async fn wait(&mut self, news: u64) {
        self.pause_once(self.pause, news).await;
        self.pause = (self.pause * 2).min(PAUSE_TIMES[1]);
    }

    async fn pause_once(&self, longest: Duration, news: u64) {
        let pause = sleep(longest.mul_f64(0.5 + random_share() / 2.0));
        tokio::select! {
            () = self.cluster.lines.routes().more_than(news) => {}
            () = pause => {}
        }
    }

    /// What is told of a unit that is given up, behind `reply`.
    fn given_up(&self, mut reply: Reply) -> Reply {
        if self.fate.may_be_applied {
            let cause = reply.lost().cloned().unwrap_or_else(|| self.too_late());
            reply = Reply::with_operations(self.unit.operations.len());
            reply.lose(self.unit.operations.len(), cause);
        }
        reply
    }

    fn too_late(&self) -> Arc<ConnectionError> {
        let owner = self.owner().owner;
        Arc::new(ConnectionError {
            address: format!("server {owner}"),
            loss: Loss::Unsettled(self.cluster.options.deadline),
        })
    }
}

/// Whether the client was closed, so that no connection comes back.
fn is_closed(reply: &Reply) -> bool {
    let lost = reply.lost();
    lost.is_some_and(|cause| matches!(cause.loss, Loss::ClosedHere))
}

impl Drop for Errand<'_> {
    /// The unit is not sent again, whatever came of it.
    fn drop(&mut self) {
        let Some((name, number)) = self.numbered else {
            return;
        };
        let partition = self.partition();
        if let Some(stream) = &mut *partition.stream()
            && stream.name() == name
        {
            stream.settle(number);
        }
        partition.room.notify_waiters();
    }
}
