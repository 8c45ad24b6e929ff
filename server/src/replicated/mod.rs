//! The executor of a cluster's member: writes go through their partition's log, reads wait for a read point.
//!
//! ```text
//!  rule     not the leader here: wrong owner, as the map has it; else the group is taken away
//!  submit   lanes: behind the connection's earlier groups of the partition
//!             | it writes                                | it only reads
//!           its writes are proposed, its gets stay      a read point, one for all that wait, then applied so far
//!             | applied, by the partition's worker       |
//!           answers                                     resume: executed by the connection's thread
//! ```

mod lanes;
mod reads;
mod reception;
mod service;
mod writes;

use std::sync::{Arc, Mutex, PoisonError};

use batchkv_cluster::host::Slots;
use batchkv_cluster::node::{Groups, Node};
use batchkv_cluster::versions::Unversioned;
use batchkv_consensus::ReadBy;
use batchkv_protocol::options;
use batchkv_protocol::request::GroupHeader;
use batchkv_protocol::{Answer, Answers, Counters, Operation, Refusal};
use batchkv_store::{Movable, Placed, Usage};
use tokio::sync::mpsc;

use crate::desk::Desk;
use crate::executor::{Executor, Group, Ruling, owner_check};
use crate::parked::ParkedGroup;
use crate::shared_map::SharedMap;
use lanes::{Kind, Lanes};
use reads::Reader;
use reception::Reception;
pub use service::{MemberError, Membership, run_member};
pub use writes::Writing;

/// What groups may ask for here.
const TAKEN_FLAGS: u8 = options::SEQUENCE | options::VERSIONS | options::OPENS;

/// A group that was taken away.
type Parked<E> = ParkedGroup<Resumption<E>>;

/// A member of a cluster whose proposals have groups of sessions beside them.
pub type Member<E> = Node<E, Writing<E>>;

/// Executes groups of the partitions that this member leads.
pub struct Replicated<E: Movable> {
    partitions: Box<[Arc<Partition<E>>]>,
    shared: Arc<Shared<E>>,
    reception: Reception<E>,
}

/// What all partitions share.
struct Shared<E: Movable> {
    engine: Arc<E>,
    slots: Arc<Slots>,
    groups: Arc<Groups<E, Writing<E>>>,
    map: Arc<SharedMap>,
    server_index: u32,
    max_memory_bytes: Option<u64>,
}

/// One partition, as sessions see it.
struct Partition<E: Movable> {
    number: u32,
    shared: Arc<Shared<E>>,
    lanes: Mutex<Lanes<Parked<E>>>,
    reads: mpsc::UnboundedSender<(Parked<E>, Turn<E>)>,
}

/// A group's turn in its connection's lane: when it goes, the next ones go on.
pub struct Turn<E: Movable> {
    partition: Arc<Partition<E>>,
    connection: u64,
}

/// What a group is executed with that has waited for its read point.
pub struct Resumption<E: Movable> {
    _turn: Turn<E>,
    /// Whether values are answered with their versions.
    versions: bool,
}

impl<E: Movable> Replicated<E> {
    /// Executes on what `member` holds and leads, as `map` says; reads get their points by `read_by`. The tasks that wait
    /// for them run in the present runtime. `max_memory_bytes` is the store's bound, which puts must not come near.
    #[must_use]
    pub fn new(
        member: &Arc<Member<E>>,
        map: Arc<SharedMap>,
        server_index: u32,
        read_by: ReadBy,
        max_memory_bytes: Option<u64>,
    ) -> Self {
        let partitions = map.live().partitioning().partitions();
        let shared = Arc::new(Shared {
            engine: Arc::clone(member.engine()),
            slots: Arc::clone(member.slots()),
            groups: Arc::clone(member.groups()),
            map,
            server_index,
            max_memory_bytes,
        });
        let partition = |number| {
            let (queue, groups) = mpsc::unbounded_channel();
            let partition = Arc::new(Partition {
                number,
                shared: Arc::clone(&shared),
                lanes: Mutex::default(),
                reads: queue,
            });
            let reader = Reader::new(Arc::clone(&shared), number, read_by);
            tokio::spawn(reader.run(groups));
            partition
        };
        Self {
            partitions: (0..partitions).map(partition).collect(),
            shared,
            reception: Reception::new(member),
        }
    }
}

