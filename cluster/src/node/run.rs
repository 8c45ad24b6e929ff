//! The rim of a server as a member: its loop, and how duties are carried out.

use super::duties::{Duty, Members, Picture, is_caught_up};
use super::{Running, Shared};
use crate::controller::Step;
use crate::directory::{Command, Directory};
use crate::gossip::{Led, Told};
use crate::host::{Parked, PartitionMachine};
use crate::map;
use crate::placement::ServerState;
use batchkv_consensus::{ChangeError, Config, GroupHandle, Role, StateMachine, Status};
use batchkv_protocol::map::Ownership;
use batchkv_store::Movable;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How often a server shows that it lives, and looks whether there is something to do.
const BEAT_TIME: Duration = Duration::from_millis(100);
/// A server that did nothing for as long was stopped, and cannot judge who was silent meanwhile.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// How long one change of members may take.
const CHANGE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a server that was taken for dead goes on, so that its groups can replace it.
const GONE_TIME: Duration = Duration::from_secs(30);
/// Stands for the directory where one change of a group at a time is allowed.
const DIRECTORY: u32 = u32::MAX;

/// A server's life as a member.
pub(super) struct Loop<E: Movable, P: Parked> {
    shared: Arc<Shared<E, P>>,
    last_turn: Duration,
    /// The version of the directory whose servers were told of.
    told_version: u64,
    /// Groups that something is done with already.
    busy: Arc<Mutex<BTreeSet<u32>>>,
    /// Groups that this server has founded, with their incarnations: never again.
    founded: BTreeSet<(u32, u64)>,
}

impl<E: Movable, P: Parked> Loop<E, P> {
    pub(super) fn new(shared: Arc<Shared<E, P>>) -> Self {
        Self {
            shared,
            last_turn: Duration::ZERO,
            told_version: 0,
            busy: Arc::default(),
            founded: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut notes: mpsc::Receiver<(u64, Bytes)>) {
        let mut beat = interval(BEAT_TIME);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&self.shared);
        let mut directory = shared.directory.clone();
        loop {
            tokio::select! {
                biased;
                note = notes.recv() => match note {
                    Some((from, note)) => self.hear(from, &note),
                    None => return self.fail("consensus has ended".to_owned()),
                },
                _ = beat.tick() => {
                    self.turn();
                    self.tell_others();
                }
                () = shared.kick.notified() => {
                    self.turn();
                    self.tell_others();
                }
                changed = directory.changed() => match changed {
                    Ok(()) => self.turn(),
                    Err(_) => return self.fail("the directory's group has ended".to_owned()),
                },
            }
        }
    }

    fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    fn fail(&self, reason: String) {
        self.shared.failure.send_replace(Some(reason));
    }

    /// Others have taken this server for dead. Where it votes it goes on until they have replaced it, and leads no more.
    fn be_gone(&self) {
        let shared = Arc::clone(&self.shared);
        shared.is_leaving.store(true, Ordering::Relaxed);
        tokio::spawn(async move {
            hand_over(&shared, CHANGE_PATIENCE).await;
            sleep(GONE_TIME).await;
            let reason =
                "the cluster has taken this server for dead and replaced it: start it anew";
            shared.failure.send_replace(Some(reason.to_owned()));
        });
    }

    fn hear(&self, from: u64, note: &[u8]) {
        // What a newer program tells is not understood, and shows that it lives.
        let told = Told::decode(note).unwrap_or_default();
        self.shared.view().hear(from, told, self.now());
    }

