//! State machines as consensus drives them: entries by hand, images from one to another.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

use batchkv_cluster::directory::{Arrival, Command, Refusal, Reply};
use batchkv_cluster::host::{DirectoryMachine, Parked, PartitionMachine, Slots, Workers};
use batchkv_cluster::limits::IMAGE_BYTES_MAX;
use batchkv_cluster::versions::split;
use batchkv_cluster::{Answer, Outcome, Proposal, Write};
use batchkv_consensus::limits::CHUNK_BYTES;
use batchkv_consensus::{
    Committed, Image, Import, Proposal as Proposed, ProposeError, StateMachine,
};
use batchkv_protocol::{Answer as Wire, Answers, Counters, Operation, Position};
use batchkv_store::{Engine, Partitioned, Placed};
use bytes::Bytes;
use std::sync::Arc;

const PARTITIONS: u32 = 4;
const PARTITION: u32 = 3;

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(future)
}

/// A server: an engine, and one partition's machine.
struct Server<P = ()> {
    engine: Arc<Partitioned>,
    slots: Arc<Slots>,
    machine: PartitionMachine<Partitioned, P>,
}

fn server<P: Parked>() -> Server<P> {
    let slots = Arc::new(Slots::new(PARTITIONS));
    let engine = Arc::new(Partitioned::new(slots.engine_partitions(), None));
    let workers = Arc::new(Workers::start(2).unwrap());
    let machine =
        PartitionMachine::new(PARTITION, Arc::clone(&engine), Arc::clone(&slots), workers);
    Server {
        engine,
        slots,
        machine,
    }
}

fn put(key: &[u8], value: &[u8]) -> Bytes {
    let writes = vec![Write::Put { key, value }];
    let proposal = Proposal::Writes {
        sequence: None,
        writes,
    };
    proposal.encode().unwrap().into()
}

fn entry<P>(index: u64, proposals: Vec<(Bytes, Option<P>)>) -> Committed<P> {
    let proposals = proposals.into_iter();
    Committed {
        index,
        term: 1,
        time_millis: 0,
        proposals: proposals
            .map(|(bytes, parked)| Proposed { bytes, parked })
            .collect(),
    }
}

/// Collects one value.
struct One(Option<Vec<u8>>);

impl Answers for One {
    type Mark = ();

    fn mark(&self) {}
    fn rewind(&mut self, (): ()) {
        self.0 = None;
    }
    fn answer(&mut self, _: Position, answer: Wire<'_>) -> bool {
        if let Wire::Value(value) = answer {
            self.0 = Some(value.to_vec());
        }
        true
    }
    fn value(&mut self, _: Position, value_bytes: usize) -> Option<&mut [u8]> {
        Some(self.0.insert(vec![0; value_bytes]))
    }
    fn refer(&mut self, _: u64) {}
}

fn read(engine: &Partitioned, slot: u32, key: &[u8]) -> Option<Vec<u8>> {
    let placed = Placed {
        position: Position {
            group: 0,
            operation: 0,
        },
        partition: slot,
        operation: Operation::Get { key: key.into() },
    };
    let mut one = One(None);
    engine.apply(&[placed], &mut one, &mut Counters::default());
    one.0.map(|stored| split(&stored).unwrap().0.to_vec())
}

/// A get that stayed behind.
struct Get(Arc<Partitioned>);

impl Parked for Get {
    type Done = (Answer, Option<Vec<u8>>);

    fn applied(self, answer: Answer, slot: u32) -> Self::Done {
        (answer, read(&self.0, slot, b"k"))
    }

    fn refused(self, _: &ProposeError) {}
}

#[test]
fn gets_that_stayed_behind_see_their_own_write_and_no_later_one() {
    let mut server = server::<Get>();
    let get = || Some(Get(Arc::clone(&server.engine)));
    let proposals = vec![
        (put(b"k", b"one"), get()),
        (put(b"k", b"two"), None),
        (put(b"k", b"three"), get()),
        (Bytes::from_static(b"no proposal"), get()),
        (put(b"k", b"four"), get()),
    ];
    let done = wait(server.machine.apply(vec![entry(1, proposals)]));
    let stored = |version| Answer::Applied([Outcome::Stored { version }].into());
    let expected = [
        (stored(1), Some(b"one".to_vec())),
        (stored(3), Some(b"three".to_vec())),
        // The replica has stopped.
        (Answer::Unknown, Some(b"three".to_vec())),
        (Answer::Unknown, Some(b"three".to_vec())),
    ];
    assert_eq!(done, expected);
    assert!(server.machine.watch().fault().is_some());
}

fn apply(server: &mut Server, index: u64, bytes: Bytes) -> Answer {
    let entries = vec![entry(index, vec![(bytes, Some(()))])];
    wait(server.machine.apply(entries)).remove(0)
}

