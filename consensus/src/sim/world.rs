//! A cluster, its clients and its misfortunes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::book::Book;
use super::ledger::{Ledger, Operations, proposal};
use super::{clients, schedule};
use crate::group::{GroupHandle, Mutants, Role, Start};
use crate::host::Host;
use crate::transport::memory::Network;
use crate::{ChangeError, Config, task};

/// The group that all simulations run.
pub(super) const GROUP: u32 = 9;
/// Within which a cluster without faults must have done whatever is asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Faults that are built in to see them caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    None,
    EarlyAnswer,
    UnconfirmedRead,
    /// A node that was killed comes back empty and votes under its old name.
    OldName,
}

/// What a run was, to compare it with itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) operations: Vec<u64>,
    pub(super) acknowledged: usize,
    pub(super) reads: u64,
    pub(super) unknown: u64,
    pub(super) installs: u64,
    pub(super) took: Duration,
}

pub(super) struct Member {
    pub(super) id: u64,
    pub(super) host: Rc<Host>,
    pub(super) handle: GroupHandle<Ledger>,
    pub(super) operations: Operations,
}

pub(super) struct World {
    pub(super) network: Rc<Network>,
    pub(super) book: Rc<RefCell<Book>>,
    pub(super) members: RefCell<BTreeMap<u64, Rc<Member>>>,
    pub(super) mutant: Mutant,
    pub(super) ended: Cell<bool>,
    config: Config,
    random: RefCell<Xoshiro256PlusPlus>,
    next_id: Cell<u64>,
    next_operation: Cell<u64>,
}

/// Runs a body in a world of its own, on a clock that only moves when all tasks wait.
pub(super) fn in_world<F, T>(seed: u64, mutant: Mutant, config: Config, body: F) -> T
where
    F: AsyncFnOnce(Rc<World>) -> T,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let world = Rc::new(World {
        network: Network::new(seed),
        book: Rc::default(),
        members: RefCell::default(),
        mutant,
        ended: Cell::new(false),
        config,
        random: RefCell::new(Xoshiro256PlusPlus::seed_from_u64(!seed)),
        next_id: Cell::new(1),
        next_operation: Cell::new(1),
    });
    LocalSet::new().block_on(&runtime, task::seeded(seed, body(world)))
}

/// One seed: clients at work under a schedule of faults, then a time without any, then the reckoning.
pub(super) fn run(seed: u64, mutant: Mutant) -> Result<Run, String> {
    let config = Config {
        propose_patience: Duration::from_secs(3),
        log_bytes_max: 16 << 10,
        log_bytes_keep: 4 << 10,
        ..Config::default()
    };
    in_world(seed, mutant, config, async |world| {
        let began = Instant::now();
        world.found(3).await?;
        let clients = clients::start(&world);
        schedule::play(&world).await?;
        world.ended.set(true);
        for client in clients {
            client.await.map_err(|error| error.to_string())?;
        }
        world.settle().await?;
        let mut book = world.book.borrow_mut();
        book.close()?;
        Ok(Run {
            operations: book.order.clone(),
            acknowledged: book.acknowledged(),
            reads: book.reads,
            unknown: book.unknown,
            installs: book.installs,
            took: began.elapsed(),
        })
    })
}

impl World {
    pub(super) fn draw(&self, below: u64) -> u64 {
        self.random.borrow_mut().next_u64() % below
    }

