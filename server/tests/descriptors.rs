//! When the process may open no more files, who connects is told so. Alone in its program: the limit is the process's.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that fails"
)]

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use batchkv_protocol::{Control, ErrorFrame, ReceiveBuffer};
use batchkv_server::executor::Immediate;
use batchkv_server::stats::Closed;
use batchkv_store::Dashmap;
use common::running::{Running, config};
use common::{PATIENCE, Peer, hello};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// What the server said to a socket that it closed.
fn reason(stream: &mut TcpStream) -> String {
    stream.write_all(&hello(1, 1)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut input = ReceiveBuffer::default();
    loop {
        if let Some(body) = input.body().unwrap() {
            return match Control::decode(body) {
                Ok(Control::Error(ErrorFrame { text })) => text,
                other => panic!("{other:?}"),
            };
        }
        let count = stream.read(input.spare()).unwrap();
        assert!(count > 0, "closed without a reason");
        input.filled(count);
    }
}

#[test]
fn without_a_descriptor_a_client_is_told_so_and_later_ones_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let executor = |map| Immediate::new(Dashmap::new(256, None), map, 0);
    let server = Running::start(listener, config(), executor);
    let mut first = Peer::greeted(server.address);
    // Sockets of clients take their descriptors before there are no more.
    let sockets = [(); 3].map(|()| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap());
    let highest = sockets.each_ref().map(|socket| socket.as_raw_fd());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let taken = *highest.iter().max().unwrap() as u64 + 1;
    setrlimit(Resource::RLIMIT_NOFILE, taken, hard).unwrap();
    let lower = std::iter::from_fn(|| File::open("/dev/null").ok());
    let lower: Vec<File> = lower.collect();
    for socket in sockets {
        socket.connect(&server.address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        let text = reason(&mut stream);
        assert!(text.contains("no file descriptor left"), "{text}");
        assert!(text.contains(&format!("open files is {taken}")), "{text}");
        // What this one gives back must not serve the next.
        std::mem::forget(stream);
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    drop(lower);
    let begin = Instant::now();
    let mut later = loop {
        let mut peer = Peer::silent(server.address);
        peer.send(&hello(1, 1));
        match peer.receive_control() {
            Control::ServerHello(_) => break peer,
            _ => assert!(begin.elapsed() < PATIENCE, "nobody is served any more"),
        }
    };
    for peer in [&mut first, &mut later] {
        peer.put(b"k", b"v");
    }
    drop((first, later));
    let totals = server.stop();
    let told = totals.closed[Closed::NoDescriptor as usize];
    assert!(told >= 3, "{told} were told");
    assert_eq!(totals.counters.puts, 2);
}
