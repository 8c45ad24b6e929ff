//! What a server writes beside its service may fail, and what the system gives may run out: the service goes on, and
//! says why.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use batchkv_protocol::{Answer, Refusal};
use common::{Answered, PATIENCE, Peer, Server};

const STORED: Answered = Answered::Other(Answer::Stored);

/// A pipe with a name, removed in the end: a file that fails when its reader goes.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let name = format!("batchkv-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        Self(path)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

#[test]
fn a_file_that_cannot_be_written_any_more_does_not_end_the_service() {
    for flag in ["--stats-file", "--resources-file"] {
        let fifo = Fifo::new(&flag[2..]);
        let path = fifo.0.to_str().unwrap().to_owned();
        // Both ends wait for each other to open it.
        let reading = std::thread::spawn({
            let path = path.clone();
            move || BufReader::new(File::open(path).unwrap())
        });
        let mut server = Server::start(&[flag, &path]);
        let mut reader = reading.join().unwrap();
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        assert!(header.starts_with("unix_time,"), "{header}");
        drop(reader);
        // A second later a row is due.
        let complaint = server.complaint();
        assert!(complaint.contains(flag), "{complaint}");
        assert!(complaint.contains("the service goes on"), "{complaint}");
        let mut peer = Peer::greeted(server.address);
        assert_eq!(peer.put(b"k", b"v"), STORED);
        drop(peer);
        let (status, printed, complaints) = server.stop();
        assert_eq!(status.code(), Some(1));
        assert!(printed.contains("1 puts"), "{printed}");
        assert_eq!(complaints.matches(flag).count(), 0, "it is said once");
        assert!(complaints.contains("not all of its output"), "{complaints}");
    }
}

#[test]
fn a_file_that_cannot_be_written_at_all_is_named_before_anything_is_served() {
    let full = ["--stats-file", "/dev/full"];
    let tried = Command::new(env!("CARGO_BIN_EXE_batchkv-server"))
        .args(["--listen", "127.0.0.1:0"])
        .args(full)
        .output()
        .unwrap();
    assert_eq!(tried.status.code(), Some(1));
    assert!(tried.stdout.is_empty());
    let complaint = String::from_utf8(tried.stderr).unwrap();
    assert!(complaint.contains("--stats-file /dev/full"), "{complaint}");
}

/// Where a process listens.
fn address_of(pid: u32) -> SocketAddr {
    let begin = Instant::now();
    loop {
        let ss = Command::new("ss").args(["-ltnHp"]).output().unwrap();
        let lines = String::from_utf8(ss.stdout).unwrap();
        let mine = format!("pid={pid},");
        if let Some(line) = lines.lines().find(|line| line.contains(&mine)) {
            return line.split_whitespace().nth(3).unwrap().parse().unwrap();
        }
        assert!(begin.elapsed() < PATIENCE, "it listens nowhere");
    }
}

#[test]
fn an_output_that_is_full_does_not_end_the_service() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_batchkv-server"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(File::options().write(true).open("/dev/full").unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut complaints = BufReader::new(server.stderr.take().unwrap());
    let mut complaint = String::new();
    complaints.read_line(&mut complaint).unwrap();
    assert!(complaint.contains("standard output"), "{complaint}");
    let mut peer = Peer::greeted(address_of(server.id()));
    assert_eq!(peer.put(b"k", b"v"), STORED);
    let stop = ["-TERM", &server.id().to_string()];
    assert!(Command::new("kill").args(stop).status().unwrap().success());
    let mut rest = String::new();
    complaints.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("standard output"), "{rest}");
    assert_eq!(server.wait().unwrap().code(), Some(1));
}

#[test]
fn an_output_that_nobody_reads_does_not_stop_the_service() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    // Keeps the pipe full until its reader goes.
    let filling = std::thread::spawn(move || while filler.write_all(&[b'x'; 4096]).is_ok() {});
    let mut server = Command::new(env!("CARGO_BIN_EXE_batchkv-server"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peer = Peer::greeted(address_of(server.id()));
    assert_eq!(peer.put(b"k", b"v"), STORED);
    let stop = ["-TERM", &server.id().to_string()];
    assert!(Command::new("kill").args(stop).status().unwrap().success());
    assert_eq!(peer.receive(), None);
    drop(peer);
    let mut complaints = String::new();
    let mut stderr = server.stderr.take().unwrap();
    stderr.read_to_string(&mut complaints).unwrap();
    assert!(complaints.contains("nobody reads"), "{complaints}");
    assert_eq!(server.wait().unwrap().code(), Some(1));
    drop(reader);
    filling.join().unwrap();
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    const CONNECTIONS: usize = 100;
    let server = Server::start_after("ulimit -Sn 64", &["--max-connections", "200"]);
    let mut peers: Vec<Peer> = (0..CONNECTIONS)
        .map(|_| Peer::greeted(server.address))
        .collect();
    assert_eq!(peers[CONNECTIONS - 1].put(b"k", b"v"), STORED);
    drop(peers);
    server.stop_well();
}

#[test]
fn a_low_limit_of_open_files_is_named_on_both_sides() {
    let mut server = Server::start_after("ulimit -n 64", &["--threads", "2"]);
    let complaint = server.complaint();
    assert!(
        complaint.contains("at most 32 connections") && complaint.contains("open files is 64"),
        "{complaint}"
    );
    let peers: Vec<Peer> = (0..32).map(|_| Peer::greeted(server.address)).collect();
    let error = Peer::silent(server.address).receive_error();
    assert!(error.contains("32 connections are open"), "{error}");
    drop(peers);
    let (status, ..) = server.stop();
    assert!(status.success());
}

#[test]
fn puts_that_have_no_memory_are_told_of() {
    let mut server = Server::start(&["--max-memory", "2MiB"]);
    let mut peer = Peer::greeted(server.address);
    let refused = Answered::Other(Answer::Refused(Refusal::OutOfMemory));
    let value = vec![1; 100_000];
    let is_refused = |key: u32| peer.put(&key.to_le_bytes(), &value) == refused;
    assert!((0..1000).any(is_refused), "nothing is refused");
    let complaint = server.complaint();
    assert!(complaint.contains("--max-memory"), "{complaint}");
    drop(peer);
    let (status, printed, _) = server.stop();
    assert!(status.success());
    assert!(printed.contains(" 1 refused"), "{printed}");
}
