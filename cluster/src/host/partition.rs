//! A partition's replica, driven by its group.

use super::slots::Slots;
use super::workers::Workers;
use crate::replica::{self, Answer, Fault, ImageId, Replica};
use batchkv_consensus::{Committed, Image, Import, ProposeError, StateMachine};
use batchkv_store::Movable;
use bytes::Bytes;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a proposer leaves beside its proposal: done by the partition's worker when the proposal is applied, before
/// anything that stands behind it in the log. So a connection's operations take effect in their order.
pub trait Parked: Send + 'static {
    /// What the proposer is answered.
    type Done: Send + 'static;

    /// The proposal was applied; the partition's records are at `slot` of the engine.
    fn applied(self, answer: Answer, slot: u32) -> Self::Done;

    /// The proposal is not answered by applying it; `error` tells what is known of it.
    fn refused(self, error: &ProposeError);
}

/// Nothing is left beside it.
impl Parked for () {
    type Done = Answer;

    fn applied(self, answer: Answer, _: u32) -> Answer {
        answer
    }

    fn refused(self, _: &ProposeError) {}
}

/// One member of a partition's group: a [`Replica`] that workers apply to.
#[derive(Debug)]
pub struct PartitionMachine<E, P = ()> {
    member: Arc<Member<E>>,
    parked: PhantomData<fn(P)>,
}

/// What the machine, its images and its imports share.
#[derive(Debug)]
struct Member<E> {
    partition: u32,
    engine: Arc<E>,
    slots: Arc<Slots>,
    workers: Arc<Workers>,
    /// Held by one job of the partition's worker, or for a moment by the consensus thread.
    replica: Mutex<Replica<E>>,
    /// Number of the latest import: an earlier one may not touch the spare place any more.
    import: AtomicU64,
}

impl<E: Movable, P: Parked> PartitionMachine<E, P> {
    /// An empty replica of `partition`, which the engine has no record of.
    #[must_use]
    pub fn new(partition: u32, engine: Arc<E>, slots: Arc<Slots>, workers: Arc<Workers>) -> Self {
        let replica = Replica::new(Arc::clone(&engine), slots.of(partition));
        Self {
            member: Arc::new(Member {
                partition,
                engine,
                slots,
                workers,
                replica: Mutex::new(replica),
                import: AtomicU64::new(0),
            }),
            parked: PhantomData,
        }
    }

    /// What looks at the replica from outside its group.
    #[must_use]
    pub fn watch(&self) -> PartitionWatch<E> {
        PartitionWatch(Arc::clone(&self.member))
    }
}

/// Looks at a replica from outside its group.
#[derive(Debug, Clone)]
pub struct PartitionWatch<E>(Arc<Member<E>>);

impl<E: Movable> PartitionWatch<E> {
    /// Why the replica has stopped, if it has: its server must leave the group, and may be copied to anew.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.0.replica().fault().cloned()
    }

    /// What all members have in common at the same entry. A look at each record, meanwhile nothing is applied.
    pub async fn digest(&self) -> Option<replica::Digest> {
        self.0.work(|replica| replica.digest()).await
    }
}

impl<E: Movable> Member<E> {
    /// A panic that left it halfway is a defect that tests would have met; the replica is as good as before.
    fn replica(&self) -> MutexGuard<'_, Replica<E>> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the partition's worker do something with the replica.
    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Replica<E>) -> T + Send + 'static,
    ) -> Option<T> {
        let member = Arc::clone(self);
        let job = move || work(&mut member.replica());
        self.workers.run(self.partition, job).await
    }
}

impl<E: Movable, P: Parked> StateMachine for PartitionMachine<E, P> {
    type Parked = P;
    type Answer = P::Done;
    type Image = PartitionImage<E>;
    type Import = PartitionImport<E>;

    async fn apply(&mut self, entries: Vec<Committed<P>>) -> Vec<P::Done> {
        let slot = self.member.slots.of(self.member.partition);
        let work = move |replica: &mut Replica<E>| {
            let applied = entries.into_iter();
            applied
                .flat_map(|entry| apply(replica, entry, slot))
                .collect()
        };
        // Without its worker the group can go on no more: nobody is answered.
        self.member.work(work).await.unwrap_or_default()
    }

    fn refused(parked: P, error: &ProposeError) {
        parked.refused(error);
    }

