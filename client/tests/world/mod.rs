//! A cluster of a few lines in this process: real replicas of partitions, without consensus, behind servers that a
//! test tells how to fail.

use crate::common::{self, Peer};
use batchkv_client::protocol::control::{FEATURE_CLUSTER, FEATURE_MAP};
use batchkv_client::protocol::frame::{self, Kind};
use batchkv_client::protocol::options::VERSION_BYTES;
use batchkv_client::protocol::{
    Answer, AnswerWriter, Control, Counters, Freshness, GroupOptions, MapFrame, Operation,
    Ownership, PartitionMap, Position, Refusal, RequestFrame, SendBuffer, ServerAddress,
    ServerHello,
};
use batchkv_cluster::{Answer as Applied, Outcome, Proposal, Refused, Replica, Write};
use batchkv_store::Partitioned;
use std::io;
use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const PARTITIONS: u32 = 4;

/// What a server does with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Serve,
    /// Closes the connection before the group is applied.
    CutBefore,
    /// Closes it when the group is applied, before any answer.
    CutBehind,
    /// Refuses the group.
    Refuse(Refusal),
    /// Applies the group, and says that nobody knows.
    Unsettle,
    /// Hands the partition to the next server, and says so.
    HandOver,
    /// Hands it over and answers nothing: all other servers tell their clients.
    Hang,
}

/// What a server is asked to do with a group: a server's number, the partition, and what the group asks for.
pub(crate) type Script = dyn FnMut(u32, u32, &GroupOptions) -> Act + Send;

/// What all servers have in common.
pub(crate) struct World {
    pub(crate) addresses: Vec<String>,
    partitions: Vec<Mutex<Partition>>,
    script: Mutex<Box<Script>>,
    /// Each connection, and the number of its server. Held by whoever writes to one.
    peers: Mutex<Vec<(u32, TcpStream)>>,
}

struct Partition {
    replica: Replica<Partitioned>,
    owner: Ownership,
}

impl World {
    /// Servers that do what `script` says.
    pub(crate) fn start(
        servers: u32,
        script: impl FnMut(u32, u32, &GroupOptions) -> Act + Send + 'static,
    ) -> Arc<Self> {
        let listeners: Vec<TcpListener> = (0..servers).map(|_| common::listener()).collect();
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let engine = Arc::new(Partitioned::new(PARTITIONS, None));
        let partition = |number| {
            Mutex::new(Partition {
                replica: Replica::new(engine.clone(), number),
                owner: Ownership {
                    owner: number % servers,
                    epoch: 1,
                },
            })
        };
        let world = Arc::new(Self {
            addresses: listeners.iter().map(address).collect(),
            partitions: (0..PARTITIONS).map(partition).collect(),
            script: Mutex::new(Box::new(script)),
            peers: Mutex::default(),
        });
        for (server, listener) in (0..).zip(listeners) {
            let world = world.clone();
            common::start_with(listener, move |peer| world.serve(server, peer));
        }
        world
    }

    fn map(&self) -> PartitionMap {
        let owner = |partition: &Mutex<Partition>| partition.lock().unwrap().owner;
        PartitionMap::new(self.partitions.iter().map(owner).collect()).unwrap()
    }

    /// Where partition `number` is, and its version: how many puts and deletes it has seen.
    pub(crate) fn version(&self, number: u32) -> u64 {
        let partition = self.partitions[number as usize].lock().unwrap();
        partition.replica.version()
    }

    fn hello(&self, server: u32) -> ServerHello {
        let map = self.map();
        ServerHello {
            features: FEATURE_MAP | FEATURE_CLUSTER,
            map_fingerprint: map.fingerprint(),
            partitions: map.partitions().to_vec(),
            ..common::hello(server, 1)
        }
    }

