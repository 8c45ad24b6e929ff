//! The real server program, and peers that speak to it in raw bytes.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

pub mod running;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use batchkv_protocol::control::{FEATURE_REFERENCES, FEATURE_SERVER_TIME, MAGIC, VERSION};
use batchkv_protocol::{
    Answer, AnswerFrame, ClientHello, Control, Counters, ErrorFrame, PartitionMap, ReceiveBuffer,
    RequestWriter, SendBuffer,
};

/// Longer than anything here takes: a bound for tests that would hang, never a measure.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A running server program; killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    lines: BufReader<std::process::ChildStdout>,
    complaints: BufReader<std::process::ChildStderr>,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_after("", arguments)
    }

    /// Starts it as a shell does that has executed `preparation`.
    pub fn start_after(preparation: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{preparation}\nexec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_batchkv-server"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        lines.read_line(&mut ready).unwrap();
        let address = ready
            .trim()
            .strip_prefix("ready ")
            .expect(&ready)
            .parse()
            .unwrap();
        let complaints = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            address,
            lines,
            complaints,
        }
    }

    /// Waits for the next line of its error output.
    pub fn complaint(&mut self) -> String {
        let mut complaint = String::new();
        self.complaints.read_line(&mut complaint).unwrap();
        complaint
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A number of kB from `/proc/PID/status`.
    pub fn status_kb(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends the server as a person does and gives its exit status, what it still printed, and its
    /// error output.
    pub fn stop(mut self) -> (ExitStatus, String, String) {
        let killed = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(killed.success(), "the server was gone already");
        let (mut printed, mut complaints) = (String::new(), String::new());
        self.lines.read_to_string(&mut printed).unwrap();
        self.complaints.read_to_string(&mut complaints).unwrap();
        (self.child.wait().unwrap(), printed, complaints)
    }

    /// [`stop`](Self::stop), and the server must have gone down in order, without a complaint.
    pub fn stop_well(self) -> String {
        let (status, printed, complaints) = self.stop();
        assert!(status.success(), "{status}: {complaints}");
        assert_eq!(complaints, "");
        printed
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One connection, driven by hand.
pub struct Peer {
    pub stream: TcpStream,
    input: ReceiveBuffer,
    map: PartitionMap,
    requests: u64,
}

/// An answer that owns its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    Value(Vec<u8>),
    Other(Answer<'static>),
}

impl Peer {
    /// Connects without a word.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let map = PartitionMap::fixed(256, 1).unwrap();
        Self {
            stream,
            input: ReceiveBuffer::default(),
            map,
            requests: 0,
        }
    }

    /// Connects and says hello.
    pub fn greeted(address: SocketAddr) -> Self {
        let mut peer = Self::silent(address);
        peer.send(&hello(VERSION, VERSION));
        let hello = peer.receive_control();
        assert!(matches!(hello, Control::ServerHello(_)), "{hello:?}");
        peer
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next body, or `None` at the stream's end.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(body) = self.input.body().unwrap() {
                let body = body.to_vec();
                self.input.consume();
                return Some(body);
            }
            match self.stream.read(self.input.spare()).unwrap() {
                0 => return None,
                count => self.input.filled(count),
            }
        }
    }

    pub fn receive_control(&mut self) -> Control {
        Control::decode(&self.receive().expect("a frame")).unwrap()
    }

    /// The server's error text, which must be its last frame.
    pub fn receive_error(&mut self) -> String {
        loop {
            let body = self.receive().expect("an error frame");
            if let Ok(Control::Error(ErrorFrame { text })) = Control::decode(&body) {
                assert_eq!(self.receive(), None, "the server closes behind an error");
                return text;
            }
        }
    }

    /// The frames of a request with the operations that `write` adds, each in its own call.
    pub fn request(
        &mut self,
        operations: usize,
        mut write: impl FnMut(usize, &mut Placing<'_, '_>) -> bool,
    ) -> Vec<u8> {
        let mut out = SendBuffer::default();
        self.requests += 1;
        let mut writer = RequestWriter::begin(&mut out, self.requests);
        let mut at = 0;
        while at < operations {
            if write(
                at,
                &mut Placing {
                    writer: &mut writer,
                    map: &self.map,
                },
            ) {
                at += 1;
            } else {
                writer.finish(false);
                writer = RequestWriter::begin(&mut out, self.requests);
            }
        }
        writer.finish(true);
        out.pending().to_vec()
    }

    /// Answers in the order sent, until `count` have come.
    pub fn answers(&mut self, count: usize) -> Vec<Answered> {
        let mut answered = Vec::new();
        while answered.len() < count {
            let body = self.receive().expect("more answers");
            let mut frame = AnswerFrame::parse(&body).unwrap();
            while frame.next_piece().unwrap().is_some() {
                while let Some(answer) = frame.next_answer().unwrap() {
                    answered.push(own(answer));
                }
            }
            assert_eq!(
                frame.last,
                answered.len() == count,
                "the last mark stands on the last frame"
            );
        }
        answered
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Answered {
        let frames = self.request(1, |_, place| place.put(key, value));
        self.send(&frames);
        self.answers(1).remove(0)
    }

    pub fn get(&mut self, key: &[u8]) -> Answered {
        let frames = self.request(1, |_, place| place.get(key));
        self.send(&frames);
        self.answers(1).remove(0)
    }

    pub fn delete(&mut self, key: &[u8]) -> Answered {
        let frames = self.request(1, |_, place| place.delete(key));
        self.send(&frames);
        self.answers(1).remove(0)
    }

    pub fn counters(&mut self) -> Counters {
        let mut out = SendBuffer::default();
        Control::CountersRequest.write(&mut out);
        self.send(out.pending());
        match self.receive_control() {
            Control::Counters(counters) => counters,
            other => panic!("{other:?}"),
        }
    }
}

/// Adds operations in the group that their key belongs to.
pub struct Placing<'w, 'o> {
    writer: &'w mut RequestWriter<'o>,
    map: &'w PartitionMap,
}

impl Placing<'_, '_> {
    pub fn get(&mut self, key: &[u8]) -> bool {
        self.writer.get(self.map.partition_of(key), 1, key)
    }

    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.writer.delete(self.map.partition_of(key), 1, key)
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) -> bool {
        let room = self
            .writer
            .put(self.map.partition_of(key), 1, key, value.len());
        room.map(|room| room.copy_from_slice(value)).is_some()
    }
}

