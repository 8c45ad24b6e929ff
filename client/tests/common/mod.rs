//! A server of a few lines: a hash map behind the protocol crate, one thread a connection, blocking
//! reads and writes, so that it stops reading while its answers wait.

#![allow(dead_code)] // each test program uses its own part

use batchkv_client::protocol::control::{MAGIC, VERSION};
use batchkv_client::protocol::frame::{self, Kind};
use batchkv_client::protocol::{
    Answer, AnswerWriter, ClientHello, Control, Counters, Operation, PartitionMap, Position,
    ReceiveBuffer, RequestFrame, SendBuffer, ServerHello, ServerLimits,
};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the connections of a test server share.
pub(crate) type Store = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Starts server `index` of `servers` on a free port and gives its address.
pub(crate) fn start(index: u32, servers: u32) -> String {
    start_on(listener(), index, servers)
}

/// Starts a server on `listener`.
pub(crate) fn start_on(listener: TcpListener, index: u32, servers: u32) -> String {
    let store = Store::default();
    start_with(listener, move |mut peer| {
        peer.greet(hello(index, servers))?;
        while let Some(body) = peer.frame()? {
            peer.respond(&body, &store)?;
        }
        Ok(())
    })
}

/// Starts a server whose connections are served by `serve`, each on a thread of its own.
pub(crate) fn start_with<F>(listener: TcpListener, serve: F) -> String
where
    F: Fn(Peer) -> io::Result<()> + Send + Sync + 'static,
{
    let address = listener.local_addr().unwrap().to_string();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A test may leave this process no file descriptor for a while.
            let Ok(stream) = stream else {
                std::thread::yield_now();
                continue;
            };
            let peer = Peer::new(stream);
            let serve = Arc::clone(&serve);
            // A client that goes away ends its connection only.
            std::thread::spawn(move || serve(peer));
        }
    });
    address
}

/// The hello of server `index` of `servers`, with 64 partitions.
pub(crate) fn hello(index: u32, servers: u32) -> ServerHello {
    let map = PartitionMap::fixed(64, servers).unwrap();
    ServerHello {
        magic: MAGIC,
        version: VERSION,
        features: 0,
        server_index: index,
        threads: 1,
        limits: ServerLimits::BUILT_IN,
        map_fingerprint: map.fingerprint(),
        partitions: map.partitions().to_vec(),
    }
}

/// A client, seen from the server.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    receive: ReceiveBuffer,
    send: SendBuffer,
    counters: Counters,
    /// Groups of the request that is being received.
    groups: u32,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            receive: ReceiveBuffer::default(),
            send: SendBuffer::default(),
            counters: Counters::default(),
            groups: 0,
        }
    }

    /// Takes the client's hello and gives `hello`.
    pub(crate) fn greet(&mut self, hello: ServerHello) -> io::Result<()> {
        self.take_hello()?;
        self.say_hello(hello)
    }

    /// Takes the client's hello.
    pub(crate) fn take_hello(&mut self) -> io::Result<ClientHello> {
        let body = self.frame()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        match Control::decode(&body) {
            Ok(Control::ClientHello(hello)) => Ok(hello),
            other => panic!("expected a hello, got {other:?}"),
        }
    }

    pub(crate) fn say_hello(&mut self, hello: ServerHello) -> io::Result<()> {
        self.say(&Control::ServerHello(hello))
    }

    pub(crate) fn say(&mut self, control: &Control) -> io::Result<()> {
        control.write(&mut self.send);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(self.send.pending())?;
        let bytes = self.send.pending().len();
        self.send.sent(bytes);
        Ok(())
    }

    /// The next frame's body, or `None` when the client has closed.
    pub(crate) fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(body) = self.receive.body().unwrap() {
                let body = body.to_vec();
                self.receive.consume();
                return Ok(Some(body));
            }
            match self.stream.read(self.receive.spare())? {
                0 => return Ok(None),
                bytes => self.receive.filled(bytes),
            }
        }
    }

    /// Answers a frame.
    pub(crate) fn respond(&mut self, body: &[u8], store: &Store) -> io::Result<()> {
        if frame::kind(body).unwrap() == Kind::Control {
            assert_eq!(Control::decode(body).unwrap(), Control::CountersRequest);
            return self.say(&Control::Counters(self.counters));
        }
        let request = RequestFrame::parse(body).unwrap();
        let mut cursor = request.cursor();
        let mut answers = AnswerWriter::begin(&mut self.send, request.id);
        while cursor.next_group(body).unwrap().is_some() {
            let group = self.groups;
            self.groups += 1;
            let mut operation = 0;
            while let Some(asked) = cursor.next_operation(body).unwrap() {
                let mut store = store.lock().unwrap();
                let answer = apply(asked, &store, &mut self.counters);
                if !answers.answer(Position { group, operation }, answer) {
                    answers.finish(false);
                    answers = AnswerWriter::begin(&mut self.send, request.id);
                    assert!(answers.answer(Position { group, operation }, answer));
                }
                if let Operation::Put { key, value } = asked {
                    store.insert(key.to_vec(), value.to_vec());
                } else if let Operation::Delete { key } = asked {
                    store.remove(key.bytes());
                }
                operation += 1;
            }
        }
        answers.finish(request.last);
        if request.last {
            self.groups = 0;
        }
        self.flush()
    }
}

fn apply<'a>(
    operation: Operation<'_>,
    store: &'a HashMap<Vec<u8>, Vec<u8>>,
    counters: &mut Counters,
) -> Answer<'a> {
    let found = store.get(operation.key().bytes());
    match operation {
        Operation::Get { .. } => {
            counters.gets += 1;
            counters.hits += u64::from(found.is_some());
            found.map_or(Answer::Missing, |value| Answer::Value(value))
        }
        Operation::Put { .. } => {
            counters.puts += 1;
            Answer::Stored
        }
        Operation::Delete { .. } => {
            counters.deletes += 1;
            let existed = found.is_some();
            Answer::Deleted { existed }
        }
    }
}
