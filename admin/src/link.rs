//! A conversation with one server, as an operator: a question, its answer.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use batchkv_protocol::control::FEATURE_CLUSTER;
use batchkv_protocol::{
    Control, Hello, OperatorAnswer, OperatorRequest, ReceiveBuffer, Role, SendBuffer,
};

/// Time for reaching one address of a server.
const CONNECT_TIME: Duration = Duration::from_secs(4);
/// Time for each answer: handing a lead over takes a few elections at worst.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// An open connection whose hellos are exchanged.
pub(crate) struct Link {
    address: String,
    stream: TcpStream,
    receive: ReceiveBuffer,
}

/// The first of `hosts` that answers as a member of a cluster.
///
/// # Errors
/// Why none does, of each.
pub(crate) fn to_any(hosts: &[String]) -> anyhow::Result<Link> {
    let mut reasons = Vec::new();
    for host in hosts {
        match to(host) {
            Ok(link) => return Ok(link),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!("{}", reasons.join("; "))
}

/// The server at `address`, `host:port`.
///
/// # Errors
/// When nobody is there, or not a member of a cluster.
pub(crate) fn to(address: &str) -> anyhow::Result<Link> {
    let stream = connect(address).with_context(|| format!("no batchkv server at {address}"))?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    let mut link = Link {
        address: address.to_owned(),
        stream,
        receive: ReceiveBuffer::default(),
    };
    match link.exchange(&Hello::new(Role::Operator, FEATURE_CLUSTER).into())? {
        Control::ServerHello(hello) if hello.features & FEATURE_CLUSTER != 0 => Ok(link),
        Control::ServerHello(_) => bail!(
            "the server at {address} is in no cluster: it was started without --cluster, and has nothing to administer"
        ),
        _ => bail!("no batchkv server at {address}: it answers something else than a hello"),
    }
}

fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let mut last = anyhow!("its name has no address");
    for socket_address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&socket_address, CONNECT_TIME) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

impl Link {
    /// The server, as it was named.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The answer to `request`.
    ///
    /// # Errors
    /// When none comes.
    pub(crate) fn ask(&mut self, request: OperatorRequest) -> anyhow::Result<OperatorAnswer> {
        match self.exchange(&Control::OperatorRequest(request))? {
            Control::OperatorAnswer(answer) => Ok(answer),
            _ => bail!(
                "{} answers something else than an operator's question",
                self.address
            ),
        }
    }

    fn exchange(&mut self, asked: &Control) -> anyhow::Result<Control> {
        let mut send = SendBuffer::default();
        asked.write(&mut send);
        let answered = self
            .stream
            .write_all(send.pending())
            .map_err(anyhow::Error::from)
            .and_then(|()| self.receive());
        let answered = answered.with_context(|| format!("no answer from {}", self.address))?;
        match answered {
            Control::Error(error) => bail!("{} says: {}", self.address, error.text),
            control => Ok(control),
        }
    }

    fn receive(&mut self) -> anyhow::Result<Control> {
        loop {
            if let Some(body) = self.receive.body()? {
                let control = Control::decode(body)?;
                self.receive.consume();
                return Ok(control);
            }
            match self.stream.read(self.receive.spare())? {
                0 => bail!("it has closed the connection"),
                bytes => self.receive.filled(bytes),
            }
        }
    }
}
