//! The ceiling of every layer: the same bytes as the standard job's, moved and nothing else.
//!
//! For each request of a fixed size a server thread sends a fixed number of answer bytes, 64 KiB at a
//! time out of one buffer; the client reads them into one buffer that nobody looks at. A few requests
//! are under way on each connection, so that neither side waits for a round trip.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
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

/// Moves requests and answers over `connections` for `duration`.
pub(crate) fn run(weights: Weights, connections: usize, duration: Duration) -> io::Result<Sample> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for _ in 0..connections {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (stop, answered) = (stop.clone(), answered.clone());
        threads.push(thread::spawn(move || serve(server, weights)));
        threads.push(thread::spawn(move || {
            ask(client, weights, &stop, &answered)
        }));
    }
    let (start, cpu) = (Instant::now(), process_cpu());
    thread::sleep(duration);
    let operations = answered.load(Ordering::Relaxed) * weights.operations;
    let sample = Sample {
        operations,
        wall: start.elapsed(),
        cpu: process_cpu() - cpu,
    };
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a mover's thread")?;
    }
    Ok(sample)
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
    answered: &AtomicU64,
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
                stream.read_exact(&mut buffer[..count])
            })?;
            under_way -= 1;
            answered.fetch_add(1, Ordering::Relaxed);
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
