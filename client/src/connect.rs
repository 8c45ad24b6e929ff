//! Making a connection: address, socket, hello both ways.

use crate::connection::{Connection, Shared, Traffic};
use crate::error::{ConnectError, HelloError, Loss};
use crate::exchange::Exchange;
use crate::pump::Pump;
use batchkv_protocol::control::{FEATURE_REFERENCES, FEATURE_SERVER_TIME, MAGIC, VERSION};
use batchkv_protocol::frame::{self, Kind};
use batchkv_protocol::limits::{SOCKET_SEND_BYTES, SOCKET_UNSENT_BYTES};
use batchkv_protocol::{
    ClientHello, Control, PartitionMap, ReceiveBuffer, SendBuffer, ServerHello, ServerLimits,
};
use socket2::SockRef;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Time for finding, reaching and greeting a server, so that an error is there within five seconds.
pub const CONNECT_TIME: Duration = Duration::from_secs(4);
/// Time after which a server that owes answers and moves no byte is given up.
pub const SILENCE_TIME: Duration = Duration::from_secs(10);

/// How connections are made and kept.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Time for finding, reaching and greeting a server.
    pub connect_time: Duration,
    /// Time after which a server that owes answers and moves no byte is given up.
    pub silence_time: Duration,
    /// Names the client over all its connections.
    pub client_id: [u8; 16],
    /// Lets servers answer a repeated get by a reference to the value that its frame holds already. A
    /// server that cannot is an error.
    pub dedup_answers: bool,
    /// Lets each answer frame tell how long the server took, for
    /// [`Exchange::served`]. It costs both sides 8 bytes a frame of answers and the server one reading of
    /// its clock. A server that cannot is an error.
    pub server_time: bool,
}

impl ConnectOptions {
    /// The features that these options ask for.
    fn features(&self) -> u64 {
        let dedup_answers = u64::from(self.dedup_answers) * FEATURE_REFERENCES;
        let server_time = u64::from(self.server_time) * FEATURE_SERVER_TIME;
        dedup_answers | server_time
    }
}

impl Default for ConnectOptions {
    /// [`CONNECT_TIME`], [`SILENCE_TIME`], a random id, and none of the features.
    fn default() -> Self {
        let mut client_id = [0; 16];
        for half in client_id.chunks_exact_mut(8) {
            half.copy_from_slice(&RandomState::new().hash_one(VERSION).to_le_bytes());
        }
        Self {
            connect_time: CONNECT_TIME,
            silence_time: SILENCE_TIME,
            client_id,
            dedup_answers: false,
            server_time: false,
        }
    }
}

/// Connects to the server at `address` (`host:port`) and says hello. Spawn the pump on any runtime
/// with time and network enabled (`tokio::spawn`, or `spawn_local` where `X` is not `Send`).
///
/// # Errors
/// When nothing answers as a batchkv server in time; the error names the address.
pub async fn open<X: Exchange>(
    address: &str,
    options: &ConnectOptions,
) -> Result<(Connection<X>, Pump<X>), ConnectError> {
    let deadline = Instant::now() + options.connect_time;
    let stream = match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(ConnectError::Unreachable {
                address: address.to_owned(),
                error,
            });
        }
        Err(_) => return Err(timed_out(address, "connection", options)),
    };
    over_by(deadline, stream, address, options).await
}

/// Says hello over a stream that is connected already; `address` names it in errors.
///
/// # Errors
/// As [`open`].
pub async fn over<X: Exchange>(
    stream: TcpStream,
    address: &str,
    options: &ConnectOptions,
) -> Result<(Connection<X>, Pump<X>), ConnectError> {
    let deadline = Instant::now() + options.connect_time;
    over_by(deadline, stream, address, options).await
}

