//! The ceiling of every layer: the same bytes as the standard job's, moved and nothing else.
//!
//! For each request of a fixed size the answering end sends a fixed number of answer bytes, 64 KiB at a
//! time out of one buffer; the asking end reads them into one buffer that nobody looks at. A few
//! requests are under way on each connection, so that neither end waits for a round trip. Sockets do
//! not block: a thread serves all its ends in turns, and sleeps only when none of them can move.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use batchkv_cli::screen::say;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

use crate::sample::{Sample, process_cpu};

const BUFFER_BYTES: usize = 64 << 10;
/// What is on its way fits the second-level cache with this; the kernel's own choice does not.
const SOCKET_SEND_BYTES: usize = 256 << 10;
const REQUESTS_UNDER_WAY: u64 = 4;
/// A thread that cannot move anything looks this often whether it shall stop.
const STOP_CHECK_MILLIS: u16 = 100;

/// What one request of the standard job weighs on the wire, both ways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights {
    pub(crate) operations: u64,
    pub(crate) request_bytes: usize,
    pub(crate) answer_bytes: usize,
}

/// Which thread serves which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One for each end, as client and server are two programs.
    Two,
    /// One for both ends: nothing is ever waited for, and nothing moves between cores.
    One,
}

/// Moves requests and answers over `connections` on loopback for `duration`.
pub(crate) fn run(
    weights: Weights,
    connections: usize,
    threads: Threads,
    duration: Duration,
) -> io::Result<Sample> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut parties = Vec::new();
    for _ in 0..connections {
        let asking = End::asking(TcpStream::connect(address)?, weights)?;
        let answering = End::answering(listener.accept()?.0, weights)?;
        match threads {
            Threads::Two => parties.extend([vec![asking], vec![answering]]),
            Threads::One => parties.push(vec![asking, answering]),
        }
    }
    let mover = Mover::start(weights, parties);
    let sample = mover.sample(duration);
    mover.stop()?;
    Ok(sample)
}

/// One end of the mover, for two ends in two processes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Side {
    /// Answers every asker at ADDRESS until it is ended; prints `ready ADDRESS` when it listens
    Serve { address: SocketAddr },
    /// Asks the server at ADDRESS, and prints what came back
    Ask {
        address: SocketAddr,
        /// Seconds that are measured
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
        secs: u64,
        /// Seconds before the measured ones
        #[arg(long, default_value_t = 2)]
        warmup_secs: u64,
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
        connections: u16,
    },
}

impl Side {
    /// Serves or asks with the weights that both sides know.
    pub(crate) fn run(self, weights: Weights) -> io::Result<()> {
        match self {
            Self::Serve { address } => {
                let listener = TcpListener::bind(address)?;
                say(format_args!("ready {}", listener.local_addr()?));
                loop {
                    let end = End::answering(listener.accept()?.0, weights)?;
                    // A connection that breaks ends its own thread and no other.
                    drop(Mover::start(weights, [vec![end]]));
                }
            }
            Self::Ask {
                address,
                secs,
                warmup_secs,
                connections,
            } => {
                let end = |_| End::asking(TcpStream::connect(address)?, weights);
                let ends = (0..connections).map(end).collect::<io::Result<_>>()?;
                let mover = Mover::start(weights, [ends]);
                thread::sleep(Duration::from_secs(warmup_secs));
                let sample = mover.sample(Duration::from_secs(secs));
                mover.stop()?;
                let ops_per_sec = sample.ops_per_sec();
                let bytes_per_op = weights.answer_bytes as f64 / weights.operations as f64;
                say(format_args!(
                    "received {:.0} bytes/s",
                    ops_per_sec * bytes_per_op
                ));
                say(format_args!("throughput {ops_per_sec:.2} ops/s"));
                Ok(())
            }
        }
    }
}

