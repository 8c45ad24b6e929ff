//! Making a connection: addresses, socket, hello both ways.

use crate::connection::{Connection, Shared, Traffic};
use crate::dial;
use crate::error::{ConnectError, Loss};
use crate::exchange::Exchange;
use crate::hello::{self, Offer};
use crate::pump::Pump;
use crate::routes::Routes;
use crate::system::SystemLimit;
use crate::together::Together;
use batchkv_protocol::control::{
    FEATURE_CLUSTER, FEATURE_MAP, FEATURE_REFERENCES, FEATURE_SERVER_TIME, FEATURE_STATUS,
};
use batchkv_protocol::limits::{SOCKET_SEND_BYTES, SOCKET_UNSENT_BYTES};
use batchkv_protocol::{PartitionMap, ReceiveBuffer, SendBuffer, ServerHello};
use socket2::SockRef;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// Time for finding, reaching and greeting a server, over all its addresses together.
    pub connect_time: Duration,
    /// Time after which a server that owes answers and moves no byte is given up.
    pub silence_time: Duration,
    /// Names the client over all its connections; `None`: a random one for each
    /// [`Client`](crate::Client), and for each connection that belongs to none.
    pub client_id: Option<[u8; 16]>,
    /// Lets servers answer a repeated get by a reference to the value that its frame holds already. A
    /// server that cannot is an error.
    pub dedup_answers: bool,
    /// Lets each answer frame tell how long the server took, for
    /// [`Exchange::served`]. It costs both sides 8 bytes a frame of answers and the server one reading of
    /// its clock. A server that cannot is an error.
    pub server_time: bool,
    /// Lets the server be asked for its status, if it answers that; see [`Connection::status`].
    pub status: bool,
    /// Lets the server push maps, if it has any; see [`Greeting::into_learning`].
    pub maps: bool,
    /// Lets groups ask for what only members of a cluster have, if the server is one; see
    /// [`options`](batchkv_protocol::options).
    pub cluster: bool,
}

impl ConnectOptions {
    fn offer(&self) -> Offer {
        let dedup_answers = u64::from(self.dedup_answers) * FEATURE_REFERENCES;
        let server_time = u64::from(self.server_time) * FEATURE_SERVER_TIME;
        let status = u64::from(self.status) * FEATURE_STATUS;
        let maps = u64::from(self.maps) * FEATURE_MAP;
        let cluster = u64::from(self.cluster) * FEATURE_CLUSTER;
        Offer {
            client_id: self.client_id.unwrap_or_else(random_id),
            required: dedup_answers | server_time,
            optional: status | maps | cluster,
        }
    }
}

impl Default for ConnectOptions {
    /// [`CONNECT_TIME`], [`SILENCE_TIME`], a random id, and none of the features.
    fn default() -> Self {
        Self {
            connect_time: CONNECT_TIME,
            silence_time: SILENCE_TIME,
            client_id: None,
            dedup_answers: false,
            server_time: false,
            status: false,
            maps: false,
            cluster: false,
        }
    }
}

/// Sixteen random bytes: they name a client among all others.
pub(crate) fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    for half in id.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one("client").to_le_bytes());
    }
    id
}

/// A server that was reached and has said hello.
pub struct Greeting {
    address: String,
    stream: TcpStream,
    /// What came behind the hello.
    receive: ReceiveBuffer,
    traffic: Traffic,
    hello: ServerHello,
    map: PartitionMap,
    silence_time: Duration,
}

impl Greeting {
    /// What the server said of itself.
    #[must_use]
    pub fn hello(&self) -> &ServerHello {
        &self.hello
    }

    /// Whether the server pushes maps: owners may change.
    #[must_use]
    pub fn pushes_maps(&self) -> bool {
        self.hello.features & FEATURE_MAP != 0
    }

