//! The program against servers of a few lines that answer as a test tells them to.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

use batchkv_protocol::control::{FEATURE_CLUSTER, MAGIC, VERSION};
use batchkv_protocol::operator::{
    ClusterStatus, GroupStatus, MemberRole, MemberStatus, PartitionStatus, ServerState,
    ServerStatus,
};
use batchkv_protocol::{
    Control, ErrorFrame, Hello, OperatorAnswer, OperatorRequest, PartitionMap, ReceiveBuffer, Role,
    SendBuffer, ServerHello, ServerLimits,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

/// An address at which nobody listens: a port that the system hands to nobody.
const NOBODY: &str = "127.0.0.1:1";

fn frame(stream: &mut TcpStream, receive: &mut ReceiveBuffer) -> Option<Control> {
    loop {
        if let Some(body) = receive.body().unwrap() {
            let control = Control::decode(body).unwrap();
            receive.consume();
            return Some(control);
        }
        match stream.read(receive.spare()).unwrap_or(0) {
            0 => return None,
            bytes => receive.filled(bytes),
        }
    }
}

fn say(stream: &mut TcpStream, control: &Control) {
    let mut out = SendBuffer::default();
    control.write(&mut out);
    stream.write_all(out.pending()).unwrap();
}

fn hello(features: u64) -> Control {
    let map = PartitionMap::fixed(4, 1).unwrap();
    Control::ServerHello(ServerHello {
        magic: MAGIC,
        version: VERSION,
        features,
        server_index: 0,
        threads: 1,
        limits: ServerLimits::BUILT_IN,
        map_fingerprint: map.fingerprint(),
        partitions: map.partitions().to_vec(),
    })
}

/// A server with these features, whose operators are answered by `answer`; its address.
fn start(
    features: u64,
    answer: impl Fn(OperatorRequest) -> Control + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    serve(listener, features, answer);
    address
}

fn serve(
    listener: TcpListener,
    features: u64,
    answer: impl Fn(OperatorRequest) -> Control + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || converse(stream.unwrap(), features, &*answer));
        }
    });
}

fn converse(mut stream: TcpStream, features: u64, answer: &impl Fn(OperatorRequest) -> Control) {
    let mut receive = ReceiveBuffer::default();
    let said = frame(&mut stream, &mut receive).unwrap();
    let said = Hello::from_control(&said).unwrap();
    assert_eq!(said.role, Role::Operator);
    say(&mut stream, &hello(features & said.features));
    while let Some(control) = frame(&mut stream, &mut receive) {
        let Control::OperatorRequest(request) = control else {
            panic!("{control:?}");
        };
        say(&mut stream, &answer(request));
    }
}

fn admin(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_batchkv-admin"));
    command.args(words).output().unwrap()
}

