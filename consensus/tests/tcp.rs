//! Three nodes over TCP on loopback, each with its thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use batchkv_consensus::transport::tcp::{Closed, TcpConfig, TcpTransport};
use batchkv_consensus::{
    Committed, Config, GroupHandle, Image, Import, Node, ProposeError, ReadBy, Role, StateMachine,
};
use bytes::{Buf, Bytes};
use tokio::sync::watch;

const CLUSTER: u128 = 0xc1;
const GROUP: u32 = 1;
/// Within which everything here must happen; a timing below it decides nothing.
const PATIENCE: Duration = Duration::from_secs(240);

type Numbers = Arc<Mutex<Vec<u64>>>;

/// Rises whenever a server of these tests has applied something, closed a connection or changed its status.
static EVENTS: LazyLock<watch::Sender<u64>> = LazyLock::new(watch::Sender::default);

fn tell() {
    EVENTS.send_modify(|events| *events += 1);
}

/// Numbers in the order of the log.
struct Ledger(Numbers);

impl Ledger {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<u64>) -> T) -> T {
        let done = act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        tell();
        done
    }
}

impl StateMachine for Ledger {
    type Parked = ();
    type Answer = usize;
    type Image = Pages;
    type Import = Received;

    async fn apply(&mut self, entries: Vec<Committed<()>>) -> Vec<usize> {
        self.with(|numbers| {
            let mut answers = Vec::new();
            for mut proposal in entries.into_iter().flat_map(|entry| entry.proposals) {
                answers.extend(proposal.parked.map(|()| numbers.len()));
                numbers.push(proposal.bytes.get_u64_le());
            }
            answers
        })
    }

    fn image(&mut self) -> Pages {
        let page = |page: &[u64]| page.iter().flat_map(|it| it.to_le_bytes()).collect();
        Pages(self.with(|numbers| numbers.chunks(300).rev().map(page).collect()))
    }

    fn import(&mut self) -> Received {
        Received(Vec::new())
    }

    async fn install(&mut self, import: Received) -> Result<(), String> {
        self.with(|numbers| *numbers = import.0);
        Ok(())
    }
}

struct Pages(Vec<Bytes>);

impl Image for Pages {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.pop()
    }
}

struct Received(Vec<u64>);

impl Import for Received {
    async fn take(&mut self, mut chunk: Bytes) -> Result<(), String> {
        while chunk.has_remaining() {
            self.0.push(chunk.get_u64_le());
        }
        Ok(())
    }
}

struct Server {
    node: Node,
    handle: GroupHandle<Ledger>,
    numbers: Numbers,
    address: SocketAddr,
    closed: Arc<Mutex<Vec<Closed>>>,
}

impl Server {
    async fn start(id: u64, config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let closed = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&closed);
        let tcp = TcpConfig {
            cluster: CLUSTER,
            node: id,
            on_closed: Arc::new(move |end| {
                told.lock().expect("no panic").push(end);
                tell();
            }),
        };
        let node =
            Node::start(id, id, move || TcpTransport::listen(tcp, listener)).expect("a node");
        let numbers = Numbers::default();
        let machine = Ledger(Arc::clone(&numbers));
        let handle = node
            .start_group(GROUP, config, move || machine)
            .await
            .expect("a group");
        let mut status = handle.watch();
        tokio::spawn(async move {
            while status.changed().await.is_ok() {
                tell();
            }
        });
        Self {
            node,
            handle,
            numbers,
            address,
            closed,
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.numbers.lock().expect("no panic").clone()
    }

