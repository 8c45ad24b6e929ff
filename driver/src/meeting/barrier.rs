//! Where the clients of a run meet: client 0 listens, the others come.
//!
//! ```text
//! client I                                   client 0
//! batchkv 1 client I/N AGREEMENT\n   --->    all N are there and agree
//!                                    <---    run ID\n
//! at MEETING\n                       --->    all N are there
//! clock\n                            --->
//!                                    <---    clock SECONDS\n          these two several times
//!                                    <---    go SECONDS\n
//!                                    <---    failed REASON\n          instead, to whoever is left
//! ended by hand\n                    <-->    ended by hand\n          instead of anything
//! ```
//!
//! Times are seconds since 1970 by client 0's clock. `go` names the moment at which all go on, which each
//! client finds on its own clock by comparing the two (see `clock`), so all begin together up to half the
//! network's delay. A peer that dies closes its connection, which ends the meeting for everybody; nothing
//! waits longer than its limit. A client that is ended by hand says so: that is no failure of the others.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::clock::{Clock, Offset, READINGS, Rate};
use crate::command::config::Membership;
use crate::meeting::error::{BarrierError, Meeting};

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// From the last arrival at a meeting to the common moment: more than a network's delay, and than a busy
/// machine lets a client wait for a core.
const START_DELAY: Duration = Duration::from_millis(250);
/// What a client says that a person ends.
const BY_HAND: &str = "ended by hand";
/// Time between two attempts to reach a client 0 that does not listen yet.
const RETRY_TIME: Duration = Duration::from_millis(100);

/// One client's part at the meetings.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// Where the others are heard; client 0 hears all, the others hear client 0.
    peers: Vec<Peer>,
    /// Where they are spoken to, also when nobody listens to them any more.
    voices: BTreeMap<u32, OwnedWriteHalf>,
    leads: bool,
    clock: Clock,
    offset: Offset,
    /// The first comparison, and when that was by our clock.
    first: Option<(f64, Offset)>,
    rate: Option<Rate>,
}

#[derive(Debug)]
struct Peer {
    client: u32,
    reader: BufReader<OwnedReadHalf>,
}

/// How a client left between two meetings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parting {
    /// It ended; its name.
    Gone(String),
    ByHand,
}

impl Barrier {
    /// Meets the run's other clients, who must have been given the same `agreement` (one line), and
    /// learns the id of the run; a single client makes up its own.
    ///
    /// # Errors
    /// When the clients are not all there within `limit`, or do not agree.
    pub(crate) async fn join(
        member: &Membership,
        agreement: &str,
        limit: Duration,
        clock: Clock,
    ) -> Result<(Self, u64), BarrierError> {
        match &member.barrier {
            None => Ok((Self::alone(clock), random_run())),
            Some(address) if member.client == 0 => {
                let listener = TcpListener::bind(address)
                    .await
                    .map_err(|error| BarrierError::Listen(address.clone(), error))?;
                Self::lead(listener, member.clients, agreement, limit, clock).await
            }
            Some(address) => Self::follow(address, member, agreement, limit, clock).await,
        }
    }

    fn alone(clock: Clock) -> Self {
        Self {
            peers: Vec::new(),
            voices: BTreeMap::new(),
            leads: true,
            clock,
            offset: Offset::default(),
            first: None,
            rate: None,
        }
    }

    /// What to add to this client's times to get client 0's, as compared at the last meetings.
    pub(crate) fn offset(&self) -> Offset {
        self.offset
    }

    /// How fast client 0's clock goes against this client's, from the first meeting to the window's end;
    /// `None` for client 0, and before.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Tells the others that a person ends this client.
    pub(crate) async fn end_by_hand(&mut self) {
        self.tell(&format!("{BY_HAND}\n")).await;
    }

    /// Client 0's side of [`join`](Self::join).
    async fn lead(
        listener: TcpListener,
        clients: u32,
        agreement: &str,
        limit: Duration,
        clock: Clock,
    ) -> Result<(Self, u64), BarrierError> {
        let mut barrier = Self::alone(clock);
        let joined = async {
            while barrier.peers.len() + 1 < clients as usize {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let joined = accept(stream, clients, agreement).await?;
                // Whoever is no client of this run, or came already, is sent away by the drop.
                let known = |client: u32| barrier.voices.contains_key(&client);
                if let Some((client, stream)) = joined.filter(|(client, _)| !known(*client)) {
                    barrier.add(client, stream);
                }
            }
            Ok(())
        };
        let outcome = timeout(limit, joined).await.unwrap_or_else(|_| {
            Err(BarrierError::Late {
                who: "a client".into(),
                meeting: Meeting::Join,
                limit,
            })
        });
        barrier.tell_failure(outcome).await?;
        let run = random_run();
        barrier.tell(&format!("run {run}\n")).await;
        Ok((barrier, run))
    }