    /// Whether the server is a member of a cluster, and takes groups with options.
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        self.hello.features & FEATURE_CLUSTER != 0
    }

    /// The server's partition map.
    #[must_use]
    pub fn map(&self) -> &PartitionMap {
        &self.map
    }

    /// Makes it a connection. Spawn the pump on any runtime with time and network enabled
    /// (`tokio::spawn`, or `spawn_local` where `X` is not `Send`).
    pub fn into_connection<X: Exchange>(self) -> (Connection<X>, Pump<X>) {
        self.connection(None)
    }

    /// [`into_connection`](Self::into_connection), with `routes` that learn from the maps that the server
    /// pushes.
    pub fn into_learning<X: Exchange>(self, routes: Arc<Routes>) -> (Connection<X>, Pump<X>) {
        self.connection(Some(routes))
    }

    fn connection<X: Exchange>(self, routes: Option<Arc<Routes>>) -> (Connection<X>, Pump<X>) {
        let shared = Shared::new(self.address, self.hello, self.map, self.traffic);
        let shared = Arc::new(shared);
        let pump = Pump::new(
            Arc::clone(&shared),
            self.stream,
            self.receive,
            self.silence_time,
            routes,
        );
        (Connection::new(shared), pump)
    }
}

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greeting")
            .field("address", &self.address)
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}

/// Reaches the server at `address` (`host:port`) and says hello. Where the host has several addresses, each
/// is tried, one beside the other; the first server to say hello is taken.
///
/// # Errors
/// When nothing answers as a batchkv server in time; the error names the address.
pub async fn greet(address: &str, options: &ConnectOptions) -> Result<Greeting, ConnectError> {
    within(address, options, |stage| async move {
        let addresses = dial::addresses(address).await;
        let addresses = addresses.map_err(|error| match SystemLimit::reached() {
            Some(limit) => ConnectError::limit(address, limit),
            None => ConnectError::unreachable(address, error),
        })?;
        reach(&addresses, address, options, stage).await
    })
    .await
}

/// [`greet`] for a host, called `name` in errors, whose addresses are known already.
///
/// # Errors
/// As [`greet`].
pub async fn greet_any(
    addresses: &[SocketAddr],
    name: &str,
    options: &ConnectOptions,
) -> Result<Greeting, ConnectError> {
    within(name, options, |stage| {
        reach(addresses, name, options, stage)
    })
    .await
}

/// [Greets](greet) all `hosts` side by side, within the time of one, in their order.
///
/// # Errors
/// The first that failed.
pub async fn greet_all(
    hosts: &[impl AsRef<str>],
    options: &ConnectOptions,
) -> Result<Vec<Greeting>, ConnectError> {
    let mut greetings = Together::new();
    for (index, host) in hosts.iter().enumerate() {
        greetings.add(async move { Ok((index, greet(host.as_ref(), options).await?)) });
    }
    let mut greeted = Vec::with_capacity(hosts.len());
    while let Some(greeting) = greetings.next().await {
        greeted.push(greeting?);
    }
    greeted.sort_by_key(|(index, _)| *index);
    Ok(greeted.into_iter().map(|(_, greeting)| greeting).collect())
}

/// [Greets](greet) all `hosts` side by side, within the time of one; what came of each, in their order.
pub(crate) async fn greet_each(
    hosts: &[&str],
    options: &ConnectOptions,
) -> Vec<Result<Greeting, ConnectError>> {
    let mut greetings = Together::new();
    for (index, host) in hosts.iter().enumerate() {
        greetings.add(async move { (index, greet(host, options).await) });
    }
    let mut greeted = Vec::with_capacity(hosts.len());
    while let Some(greeting) = greetings.next().await {
        greeted.push(greeting);
    }
    greeted.sort_by_key(|(index, _)| *index);
    greeted.into_iter().map(|(_, greeting)| greeting).collect()
}

/// [Greets](greet) the server at `address` and makes it a connection, see
/// [`Greeting::into_connection`].
///
/// # Errors
/// As [`greet`].
pub async fn open<X: Exchange>(
    address: &str,
    options: &ConnectOptions,
) -> Result<(Connection<X>, Pump<X>), ConnectError> {
    Ok(greet(address, options).await?.into_connection())
}