fn own(answer: Answer<'_>) -> Answered {
    match answer {
        Answer::Value(value) => Answered::Value(value.to_vec()),
        Answer::Missing => Answered::Other(Answer::Missing),
        Answer::Stored => Answered::Other(Answer::Stored),
        Answer::Deleted { existed } => Answered::Other(Answer::Deleted { existed }),
        Answer::Refused(reason) => Answered::Other(Answer::Refused(reason)),
        Answer::WrongOwner(known) => Answered::Other(Answer::WrongOwner(known)),
        Answer::Opened { stream } => Answered::Other(Answer::Opened { stream }),
        Answer::StoredAs { version } => Answered::Other(Answer::StoredAs { version }),
    }
}

/// A hello frame for a range of versions.
pub fn hello(version_min: u16, version_max: u16) -> Vec<u8> {
    // Bits that nobody knows are ignored; those that change answers are offered where a test wants them.
    let features = !(FEATURE_REFERENCES | FEATURE_SERVER_TIME);
    hello_frame(version_min, version_max, features)
}

/// A hello frame that offers `features`.
pub fn hello_offering(features: u64) -> Vec<u8> {
    hello_frame(VERSION, VERSION, features)
}

fn hello_frame(version_min: u16, version_max: u16, features: u64) -> Vec<u8> {
    let mut out = SendBuffer::default();
    let hello = ClientHello {
        magic: MAGIC,
        version_min,
        version_max,
        features,
        client_id: [1; 16],
    };
    Control::ClientHello(hello).write(&mut out);
    out.pending().to_vec()
}

/// A frame around `body`.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend(body);
    frame
}