    /// The other clients' side of [`join`](Self::join).
    async fn follow(
        address: &str,
        member: &Membership,
        agreement: &str,
        limit: Duration,
        clock: Clock,
    ) -> Result<(Self, u64), BarrierError> {
        let stream = reach(address, limit).await?;
        let mut barrier = Self::alone(clock);
        barrier.leads = false;
        barrier.add(0, BufReader::new(stream));
        let (client, clients) = (member.client, member.clients);
        let hello = format!("batchkv 1 client {client}/{clients} {agreement}\n");
        barrier.tell(&hello).await;
        let leader = &mut barrier.peers[0];
        let said = leader.hear(Meeting::Join, limit).await?;
        let run = said.strip_prefix("run ").and_then(|run| run.parse().ok());
        let run = run.ok_or_else(|| leader.unexpected(Meeting::Join, &said))?;
        Ok((barrier, run))
    }

    fn add(&mut self, client: u32, stream: BufReader<TcpStream>) {
        // Nobody says more before it is asked to, so nothing was read ahead.
        let (reader, writer) = stream.into_inner().into_split();
        let reader = BufReader::new(reader);
        self.peers.push(Peer { client, reader });
        self.voices.insert(client, writer);
    }

    /// Waits until all clients are at `meeting`, and gives the moment at which all go on, which a client that
    /// was held up may learn when it is over.
    ///
    /// # Errors
    /// When a client ended, or did not come within `limit`.
    pub(crate) async fn meet(
        &mut self,
        meeting: Meeting,
        limit: Duration,
    ) -> Result<Instant, BarrierError> {
        let start_secs = if self.leads {
            let gathered = self.gather(meeting, limit).await;
            self.tell_failure(gathered).await?;
            let compared = self.tell_time(meeting, limit).await;
            self.tell_failure(compared).await?;
            let start_secs = self.clock.now() + START_DELAY.as_secs_f64();
            self.tell(&format!("go {start_secs}\n")).await;
            start_secs
        } else {
            self.tell(&format!("at {meeting}\n")).await;
            let offset = self.ask_time(meeting, limit).await?;
            let secs = self.clock.now();
            let (first_secs, first) = *self.first.get_or_insert((secs, offset));
            if meeting == Meeting::Stopped {
                self.rate = Rate::between(first, offset, secs - first_secs);
            }
            self.offset = match meeting {
                Meeting::Stopped => self.offset.covering(offset),
                // What the files' times were moved by stands.
                Meeting::ReadBack => self.offset,
                _ => offset,
            };
            self.peers[0].hear_time("go ", meeting, limit).await? - self.offset.secs
        };
        Ok(self.clock.instant(start_secs).into())
    }

    /// Client 0's side of the comparison of clocks, one client after the other.
    async fn tell_time(&mut self, meeting: Meeting, limit: Duration) -> Result<(), BarrierError> {
        for peer in &mut self.peers {
            for _ in 0..READINGS {
                let said = peer.hear(meeting, limit).await?;
                if said != "clock" {
                    return Err(peer.unexpected(meeting, &said));
                }
                if let Some(voice) = self.voices.get_mut(&peer.client) {
                    say(voice, &format!("clock {}\n", self.clock.now())).await;
                }
            }
        }
        Ok(())
    }

    /// The other clients' side.
    async fn ask_time(
        &mut self,
        meeting: Meeting,
        limit: Duration,
    ) -> Result<Offset, BarrierError> {
        let mut offsets = Vec::with_capacity(READINGS);
        for _ in 0..READINGS {
            let asked_secs = self.clock.now();
            self.tell("clock\n").await;
            let said_secs = self.peers[0].hear_time("clock ", meeting, limit).await?;
            offsets.push(Offset::reading(asked_secs, said_secs, self.clock.now()));
        }
        Ok(Offset::best(offsets).unwrap_or_default())
    }

