//! What a round of consensus costs: groups of three members over TCP on loopback, all nodes in this process,
//! each with its thread, proposers in a closed loop.

use batchkv_cli::screen;
use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use batchkv_consensus::transport::tcp::{TcpConfig, TcpTransport};
use batchkv_consensus::{Committed, Config, GroupHandle, Image, Import, Node, Role, StateMachine};
use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};

const NODES: u64 = 3;
/// Not counted: connections, first entries, buffers.
const WARM_UP: Duration = Duration::from_millis(500);

/// Counts entries and bytes on one member.
#[derive(Clone, Default)]
struct Count {
    entries: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl StateMachine for Count {
    type Parked = ();
    type Answer = ();
    type Image = Nothing;
    type Import = Nothing;

    fn apply(&mut self, entries: Vec<Committed<()>>) -> impl Future<Output = Vec<()>> {
        self.entries
            .fetch_add(entries.len() as u64, Ordering::Relaxed);
        let mut answers = Vec::new();
        for proposal in entries.into_iter().flat_map(|entry| entry.proposals) {
            let bytes = proposal.bytes.len() as u64;
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            answers.extend(proposal.parked);
        }
        ready(answers)
    }

    fn image(&mut self) -> Nothing {
        Nothing
    }

    fn import(&mut self) -> Nothing {
        Nothing
    }

    fn install(&mut self, _import: Nothing) -> impl Future<Output = Result<(), String>> {
        ready(Ok(()))
    }
}

/// The state of a machine that has none.
struct Nothing;

impl Image for Nothing {
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> {
        ready(None)
    }
}

impl Import for Nothing {
    fn take(&mut self, _chunk: Bytes) -> impl Future<Output = Result<(), String>> {
        ready(Ok(()))
    }
}

/// One row: so many groups, so many proposals of so many bytes in flight in each.
#[derive(Clone, Copy)]
struct Shape {
    groups: u32,
    in_flight: usize,
    bytes: usize,
}

/// Measures each shape for `seconds`.
pub(crate) fn run(seconds: u64) -> io::Result<()> {
    screen::say(format_args!(
        "groups  in flight  bytes  rounds/s  proposals/s  MB/s  us of CPU a round  cores"
    ));
    for groups in [1, 16, 32] {
        for (in_flight, bytes) in [(1, 0), (1, 1_600), (1, 16_000), (16, 1_600)] {
            let shape = Shape {
                groups,
                in_flight,
                bytes,
            };
            measure(shape, Duration::from_secs(seconds))?;
        }
    }
    Ok(())
}

fn measure(shape: Shape, span: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (nodes, addresses) = nodes()?;
        let counts: Vec<Count> = (0..shape.groups).map(|_| Count::default()).collect();
        let local = tokio::task::LocalSet::new();
        let mut leaders = Vec::new();
        for (group, count) in counts.iter().enumerate() {
            leaders.push(start(&nodes, &addresses, group as u32, count).await?);
        }
        for leader in leaders
            .iter()
            .flat_map(|leader| vec![leader; shape.in_flight])
        {
            local.spawn_local(propose(leader.clone(), Bytes::from(vec![7; shape.bytes])));
        }
        local
            .run_until(async {
                tokio::time::sleep(WARM_UP).await;
                let (began, cpu) = (Instant::now(), cpu_seconds());
                let before = total(&counts);
                tokio::time::sleep(span).await;
                let (after, cpu) = (total(&counts), cpu_seconds() - cpu);
                report(shape, before, after, cpu, began.elapsed().as_secs_f64());
            })
            .await;
        Ok(())
    })
}

fn nodes() -> io::Result<(Vec<Node>, Vec<SocketAddr>)> {
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    for id in 1..=NODES {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        addresses.push(listener.local_addr()?);
        let tcp = TcpConfig {
            cluster: 1,
            node: id,
            on_closed: Arc::new(|_| {}),
        };
        let node = Node::start(id, id, move || TcpTransport::listen(tcp, listener));
        nodes.push(node.map_err(io::Error::other)?);
    }
    Ok((nodes, addresses))
}

/// Starts a group on all nodes; its leader is the node whose turn it is, so that leaders are spread.
/// The leader's member is counted.
async fn start(
    nodes: &[Node],
    addresses: &[SocketAddr],
    group: u32,
    count: &Count,
) -> io::Result<GroupHandle<Count>> {
    let mut handles = Vec::new();
    for node in nodes {
        let own = Count::default();
        let machine = if node.id() == 1 { count.clone() } else { own };
        let started = node.start_group(group, Config::default(), move || machine);
        handles.push(started.await.map_err(io::Error::other)?);
    }
    let voters = nodes.iter().zip(addresses);
    let voters: BTreeMap<u64, String> = voters
        .map(|(node, address)| (node.id(), address.to_string()))
        .collect();
    let founder = &handles[group as usize % handles.len()];
    founder.bootstrap(voters).await.map_err(io::Error::other)?;
    let mut status = founder.watch();
    let leads = status.wait_for(|status| status.role == Role::Leader);
    leads.await.map_err(io::Error::other)?;
    Ok(founder.clone())
}

async fn propose(leader: GroupHandle<Count>, bytes: Bytes) {
    loop {
        if leader.propose(bytes.clone(), ()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn total(counts: &[Count]) -> (u64, u64) {
    let entries = counts.iter().map(|it| it.entries.load(Ordering::Relaxed));
    let bytes = counts.iter().map(|it| it.bytes.load(Ordering::Relaxed));
    (entries.sum(), bytes.sum())
}

/// CPU time of this process so far: all members and the proposers.
fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the call refuses only wrong arguments");
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn report(shape: Shape, before: (u64, u64), after: (u64, u64), cpu: f64, seconds: f64) {
    let rounds = (after.0 - before.0) as f64;
    let bytes = (after.1 - before.1) as f64;
    let proposals = if shape.bytes == 0 {
        rounds
    } else {
        bytes / shape.bytes as f64
    };
    screen::say(format_args!(
        "{:6}  {:9}  {:5}  {:8.0}  {:11.0}  {:4.0}  {:17.0}  {:5.2}",
        shape.groups,
        shape.in_flight,
        shape.bytes,
        rounds / seconds,
        proposals / seconds,
        bytes / seconds / 1e6,
        cpu / rounds * 1e6,
        cpu / seconds,
    ));
}
