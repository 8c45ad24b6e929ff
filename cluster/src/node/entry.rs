//! How a server becomes a member: who it is, what it founds, and what members tell newcomers.

use super::{Entry, Settings, StartError, join};
use crate::directory::{Arrival, Command, Directory, Reply};
use crate::host::DirectoryMachine;
use batchkv_consensus::transport::tcp::{Closed, TcpConfig, TcpTransport};
use batchkv_consensus::{GroupHandle, Node as Consensus, ProposeError, Role};
use batchkv_protocol::{JoinAnswer, JoinRequest};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::sync::Arc;

/// What a server has before it is a member.
pub(super) struct Introduced {
    pub(super) arrival: Arrival,
    pub(super) cluster: u128,
    pub(super) id: u64,
}

/// Who the server is from now on.
pub(super) async fn introduce(settings: &Settings) -> Result<Introduced, StartError> {
    let random = RandomState::new();
    let draw =
        |what: u64| u128::from(random.hash_one(what)) << 64 | u128::from(random.hash_one(!what));
    let arrival = Arrival {
        token: draw(1),
        address: settings.address.clone(),
        peer_address: settings.peers.local_addr()?.to_string(),
        machine: settings.machine,
    };
    let (cluster, id) = match &settings.entry {
        Entry::Bootstrap { .. } => (draw(2), 1),
        Entry::Join { seeds } => {
            let request = JoinRequest {
                token: arrival.token,
                address: arrival.address.clone(),
                peer_address: arrival.peer_address.clone(),
                machine: arrival.machine,
            };
            join::join(seeds, &request, &*settings.notice).await?
        }
    };
    Ok(Introduced {
        arrival,
        cluster,
        id,
    })
}

pub(super) fn start_consensus(
    introduced: &Introduced,
    peers: TcpListener,
    notice: &Arc<dyn Fn(String) + Send + Sync>,
) -> Result<Consensus, StartError> {
    let notice = Arc::clone(notice);
    let tcp = TcpConfig {
        cluster: introduced.cluster,
        node: introduced.id,
        // Whoever belongs here comes again; only strangers are worth a word.
        on_closed: Arc::new(move |closed: Closed| {
            if closed.peer.is_none() {
                let Closed {
                    address, reason, ..
                } = closed;
                notice(format!(
                    "a connection of peers from {address} was closed: {reason}"
                ));
            }
        }),
    };
    let seed = RandomState::new().hash_one(introduced.id);
    let transport = move || TcpTransport::listen(tcp, peers);
    Ok(Consensus::start(introduced.id, seed, transport)?)
}

/// Founds the directory's group, and the cluster in it.
pub(super) async fn found(
    group: &GroupHandle<DirectoryMachine>,
    introduced: &Introduced,
    partitions: u32,
    replicas: u32,
) -> Result<(), StartError> {
    let broken = |error: &dyn std::fmt::Display| StartError::Directory(error.to_string());
    let voters = BTreeMap::from([(introduced.id, introduced.arrival.peer_address.clone())]);
    group.bootstrap(voters).await.map_err(|it| broken(&it))?;
    let command = Command::Bootstrap {
        cluster: introduced.cluster,
        partitions,
        replicas,
        server: introduced.arrival.clone(),
    };
    loop {
        match group.propose(command.encode().into(), ()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(refusal)) => return Err(StartError::Founding(refusal)),
            // The only voter elects itself in a moment.
            Err(ProposeError::NotLeader { .. }) => {
                let mut status = group.watch();
                let elected = status.wait_for(|status| status.role == Role::Leader);
                elected.await.map(|_| ()).map_err(|it| broken(&it))?;
            }
            Err(error) => return Err(broken(&error)),
        }
    }
}

/// Takes a newcomer in where the directory is led, or tells it who can.
pub(super) async fn join_at(
    group: &GroupHandle<DirectoryMachine>,
    directory: &Directory,
    request: JoinRequest,
) -> JoinAnswer {
    let status = group.status();
    if status.role != Role::Leader {
        let leader = status.leader.and_then(|leader| directory.server(leader));
        return match leader {
            Some(leader) => JoinAnswer::Ask {
                address: leader.arrival.address.clone(),
            },
            None => JoinAnswer::Wait {
                reason: "the directory has no leader at the moment".to_owned(),
            },
        };
    }
    let command = Command::Join {
        cluster: None,
        server: Arrival {
            token: request.token,
            address: request.address,
            peer_address: request.peer_address,
            machine: request.machine,
        },
    };
    match group.propose(command.encode().into(), ()).await {
        Ok(Ok(Reply::Joined {
            cluster, server, ..
        })) => JoinAnswer::Joined { cluster, server },
        Ok(Ok(other)) => JoinAnswer::Wait {
            reason: format!("the directory answered {other:?}"),
        },
        Ok(Err(refusal)) => JoinAnswer::Refused {
            reason: refusal.to_string(),
        },
        Err(error) => JoinAnswer::Wait {
            reason: error.to_string(),
        },
    }
}
