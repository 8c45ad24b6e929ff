//! The directory: what a cluster has agreed on about itself. The state machine of one more Raft group.
//!
//! It holds the cluster's id, its servers, how many replicas are wanted, and which servers each partition
//! should be on. It does not hold what the partitions' groups know better: who is a member now, and who leads.
//! While it has no leader nothing moves, and everything serves.
//!
//! 1. A cluster is bootstrapped once.
//! 2. A server's id is never given twice: a server that forgot what it acknowledged comes back under
//!    another, and must be copied to before it votes.
//! 3. A server's index, which stands for it in maps, is given again only when it is gone.
//! 4. A change names what it changes, and is refused where that is no longer so: two who decide by the
//!    same old picture cannot both have their way.
//! 5. A command that is refused changes nothing; each other one gives the directory a higher version.

mod command;

pub use self::command::{Arrival, Command, Refusal, Reply};

use crate::codec::{self, Malformed};
use crate::limits::{PARTITIONS_MAX, REPLICAS_MAX, SERVERS_MAX};
use crate::placement::{self, ServerState};
use wincode::{SchemaRead, SchemaWrite};

const FORMAT: u8 = 1;

/// A server of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Server {
    /// Its node id.
    pub id: u64,
    /// What stands for it in the maps of clients, below [`SERVERS_MAX`].
    pub index: u32,
    /// How it was introduced.
    pub arrival: Arrival,
    /// What may be placed on it.
    pub state: ServerState,
}

/// What is wanted of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Wanted {
    /// Ids of the servers that should hold it, each once.
    pub replicas: Vec<u64>,
    /// The one server that ever founds its group, alone, as it was placed for the first time; 0 before. All others
    /// become members. So nobody can found it twice, whatever he does not know.
    pub founder: u64,
    /// Rises when the partition is begun anew after a loss: entries, versions and streams belong to one.
    pub incarnation: u64,
}

/// The state that its group agrees on.
///
/// As bytes, in format 1: 0 before the bootstrap; after it 1 and the fields of `Cluster`, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    cluster: Option<Cluster>,
}

#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
struct Cluster {
    id: u128,
    version: u64,
    replicas: u32,
    next_server: u64,
    /// By rising id. Who is gone stays as long as a partition names him.
    servers: Vec<Server>,
    partitions: Vec<Wanted>,
}

impl Directory {
    /// The cluster's id, once it has one.
    #[must_use]
    pub fn cluster(&self) -> Option<u128> {
        Some(self.cluster.as_ref()?.id)
    }