    fn image(&mut self) -> PartitionImage<E> {
        let member = Arc::clone(&self.member);
        let id = member.replica().begin_image();
        PartitionImage {
            member,
            id,
            is_ended: false,
        }
    }

    fn import(&mut self) -> PartitionImport<E> {
        PartitionImport {
            member: Arc::clone(&self.member),
            number: self.member.import.fetch_add(1, Ordering::Relaxed) + 1,
            import: None,
        }
    }

    async fn install(&mut self, import: PartitionImport<E>) -> Result<(), String> {
        let PartitionImport { member, import, .. } = import;
        let import = import.ok_or("no chunk of the image has come")?;
        let imported = import.finish().map_err(|error| error.to_string())?;
        let install = move |replica: &mut Replica<E>| {
            *replica = imported;
            let old = member.slots.swap(member.partition);
            member.engine.clear(old);
        };
        let installed = self.member.work(install).await;
        installed.ok_or_else(|| "the partition's worker has ended".to_owned())
    }
}

/// The answers to those who wait for one. A replica that has stopped does not know what becomes of them.
fn apply<E: Movable, P: Parked>(
    replica: &mut Replica<E>,
    entry: Committed<P>,
    slot: u32,
) -> Vec<P::Done> {
    let (bytes, parked): (Vec<Bytes>, Vec<Option<P>>) = entry
        .proposals
        .into_iter()
        .map(|one| (one.bytes, one.parked))
        .unzip();
    let mut parked = parked.into_iter();
    let mut done = Vec::new();
    let mut answer = |answer| {
        let parked = parked.next().flatten();
        done.extend(parked.map(|parked| parked.applied(answer, slot)));
    };
    let proposals = bytes.iter().map(|bytes| &bytes[..]);
    let applied = replica.apply(entry.index, entry.time_millis, proposals, &mut answer);
    if applied.is_err() {
        bytes.iter().for_each(|_| answer(Answer::Unknown));
    }
    done
}

/// An image on its way out. An empty chunk tells the receiver that it was given up.
#[derive(Debug)]
pub struct PartitionImage<E: Movable> {
    member: Arc<Member<E>>,
    id: ImageId,
    is_ended: bool,
}

impl<E: Movable> Image for PartitionImage<E> {
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_ended {
            return None;
        }
        let id = self.id;
        let chunk = self
            .member
            .work(move |replica| replica.next_chunk(id))
            .await;
        match chunk {
            Some(Ok(Some(chunk))) => Some(chunk.into()),
            Some(Ok(None)) => {
                self.is_ended = true;
                None
            }
            Some(Err(_)) | None => {
                self.is_ended = true;
                Some(Bytes::new())
            }
        }
    }
}

impl<E: Movable> Drop for PartitionImage<E> {
    fn drop(&mut self) {
        self.member.replica().end_image(self.id);
    }
}

/// An image on its way in, at the partition's spare place.
#[derive(Debug)]
pub struct PartitionImport<E> {
    member: Arc<Member<E>>,
    number: u64,
    /// `None` before the first chunk, and while a worker has it.
    import: Option<replica::Import<E>>,
}

impl<E: Movable> Import for PartitionImport<E> {
    async fn take(&mut self, chunk: Bytes) -> Result<(), String> {
        if chunk.is_empty() {
            return Err("the sender has given the image up".to_owned());
        }
        let (member, number, import) = (Arc::clone(&self.member), self.number, self.import.take());
        let work = move || take(&member, number, import, &chunk);
        let taken = self.member.workers.run(self.member.partition, work).await;
        self.import = Some(taken.ok_or("the partition's worker has ended")??);
        Ok(())
    }
}

/// Takes a chunk on the partition's worker, where no other import can come in between.
fn take<E: Movable>(
    member: &Member<E>,
    number: u64,
    import: Option<replica::Import<E>>,
    chunk: &[u8],
) -> Result<replica::Import<E>, String> {
    if member.import.load(Ordering::Relaxed) != number {
        return Err("a later image is being received".to_owned());
    }
    let begin = || {
        let spare = member.slots.spare(member.partition);
        replica::Import::begin(Arc::clone(&member.engine), spare)
    };
    let mut import = import.unwrap_or_else(begin);
    import.take(chunk).map_err(|error| error.to_string())?;
    Ok(import)
}
