//! Where the clients of a run meet: client 0 listens, the others come.
//!
//! ```text
//! client I                                   client 0
//! batchkv 1 client I/N AGREEMENT\n   --->    all N are there and agree
//!                                    <---    run ID\n
//! at MEETING\n                       --->    all N are there
//!                                    <---    go MICROSECONDS\n
//!                                    <---    failed REASON\n          instead, to whoever is left
//! ```
//!
//! `go` names the time from its arrival to the moment at which all go on, so that all begin together
//! up to the difference of the network's delays. A peer that dies closes its connection, which ends
//! the meeting for everybody; nothing waits longer than its limit.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::config::Place;

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// From the last arrival at a meeting to the common moment: more than a network's delay.
const START_DELAY: Duration = Duration::from_millis(50);
/// Time between two attempts to reach a client 0 that does not listen yet.
const RETRY_TIME: Duration = Duration::from_millis(100);

/// Why the clients did not meet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BarrierError {
    #[error("--barrier {0}: cannot listen there: {1}")]
    Listen(String, io::Error),
    #[error("--barrier {0}: client 0 cannot be reached within {1:?}: {2}")]
    Unreachable(String, Duration, io::Error),
    #[error("{who} did not come to '{meeting}' within {limit:?}")]
    Late {
        who: String,
        meeting: Meeting,
        limit: Duration,
    },
    #[error("{who} ended before '{meeting}'")]
    Gone { who: String, meeting: Meeting },
    #[error("{who} said '{said}' at '{meeting}', which does not belong there")]
    Unexpected {
        who: String,
        meeting: Meeting,
        said: String,
    },
    #[error("client {client} was started with other settings: '{theirs}' against our '{ours}'")]
    Disagreement {
        client: u32,
        theirs: String,
        ours: String,
    },
    #[error("client 0 ended the run: {0}")]
    Ended(String),
}

/// The moments at which all clients meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meeting {
    Join,
    Loaded,
    WarmedUp,
    Stopped,
}

impl std::fmt::Display for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Loaded => "loaded",
            Self::WarmedUp => "warmed up",
            Self::Stopped => "stopped",
        })
    }
}

/// One client's place at the meetings.
#[derive(Debug)]
pub(crate) struct Barrier {
    peers: Vec<Peer>,
    leads: bool,
}

#[derive(Debug)]
struct Peer {
    client: u32,
    stream: BufReader<TcpStream>,
}

impl Barrier {
    /// Meets the run's other clients, who must have been given the same `agreement` (one line), and
    /// learns the id of the run; a single client makes up its own.
    ///
    /// # Errors
    /// When the clients are not all there within `limit`, or do not agree.
    pub(crate) async fn join(
        place: &Place,
        agreement: &str,
        limit: Duration,
    ) -> Result<(Self, u16), BarrierError> {
        match &place.barrier {
            None => Ok((Self::alone(), random_run())),
            Some(address) if place.client == 0 => {
                let listener = TcpListener::bind(address)
                    .await
                    .map_err(|error| BarrierError::Listen(address.clone(), error))?;
                Self::lead(listener, place.clients, agreement, limit).await
            }
            Some(address) => Self::follow(address, place, agreement, limit).await,
        }
    }

    fn alone() -> Self {
        Self {
            peers: Vec::new(),
            leads: true,
        }
    }