    /// Number of changes so far.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.version)
    }

    /// Replicas that each partition should have.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.replicas)
    }

    /// The servers by rising id. One that is gone is among them only while a partition names it.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        self.cluster
            .as_ref()
            .map_or(&[], |cluster| &cluster.servers)
    }

    /// The server with this id, if it is known and not dropped yet.
    #[must_use]
    pub fn server(&self, id: u64) -> Option<&Server> {
        let servers = self.servers();
        let place = servers.binary_search_by_key(&id, |server| server.id);
        place.ok().map(|place| &servers[place])
    }

    /// What is wanted of each partition.
    #[must_use]
    pub fn partitions(&self) -> &[Wanted] {
        self.cluster
            .as_ref()
            .map_or(&[], |cluster| &cluster.partitions)
    }

    /// The servers as [`placement`] sees them.
    #[must_use]
    pub fn placement_servers(&self) -> Vec<placement::Server> {
        let seen = |server: &Server| placement::Server {
            id: server.id,
            machine: server.arrival.machine,
            state: server.state,
        };
        self.servers().iter().map(seen).collect()
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// Why it is refused; nothing is changed then.
    pub fn apply(&mut self, command: Command) -> Result<Reply, Refusal> {
        if let Command::Bootstrap {
            cluster,
            partitions,
            replicas,
            server,
        } = command
        {
            return self.bootstrap(cluster, partitions, replicas, server);
        }
        let Some(cluster) = &mut self.cluster else {
            return Err(Refusal::NotBootstrapped);
        };
        let version = cluster.version;
        let reply = cluster.apply(command)?;
        if reply.is_change() {
            cluster.drop_the_gone();
            cluster.version = version + 1;
        }
        Ok(reply)
    }

    /// The state as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(FORMAT, &self.cluster)
    }

    /// The state that was [encoded](Self::encode).
    ///
    /// # Errors
    /// When the bytes are of another format, cut, damaged, followed by others, or tell what no directory holds.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let cluster: Option<Cluster> = codec::decode("directory", FORMAT, bytes)?;
        if cluster.as_ref().is_some_and(|cluster| !cluster.is_sound()) {
            return Err(Malformed::Content {
                what: "directory",
                reason: "servers are out of order, or partitions no power of two".to_owned(),
            });
        }
        Ok(Self { cluster })
    }

    fn bootstrap(
        &mut self,
        id: u128,
        partitions: u32,
        replicas: u32,
        server: Arrival,
    ) -> Result<Reply, Refusal> {
        if let Some(cluster) = &self.cluster {
            return match cluster.known(server.token) {
                Some(known) if cluster.id == id => Ok(known.joined(id, false)),
                _ => Err(Refusal::AlreadyBootstrapped {
                    cluster: cluster.id,
                }),
            };
        }
        server.check()?;
        check_partitions(partitions)?;
        check_replicas(replicas)?;
        let mut cluster = Cluster {
            id,
            version: 1,
            replicas,
            next_server: 1,
            servers: Vec::new(),
            partitions: vec![Wanted::default(); partitions as usize],
        };
        let reply = cluster.join(server)?;
        self.cluster = Some(cluster);
        Ok(reply)
    }
}