    /// What clients are told of the servers and owners.
    fn map_frame(&self, version: u64) -> SendBuffer {
        let servers = (0..).zip(&self.addresses);
        let servers = servers.map(|(id, address)| ServerAddress {
            id,
            address: address.clone(),
        });
        let mut out = SendBuffer::default();
        Control::Map(MapFrame {
            version,
            servers: servers.collect(),
            partitions: self.map().partitions().to_vec(),
        })
        .write(&mut out);
        out
    }

    fn serve(&self, server: u32, mut peer: Peer) -> io::Result<()> {
        peer.greet(self.hello(server))?;
        let map = self.map_frame(1);
        {
            let mut peers = self.peers.lock().unwrap();
            peer.stream.write_all(map.pending())?;
            peers.push((server, peer.stream.try_clone()?));
        }
        let mut counters = Counters::default();
        while let Some(body) = peer.frame()? {
            let mut out = SendBuffer::default();
            match frame::kind(&body).unwrap() {
                Kind::Control => Control::Counters(counters).write(&mut out),
                _ if self.request(server, &body, &mut counters, &mut out) => {}
                _ => return peer.stream.shutdown(Shutdown::Both),
            }
            let _peers = self.peers.lock().unwrap();
            peer.stream.write_all(out.pending())?;
        }
        Ok(())
    }

    /// Has all servers but `silent` tell their clients who owns what.
    fn tell(&self, silent: u32) {
        let map = self.map_frame(2);
        for (server, stream) in self.peers.lock().unwrap().iter_mut() {
            if *server != silent {
                // A client may have gone.
                let _ = stream.write_all(map.pending());
            }
        }
    }

    /// Answers a request of one group; `false` when the connection is to be closed instead.
    fn request(
        &self,
        server: u32,
        body: &[u8],
        counters: &mut Counters,
        out: &mut SendBuffer,
    ) -> bool {
        let request = RequestFrame::parse(body).unwrap();
        request.validate(self.map().partitioning()).unwrap();
        let mut cursor = request.cursor();
        let header = cursor.next_group(body).unwrap().unwrap();
        let options = match header.flags {
            0 => GroupOptions::default(),
            flags => cursor.read_options(flags, body).unwrap(),
        };
        let mut operations = Vec::new();
        while !options.opens
            && let Some(operation) = cursor.next_operation(body).unwrap()
        {
            operations.push(operation);
        }
        let act = (self.script.lock().unwrap())(server, header.partition, &options);
        let mut partition = self.partitions[header.partition as usize].lock().unwrap();
        let answers = match act {
            Act::CutBefore => return false,
            Act::Refuse(reason) => Err(Answer::Refused(reason)),
            Act::HandOver | Act::Hang => {
                partition.owner.owner = (server + 1) % self.addresses.len() as u32;
                partition.owner.epoch += 1;
                Err(Answer::WrongOwner(partition.owner))
            }
            _ => partition.answer(server, header.epoch, &options, &operations),
        };
        if act == Act::CutBehind {
            return false;
        }
        if act == Act::Hang {
            drop(partition);
            self.tell(server);
            return true;
        }
        let answers = match act {
            Act::Unsettle => Err(Answer::Refused(Refusal::Unsettled)),
            _ => answers,
        };
        let entry = partition.replica.applied();
        write_answers(
            request.id,
            &options,
            header.operations,
            answers,
            entry,
            counters,
            out,
        );
        true
    }
}

/// What each operation is answered with, or all of them.
type Answered = Result<Vec<(Outcome, bool)>, Answer<'static>>;