fn digest(server: &Server) -> batchkv_cluster::replica::Digest {
    wait(server.machine.watch().digest()).unwrap()
}

#[test]
fn a_member_is_copied_to_another_while_it_applies_and_the_other_goes_on() {
    let (mut one, mut two) = (server(), server());
    let value = vec![7; 50_000];
    for index in 1..=10u64 {
        apply(&mut one, index, put(&index.to_le_bytes(), &value));
    }
    // What the other has is replaced.
    apply(&mut two, 1, put(b"old", b"old"));
    let before = two.slots.of(PARTITION);

    let mut image = one.machine.image();
    let mut import = two.machine.import();
    let mut index = 10;
    while let Some(chunk) = wait(image.next()) {
        assert!(chunk.len() <= CHUNK_BYTES);
        index += 1;
        apply(
            &mut one,
            index,
            put(&(index % 7).to_le_bytes(), &[index as u8]),
        );
        wait(import.take(chunk)).unwrap();
    }
    assert!(read(&two.engine, before, b"old").is_some());
    wait(two.machine.install(import)).unwrap();
    let after = two.slots.of(PARTITION);
    assert_ne!(before, after);
    assert_eq!(two.engine.usage().records, one.engine.usage().records);

    // Behind the entry at which the image began.
    for index in 11..=index {
        let bytes = put(&(index % 7).to_le_bytes(), &[index as u8]);
        apply(&mut two, index, bytes);
    }
    assert_eq!(digest(&two), digest(&one));
}

#[test]
fn a_second_import_takes_the_place_of_one_that_was_given_up() {
    let (mut one, mut two) = (server(), server());
    apply(&mut one, 1, put(b"k", &vec![1; 100_000]));
    let mut late = two.machine.import();
    let mut image = one.machine.image();
    let first = wait(image.next()).unwrap();
    wait(late.take(first)).unwrap();

    let mut import = two.machine.import();
    let mut again = one.machine.image();
    while let Some(chunk) = wait(again.next()) {
        wait(import.take(chunk)).unwrap();
    }
    let second = wait(image.next()).unwrap();
    assert!(wait(late.take(second)).is_err());
    wait(two.machine.install(import)).unwrap();
    assert_eq!(digest(&two), digest(&one));
}

#[test]
fn an_image_that_is_given_up_ends_the_transfer_and_leaves_what_was_there() {
    let (mut one, mut two) = (server(), server());
    apply(&mut two, 1, put(b"k", b"mine"));
    let value = vec![1; 1_000_000];
    let mut image = one.machine.image();
    for index in 1..=IMAGE_BYTES_MAX as u64 / 1_000_000 + 2 {
        apply(&mut one, index, put(b"k", &value));
    }
    let mut import = two.machine.import();
    let chunk = wait(image.next()).unwrap();
    assert!(wait(import.take(chunk)).is_err());
    assert_eq!(wait(image.next()), None);
    let slot = two.slots.of(PARTITION);
    assert_eq!(read(&two.engine, slot, b"k"), Some(b"mine".to_vec()));
    assert!(wait(two.machine.install(import)).is_err());
}

#[test]
fn the_directory_answers_tells_of_its_changes_and_is_copied() {
    let (mut machine, mut changes) = DirectoryMachine::new();
    let server = Arrival {
        token: 1,
        address: "a:1".to_owned(),
        peer_address: "a:2".to_owned(),
        machine: 1,
    };
    let bootstrap = Command::Bootstrap {
        cluster: 7,
        partitions: 4096,
        replicas: 3,
        server,
    };
    let proposals = vec![
        (bootstrap.encode().into(), Some(())),
        (bootstrap.encode().into(), None),
        (Bytes::from_static(b"?"), Some(())),
    ];
    let answers = wait(machine.apply(vec![entry(1, proposals)]));
    let joined = Reply::Joined {
        cluster: 7,
        server: 1,
        is_new: true,
    };
    assert_eq!(answers, [Ok(joined), Err(Refusal::Malformed)]);
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow_and_update().version(), 1);

    let (mut other, copied) = DirectoryMachine::new();
    let (mut image, mut import) = (machine.image(), other.import());
    while let Some(chunk) = wait(image.next()) {
        assert!(chunk.len() <= CHUNK_BYTES);
        wait(import.take(chunk)).unwrap();
    }
    wait(other.install(import)).unwrap();
    assert_eq!(*copied.borrow(), *changes.borrow());
    let mut nonsense = other.import();
    wait(nonsense.take(Bytes::from_static(&[9]))).unwrap();
    assert!(wait(other.install(nonsense)).is_err());
}