/// Says hello over a stream that is connected already; `address` names it in errors.
///
/// # Errors
/// As [`greet`].
pub async fn over<X: Exchange>(
    stream: TcpStream,
    address: &str,
    options: &ConnectOptions,
) -> Result<(Connection<X>, Pump<X>), ConnectError> {
    let deadline = Instant::now() + options.connect_time;
    let greeting = timeout_at(deadline, say_hello(stream, address, options)).await;
    let greeting = greeting.unwrap_or_else(|_| Err(timed_out(address, "hello", options)));
    Ok(greeting?.into_connection())
}

/// How far any attempt to reach a server has come; it is an index into [`MISSING`].
#[derive(Debug, Clone, Default)]
struct Stage(Arc<AtomicUsize>);

/// What is missing at each stage.
const MISSING: [&str; 3] = ["address", "connection", "hello"];

impl Stage {
    fn reached(&self, stage: usize) {
        self.0.fetch_max(stage, Ordering::Relaxed);
    }
}

/// Gives up `reaching` a server when its time is over.
async fn within<F>(
    name: &str,
    options: &ConnectOptions,
    reaching: impl FnOnce(Stage) -> F,
) -> Result<Greeting, ConnectError>
where
    F: Future<Output = Result<Greeting, ConnectError>>,
{
    let deadline = Instant::now() + options.connect_time;
    let stage = Stage::default();
    let reached = timeout_at(deadline, reaching(stage.clone())).await;
    let missing = MISSING[stage.0.load(Ordering::Relaxed)];
    reached.unwrap_or_else(|_| Err(timed_out(name, missing, options)))
}

async fn reach(
    addresses: &[SocketAddr],
    name: &str,
    options: &ConnectOptions,
    stage: Stage,
) -> Result<Greeting, ConnectError> {
    stage.reached(1);
    let stage = &stage;
    let attempt = |address: SocketAddr| async move {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| ConnectError::unreachable(name, error))?;
        stage.reached(2);
        say_hello(stream, name, options).await
    };
    let reached = dial::first_to_succeed(addresses, attempt).await;
    reached.map_err(|failures| {
        most_telling(failures)
            .unwrap_or_else(|| ConnectError::unreachable(name, dial::no_address()))
    })
}

/// An address that answers wrongly tells more than one that does not.
fn most_telling(mut failures: Vec<ConnectError>) -> Option<ConnectError> {
    let told = |failure: &ConnectError| !matches!(failure, ConnectError::Unreachable { .. });
    let best = failures.iter().position(told).unwrap_or(0);
    (best < failures.len()).then(|| failures.swap_remove(best))
}

async fn say_hello(
    mut stream: TcpStream,
    address: &str,
    options: &ConnectOptions,
) -> Result<Greeting, ConnectError> {
    let (mut receive, mut traffic) = (ReceiveBuffer::default(), Traffic::default());
    let offer = options.offer();
    let hello = exchange_hellos(&mut stream, offer, &mut receive, &mut traffic).await;
    let hello = hello.map_err(|loss| ConnectError::Handshake {
        address: address.to_owned(),
        loss,
    })?;
    let map = offer.check(&hello).map_err(|fault| ConnectError::Hello {
        address: address.to_owned(),
        fault,
    })?;
    Ok(Greeting {
        address: address.to_owned(),
        stream,
        receive,
        traffic,
        hello,
        map,
        silence_time: options.silence_time,
    })
}

async fn exchange_hellos(
    stream: &mut TcpStream,
    offer: Offer,
    receive: &mut ReceiveBuffer,
    traffic: &mut Traffic,
) -> Result<ServerHello, Loss> {
    prepare(stream).map_err(Loss::Write)?;
    let mut send = SendBuffer::default();
    offer.write(&mut send);
    let hello = send.pending();
    stream.write_all(hello).await.map_err(Loss::Write)?;
    traffic.bytes_sent = hello.len() as u64;
    loop {
        if let Some(hello) = hello::take(receive)? {
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

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SOCKET_SEND_BYTES)?;
    socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES)
}

fn timed_out(address: &str, missing: &'static str, options: &ConnectOptions) -> ConnectError {
    ConnectError::TimedOut {
        address: address.to_owned(),
        missing,
        time: options.connect_time,
    }
}