    /// Looks at everything, and begins what is to be done.
    fn turn(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (directory, now) = (shared.directory(), self.now());
        let pause = now.saturating_sub(self.last_turn);
        self.last_turn = now;
        let statuses = shared.groups.statuses();
        let directory_group = shared.directory_group.status();
        let mut view = shared.view();
        if pause > PAUSE_MIN {
            view.excuse(pause);
        }
        view.meet(&directory, now);
        let picture = Picture {
            me: shared.id,
            directory: &directory,
            view: &view,
            now,
            dead_after: shared.dead_after,
            groups: &statuses,
            directory_group: &directory_group,
            founded: &self.founded,
        };
        let owners = owners(&picture, &statuses);
        let duties = picture.duties();
        drop(view);
        self.tell_owners(&directory, &owners);
        if shared.is_leaving.load(Ordering::Relaxed) {
            return;
        }
        if directory
            .server(shared.id)
            .is_none_or(|server| server.state == ServerState::Gone)
        {
            return self.be_gone();
        }
        for duty in duties {
            self.begin(duty, &directory, &statuses);
        }
    }

    /// Tells the server's map who owns what, and the servers' addresses when they have changed.
    fn tell_owners(&mut self, directory: &Directory, owners: &[(u32, Ownership)]) {
        let Some(told) = self.shared.owners.get() else {
            return;
        };
        if directory.version() > self.told_version {
            self.told_version = directory.version();
            told.servers(map::addresses(directory));
        }
        told.offer(owners);
        let known: BTreeSet<u32> = owners.iter().map(|(partition, _)| *partition).collect();
        let server = directory.server(self.shared.id);
        let is_up = server.is_some_and(|server| server.state == ServerState::Up);
        if is_up && known.len() == directory.partitions().len() {
            self.shared
                .is_ready
                .send_if_modified(|is_ready| !std::mem::replace(is_ready, true));
        }
    }

    /// Tells all other servers what this one does.
    fn tell_others(&self) {
        let shared = &self.shared;
        let directory = shared.directory();
        let incarnation = |partition: u32| {
            let wanted = directory.partitions().get(partition as usize);
            wanted.map_or(0, |wanted| wanted.incarnation)
        };
        let statuses = shared.groups.statuses();
        let leads = statuses.iter();
        let told = Told {
            directory: directory.version(),
            load: *shared.load.lock().unwrap_or_else(PoisonError::into_inner),
            is_leaving: shared.is_leaving.load(Ordering::Relaxed),
            leads: leads
                .filter_map(|(partition, status)| {
                    Led::of(*partition, incarnation(*partition), status)
                })
                .collect(),
        };
        let note = Bytes::from(told.encode());
        let others = directory.servers().iter();
        for other in
            others.filter(|other| other.id != shared.id && other.state != ServerState::Gone)
        {
            // Where consensus has ended, the loop ends too.
            let _ended = shared
                .consensus
                .learn(other.id, &other.arrival.peer_address);
            let _ended = shared.consensus.tell(other.id, note.clone());
        }
    }

    /// Begins a duty, unless something is done with its group already.
    fn begin(&mut self, duty: Duty, directory: &Arc<Directory>, statuses: &BTreeMap<u32, Status>) {
        let group = match &duty {
            Duty::Start(partition) | Duty::Found(partition) | Duty::Stop(partition) => *partition,
            Duty::Step(step) => step.partition(),
            Duty::Propose(_) | Duty::Members(_) => DIRECTORY,
        };
        let Some(busy) = Busy::begin(&self.busy, group) else {
            return;
        };
        if let Duty::Found(partition) = duty {
            let wanted = &directory.partitions()[partition as usize];
            self.founded.insert((partition, wanted.incarnation));
        }
        let shared = Arc::clone(&self.shared);
        let (directory, status) = (Arc::clone(directory), statuses.get(&group).cloned());
        tokio::spawn(async move {
            carry_out(&shared, duty, &directory, &status.unwrap_or_default()).await;
            drop(busy);
        });
    }
}

/// Keeps a group's other duties waiting.
struct Busy(Arc<Mutex<BTreeSet<u32>>>, u32);

impl Busy {
    fn begin(all: &Arc<Mutex<BTreeSet<u32>>>, group: u32) -> Option<Self> {
        let mut groups = all.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert(group).then(|| Self(Arc::clone(all), group))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.1);
    }
}