/// Threads that move, and what their asking ends have received.
struct Mover {
    weights: Weights,
    stop: Arc<AtomicBool>,
    answer_bytes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Mover {
    /// A thread for each of `parties`.
    fn start(weights: Weights, parties: impl IntoIterator<Item = Vec<End>>) -> Self {
        let (stop, answer_bytes) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let start = |ends| {
            let (stop, answer_bytes) = (Arc::clone(&stop), Arc::clone(&answer_bytes));
            thread::spawn(move || move_all(ends, &stop, &answer_bytes))
        };
        let threads = parties.into_iter().map(start).collect();
        Self {
            weights,
            stop,
            answer_bytes,
            threads,
        }
    }

    /// What comes back within `duration` from now, in operations' worth of bytes.
    fn sample(&self, duration: Duration) -> Sample {
        let (start, cpu) = (Instant::now(), process_cpu());
        let before = self.answer_bytes.load(Ordering::Relaxed);
        thread::sleep(duration);
        let received = self.answer_bytes.load(Ordering::Relaxed) - before;
        Sample {
            operations: received * self.weights.operations / self.weights.answer_bytes as u64,
            wall: start.elapsed(),
            cpu: process_cpu() - cpu,
        }
    }

    fn stop(self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a mover's thread")?;
        }
        Ok(())
    }
}

/// Serves `ends` in turns until it shall stop, or one of them is closed.
fn move_all(mut ends: Vec<End>, stop: &AtomicBool, answer_bytes: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![7; BUFFER_BYTES];
    while !stop.load(Ordering::Relaxed) {
        let mut moved = false;
        for end in &mut ends {
            match end.turn(&mut buffer, answer_bytes) {
                Ok(any) => moved |= any,
                // The other thread has stopped first.
                Err(_) if stop.load(Ordering::Relaxed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if !moved {
            let mut waiting: Vec<_> = ends.iter().map(End::interest).collect();
            poll(&mut waiting, PollTimeout::from(STOP_CHECK_MILLIS))?;
        }
    }
    Ok(())
}

/// One end of a connection. It may have sent `sends` bytes for each `takes` bytes that it has received,
/// and for `ahead` more.
struct End {
    stream: TcpStream,
    takes: u64,
    sends: u64,
    ahead: u64,
    received: u64,
    sent: u64,
}

impl End {
    fn asking(stream: TcpStream, weights: Weights) -> io::Result<Self> {
        let (takes, sends) = (weights.answer_bytes, weights.request_bytes);
        Self::new(stream, takes, sends, REQUESTS_UNDER_WAY)
    }

    fn answering(stream: TcpStream, weights: Weights) -> io::Result<Self> {
        Self::new(stream, weights.request_bytes, weights.answer_bytes, 0)
    }

    fn new(stream: TcpStream, takes: usize, sends: usize, ahead: u64) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        SockRef::from(&stream).set_send_buffer_size(SOCKET_SEND_BYTES)?;
        Ok(Self {
            stream,
            takes: takes as u64,
            sends: sends as u64,
            ahead,
            received: 0,
            sent: 0,
        })
    }

    /// Bytes that it may send, but has not.
    fn owed(&self) -> u64 {
        (self.received / self.takes + self.ahead) * self.sends - self.sent
    }

    /// Writes once and reads once; says whether anything moved. What an asking end reads is counted.
    fn turn(&mut self, buffer: &mut [u8], answer_bytes: &AtomicU64) -> io::Result<bool> {
        let owed = self.owed().min(BUFFER_BYTES as u64) as usize;
        let written = match owed {
            0 => 0,
            _ => unless_blocked((&self.stream).write(&buffer[..owed]))?.unwrap_or(0),
        };
        self.sent += written as u64;
        let read = unless_blocked((&self.stream).read(buffer))?;
        if read == Some(0) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let read = read.unwrap_or(0);
        self.received += read as u64;
        if self.ahead > 0 {
            answer_bytes.fetch_add(read as u64, Ordering::Relaxed);
        }
        Ok(written + read > 0)
    }

    fn interest(&self) -> PollFd<'_> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, self.owed() > 0);
        PollFd::new(self.stream.as_fd(), events)
    }
}

/// `None` when the socket can do nothing yet.
fn unless_blocked(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
