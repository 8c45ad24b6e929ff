//! What operations are handed to, by sessions and by whoever else has some: owner check, then engine, then
//! counters, in one place.
//!
//! A group is ruled on once, when it begins. [`Immediate`] has it executed at once, window by window. An
//! executor may also take a group away ([`Ruling::Later`]): it is then [parked](crate::parked), answered when the
//! executor says so and in any order, and its connection goes on with what follows.

use std::sync::Arc;

use batchkv_protocol::options::{self, GroupOptions};
use batchkv_protocol::request::GroupHeader;
use batchkv_protocol::{
    Answer, Answers, Counters, Malformed, Operation, Ownership, Refusal, RequestCursor,
};
use batchkv_store::{Engine, Placed, Usage};

use crate::desk::Desk;
use crate::parked::ParkedGroup;
use crate::shared_map::SharedMap;
use crate::windows::{Scratch, WindowCursor};

/// One group of a request: its header, and its operations as they came.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// What stands in front of the operations.
    pub header: GroupHeader,
    /// The group's number in its request.
    pub number: u32,
    /// The bytes of its options and operations, which were checked against every limit.
    pub bytes: &'a [u8],
}

impl<'a> Group<'a> {
    /// What the group asks for beside its operations.
    #[must_use]
    pub fn options(&self) -> GroupOptions {
        // What was checked has no fault.
        let options = GroupOptions::read(self.header.flags, self.bytes);
        options.map_or_else(|_| GroupOptions::default(), |(options, _)| options)
    }

    /// Before the first operation.
    pub(crate) fn cursor(&self) -> RequestCursor {
        let mut cursor = RequestCursor::of_group(self.header.operations, self.bytes.len());
        if self.header.flags != 0 {
            // What was checked has no fault.
            let _options = cursor.read_options(self.header.flags, self.bytes);
        }
        cursor
    }

    /// The operations, in their order; none of a group that opens a stream.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'a>> + use<'a> {
        let bytes = self.bytes;
        let mut cursor = self.cursor();
        // What was checked has no fault.
        std::iter::from_fn(move || cursor.next_operation(bytes).ok().flatten())
    }
}

/// What becomes of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// Its operations are applied now.
    Now,
    /// None of its operations is applied; each gets this answer.
    Refused(Answer<'static>),
    /// It is taken away and answered later.
    Later,
}

/// Executes groups of operations. Shared by all threads; static dispatch throughout.
///
/// Operations of one connection on one partition take effect in the order in which they came: clients rely on it for
/// the operations of a batch. A session calls in that order; an executor that takes groups away keeps it, and rules
/// no group [`Now`](Ruling::Now) while an earlier one of the same connection and partition waits.
pub trait Executor: Send + Sync + 'static {
    /// What a group that was taken away is executed with when it comes back: outcomes of its writes, say.
    type Resumption: Send + 'static;

    /// Says what becomes of a group, before its first operation is applied and never afterwards. It changes
    /// nothing: what has to wait for room is ruled on again when there is some.
    fn rule(&self, group: &Group<'_>) -> Ruling;

    /// Applies operations of groups that were ruled [`Now`](Ruling::Now), as [`Engine::apply`] does.
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize
    where
        Self: Sized;

    /// Takes a group that was ruled [`Later`](Ruling::Later). May complete it from any thread, and at once.
    fn submit(&self, group: ParkedGroup<Self::Resumption>);

    /// As [`apply`](Self::apply), with operations of a group that was taken away and has been
    /// [resumed](ParkedGroup::resume).
    fn resume(
        &self,
        resumption: &Self::Resumption,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize
    where
        Self: Sized;

    /// Records and memory.
    fn usage(&self) -> Usage;

    /// What answers questions about the cluster that the server is a member of.
    fn desk(&self) -> Option<&dyn Desk> {
        None
    }

    /// Rules on a whole group that has no connection, and applies it at once unless it is refused; `false` when
    /// `answers` had no room for all of it.
    ///
    /// # Errors
    /// When the group's bytes were not checked, and break the format.
    fn execute(
        &self,
        group: &Group<'_>,
        scratch: &mut Scratch,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> Result<bool, Malformed>
    where
        Self: Sized,
    {
        let mut cursor = WindowCursor::of_group(group);
        match self.rule(group) {
            Ruling::Refused(answer) => {
                cursor.refuse_all(answer);
                return Ok(cursor.answer_refused(answers, counters));
            }
            Ruling::Now | Ruling::Later => {}
        }
        let mut window = scratch.take();
        loop {
            window.clear();
            cursor.fill(self, group.bytes, &mut window)?;
            let applied = self.apply(&window, answers, counters);
            if window.is_empty() || applied < window.len() {
                let all = window.is_empty();
                scratch.give_back(window);
                return Ok(all);
            }
        }
    }
}

/// Executes every group at once, if its partition is this server's.
#[derive(Debug)]
pub struct Immediate<E> {
    engine: E,
    map: Arc<SharedMap>,
    server_index: u32,
}

impl<E: Engine> Immediate<E> {
    /// Applies to `engine` what `map` says is owned by the server with the number `server_index`.
    #[must_use]
    pub fn new(engine: E, map: Arc<SharedMap>, server_index: u32) -> Self {
        Self {
            engine,
            map,
            server_index,
        }
    }
}

/// What a server with the number `server_index` says to a group, whose partition's ownership it knows: it
/// takes groups of flags that it knows, for partitions of its own, of the present epoch alone. Were older ones
/// taken, a server that loses a partition and gets it back could refuse the beginning of a batch's operations
/// on a key and take their end, and the beginning would come behind the end when it is sent again.
#[inline]
#[must_use]
pub fn owner_check(group: &GroupHeader, known: Option<Ownership>, server_index: u32) -> Ruling {
    if group.flags != 0 {
        return Ruling::Refused(Answer::Refused(no_options(group.flags)));
    }
    match known {
        Some(known) if known.owner != server_index || known.epoch != group.epoch => {
            Ruling::Refused(Answer::WrongOwner(known))
        }
        _ => Ruling::Now,
    }
}

/// Why a server outside a cluster takes no group with such flags.
#[cold]
fn no_options(flags: u8) -> Refusal {
    match options::are_known(flags) {
        true => Refusal::NoCluster,
        false => Refusal::UnknownFlag,
    }
}

impl<E: Engine> Executor for Immediate<E> {
    type Resumption = ();

    #[inline]
    fn rule(&self, group: &Group<'_>) -> Ruling {
        let known = self.map.live().ownership(group.header.partition);
        owner_check(&group.header, known, self.server_index)
    }

    #[inline]
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        self.engine.apply(window, answers, counters)
    }

    /// Never asked to, since it rules no group later.
    fn submit(&self, group: ParkedGroup) {
        group.resume(());
    }

    fn resume(
        &self,
        (): &(),
        window: &[Placed<'_>],
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> usize {
        self.apply(window, answers, counters)
    }

    fn usage(&self) -> Usage {
        self.engine.usage()
    }
}