    fn has_closed(&self, reason: &str) -> bool {
        let closed = self.closed.lock().expect("no panic");
        closed.iter().any(|end| end.reason.contains(reason))
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut events = EVENTS.subscribe();
    let waiting = async {
        while !holds() {
            events.changed().await.expect("the sender is static");
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{what}: not within {PATIENCE:?}");
}

async fn three(config: Config) -> Vec<Server> {
    let mut servers = Vec::new();
    for id in 1..=3 {
        servers.push(Server::start(id, config.clone()).await);
    }
    let voters: BTreeMap<u64, String> = servers
        .iter()
        .map(|server| (server.node.id(), server.address.to_string()))
        .collect();
    servers[0].handle.bootstrap(voters).await.expect("founded");
    until("a leader", || leader(&servers).is_some()).await;
    servers
}

fn leader(servers: &[Server]) -> Option<usize> {
    let leaders = servers.iter().enumerate();
    let leaders = leaders.filter(|(_, it)| it.handle.status().role == Role::Leader);
    leaders
        .max_by_key(|(_, it)| it.handle.status().term)
        .map(|(place, _)| place)
}

/// Proposes a number until it is acknowledged. Returns how often it was unknown whether it took effect.
async fn write(servers: &[Server], number: u64, bytes: usize) -> usize {
    let mut proposal = number.to_le_bytes().to_vec();
    proposal.resize(bytes.max(8), 0);
    let mut events = EVENTS.subscribe();
    let writing = async {
        let mut unknown = 0;
        loop {
            if let Some(leader) = leader(servers) {
                let answer = servers[leader].handle.propose(proposal.clone().into(), ());
                match answer.await {
                    Ok(_) => return unknown,
                    Err(ProposeError::Unknown) => unknown += 1,
                    Err(_) => {}
                }
            }
            events.changed().await.expect("the sender is static");
        }
    };
    let written = tokio::time::timeout(PATIENCE, writing).await;
    written.unwrap_or_else(|_| panic!("{number} was not acknowledged within {PATIENCE:?}"))
}

/// Asks whoever leads until it is done: on a busy machine the office may change hands at any time.
async fn at_leader<T, E: Debug, F: Future<Output = Result<T, E>>>(
    servers: &[Server],
    act: impl Fn(GroupHandle<Ledger>) -> F,
) -> T {
    let mut events = EVENTS.subscribe();
    let mut refused = None;
    let acting = async {
        loop {
            if let Some(leader) = leader(servers) {
                match act(servers[leader].handle.clone()).await {
                    Ok(done) => return done,
                    Err(error) => refused = Some(error),
                }
            }
            events.changed().await.expect("the sender is static");
        }
    };
    let acted = tokio::time::timeout(PATIENCE, acting).await;
    acted.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {refused:?}"))
}

async fn all_hold(servers: &[Server], last: u64) {
    until("all hold the same", || {
        let first = servers[0].numbers();
        first.contains(&last) && servers.iter().all(|server| server.numbers() == first)
    })
    .await;
}

fn raw(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A hello as its format says.
fn hello(cluster: u128, from: u64, to: u64) -> Vec<u8> {
    let mut bytes = b"bkvpeer\0".to_vec();
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(cluster.to_le_bytes());
    bytes.extend(from.to_le_bytes());
    bytes.extend(to.to_le_bytes());
    bytes
}

/// What a server says to its end; a reset is an end too.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let _reset = stream.read_to_end(&mut said);
    said
}

#[tokio::test]
async fn three_servers_agree_read_hand_over_and_survive_a_death() {
    let mut servers = three(Config::default()).await;
    for number in 0..200 {
        write(&servers, number, 8).await;
    }
    all_hold(&servers, 199).await;

    for by in [ReadBy::Confirm, ReadBy::Lease] {
        at_leader(&servers, |handle| async move {
            let point = handle.read_point(by).await?;
            handle.wait_applied(point).await
        })
        .await;
    }
    at_leader(&servers, |handle| {
        let own = handle.status().leader;
        let other = servers.iter().map(|server| server.node.id());
        let other = other.into_iter().find(|id| Some(*id) != own);
        async move { handle.transfer(other.expect("three"), PATIENCE).await }
    })
    .await;
    write(&servers, 200, 8).await;

    // Its thread ends as a killed process does; a new server takes its place under a new id.
    let dead = leader(&servers).expect("it led");
    drop(servers.remove(dead));
    let unknown = write(&servers, 201, 8).await;
    assert_eq!(unknown, 0, "the two that live refuse or acknowledge");
    servers.push(Server::start(4, Config::default()).await);
    let address = &servers[2].address.to_string();
    at_leader(&servers, |handle| async move {
        handle.add_learner(4, address, PATIENCE).await
    })
    .await;
    let voters: BTreeSet<u64> = servers.iter().map(|server| server.node.id()).collect();
    at_leader(&servers, |handle| {
        let voters = voters.clone();
        async move { handle.set_voters(voters, PATIENCE).await }
    })
    .await;
    write(&servers, 202, 8).await;
    all_hold(&servers, 202).await;
    until("all know the voters", || {
        let knows = |server: &Server| server.handle.status().voters().eq(voters.iter().copied());
        servers.iter().all(knows)
    })
    .await;
}

#[tokio::test]
async fn what_is_bound_to_a_term_is_appended_in_no_other_and_notes_arrive() {
    let servers = three(Config::default()).await;
    // Bound to the leader's own term, with another proposal beside it that is not.
    at_leader(&servers, |handle| async move {
        let term = handle.status().term;
        let number = |number: u64| Bytes::from(number.to_le_bytes().to_vec());
        let bound = handle.propose_in(term, number(1), ());
        let stale = handle.propose_in(term.wrapping_sub(1), number(2), ());
        let free = handle.propose(number(3), ());
        bound.await?;
        assert_eq!(stale.await, Err(ProposeError::NotLeader { leader: None }));
        free.await
    })
    .await;
    all_hold(&servers, 3).await;
    assert!(!servers[0].numbers().contains(&2));

    let (sender, mut notes) = tokio::sync::mpsc::channel(1);
    servers[1].node.take_notes(sender).expect("it runs");
    let told = async {
        loop {
            // One that meets a connection that is being made may be lost.
            let note = Bytes::from_static(b"a note");
            servers[0].node.tell(2, note).expect("it runs");
            let waited = Duration::from_millis(100);
            if let Ok(note) = tokio::time::timeout(waited, notes.recv()).await {
                return note;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await;
    assert_eq!(told, Ok(Some((1, Bytes::from_static(b"a note")))));
    for server in servers {
        server.node.stop().await;
    }
}

#[tokio::test]
async fn large_proposals_and_a_large_state_cross() {
    let config = Config {
        log_bytes_max: 4 << 20,
        log_bytes_keep: 1 << 20,
        ..Config::default()
    };
    let mut servers = three(config.clone()).await;
    for number in 0..30 {
        write(&servers, number, 700_000).await;
    }
    for number in 30..1_000 {
        write(&servers, number, 8).await;
    }
    all_hold(&servers, 999).await;
    for server in &servers {
        until("the log is short", || {
            server.handle.status().log_bytes < 6 << 20
        })
        .await;
    }
    servers.push(Server::start(4, config).await);
    let address = &servers[3].address.to_string();
    at_leader(&servers, |handle| async move {
        handle.add_learner(4, address, PATIENCE).await
    })
    .await;
    all_hold(&servers, 999).await;
}

#[tokio::test]
async fn strangers_and_garbage_at_the_door_cost_only_their_connection() {
    let servers = three(Config::default()).await;
    let door = &servers[0];

    raw(door).write_all(&[0xff; 200]).expect("sent");
    until("garbage", || door.has_closed("no hello of a peer")).await;

    let mut foreign = raw(door);
    foreign.write_all(&hello(CLUSTER + 1, 2, 1)).expect("sent");
    let said = rest(&mut foreign);
    assert!(
        String::from_utf8_lossy(&said).contains("which is another"),
        "{said:?}"
    );
    until("another cluster", || door.has_closed("a node of cluster")).await;

    raw(door).write_all(&hello(CLUSTER, 2, 9)).expect("sent");
    until("another node", || door.has_closed("a hello for node 9")).await;

    // What one connection began with begins no other.
    let mut first = raw(door);
    first.write_all(&hello(CLUSTER, 77, 1)).expect("sent");
    let mut welcome = [0; 9];
    first.read_exact(&mut welcome).expect("welcome");
    let mut replay = hello(CLUSTER, 77, 1);
    replay.extend(&welcome[1..]);
    let mut again = raw(door);
    again.write_all(&replay).expect("sent");
    rest(&mut again);
    until("a replay", || door.has_closed("a confirmation of another")).await;

    // A peer that was let in: garbage, a second hello, a frame for another, half a frame and the end.
    first.write_all(&welcome[1..]).expect("sent");
    first.write_all(&hello(CLUSTER, 77, 1)).expect("sent");
    rest(&mut first);
    until("a second hello", || door.has_closed("a frame of ")).await;
    for (frame, reason) in [
        (
            vec![13, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            "a frame for node 9",
        ),
        (
            vec![14, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 250],
            "malformed message",
        ),
        (vec![99, 0, 0, 0, 1], "within a frame"),
    ] {
        let mut peer = raw(door);
        peer.write_all(&hello(CLUSTER, 77, 1)).expect("sent");
        peer.read_exact(&mut welcome).expect("welcome");
        peer.write_all(&welcome[1..]).expect("sent");
        peer.write_all(&frame).expect("sent");
        peer.shutdown(std::net::Shutdown::Write).expect("shut");
        until(reason, || door.has_closed(reason)).await;
    }

    for number in 0..50 {
        write(&servers, number, 8).await;
    }
    all_hold(&servers, 49).await;
    // An election that a busy machine causes is none of theirs; a peer's connection that ends would be.
    let closed = door.closed.lock().expect("no panic");
    let strangers = ["a node of cluster", "a hello for node 9"];
    let suffered = closed.iter().find(|end| {
        matches!(end.peer, Some(2 | 3)) && !strangers.iter().any(|it| end.reason.contains(it))
    });
    assert_eq!(suffered, None, "nothing else suffered");
}

#[tokio::test]
async fn a_member_that_takes_nothing_holds_up_nobody() {
    let config = Config {
        log_bytes_max: 4 << 20,
        log_bytes_keep: 1 << 20,
        ..Config::default()
    };
    let servers = three(config).await;
    // It meets whoever dials, and never reads again.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = socket2::SockRef::from(&listener);
    socket
        .set_recv_buffer_size(16 << 10)
        .expect("a small buffer");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let mut met = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a leader dials");
            let mut hello = [0; 42];
            // One that has gone again is met no more.
            let greeted = stream.read_exact(&mut hello);
            let _gone = greeted.and_then(|()| stream.write_all(&[0, 1, 2, 3, 4, 5, 6, 7, 8]));
            met.push(stream);
        }
    });
    let address = &address;
    at_leader(&servers, |handle| async move {
        handle.add_learner(9, address, PATIENCE).await
    })
    .await;
    for number in 0..3 {
        write(&servers, number, 1 << 20).await;
    }
    until("it is given up", || {
        servers
            .iter()
            .any(|server| server.has_closed("takes nothing"))
    })
    .await;
    for number in 3..40 {
        write(&servers, number, 1 << 20).await;
    }
    until("the log is short", || {
        servers
            .iter()
            .all(|server| server.handle.status().log_bytes < 8 << 20)
    })
    .await;
    write(&servers, 40, 8).await;
    at_leader(&servers, |handle| async move {
        handle.remove_learner(9, PATIENCE).await
    })
    .await;
}