    /// Waits until a client has ended between two meetings. One that has come to the next meeting already
    /// has not.
    pub(crate) async fn gone(&mut self) -> Parting {
        poll_fn(|cx| {
            for peer in &mut self.peers {
                let ended = match Pin::new(&mut peer.reader).poll_fill_buf(cx) {
                    Poll::Ready(Ok(said)) if said.starts_with(BY_HAND.as_bytes()) => {
                        return Poll::Ready(Parting::ByHand);
                    }
                    Poll::Ready(Ok(said)) => said.is_empty(),
                    Poll::Ready(Err(_)) => true,
                    Poll::Pending => false,
                };
                if ended {
                    return Poll::Ready(Parting::Gone(peer.name()));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Hears all peers at once, so that the first one that is gone is noticed at once.
    async fn gather(&mut self, meeting: Meeting, limit: Duration) -> Result<(), BarrierError> {
        let mut waiting = JoinSet::new();
        for mut peer in self.peers.drain(..) {
            waiting.spawn(async move {
                let heard = peer.hear(meeting, limit).await;
                (peer, heard)
            });
        }
        let mut outcome = Ok(());
        while let Some(joined) = waiting.join_next().await {
            let Ok((peer, heard)) = joined else { continue };
            let arrived = heard.and_then(|said| {
                let expected = format!("at {meeting}");
                let fits = said == expected;
                fits.then_some(())
                    .ok_or_else(|| peer.unexpected(meeting, &said))
            });
            self.peers.push(peer);
            if arrived.is_err() {
                outcome = arrived;
                break;
            }
        }
        // The peers that have not come yet are not heard any more, but they are told.
        waiting.shutdown().await;
        outcome
    }

    /// Passes a failure on to the peers that are left.
    async fn tell_failure(
        &mut self,
        outcome: Result<(), BarrierError>,
    ) -> Result<(), BarrierError> {
        match &outcome {
            Ok(()) => {}
            Err(BarrierError::ByHand(_)) => self.end_by_hand().await,
            Err(error) => self.tell(&format!("failed {error}\n")).await,
        }
        outcome
    }

    async fn tell(&mut self, line: &str) {
        for voice in self.voices.values_mut() {
            say(voice, line).await;
        }
    }
}

/// Says a line. A peer that is gone is noticed when it is heard next.
async fn say(voice: &mut OwnedWriteHalf, line: &str) {
    let _ = voice.write_all(line.as_bytes()).await;
}

impl Peer {
    /// The peer's next line, without its end.
    async fn hear(&mut self, meeting: Meeting, limit: Duration) -> Result<String, BarrierError> {
        let line = timeout(limit, read_line(&mut self.reader)).await;
        let line = line.map_err(|_| BarrierError::Late {
            who: self.name(),
            meeting,
            limit,
        })?;
        let line = line.map_err(|_| BarrierError::Gone {
            who: self.name(),
            meeting,
        })?;
        match line.strip_prefix("failed ") {
            Some(reason) => Err(BarrierError::Ended(reason.into())),
            None if line == BY_HAND => Err(BarrierError::ByHand(self.name())),
            None => Ok(line),
        }
    }

    /// The time behind `word` in the peer's next line.
    async fn hear_time(
        &mut self,
        word: &str,
        meeting: Meeting,
        limit: Duration,
    ) -> Result<f64, BarrierError> {
        let said = self.hear(meeting, limit).await?;
        let secs = said.strip_prefix(word).and_then(|secs| secs.parse().ok());
        let secs = secs.filter(|secs: &f64| secs.is_finite());
        secs.ok_or_else(|| self.unexpected(meeting, &said))
    }

    fn unexpected(&self, meeting: Meeting, said: &str) -> BarrierError {
        BarrierError::Unexpected {
            who: self.name(),
            meeting,
            said: said.into(),
        }
    }

    fn name(&self) -> String {
        format!("client {}", self.client)
    }
}

/// The client that came, or `None` when it was none of this run.
async fn accept(
    stream: TcpStream,
    clients: u32,
    agreement: &str,
) -> Result<Option<(u32, BufReader<TcpStream>)>, BarrierError> {
    let mut stream = BufReader::new(stream);
    let Ok(hello) = read_line(&mut stream).await else {
        return Ok(None);
    };
    let mut words = hello.splitn(5, ' ');
    let mut is = |expected: &str| words.next() == Some(expected);
    if !(is("batchkv") && is("1") && is("client")) {
        return Ok(None);
    }
    let client = words.next().and_then(|member| {
        let (client, of) = member.split_once('/')?;
        let client: u32 = client.parse().ok()?;
        (client > 0 && client < clients && of == clients.to_string()).then_some(client)
    });
    let theirs = words.next().unwrap_or_default();
    let Some(client) = client else {
        return Ok(None);
    };
    if theirs != agreement {
        return Err(BarrierError::Disagreement {
            client,
            theirs: theirs.into(),
            ours: agreement.into(),
        });
    }
    Ok(Some((client, stream)))
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = String::new();
    stream.take(LINE_BYTES_MAX).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(whole) => Ok(whole.into()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A connection to client 0, which may not listen yet.
async fn reach(address: &str, limit: Duration) -> Result<TcpStream, BarrierError> {
    let deadline = Instant::now() + limit;
    let mut attempts = interval(RETRY_TIME);
    loop {
        attempts.tick().await;
        let attempt = async {
            TcpStream::connect(lookup_host(address).await?.collect::<Vec<_>>().as_slice()).await
        };
        let error = match timeout(limit, attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        if Instant::now() >= deadline {
            return Err(BarrierError::Unreachable(address.into(), limit, error));
        }
    }
}

/// An id for a run, which nobody could know before.
fn random_run() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
#[path = "barrier_tests.rs"]
mod tests;