/// Who owns which partition, by all that is known: what leaders tell, and whom the members here follow.
fn owners(picture: &Picture<'_>, statuses: &BTreeMap<u32, Status>) -> Vec<(u32, Ownership)> {
    let directory = picture.directory;
    let told = (0..).zip(picture.leaderships());
    let told = told.filter_map(|(partition, known)| {
        let known = known?;
        let epoch = map::epoch(known.led.incarnation, known.led.term);
        let known = map::ownership(directory, partition, known.leader, known.led.term)?;
        Some((partition, Ownership { epoch, ..known }))
    });
    let followed = statuses.iter().filter_map(|(partition, status)| {
        let leader = status.leader?;
        let known = map::ownership(directory, *partition, leader, status.term)?;
        Some((*partition, known))
    });
    told.chain(followed).collect()
}

async fn carry_out<E: Movable, P: Parked>(
    shared: &Arc<Shared<E, P>>,
    duty: Duty,
    directory: &Directory,
    status: &Status,
) {
    match duty {
        Duty::Start(partition) => start(shared, partition).await,
        Duty::Found(partition) => found(shared, partition).await,
        Duty::Stop(partition) => stop(shared, partition).await,
        Duty::Step(step) => {
            if let Some(group) = shared.groups.of(step.partition()) {
                report(shared, take(&group, step, directory, status).await);
            }
        }
        Duty::Propose(command) => propose(shared, &command).await,
        Duty::Members(change) => {
            let group = &shared.directory_group;
            let changed = match change {
                Members::Add { server, address } => {
                    group.add_learner(server, &address, CHANGE_PATIENCE).await
                }
                Members::Vote(voters) => group.set_voters(voters, CHANGE_PATIENCE).await,
                Members::Remove(server) => group.remove_learner(server, CHANGE_PATIENCE).await,
            };
            report(shared, changed);
        }
    }
}

/// What could not be done is asked for again, as far as it is still to be done.
fn report<E: Movable, P: Parked>(shared: &Shared<E, P>, changed: Result<(), ChangeError>) {
    if let Err(ChangeError::NotAllowed(reason)) = changed {
        (shared.notice)(format!(
            "a change of a group's members is not allowed: {reason}"
        ));
    }
}

async fn start<E: Movable, P: Parked>(shared: &Arc<Shared<E, P>>, partition: u32) {
    let machine = PartitionMachine::new(
        partition,
        Arc::clone(&shared.engine),
        Arc::clone(&shared.slots),
        Arc::clone(&shared.workers),
    );
    let replica = machine.watch();
    let started = shared
        .consensus
        .start_group(partition, Config::default(), move || machine)
        .await;
    match started {
        Ok(handle) => {
            tokio::spawn(kick_when_led_anew(Arc::clone(shared), handle.clone()));
            shared
                .groups
                .set(partition, Some(Running { handle, replica }));
            shared.kick.notify_one();
        }
        Err(error) => (shared.notice)(format!("partition {partition} does not start: {error}")),
    }
}

/// Has a look taken at once whenever a group's leader changes.
async fn kick_when_led_anew<E: Movable, P: Parked, S: StateMachine>(
    shared: Arc<Shared<E, P>>,
    group: GroupHandle<S>,
) {
    let mut status = group.watch();
    let seen = |status: &Status| {
        (
            status.role,
            status.leader,
            status.term,
            status.members.len(),
        )
    };
    let mut last = seen(&status.borrow());
    while let Ok(now) = status.wait_for(|status| seen(status) != last).await {
        last = seen(&now);
        drop(now);
        shared.kick.notify_one();
    }
}

async fn found<E: Movable, P: Parked>(shared: &Arc<Shared<E, P>>, partition: u32) {
    if let Some(group) = shared.groups.of(partition) {
        let voters = BTreeMap::from([(shared.id, shared.peer_address.clone())]);
        report(shared, group.bootstrap(voters).await);
    }
}