impl Cluster {
    fn apply(&mut self, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Bootstrap { .. } => Err(Refusal::AlreadyBootstrapped { cluster: self.id }),
            Command::Join { cluster, server } => {
                if cluster.is_some_and(|cluster| cluster != self.id) {
                    return Err(Refusal::OtherCluster { cluster: self.id });
                }
                self.join(server)
            }
            Command::SetState { server, state } => self.set_state(server, state),
            Command::Remove {
                server,
                accept_data_loss,
            } => self.remove(server, accept_data_loss),
            Command::SetReplicas { replicas } => {
                check_replicas(replicas)?;
                self.replicas = replicas;
                Ok(Reply::Done)
            }
            Command::Place {
                partition,
                before,
                after,
            } => self.place(partition, &before, after),
            Command::Reset {
                partition,
                incarnation,
                server,
            } => self.reset(partition, incarnation, server),
        }
    }

    fn is_sound(&self) -> bool {
        let ids = self.servers.iter().map(|server| server.id);
        ids.is_sorted_by(|one, next| one < next)
            && self
                .servers
                .iter()
                .all(|server| server.id < self.next_server)
            && check_partitions(self.partitions.len() as u32).is_ok()
    }

    fn known(&self, token: u128) -> Option<&Server> {
        self.servers
            .iter()
            .find(|server| server.arrival.token == token)
    }

    fn join(&mut self, arrival: Arrival) -> Result<Reply, Refusal> {
        arrival.check()?;
        if let Some(known) = self.known(arrival.token) {
            return Ok(known.joined(self.id, false));
        }
        let is_free = |index: &u32| self.servers.iter().all(|server| server.index != *index);
        let index = (0..SERVERS_MAX)
            .find(is_free)
            .ok_or(Refusal::TooManyServers)?;
        let server = Server {
            id: self.next_server,
            index,
            arrival,
            state: ServerState::Joining,
        };
        let reply = server.joined(self.id, true);
        self.next_server += 1;
        self.servers.push(server);
        Ok(reply)
    }

    fn find(&mut self, id: u64) -> Result<&mut Server, Refusal> {
        let place = self.servers.binary_search_by_key(&id, |server| server.id);
        match place {
            Ok(place) => Ok(&mut self.servers[place]),
            Err(_) => Err(Refusal::UnknownServer { server: id }),
        }
    }

    fn set_state(&mut self, id: u64, state: ServerState) -> Result<Reply, Refusal> {
        let server = self.find(id)?;
        match (server.state, state) {
            (before, after) if before == after => return Ok(Reply::Unchanged),
            (ServerState::Joining | ServerState::Draining, ServerState::Up)
            | (ServerState::Up, ServerState::Draining) => server.state = state,
            (before, after) => return Err(Refusal::NotFromHere { before, after }),
        }
        Ok(Reply::Done)
    }

    fn remove(&mut self, id: u64, accept_data_loss: bool) -> Result<Reply, Refusal> {
        if self.find(id)?.state == ServerState::Gone {
            return Ok(Reply::Unchanged);
        }
        let is_alive = |id: &u64| {
            let server = self.servers.iter().find(|server| server.id == *id);
            server.is_some_and(|server| server.state != ServerState::Gone)
        };
        let alone = |wanted: &Wanted| {
            wanted.replicas.contains(&id)
                && wanted
                    .replicas
                    .iter()
                    .all(|other| *other == id || !is_alive(other))
        };
        let last_of = self
            .partitions
            .iter()
            .filter(|wanted| alone(wanted))
            .count();
        if last_of > 0 && !accept_data_loss {
            return Err(Refusal::LastCopy {
                partitions: last_of as u32,
            });
        }
        self.find(id)?.state = ServerState::Gone;
        Ok(Reply::Done)
    }

    fn place(&mut self, number: u32, before: &[u64], after: Vec<u64>) -> Result<Reply, Refusal> {
        for (place, id) in after.iter().enumerate() {
            let is_new = !before.contains(id);
            let state = self.find(*id)?.state;
            if is_new && state != ServerState::Up {
                return Err(Refusal::NotUp { server: *id });
            }
            if after[..place].contains(id) {
                return Err(Refusal::NamedTwice { server: *id });
            }
        }
        if after.is_empty() || after.len() > REPLICAS_MAX as usize {
            return Err(Refusal::Replicas(after.len() as u32));
        }
        let wanted = self.wanted(number)?;
        if wanted.replicas != before {
            return Err(Refusal::Changed);
        }
        if wanted.replicas.is_empty() {
            wanted.founder = after[0];
        }
        wanted.replicas = after;
        Ok(Reply::Done)
    }

    fn reset(&mut self, number: u32, incarnation: u64, server: u64) -> Result<Reply, Refusal> {
        if self.find(server)?.state != ServerState::Up {
            return Err(Refusal::NotUp { server });
        }
        let wanted = self.wanted(number)?;
        if wanted.incarnation != incarnation {
            return Err(Refusal::Changed);
        }
        wanted.incarnation += 1;
        wanted.founder = server;
        wanted.replicas = vec![server];
        Ok(Reply::Done)
    }

    fn wanted(&mut self, number: u32) -> Result<&mut Wanted, Refusal> {
        let unknown = Refusal::UnknownPartition { partition: number };
        self.partitions.get_mut(number as usize).ok_or(unknown)
    }

    fn drop_the_gone(&mut self) {
        let partitions = &self.partitions;
        let is_named = |id| {
            partitions
                .iter()
                .any(|wanted| wanted.replicas.contains(&id))
        };
        self.servers
            .retain(|server| server.state != ServerState::Gone || is_named(server.id));
    }
}

impl Server {
    fn joined(&self, cluster: u128, is_new: bool) -> Reply {
        Reply::Joined {
            cluster,
            server: self.id,
            is_new,
        }
    }
}

fn check_partitions(partitions: u32) -> Result<(), Refusal> {
    if partitions.is_power_of_two() && partitions <= PARTITIONS_MAX {
        Ok(())
    } else {
        Err(Refusal::Partitions(partitions))
    }
}

fn check_replicas(replicas: u32) -> Result<(), Refusal> {
    if (1..=REPLICAS_MAX).contains(&replicas) {
        Ok(())
    } else {
        Err(Refusal::Replicas(replicas))
    }
}