impl<E: Movable> Executor for Replicated<E> {
    type Resumption = Resumption<E>;

    fn rule(&self, group: &Group<'_>) -> Ruling {
        let map = self.shared.map.live();
        let known = map.ownership(group.header.partition);
        let header = GroupHeader {
            flags: group.header.flags & !TAKEN_FLAGS,
            ..group.header
        };
        match owner_check(&header, known, self.shared.server_index) {
            Ruling::Now => Ruling::Later,
            ruling => ruling,
        }
    }

    /// Never asked to, since it rules no group now.
    fn apply(&self, _: &[Placed<'_>], _: &mut impl Answers, _: &mut Counters) -> usize {
        0
    }

    fn submit(&self, group: Parked<E>) {
        let number = group.group().header.partition;
        // The partitions of checked groups are those of the map.
        if let Some(partition) = self.partitions.get(number as usize) {
            Arc::clone(partition).enter(group);
        }
    }

    fn resume(
        &self,
        resumption: &Resumption<E>,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let versions = resumption.versions;
        self.shared.read(window, versions, answers, counters)
    }

    fn usage(&self) -> Usage {
        self.shared.engine.usage()
    }

    fn desk(&self) -> Option<&dyn Desk> {
        Some(&self.reception)
    }
}

impl<E: Movable> Shared<E> {
    /// Executes gets of one partition where its records are, and again where they moved meanwhile.
    fn read(
        &self,
        window: &[Placed<'_>],
        versions: bool,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        let Some(first) = window.first() else {
            return 0;
        };
        loop {
            let slot = self.slots.of(first.partition);
            let placed: Vec<Placed<'_>> = window
                .iter()
                .map(|get| Placed {
                    partition: slot,
                    ..*get
                })
                .collect();
            let (mark, mut counted) = (answers.mark(), *counters);
            let read = match versions {
                true => self.engine.apply(&placed, answers, &mut counted),
                false => {
                    let mut answers = Unversioned(&mut *answers);
                    self.engine.apply(&placed, &mut answers, &mut counted)
                }
            };
            if self.slots.of(first.partition) == slot {
                *counters = counted;
                return read;
            }
            answers.rewind(mark);
        }
    }

    /// The answer to a group that this member cannot serve after all.
    fn not_here(&self, header: GroupHeader) -> Answer<'static> {
        match self.map.live().ownership(header.partition) {
            Some(known) if known.owner != self.server_index || known.epoch != header.epoch => {
                Answer::WrongOwner(known)
            }
            _ => Answer::Refused(Refusal::NoLeader),
        }
    }

    /// Sends a group away that this member cannot serve after all.
    fn send_away(&self, group: Parked<E>) {
        let header = group.group().header;
        group.refuse(self.not_here(header));
    }
}

impl<E: Movable> Partition<E> {
    fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes<Parked<E>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A group comes.
    fn enter(self: Arc<Self>, group: Parked<E>) {
        let is_write = |operation: Operation<'_>| !matches!(operation, Operation::Get { .. });
        let (opens, is_write) = {
            let group = group.group();
            (group.options().opens, group.operations().any(is_write))
        };
        let kind = match opens || is_write {
            true => Kind::Write,
            false => Kind::Read,
        };
        let entered = self.lanes().enter(group.connection(), kind, group);
        if let Some(group) = entered {
            self.go_on(kind, group);
        }
    }

    fn go_on(self: &Arc<Self>, kind: Kind, group: Parked<E>) {
        let turn = Turn {
            partition: Arc::clone(self),
            connection: group.connection(),
        };
        match kind {
            Kind::Write => writes::propose(group, turn),
            Kind::Read => {
                // Where the reader has ended, the server has, and the group goes with its connection.
                let _ended = self.reads.send((group, turn));
            }
        }
    }
}

impl<E: Movable> Drop for Turn<E> {
    fn drop(&mut self) {
        let next = self.partition.lanes().leave(self.connection);
        for (kind, group) in next {
            self.partition.go_on(kind, group);
        }
    }
}