async fn stop<E: Movable, P: Parked>(shared: &Arc<Shared<E, P>>, partition: u32) {
    shared.groups.set(partition, None);
    if shared.consensus.stop_group(partition).await.is_ok() {
        let (engine, slot) = (Arc::clone(&shared.engine), shared.slots.of(partition));
        // Behind what its worker still had to apply.
        let _ended = shared
            .workers
            .run(partition, move || engine.clear(slot))
            .await;
    }
}

async fn propose<E: Movable, P: Parked>(shared: &Arc<Shared<E, P>>, command: &Command) {
    let proposed = shared.directory_group.propose(command.encode().into(), ());
    let word = match (command, proposed.await) {
        (Command::Remove { server, .. }, Ok(Ok(_))) => {
            format!("server {server} is taken for dead; its replicas are replaced")
        }
        (_, Ok(Err(refusal))) => format!("the directory refuses {command:?}: {refusal}"),
        // Looked at again.
        (_, Ok(Ok(_)) | Err(_)) => return,
    };
    (shared.notice)(word);
}

/// Takes the next step of a group that is led here, whose `status` this is.
async fn take<S: StateMachine>(
    group: &GroupHandle<S>,
    step: Step,
    directory: &Directory,
    status: &Status,
) -> Result<(), ChangeError> {
    let mut voters: BTreeSet<u64> = status.voters().collect();
    match step {
        Step::AddLearner { server, .. } => {
            let Some(server) = directory.server(server) else {
                return Ok(());
            };
            let address = &server.arrival.peer_address;
            group.add_learner(server.id, address, CHANGE_PATIENCE).await
        }
        Step::Promote {
            server, instead_of, ..
        } => {
            voters.insert(server);
            instead_of.map(|leaving| voters.remove(&leaving));
            group.set_voters(voters, CHANGE_PATIENCE).await
        }
        Step::RemoveVoter { server, .. } => {
            voters.remove(&server);
            group.set_voters(voters, CHANGE_PATIENCE).await
        }
        Step::RemoveLearner { server, .. } => group.remove_learner(server, CHANGE_PATIENCE).await,
        Step::Lead { to, .. } => group.transfer(to, CHANGE_PATIENCE).await,
    }
}

/// Hands over all that is led here to voters that are heard, all groups at once.
pub(super) async fn hand_over<E: Movable, P: Parked>(
    shared: &Arc<Shared<E, P>>,
    patience: Duration,
) {
    let mut handed = tokio::task::JoinSet::new();
    for partition in shared.groups.statuses().into_keys() {
        if let Some(group) = shared.groups.of(partition) {
            handed.spawn(hand_on(group, heir(shared, partition), patience));
        }
    }
    let directory = shared.directory_group.clone();
    let heirs = others(shared, &directory.status());
    handed.spawn(hand_on(directory, heirs.into_iter().next(), patience));
    let _late = timeout(patience, handed.join_all()).await;
}

/// Who should lead a partition's group after this server: the heirs are taken in turn, so that not one gets all.
fn heir<E: Movable, P: Parked>(shared: &Shared<E, P>, partition: u32) -> Option<u64> {
    let status = shared.groups.of(partition)?.status();
    let heirs = others(shared, &status);
    let place = partition as usize % heirs.len().max(1);
    heirs.get(place).copied()
}

/// Other voters of a group that is led here, who lack little and are not leaving themselves.
fn others<E: Movable, P: Parked>(shared: &Shared<E, P>, status: &Status) -> Vec<u64> {
    let (view, now) = (shared.view(), shared.began.elapsed());
    let is_leaving = |id| view.told(id).is_none_or(|told| told.is_leaving);
    let voters = status.voters().filter(|id| *id != shared.id);
    voters
        .filter(|id| view.is_heard(*id, now) && !is_leaving(*id) && is_caught_up(*id, status))
        .collect()
}

async fn hand_on<S: StateMachine>(group: GroupHandle<S>, heir: Option<u64>, patience: Duration) {
    if let (Role::Leader, Some(heir)) = (group.status().role, heir) {
        // A group whose heir does not take it elects another when this server is gone.
        let _stays = group.transfer(heir, patience).await;
    }
}