    /// Client 0's side of [`join`](Self::join).
    async fn lead(
        listener: TcpListener,
        clients: u32,
        agreement: &str,
        limit: Duration,
    ) -> Result<(Self, u16), BarrierError> {
        let mut barrier = Self::alone();
        let joined = async {
            while barrier.peers.len() + 1 < clients as usize {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let joined = accept(stream, clients, agreement).await?;
                // Whoever is no client of this run, or came already, is sent away by the drop.
                let known = |peer: &Peer| barrier.peers.iter().any(|p| p.client == peer.client);
                barrier.peers.extend(joined.filter(|peer| !known(peer)));
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
        place: &Place,
        agreement: &str,
        limit: Duration,
    ) -> Result<(Self, u16), BarrierError> {
        let stream = reach(address, limit).await?;
        let mut leader = Peer {
            client: 0,
            stream: BufReader::new(stream),
        };
        let hello = format!(
            "batchkv 1 client {}/{} {agreement}\n",
            place.client, place.clients
        );
        leader.say(&hello).await;
        let said = leader.hear(Meeting::Join, limit).await?;
        let run = said.strip_prefix("run ").and_then(|run| run.parse().ok());
        let run = run.ok_or_else(|| leader.unexpected(Meeting::Join, &said))?;
        let barrier = Self {
            peers: vec![leader],
            leads: false,
        };
        Ok((barrier, run))
    }

    /// Waits until all clients are at `meeting`, and gives the moment at which all go on.
    ///
    /// # Errors
    /// When a client ended, or did not come within `limit`.
    pub(crate) async fn meet(
        &mut self,
        meeting: Meeting,
        limit: Duration,
    ) -> Result<Instant, BarrierError> {
        if self.leads {
            let gathered = self.gather(meeting, limit).await;
            self.tell_failure(gathered).await?;
            let start = Instant::now() + START_DELAY;
            self.tell(&format!("go {}\n", START_DELAY.as_micros()))
                .await;
            return Ok(start);
        }
        let leader = &mut self.peers[0];
        leader.say(&format!("at {meeting}\n")).await;
        let said = leader.hear(meeting, limit).await?;
        let delay = said.strip_prefix("go ").and_then(|us| us.parse().ok());
        let delay = delay.ok_or_else(|| leader.unexpected(meeting, &said))?;
        Ok(Instant::now() + Duration::from_micros(delay))
    }

    /// Waits until a client has ended between two meetings, and names it. One that has come to the next
    /// meeting already has not.
    pub(crate) async fn gone(&mut self) -> String {
        poll_fn(|cx| {
            for peer in &mut self.peers {
                let ended = match Pin::new(&mut peer.stream).poll_fill_buf(cx) {
                    Poll::Ready(Ok(said)) => said.is_empty(),
                    Poll::Ready(Err(_)) => true,
                    Poll::Pending => false,
                };
                if ended {
                    return Poll::Ready(peer.name());
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
        // The peers that have not come yet are cut off, which tells them.
        waiting.shutdown().await;
        outcome
    }

    /// Passes a failure on to the peers that are left.
    async fn tell_failure(
        &mut self,
        outcome: Result<(), BarrierError>,
    ) -> Result<(), BarrierError> {
        if let Err(error) = &outcome {
            self.tell(&format!("failed {error}\n")).await;
        }
        outcome
    }

    async fn tell(&mut self, line: &str) {
        for peer in &mut self.peers {
            peer.say(line).await;
        }
    }
}

impl Peer {
    /// Says a line. A peer that is gone is noticed when it is heard next.
    async fn say(&mut self, line: &str) {
        let _ = self.stream.get_mut().write_all(line.as_bytes()).await;
    }

    /// The peer's next line, without its end.
    async fn hear(&mut self, meeting: Meeting, limit: Duration) -> Result<String, BarrierError> {
        let line = timeout(limit, read_line(&mut self.stream)).await;
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
            None => Ok(line),
        }
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
) -> Result<Option<Peer>, BarrierError> {
    let mut stream = BufReader::new(stream);
    let Ok(hello) = read_line(&mut stream).await else {
        return Ok(None);
    };
    let mut words = hello.splitn(5, ' ');
    let mut is = |expected: &str| words.next() == Some(expected);
    if !(is("batchkv") && is("1") && is("client")) {
        return Ok(None);
    }
    let client = words.next().and_then(|place| {
        let (client, of) = place.split_once('/')?;
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
    Ok(Some(Peer { client, stream }))
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
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

/// An id for values: two runs on the same servers have different ones, with luck 65,535 in 65,536.
fn random_run() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn place(client: u32, address: &str) -> Place {
        Place {
            client,
            clients: 3,
            barrier: Some(address.into()),
        }
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    #[tokio::test]
    async fn three_clients_meet_and_share_the_run() {
        let (listener, address) = listen().await;
        let meet_all = async |joined: Result<(Barrier, u16), BarrierError>| {
            let (mut barrier, run) = joined.unwrap();
            for meeting in [Meeting::Loaded, Meeting::WarmedUp, Meeting::Stopped] {
                let start = barrier.meet(meeting, LIMIT).await.unwrap();
                assert!(start >= Instant::now() - LIMIT);
            }
            run
        };
        let follow = async |client| {
            let place = place(client, &address);
            meet_all(Barrier::join(&place, "same=1", LIMIT).await).await
        };
        let lead = async { meet_all(Barrier::lead(listener, 3, "same=1", LIMIT).await).await };
        let (a, b, c) = tokio::join!(lead, follow(1), follow(2));
        assert_eq!((a, a), (b, c));
    }

    #[tokio::test]
    async fn a_dying_peer_ends_the_meeting_for_all() {
        let (listener, address) = listen().await;
        let lead = async {
            let (mut barrier, _) = Barrier::lead(listener, 3, "", LIMIT).await.unwrap();
            barrier.meet(Meeting::Loaded, LIMIT).await.unwrap_err()
        };
        let stay = async {
            let joined = Barrier::join(&place(1, &address), "", LIMIT).await;
            joined
                .unwrap()
                .0
                .meet(Meeting::Loaded, LIMIT)
                .await
                .unwrap_err()
        };
        let die = async { drop(Barrier::join(&place(2, &address), "", LIMIT).await.unwrap()) };
        let (leader, stayer, ()) = tokio::join!(lead, stay, die);
        assert_eq!(leader.to_string(), "client 2 ended before 'loaded'");
        // The one that stayed is told why, or cut off when it had not come yet.
        assert!(matches!(
            stayer,
            BarrierError::Ended(_) | BarrierError::Gone { .. }
        ));
    }

    #[tokio::test]
    async fn a_peer_that_dies_between_meetings_is_noticed() {
        let (listener, address) = listen().await;
        let lead = async {
            let (mut barrier, _) = Barrier::lead(listener, 3, "", LIMIT).await.unwrap();
            barrier.gone().await
        };
        let early = async {
            let joined = Barrier::join(&place(1, &address), "", LIMIT).await;
            joined.unwrap().0.meet(Meeting::Loaded, LIMIT).await
        };
        let die = async { drop(Barrier::join(&place(2, &address), "", LIMIT).await.unwrap()) };
        let leader = async { tokio::join!(lead, die).0 };
        // The one that waits at the next meeting is cut off with the leader.
        let (gone, early) = tokio::join!(leader, early);
        assert_eq!(gone, "client 2");
        assert!(matches!(early, Err(BarrierError::Gone { .. })));
    }

    #[tokio::test]
    async fn other_settings_are_refused_and_named() {
        let (listener, address) = listen().await;
        let lead = Barrier::lead(listener, 3, "secs=30", LIMIT);
        let place = place(1, &address);
        let follow = Barrier::join(&place, "secs=20", LIMIT);
        let (leader, _) = tokio::join!(lead, follow);
        let text = leader.unwrap_err().to_string();
        assert!(text.contains("client 1") && text.contains("secs=20") && text.contains("secs=30"));
    }

    #[tokio::test]
    async fn a_stranger_does_not_disturb() {
        let (listener, address) = listen().await;
        let stranger = async {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok();
        };
        let follow = async |client| {
            let place = place(client, &address);
            Barrier::join(&place, "", LIMIT).await.unwrap()
        };
        let lead = async { Barrier::lead(listener, 3, "", LIMIT).await.unwrap() };
        let peers = async { tokio::join!(follow(1), follow(2)) };
        let ((), leader, _) = tokio::join!(stranger, lead, peers);
        assert_eq!(leader.0.peers.len(), 2);
    }

    #[tokio::test]
    async fn a_client_that_never_comes_is_late() {
        let (listener, _) = listen().await;
        let late = Barrier::lead(listener, 3, "", Duration::ZERO).await;
        assert!(matches!(late.unwrap_err(), BarrierError::Late { .. }));
    }
}