    pub(super) fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[usize::try_from(self.draw(from.len() as u64)).expect("an index")].clone()
    }

    pub(super) fn operation(&self) -> u64 {
        let operation = self.next_operation.get();
        self.next_operation.set(operation + 1);
        operation
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.members.borrow().keys().copied().collect()
    }

    pub(super) fn member(&self, id: u64) -> Option<Rc<Member>> {
        self.members.borrow().get(&id).map(Rc::clone)
    }

    pub(super) fn all(&self) -> Vec<Rc<Member>> {
        self.members.borrow().values().map(Rc::clone).collect()
    }

    /// A member that believes to lead, the one of the newest term first.
    pub(super) fn leader(&self) -> Option<Rc<Member>> {
        let leads = |member: &Rc<Member>| member.handle.status().role == Role::Leader;
        let leaders = self.all().into_iter().filter(leads);
        leaders.max_by_key(|member| member.handle.status().term)
    }

    /// Starts a node, under a new id unless a mutant says otherwise.
    pub(super) async fn start(&self, again: Option<u64>) -> Result<u64, String> {
        let id = again.unwrap_or_else(|| self.next_id.replace(self.next_id.get() + 1));
        let operations = Operations::default();
        let host = Host::new(id, self.network.node(id));
        let start = Start {
            node: id,
            group: GROUP,
            config: self.config.clone(),
            machine: Ledger {
                node: id,
                operations: Rc::clone(&operations),
                book: Rc::clone(&self.book),
            },
            mutants: Mutants {
                early: (self.mutant == Mutant::EarlyAnswer).then(|| Rc::new(|_: &_| None) as _),
                unconfirmed: self.mutant == Mutant::UnconfirmedRead,
            },
        };
        let handle = host.start(start).await.map_err(|error| error.to_string())?;
        let member = Member {
            id,
            host,
            handle,
            operations,
        };
        self.members.borrow_mut().insert(id, Rc::new(member));
        Ok(id)
    }

    /// Starts `count` nodes as the group's first voters.
    pub(super) async fn found(&self, count: u64) -> Result<(), String> {
        for _ in 0..count {
            self.start(None).await?;
        }
        let voters = self.ids().into_iter().map(|id| (id, String::new()));
        let first = self.all().remove(0);
        let founded = first.handle.bootstrap(voters.collect()).await;
        founded.map_err(|error| error.to_string())
    }

    /// Ends a node as a killed process ends.
    pub(super) async fn kill(&self, id: u64) {
        let member = self.members.borrow_mut().remove(&id);
        if let Some(member) = member {
            member.host.stop().await;
        }
    }

    /// Waits until a condition holds.
    pub(super) async fn until(
        &self,
        what: &str,
        mut holds: impl FnMut() -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > deadline {
                let states: Vec<_> = self.all().iter().map(|it| it.handle.status()).collect();
                return Err(format!("{what}: not within {PATIENCE:?}: {states:#?}"));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Brings `new` in as a learner and, caught up, as a voter in the place of those who are gone.
    pub(super) async fn admit(&self, new: u64) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let step = Duration::from_secs(2);
        loop {
            let voters: BTreeSet<u64> = self.ids().into_iter().collect();
            let outcome = match self.leader() {
                None => Err(ChangeError::TimedOut),
                Some(leader) => {
                    let status = leader.handle.status();
                    if status.voters().collect::<BTreeSet<_>>() == voters && !status.changing {
                        return Ok(());
                    }
                    let known = status.members.iter().find(|member| member.id == new);
                    match known.map(|member| member.matched) {
                        None => leader.handle.add_learner(new, "", step).await,
                        Some(matched) if matched.is_some_and(|at| at + 50 > status.last) => {
                            leader.handle.set_voters(voters, step).await
                        }
                        Some(_) => Ok(()),
                    }
                }
            };
            if Instant::now() > deadline {
                return Err(format!("node {new} was not admitted: {outcome:?}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Proposes until an operation is acknowledged.
    pub(super) async fn write_one(&self) -> Result<u64, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(leader) = self.leader() {
                let (operation, floor) = (self.operation(), self.book.borrow().floor());
                let answer = leader.handle.propose(proposal(operation), ()).await;
                clients::note(&self.book, operation, floor, &answer);
                if answer.is_ok() {
                    return Ok(operation);
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("no write was acknowledged within {PATIENCE:?}"))
    }

    /// Without faults: writes succeed, and all members come to hold the same.
    pub(super) async fn settle(&self) -> Result<(), String> {
        self.network.mend();
        self.network.set_faults(Default::default());
        self.write_one().await?;
        self.until("all members hold all operations", || {
            let book = self.book.borrow();
            self.all()
                .iter()
                .all(|member| *member.operations.borrow() == book.order)
        })
        .await
    }
}