impl Partition {
    fn answer(
        &mut self,
        server: u32,
        epoch: u64,
        options: &GroupOptions,
        operations: &[Operation<'_>],
    ) -> Answered {
        let any_reads = options.any.is_some() && options.sequence.is_none();
        if !any_reads && (self.owner.owner != server || epoch > self.owner.epoch) {
            return Err(Answer::WrongOwner(self.owner));
        }
        let proposal = match options.opens {
            true => Proposal::OpenStream,
            false => Proposal::Writes {
                sequence: options.sequence,
                writes: operations.iter().map(|one| write(one, options)).collect(),
            },
        };
        let bytes = proposal.encode().unwrap();
        let index = self.replica.applied() + 1;
        let mut applied = None;
        let taken = |answer| applied = Some(answer);
        self.replica.apply(index, 0, [&bytes[..]], taken).unwrap();
        match applied.unwrap() {
            Applied::Opened { stream } => Err(Answer::Opened { stream }),
            Applied::Applied(outcomes) => Ok(outcomes
                .iter()
                .map(|outcome| (outcome.clone(), options.versions))
                .collect()),
            Applied::Refused(Refused::StreamExpired) => {
                Err(Answer::Refused(Refusal::StreamExpired))
            }
            Applied::Refused(Refused::Answered) => Err(Answer::Refused(Refusal::Answered)),
            other => panic!("{other:?}"),
        }
    }
}

/// An operation as all members execute it.
fn write<'a>(operation: &Operation<'a>, options: &GroupOptions) -> Write<'a> {
    let key = operation.key().bytes();
    match *operation {
        Operation::Get { .. } => Write::Get { key },
        Operation::Delete { .. } => Write::Delete { key },
        Operation::Put { value, .. } if options.versions => {
            let (value, version) = value.split_last_chunk::<VERSION_BYTES>().unwrap();
            let version = u64::from_le_bytes(*version);
            match version {
                u64::MAX => Write::Put { key, value },
                version => Write::PutIf {
                    key,
                    value,
                    version,
                },
            }
        }
        Operation::Put { value, .. } => Write::Put { key, value },
    }
}

fn write_answers(
    id: u64,
    options: &GroupOptions,
    operations: u16,
    answers: Answered,
    entry: u64,
    counters: &mut Counters,
    out: &mut SendBuffer,
) {
    let mut writer = AnswerWriter::begin(out, id);
    if options.any.is_some() {
        writer = writer.fresh(Freshness {
            entry,
            behind: 0,
            heard: Duration::ZERO,
        });
    }
    for operation in 0..u32::from(operations) {
        let position = Position {
            group: 0,
            operation,
        };
        let fits = match &answers {
            Err(answer) => {
                count(*answer, counters);
                writer.answer(position, *answer)
            }
            Ok(outcomes) => {
                let (outcome, versions) = &outcomes[operation as usize];
                let mut value = Vec::new();
                let answer = answer_of(outcome, *versions, &mut value);
                count(answer, counters);
                writer.answer(position, answer)
            }
        };
        assert!(fits, "a test's groups are answered in one frame");
    }
    writer.finish(true);
}

fn answer_of<'a>(outcome: &'a Outcome, versions: bool, room: &'a mut Vec<u8>) -> Answer<'a> {
    match outcome {
        Outcome::Stored { version } if versions => Answer::StoredAs { version: *version },
        Outcome::Stored { .. } => Answer::Stored,
        Outcome::Deleted { existed } => Answer::Deleted { existed: *existed },
        Outcome::Mismatch { found } => Answer::Refused(Refusal::VersionMismatch { found: *found }),
        Outcome::Value { version, value } => {
            room.extend_from_slice(value);
            if versions {
                room.extend_from_slice(&version.to_le_bytes());
            }
            Answer::Value(room)
        }
        Outcome::Missing => Answer::Missing,
        Outcome::Forgotten => Answer::Refused(Refusal::Forgotten),
    }
}

fn count(answer: Answer<'_>, counters: &mut Counters) {
    match answer {
        Answer::Value(_) => {
            counters.gets += 1;
            counters.hits += 1;
        }
        Answer::Missing => counters.gets += 1,
        Answer::Stored | Answer::StoredAs { .. } => counters.puts += 1,
        Answer::Deleted { .. } => counters.deletes += 1,
        Answer::Refused(_) => counters.refused += 1,
        Answer::WrongOwner(_) => counters.wrong_owner += 1,
        Answer::Opened { .. } => {}
    }
}
