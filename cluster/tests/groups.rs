//! A partition's group over real consensus: three nodes over TCP, a copy in the middle of writes, a hand-over.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::host::{PartitionMachine, PartitionWatch, Slots, Workers};
use batchkv_cluster::{Answer, Proposal, Sequence, Write};
use batchkv_consensus::transport::tcp::{TcpConfig, TcpTransport};
use batchkv_consensus::{Config, GroupHandle, Node, ProposeError, ReadBy};
use batchkv_store::Partitioned;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

const PARTITION: u32 = 1;
/// Nothing here takes as long; a test that waits longer fails.
const PATIENCE: Duration = Duration::from_secs(120);

type Machine = PartitionMachine<Partitioned>;

struct Server {
    node: Node,
    group: GroupHandle<Machine>,
    replica: PartitionWatch<Partitioned>,
    address: String,
}

async fn server(id: u64) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tcp = TcpConfig {
        cluster: 7,
        node: id,
        on_closed: Arc::new(|_| ()),
    };
    let node = Node::start(id, id, move || TcpTransport::listen(tcp, listener)).unwrap();
    let slots = Arc::new(Slots::new(2));
    let engine = Arc::new(Partitioned::new(slots.engine_partitions(), None));
    let workers = Arc::new(Workers::start(1).unwrap());
    let machine = Machine::new(PARTITION, engine, slots, workers);
    let replica = machine.watch();
    // So little that a new member is sent an image.
    let config = Config {
        log_bytes_max: 10_000,
        log_bytes_keep: 1_000,
        ..Config::default()
    };
    let group = node.start_group(PARTITION, config, move || machine).await;
    Server {
        node,
        group: group.unwrap(),
        replica,
        address,
    }
}

/// Proposes until there is a leader here to take it.
async fn propose(group: &GroupHandle<Machine>, proposal: &Proposal<'_>) -> Answer {
    let bytes = Bytes::from(proposal.encode().unwrap());
    loop {
        match group.propose(bytes.clone(), ()).await {
            Ok(answer) => return answer,
            Err(ProposeError::NotLeader { .. }) => {
                // A leader that was just elected, or that is about to be.
                let _changed =
                    tokio::time::timeout(Duration::from_millis(20), group.watch().changed()).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn writes<'a>(sequence: Option<Sequence>, key: &'a [u8], value: &'a [u8]) -> Proposal<'a> {
    Proposal::Writes {
        sequence,
        writes: vec![Write::Put { key, value }, Write::Delete { key: b"no" }],
    }
}

/// Writes some keys again and again; how many proposals that was.
async fn write(group: GroupHandle<Machine>, rounds: u64) -> u64 {
    let value = vec![7; 700];
    for round in 0..rounds {
        let key = (round % 97).to_le_bytes();
        let answer = propose(&group, &writes(None, &key, &value)).await;
        assert!(matches!(answer, Answer::Applied(_)), "{answer:?}");
    }
    rounds
}

async fn caught_up(group: &GroupHandle<Machine>, id: u64) {
    let mut status = group.watch();
    let is_there = status.wait_for(|status| {
        let member = status.members.iter().find(|member| member.id == id);
        member.is_some_and(|member| member.matched.is_some_and(|at| at + 50 > status.last))
    });
    is_there.await.unwrap();
}

async fn copied_while_written() {
    let one = server(1).await;
    one.group
        .bootstrap(BTreeMap::from([(1, one.address.clone())]))
        .await
        .unwrap();
    write(one.group.clone(), 300).await;

    // Two more members are copied to while writes go on.
    let writer = tokio::spawn(write(one.group.clone(), 600));
    let (two, three) = (server(2).await, server(3).await);
    for (id, address) in [(2, &two.address), (3, &three.address)] {
        one.group.add_learner(id, address, PATIENCE).await.unwrap();
        caught_up(&one.group, id).await;
    }
    let voters = [1, 2, 3].into();
    one.group.set_voters(voters, PATIENCE).await.unwrap();
    assert_eq!(writer.await.unwrap(), 600);

    // A group that is sent again, to the next leader, takes effect once.
    let Answer::Opened { stream } = propose(&one.group, &Proposal::OpenStream).await else {
        panic!("no stream");
    };
    let sequence = Some(Sequence {
        stream,
        number: 0,
        floor: 0,
    });
    let first = propose(&one.group, &writes(sequence, b"once", b"1")).await;
    one.group.transfer(2, PATIENCE).await.unwrap();
    let again = propose(&two.group, &writes(sequence, b"once", b"1")).await;
    assert_eq!(again, first);
    write(two.group.clone(), 10).await;

    let last = two.group.read_point(ReadBy::Confirm).await.unwrap();
    let mut digests = Vec::new();
    for server in [&one, &two, &three] {
        server.group.wait_applied(last).await.unwrap();
        assert_eq!(server.replica.fault(), None);
        digests.push(server.replica.digest().await.unwrap());
    }
    assert_eq!(digests[0].records, 98);
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "{digests:?}"
    );
    for server in [one, two, three] {
        server.node.stop().await;
    }
}

#[test]
fn members_are_copied_to_while_writes_go_on_and_what_is_sent_again_takes_effect_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).enable_time().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(2 * PATIENCE, copied_while_written()).await })
        .unwrap();
}
