//! One connection: the meeting, then reading and writing.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::frames::Inbox;
use super::hello::{HELLO_BYTES, Hello, REASON_BYTES_MAX, Stranger, refusal};
use super::{Peer, SOCKET_SEND_BYTES, SOCKET_UNSENT_BYTES, STALL_MAX, TcpConfig};
use crate::limits::FRAME_BYTES;

/// Why two nodes did not meet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmet {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stranger(#[from] Stranger),
    #[error("refused: {0}")]
    Refused(String),
    #[error("it does not answer as a peer")]
    NoPeer,
}

/// Dials a node and says who we are.
pub(super) async fn dial(config: &TcpConfig, to: u64, address: &str) -> Result<TcpStream, Unmet> {
    let mut stream = TcpStream::connect(address).await?;
    tune(&stream)?;
    let hello = Hello {
        cluster: config.cluster,
        from: config.node,
        to,
    };
    stream.write_all(&hello.write()).await?;
    match stream.read_u8().await? {
        0 => {
            let mut nonce = [0; 8];
            stream.read_exact(&mut nonce).await?;
            stream.write_all(&nonce).await?;
            Ok(stream)
        }
        1 => {
            let length = usize::from(stream.read_u16_le().await?);
            let mut reason = vec![0; length.min(REASON_BYTES_MAX)];
            stream.read_exact(&mut reason).await?;
            Err(Unmet::Refused(
                String::from_utf8_lossy(&reason).into_owned(),
            ))
        }
        _ => Err(Unmet::NoPeer),
    }
}

/// Hears who dialed; a stranger is told why it is refused.
pub(super) async fn receive(
    config: &TcpConfig,
    mut stream: TcpStream,
    nonce: u64,
) -> Result<(u64, TcpStream), Unmet> {
    tune(&stream)?;
    let mut hello = [0; HELLO_BYTES];
    stream.read_exact(&mut hello).await?;
    let met = match Hello::read(&hello, config.cluster, config.node) {
        Ok(hello) => confirm(&mut stream, nonce).await?.map(|()| hello.from),
        Err(stranger) => Err(stranger),
    };
    match met {
        Ok(from) => Ok((from, stream)),
        Err(stranger) => {
            stream.write_all(&refusal(&stranger)).await?;
            Err(stranger.into())
        }
    }
}

async fn confirm(stream: &mut TcpStream, nonce: u64) -> io::Result<Result<(), Stranger>> {
    let mut welcome = vec![0];
    welcome.extend(nonce.to_le_bytes());
    stream.write_all(&welcome).await?;
    let again = stream.read_u64_le().await?;
    Ok(if again == nonce {
        Ok(())
    } else {
        Err(Stranger::Replayed)
    })
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SOCKET_SEND_BYTES)?;
    socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES)
}

/// A connection whose ends have met.
pub(super) struct Link {
    stream: TcpStream,
    batch: RefCell<BytesMut>,
}

impl Link {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            batch: RefCell::default(),
        }
    }

    /// Hands over what arrives, until it ends; says why.
    pub(super) async fn read(
        &self,
        node: u64,
        mut arrived: impl FnMut(Bytes) -> Result<(), String>,
    ) -> String {
        let mut inbox = Inbox::new(node);
        let mut bytes = BytesMut::with_capacity(2 * FRAME_BYTES);
        loop {
            let begun = !bytes.is_empty();
            match self.more(&mut bytes, begun).await {
                Ok(0) if begun => return "it ended within a frame".to_owned(),
                Ok(0) => return "it ended".to_owned(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
            loop {
                match inbox.next(&mut bytes) {
                    Ok(Some(message)) => {
                        if let Err(reason) = arrived(message) {
                            return reason;
                        }
                    }
                    Ok(None) => break,
                    Err(broken) => return broken.to_string(),
                }
            }
        }
    }

    /// Waits for bytes, but not for long within a frame.
    async fn more(&self, bytes: &mut BytesMut, begun: bool) -> io::Result<usize> {
        bytes.reserve(FRAME_BYTES);
        loop {
            let readable = self.stream.readable();
            if begun {
                timeout(STALL_MAX, readable)
                    .await
                    .map_err(|_| io::Error::other("a frame was begun and not ended"))??;
            } else {
                readable.await?;
            }
            match self.stream.try_read_buf(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Writes what waits for the peer as long as this is its newest connection; says why it ended.
    pub(super) async fn write(self: &Rc<Self>, peer: &Peer) -> String {
        loop {
            let woken = peer.wake.notified();
            let newest = peer
                .newest
                .borrow()
                .as_ref()
                .is_some_and(|it| Rc::ptr_eq(it, self));
            if !newest || peer.outbox.borrow().is_empty() {
                woken.await;
                continue;
            }
            let mut batch = self.batch.take();
            batch.clear();
            peer.outbox.borrow_mut().fill(peer.id, &mut batch);
            let written = timeout(STALL_MAX, self.write_all(&batch)).await;
            self.batch.replace(batch);
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_elapsed) => return "it takes nothing that is sent".to_owned(),
            }
        }
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
