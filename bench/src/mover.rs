//! The ceiling of every layer: the same bytes as the standard job's, moved and nothing else.
//!
//! For each request of a fixed size a server thread sends a fixed number of answer bytes, 64 KiB at a
//! time out of one buffer; the client reads them into one buffer that nobody looks at. A few requests
//! are under way on each connection, so that neither side waits for a round trip.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::sample::{Sample, process_cpu};

const BUFFER_BYTES: usize = 64 << 10;
const REQUESTS_UNDER_WAY: usize = 4;

/// What one request of the standard job weighs on the wire, both ways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights {
    pub(crate) operations: u64,
    pub(crate) request_bytes: usize,
    pub(crate) answer_bytes: usize,
}

/// Moves requests and answers over `connections` on loopback for `duration`.
pub(crate) fn run(weights: Weights, connections: usize, duration: Duration) -> io::Result<Sample> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let asking = Asking::start(listener.local_addr()?, weights, connections)?;
    let mut serving = Vec::new();
    for _ in 0..connections {
        serving.push(serve_next(&listener, weights)?);
    }
    let sample = asking.sample(duration);
    asking.stop()?;
    for thread in serving {
        thread.join().expect("a mover's thread")?;
    }
    Ok(sample)
}

/// One end of the mover, for two ends in two processes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum End {
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

impl End {
    /// Serves or asks with the weights that both ends know.
    pub(crate) fn run(self, weights: Weights) -> io::Result<()> {
        match self {
            Self::Serve { address } => {
                let listener = TcpListener::bind(address)?;
                println!("ready {}", listener.local_addr()?);
                loop {
                    // A connection that breaks ends its own thread and no other.
                    drop(serve_next(&listener, weights)?);
                }
            }
            Self::Ask {
                address,
                secs,
                warmup_secs,
                connections,
            } => {
                let asking = Asking::start(address, weights, connections.into())?;
                thread::sleep(Duration::from_secs(warmup_secs));
                let sample = asking.sample(Duration::from_secs(secs));
                asking.stop()?;
                let ops_per_sec = sample.ops_per_sec();
                let bytes_per_op = weights.answer_bytes as f64 / weights.operations as f64;
                println!("received {:.0} bytes/s", ops_per_sec * bytes_per_op);
                println!("throughput {ops_per_sec:.2} ops/s");
                Ok(())
            }
        }
    }
}

fn serve_next(listener: &TcpListener, weights: Weights) -> io::Result<JoinHandle<io::Result<()>>> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(thread::spawn(move || serve(stream, weights)))
}

/// Connections that ask, each in its own thread.
struct Asking {
    weights: Weights,
    stop: Arc<AtomicBool>,
    /// Bytes of answers that all connections have read.
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Asking {
    fn start(address: SocketAddr, weights: Weights, connections: usize) -> io::Result<Self> {
        let mut asking = Self {
            weights,
            stop: Arc::default(),
            received: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..connections {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            let (stop, received) = (asking.stop.clone(), asking.received.clone());
            let thread = thread::spawn(move || ask(stream, weights, &stop, &received));
            asking.threads.push(thread);
        }
        Ok(asking)
    }

    /// What comes back within `duration` from now, in operations' worth of bytes.
    fn sample(&self, duration: Duration) -> Sample {
        let (start, cpu) = (Instant::now(), process_cpu());
        let before = self.received.load(Ordering::Relaxed);
        thread::sleep(duration);
        let received = self.received.load(Ordering::Relaxed) - before;
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

fn serve(mut stream: TcpStream, weights: Weights) -> io::Result<()> {
    let mut buffer = vec![7; BUFFER_BYTES];
    let mut asked = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => asked += count,
        }
        while asked >= weights.request_bytes {
            asked -= weights.request_bytes;
            in_pieces(weights.answer_bytes, |count| {
                stream.write_all(&buffer[..count])
            })?;
        }
    }
}

fn ask(
    mut stream: TcpStream,
    weights: Weights,
    stop: &AtomicBool,
    received: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![7; BUFFER_BYTES];
    let mut under_way = 0;
    while under_way > 0 || !stop.load(Ordering::Relaxed) {
        while under_way < REQUESTS_UNDER_WAY && !stop.load(Ordering::Relaxed) {
            in_pieces(weights.request_bytes, |count| {
                stream.write_all(&buffer[..count])
            })?;
            under_way += 1;
        }
        if under_way > 0 {
            in_pieces(weights.answer_bytes, |count| {
                stream.read_exact(&mut buffer[..count])?;
                received.fetch_add(count as u64, Ordering::Relaxed);
                Ok(())
            })?;
            under_way -= 1;
        }
    }
    Ok(())
}

fn in_pieces(bytes: usize, mut piece: impl FnMut(usize) -> io::Result<()>) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let count = left.min(BUFFER_BYTES);
        piece(count)?;
        left -= count;
    }
    Ok(())
}
