//! The hellos of both sides, as bytes and values: what a client says first, and what it takes for an answer.

use crate::error::{HelloError, Loss};
use batchkv_protocol::control::{MAGIC, VERSION};
use batchkv_protocol::frame::{self, Kind};
use batchkv_protocol::{
    Control, Hello, PartitionMap, ReceiveBuffer, Role, SendBuffer, ServerHello, ServerLimits,
};

/// What a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) client_id: [u8; 16],
    /// Features that must be in force.
    pub(crate) required: u64,
    /// Features that are used where the server has them.
    pub(crate) optional: u64,
}

impl Offer {
    pub(crate) fn write(self, out: &mut SendBuffer) {
        let id = self.client_id;
        Hello::new(Role::Client { id }, self.required | self.optional).write(out);
    }

    /// The server's map, when its hello is one that this client can work with.
    pub(crate) fn check(self, hello: &ServerHello) -> Result<PartitionMap, HelloError> {
        if hello.magic != MAGIC {
            return Err(HelloError::Magic(hello.magic));
        }
        if hello.version != VERSION {
            return Err(HelloError::Version {
                server: hello.version,
                client: VERSION,
            });
        }
        let unasked = hello.features & !(self.required | self.optional);
        if unasked != 0 {
            return Err(HelloError::Features(unasked));
        }
        let missing = self.required & !hello.features;
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
}

/// Takes the server's hello out of what has come, or `None` while it is incomplete.
pub(crate) fn take(received: &mut ReceiveBuffer) -> Result<Option<ServerHello>, Loss> {
    let Some(body) = received.body()? else {
        return Ok(None);
    };
    if frame::kind(body)? != Kind::Control {
        return Err(Loss::Unasked("something else than a hello"));
    }
    match Control::decode(body)? {
        Control::ServerHello(hello) => {
            received.consume();
            Ok(Some(hello))
        }
        Control::Error(error) => Err(Loss::Reported(error.text)),
        _ => Err(Loss::Unasked("something else than a hello")),
    }
}

/// A server that takes less than this client may send is refused whole, at its hello. So no limit is left to be
/// followed later: each of the client's own is within the server's.
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