/// What it prints when all is well.
fn printed(words: &[&str]) -> String {
    let output = admin(words);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && complaint.is_empty(),
        "{complaint}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What it complains of, with this exit code.
fn complaint(words: &[&str], code: i32) -> String {
    let output = admin(words);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    assert!(output.stdout.is_empty());
    complaint
}

fn group(leader: Option<u64>, behind: Option<u64>) -> GroupStatus {
    let member = |id, role, behind| MemberStatus { id, role, behind };
    GroupStatus {
        leader,
        term: 7,
        members: vec![
            member(1, MemberRole::Voter, Some(0)),
            member(12, MemberRole::Learner, behind),
        ],
    }
}

fn status() -> ClusterStatus {
    let server = |id, address: &str, state, heard_millis| ServerStatus {
        id,
        index: id as u32,
        address: address.into(),
        peer_address: "127.0.0.1:9001".into(),
        machine: 5,
        state,
        heard_millis,
        ops_per_sec: 5_000_000,
        records: 10_000,
        bytes: 3 << 20,
        leads: 2,
        holds: 2,
    };
    let partition = |leader, behind| PartitionStatus {
        incarnation: 1,
        group: group(leader, behind),
    };
    ClusterStatus {
        cluster: 0xABC,
        replicas: 2,
        missing: 1,
        directory: group(Some(1), None),
        servers: vec![
            server(1, "127.0.0.1:8081", ServerState::Up, Some(12)),
            server(12, "127.0.0.1:18082", ServerState::Joining, Some(3400)),
        ],
        partitions: vec![partition(Some(1), Some(120)), partition(None, None)],
    }
}

/// A cluster of one server that shows `status`, and does whatever it is told.
fn cluster() -> String {
    start(FEATURE_CLUSTER, |request| {
        Control::OperatorAnswer(match request {
            OperatorRequest::Status => OperatorAnswer::status(status()),
            OperatorRequest::Transfer { partition: 1, .. } => OperatorAnswer::Refused {
                reason: "server 12 has no vote".into(),
            },
            OperatorRequest::Transfer { .. } => OperatorAnswer::Done,
        })
    })
}

#[test]
fn a_status_for_people() {
    let shown = printed(&["--hosts", &cluster(), "status"]);
    let expected = "\
cluster 00000000000000000000000000000abc: 2 replicas of each of 2 partitions, 1 replica missing, 1 partition without a leader

directory: leader 1, term 7, members 1, 12 learner

server  address          state    heard        ops/s  records  MiB  leads  holds
     1  127.0.0.1:8081   up       now        5000000    10000  3.0      2      2
    12  127.0.0.1:18082  joining  3.4 s ago  5000000    10000  3.0      2      2

partition  leader  term  members (entries behind)
        0  1          7  1, 12 learner (120)
        1  none       7  1, 12 learner
";
    assert_eq!(shown, expected);
}

#[test]
fn a_status_for_programs() {
    let shown = printed(&["status", "--json", "--hosts", &cluster()]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["cluster"], "00000000000000000000000000000abc");
    assert_eq!(shown["missing_replicas"], 1);
    assert_eq!(shown["servers"][1]["id"], 12);
    assert_eq!(shown["servers"][1]["state"], "joining");
    assert_eq!(shown["servers"][1]["heard_millis"], 3400);
    assert_eq!(shown["partitions"][0]["members"][1]["behind_entries"], 120);
    assert_eq!(shown["partitions"][1]["number"], 1);
    assert!(shown["partitions"][1]["leader"].is_null());
    assert_eq!(shown["directory"]["members"][1]["voter"], false);
}

#[test]
fn a_lead_is_handed_over_by_whoever_can() {
    let leader = cluster();
    let named = leader.clone();
    let other = start(FEATURE_CLUSTER, move |request| {
        Control::OperatorAnswer(match request {
            OperatorRequest::Status => OperatorAnswer::status(status()),
            OperatorRequest::Transfer { .. } => OperatorAnswer::NotHere {
                address: named.clone(),
            },
        })
    });
    let said = printed(&["--hosts", &other, "transfer", "0", "12"]);
    assert_eq!(said, "server 12 leads partition 0\n");
    let said = printed(&["--hosts", &other, "transfer", "0", "127.0.0.1:18082"]);
    assert_eq!(said, "server 12 leads partition 0\n");
    let said = complaint(&["--hosts", &other, "transfer", "1", "12"], 1);
    assert!(
        said.contains(&leader) && said.contains("refuses: server 12 has no vote"),
        "{said}"
    );
    let said = complaint(&["--hosts", &other, "transfer", "0", "9"], 1);
    assert!(said.contains("no server 9: there are 1, 12"), "{said}");
}

#[test]
fn servers_that_leave_it_to_each_other_are_not_asked_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let itself = listener.local_addr().unwrap().to_string();
    let names = |address: String| {
        move |request| {
            Control::OperatorAnswer(match request {
                OperatorRequest::Status => OperatorAnswer::status(status()),
                OperatorRequest::Transfer { .. } => OperatorAnswer::NotHere {
                    address: address.clone(),
                },
            })
        }
    };
    serve(listener, FEATURE_CLUSTER, names(itself.clone()));
    let said = complaint(&["--hosts", &itself, "transfer", "0", "1"], 1);
    assert!(said.contains("leaders are changing, try again"), "{said}");

    let deserted = start(FEATURE_CLUSTER, names(NOBODY.into()));
    let said = complaint(&["--hosts", &deserted, "transfer", "0", "1"], 1);
    assert!(
        said.contains(&format!(
            "leaves it to the server at {NOBODY}, which does not answer"
        )),
        "{said}"
    );
}

#[test]
fn who_is_no_member_of_a_cluster_is_told_apart_from_nobody() {
    let outside = start(0, |_| Control::CountersRequest);
    let said = complaint(&["--hosts", &outside, "status"], 1);
    assert!(
        said.contains("is in no cluster") && said.contains(&outside),
        "{said}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let said = complaint(&["--hosts", &nobody, "status"], 1);
    assert!(
        said.contains(&format!("no batchkv server at {nobody}")),
        "{said}"
    );

    // The first that is a member is asked.
    let hosts = [NOBODY, &outside, &cluster()].join(",");
    assert!(printed(&["--hosts", &hosts, "status"]).starts_with("cluster "));

    let error = start(FEATURE_CLUSTER, |_| {
        Control::Error(ErrorFrame {
            text: "full".into(),
        })
    });
    let said = complaint(&["--hosts", &error, "status"], 1);
    assert!(said.contains("says: full"), "{said}");
}

#[test]
fn wrong_usage_is_named() {
    let said = complaint(&["transfer", "5000", "1"], 2);
    assert!(said.contains("from 0 to 4095"), "{said}");
    assert!(complaint(&["look"], 2).contains("look"));
}