async fn over_by<X: Exchange>(
    deadline: Instant,
    mut stream: TcpStream,
    address: &str,
    options: &ConnectOptions,
) -> Result<(Connection<X>, Pump<X>), ConnectError> {
    let mut receive = ReceiveBuffer::default();
    let mut traffic = Traffic::default();
    let greeting = greet(&mut stream, &mut receive, &mut traffic, options);
    let hello = timeout_at(deadline, greeting)
        .await
        .map_err(|_| timed_out(address, "hello", options))?
        .map_err(|loss| ConnectError::Handshake {
            address: address.to_owned(),
            loss,
        })?;
    let map = check_hello(&hello, options.features()).map_err(|fault| ConnectError::Hello {
        address: address.to_owned(),
        fault,
    })?;
    let shared = Arc::new(Shared::new(address.to_owned(), hello, map, traffic));
    let pump = Pump::new(Arc::clone(&shared), stream, receive, options.silence_time);
    Ok((Connection::new(shared), pump))
}

fn timed_out(address: &str, missing: &'static str, options: &ConnectOptions) -> ConnectError {
    ConnectError::TimedOut {
        address: address.to_owned(),
        missing,
        time: options.connect_time,
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SOCKET_SEND_BYTES)?;
    socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES)
}

async fn greet(
    stream: &mut TcpStream,
    receive: &mut ReceiveBuffer,
    traffic: &mut Traffic,
    options: &ConnectOptions,
) -> Result<ServerHello, Loss> {
    prepare(stream).map_err(Loss::Write)?;
    let mut send = SendBuffer::default();
    Control::ClientHello(ClientHello {
        magic: MAGIC,
        version_min: VERSION,
        version_max: VERSION,
        features: options.features(),
        client_id: options.client_id,
    })
    .write(&mut send);
    stream
        .write_all(send.pending())
        .await
        .map_err(Loss::Write)?;
    traffic.bytes_sent = send.pending().len() as u64;
    loop {
        if let Some(body) = receive.body()? {
            let hello = read_hello(body)?;
            receive.consume();
            return Ok(hello);
        }
        let bytes = stream.read(receive.spare()).await.map_err(Loss::Read)?;
        if bytes == 0 {
            return Err(match receive.is_empty() {
                true => Loss::ClosedByServer,
                false => Loss::CutOff,
            });
        }
        receive.filled(bytes);
        traffic.bytes_received += bytes as u64;
    }
}

fn read_hello(body: &[u8]) -> Result<ServerHello, Loss> {
    if frame::kind(body)? != Kind::Control {
        return Err(Loss::Unasked("something else than a hello"));
    }
    match Control::decode(body)? {
        Control::ServerHello(hello) => Ok(hello),
        Control::Error(error) => Err(Loss::Reported(error.text)),
        _ => Err(Loss::Unasked("something else than a hello")),
    }
}

/// The server's map, when its hello is one that this client can work with; `features` were offered.
fn check_hello(hello: &ServerHello, features: u64) -> Result<PartitionMap, HelloError> {
    if hello.magic != MAGIC {
        return Err(HelloError::Magic(hello.magic));
    }
    if hello.version != VERSION {
        return Err(HelloError::Version {
            server: hello.version,
            client: VERSION,
        });
    }
    let unasked = hello.features & !features;
    if unasked != 0 {
        return Err(HelloError::Features(unasked));
    }
    let missing = features & !hello.features;
    if missing != 0 {
        return Err(HelloError::MissingFeatures(missing));
    }
    check_limits(&hello.limits)?;
    let map = PartitionMap::new(hello.partitions.clone().into()).map_err(HelloError::Map)?;
    let actual = map.fingerprint();
    if actual != hello.map_fingerprint {
        return Err(HelloError::Fingerprint {
            said: hello.map_fingerprint,
            actual,
        });
    }
    Ok(map)
}

fn check_limits(server: &ServerLimits) -> Result<(), HelloError> {
    let client = &ServerLimits::BUILT_IN;
    let limits = [
        ("key bytes", server.key_bytes, client.key_bytes),
        ("value bytes", server.value_bytes, client.value_bytes),
        (
            "operations a request",
            server.operations_per_request,
            client.operations_per_request,
        ),
        ("frame bytes", server.frame_bytes, client.frame_bytes),
    ];
    match limits
        .into_iter()
        .find(|(_, server, client)| server < client)
    {
        None => Ok(()),
        Some((what, server, client)) => Err(HelloError::Limit {
            what,
            server,
            client,
        }),
    }
}
