//! A measured run, from the main thread: connect, load, warm up, measure, settle.

pub(crate) mod board;
pub(crate) mod conclusion;
mod estimate;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use batchkv_cli::stop::StopSignals;
use batchkv_telemetry::metrics;
use batchkv_workload::{Kind, Presence};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep_until, timeout};

use crate::clock::{Clock, Offset, Rate};
use crate::command::config::{Config, ConfigError};
use crate::load::control::{self, Command, WORKER_NAME};
use crate::load::report::{Message, Report, WorkerTotals};
use crate::load::task::CATCH_UP_TIME;
use crate::meeting::barrier::{Barrier, Parting};
use crate::meeting::error::{BarrierError, Meeting};
use crate::observation::metrics::{Exposition, figures};
use crate::observation::sampling::Sampling;
use crate::observation::snapshots::Snapshots;
use crate::results::Results;
use crate::run::board::Board;
use crate::run::conclusion::{Ending, results};
use crate::screen::{counted, grouped, say};

/// Time for all clients to come to the first meeting: ssh and builds differ.
const JOIN_TIME: Duration = Duration::from_secs(60);
/// Time for the slowest client's load beyond one's own.
const LOAD_TIME: Duration = Duration::from_secs(3600);
/// Time for the slowest client at the other meetings, which all reach by the clock.
const MEETING_TIME: Duration = Duration::from_secs(30);
/// Time for reading back what was written.
const READ_BACK_TIME: Duration = Duration::from_secs(600);
/// Time for what is under way when sending ends.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A deadline that is noticed so late passed while this program was stopped.
const STOPPED_TIME: Duration = Duration::from_secs(1);

/// Does the run; gives what it measured, not judged yet, and whether it was ended by hand.
///
/// # Errors
/// When it could not begin: no server, no other client, no thread. What goes wrong later is in the
/// results.
pub(crate) async fn run(config: Config) -> anyhow::Result<(Results, bool)> {
    let mut config = config;
    let mut signals = StopSignals::new().context("signals cannot be waited for")?;
    let agreement = config.agreement();
    let clock = Clock::new();
    let join = Barrier::join(&config.member, &agreement, JOIN_TIME, clock);
    let (barrier, id) = tokio::select! {
        joined = join => joined?,
        () = signals.next() => bail!("ended by hand before the run began"),
    };
    // What is recorded follows from what nobody could know before the clients met.
    config.draw_watch_list(id);
    let config = Arc::new(config);
    let metrics = bind_metrics(&config).await?;
    let mut run = Run::start(Arc::clone(&config), id, signals, clock)?;
    run.barrier = Some(barrier);
    if let Some(listener) = metrics {
        say(format_args!(
            "metrics http://{}/metrics",
            listener.local_addr()?
        ));
        let exposition = Arc::clone(&run.exposition);
        let figures = move || figures(&exposition);
        tokio::spawn(metrics::serve(listener, Arc::new(figures), None));
    }
    run.connect().await?;
    let window_start = run.stages().await;
    run.finish(window_start).await
}

/// What is known of the presence of records that are deleted. Other clients' deletes are not.
fn presence(config: &Config) -> Option<Presence> {
    let deletes = config.spec.mix().share(Kind::Delete) > 0.0;
    let alone = deletes && config.member.clients == 1;
    alone
        .then(|| Presence::new(config.spec.records(), config.load))
        .flatten()
}

async fn bind_metrics(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.metrics_listen else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address} for metrics"))?;
    Ok(Some(listener))
}

struct Run {
    /// Names the run; its low 16 bits stand in the values.
    id: u64,
    config: Arc<Config>,
    workers: Vec<UnboundedSender<Command>>,
    reports: UnboundedReceiver<Report>,
    signals: StopSignals,
    /// Gone once this client will not come to the others' meetings any more.
    barrier: Option<Barrier>,
    clock: Clock,
    /// Of this client's clock to client 0's.
    offset: Offset,
    clock_rate: Option<Rate>,
    snapshots: Snapshots,
    sampling: Sampling,
    board: Board,
    exposition: Arc<Mutex<Exposition>>,
    connections: usize,
    /// Workers that have said the last thing that was waited for.
    done: usize,
    totals: Vec<WorkerTotals>,
    failures: Vec<String>,
    /// The servers are not those that --hosts makes them.
    wrong_hosts: bool,
    interrupted: bool,
}

impl Run {
    fn start(
        config: Arc<Config>,
        id: u64,
        signals: StopSignals,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let (report, reports) = unbounded_channel();
        let presence = presence(&config).map(Arc::new);
        let start = |index| {
            let config = Arc::clone(&config);
            control::start(config, id, index, presence.clone(), report.clone())
        };
        let workers = (0..config.threads).map(start).collect::<Result<_, _>>();
        Ok(Self {
            id,
            workers: workers.context("a worker's thread cannot be started")?,
            reports,
            signals,
            barrier: None,
            clock,
            offset: Offset::default(),
            clock_rate: None,
            snapshots: Snapshots::new(clock, WORKER_NAME, config.member.client_id(id)),
            sampling: Sampling::start(),
            board: Board::new(config.threads, config.hosts.len()),
            exposition: Arc::default(),
            connections: 0,
            done: 0,
            totals: Vec::new(),
            failures: Vec::new(),
            wrong_hosts: false,
            interrupted: false,
            config,
        })
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        self.all_done(None).await;
        if let Some(failure) = self.failures.first() {
            if self.wrong_hosts {
                return Err(ConfigError::hosts(&self.config.hosts, failure).into());
            }
            bail!("{failure}");
        }
        if self.interrupted {
            bail!("ended by hand before the run began");
        }
        let (connections, threads) = (self.connections, self.config.threads);
        say(format_args!(
            "connected to {}: {}, {}",
            self.config.hosts.join(", "),
            counted(connections, "connection"),
            counted(threads, "worker thread"),
        ));
        self.snapshots.connect(&self.config.hosts).await;
        self.snapshots.compare_clocks().await;
        match estimate::hopeless(&self.config, self.snapshots.servers_are_here()) {
            Some(reason) => bail!("{reason}"),
            None => Ok(()),
        }
    }

    /// Load, warm-up and window; gives the window's start.
    async fn stages(&mut self) -> Option<Instant> {
        if self.config.load {
            let begin = Instant::now();
            self.command(Command::Load);
            self.all_done(None).await;
            if !self.is_ending() {
                let records = grouped(self.config.spec.records());
                let secs = begin.elapsed().as_secs_f64();
                say(format_args!(
                    "loaded {records} records (all clients together) in {secs:.2} s"
                ));
            }
        }
        self.meet(Meeting::Loaded, LOAD_TIME).await?;
        self.command(Command::Run);
        let warm = Instant::now() + Duration::from_secs(self.config.warmup_secs);
        self.wait_until(warm).await;
        let start = self.meet(Meeting::WarmedUp, MEETING_TIME).await;
        let Some(start) = start else {
            self.command(Command::Stop);
            self.all_done(Some(Instant::now() + DRAIN_TIME)).await;
            return None;
        };
        // Who comes too late measures other seconds than the others, and the verdict says so.
        let (start, secs) = (start.max(Instant::now()), self.config.measured_secs);
        self.command(Command::Measure(start, secs));
        let end = start + Duration::from_secs(secs);
        self.wait_until(start).await;
        self.snapshots.look().await;
        self.wait_until(end).await;
        self.snapshots.look().await;
        // An open loop sends what arrived in the window, and gives up what it cannot send.
        let catch_up = self.config.offer.map(|offer| offer.linger + CATCH_UP_TIME);
        let sent = end + catch_up.unwrap_or_default();
        self.all_done(Some(sent + DRAIN_TIME)).await;
        self.meet(Meeting::Stopped, MEETING_TIME).await;
        self.snapshots.compare_clocks().await;
        self.read_back().await;
        // Client 0 may have less to read than the others, and must not leave before them.
        self.meet(Meeting::ReadBack, READ_BACK_TIME + MEETING_TIME)
            .await;
        if self.config.watch_list.is_some() {
            self.closing().await;
        }
        Some(start)
    }

    /// Reads what was written, or a sample of it, when nobody writes: what was acknowledged must be there.
    async fn read_back(&mut self) {
        if self.is_ending() || !self.config.verify {
            return;
        }
        self.command(Command::ReadBack);
        self.all_done(Some(Instant::now() + READ_BACK_TIME)).await;
    }

    /// Few and small batches of all clients at the same time, of which histories are recorded. A run
    /// that is ending has nothing left to show.
    async fn closing(&mut self) {
        if self.is_ending() {
            return;
        }
        self.command(Command::Close);
        self.all_done(Some(Instant::now() + DRAIN_TIME)).await;
        self.meet(Meeting::Closed, MEETING_TIME).await;
    }

    fn is_ending(&self) -> bool {
        self.interrupted || !self.failures.is_empty()
    }

    fn command(&mut self, command: Command) {
        self.done = 0;
        for worker in &self.workers {
            // A worker that has ended has said why.
            let _ = worker.send(command);
        }
    }

    /// Waits until every worker has said that it is done. From `deadline` on, or some time after
    /// the run began to end early, what is under way is given up.
    async fn all_done(&mut self, deadline: Option<Instant>) {
        let mut deadline = deadline;
        let mut ending = false;
        while self.done < self.workers.len() {
            if self.is_ending() && !ending {
                ending = true;
                let done = self.done;
                self.command(Command::Stop);
                self.done = done;
                deadline = Some(Instant::now() + DRAIN_TIME);
            }
            if self.event(deadline).await {
                continue;
            }
            if ending {
                break;
            }
            if deadline.is_some_and(|due| due.elapsed() > STOPPED_TIME) {
                // This program did not run itself: whoever answered meanwhile is not late.
                deadline = Some(Instant::now() + DRAIN_TIME);
                continue;
            }
            let limit = DRAIN_TIME.as_secs();
            self.failures.push(format!(
                "Every request must be answered within {limit} s of the end, but some were not; look \
                 at the servers' logs."
            ));
            let done = self.done;
            self.command(Command::Abort);
            self.done = done;
        }
    }

    /// Waits until `instant`, or until the run ends early.
    async fn wait_until(&mut self, instant: Instant) {
        while !self.is_ending() && self.event(Some(instant)).await {}
    }

    /// Takes one message or signal; `false` at the deadline.
    async fn event(&mut self, deadline: Option<Instant>) -> bool {
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let barrier = &mut self.barrier;
        let gone = async {
            match barrier {
                Some(barrier) => barrier.gone().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            parting = gone => match parting {
                Parting::ByHand => self.end_by_hand().await,
                Parting::Gone(who) => {
                    self.barrier = None;
                    self.failures.push(format!(
                        "All clients must go on until the end, but {who} ended early; look at its log."
                    ));
                }
            },
            report = self.reports.recv() => match report {
                Some((_, message)) => self.take(message),
                // The senders are gone with their threads.
                None => self.done = self.workers.len(),
            },
            () = self.signals.next(), if !self.interrupted => self.end_by_hand().await,
            () = late => return false,
        }
        true
    }

    /// Ends the run early, and tells the other clients that nothing failed.
    async fn end_by_hand(&mut self) {
        self.interrupted = true;
        if let Some(mut barrier) = self.barrier.take() {
            barrier.end_by_hand().await;
        }
    }

    fn exposition(&self) -> MutexGuard<'_, Exposition> {
        self.exposition
            .lock()
            .expect("whoever looks at the exposition only reads")
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Connected(connections) => {
                self.connections += connections;
                self.exposition().connections += connections as u64;
                self.done += 1;
            }
            Message::Done => self.done += 1,
            Message::Second(closed) => {
                self.exposition().add(&closed.interval);
                if let Some(line) = self.board.add(&closed) {
                    say(line);
                }
            }
            Message::WrongHosts(text) => {
                self.wrong_hosts = true;
                self.failures.push(text);
            }
            // Several workers say the same of one server.
            Message::Failed(text) if self.failures.contains(&text) => {}
            Message::Failed(text) => self.failures.push(text),
            Message::Finished(totals) => {
                if let Some(rest) = &totals.rest {
                    self.board.add_rest(rest);
                }
                self.totals.push(*totals);
                self.done += 1;
            }
        }
    }

    /// Meets the other clients; `None` when the run ends early, also because they did not come.
    async fn meet(&mut self, meeting: Meeting, limit: Duration) -> Option<Instant> {
        let mut barrier = self.barrier.take()?;
        if self.is_ending() {
            return None;
        }
        let met = {
            let meet = barrier.meet(meeting, limit);
            tokio::pin!(meet);
            loop {
                tokio::select! {
                    met = &mut meet => break met.map_err(Some),
                    _ = self.event(None) => if self.is_ending() {
                        break Err(None);
                    },
                }
            }
        };
        self.offset = barrier.offset();
        self.clock_rate = barrier.rate();
        match met {
            Ok(start) => {
                self.barrier = Some(barrier);
                Some(start.into())
            }
            Err(None) => {
                if self.interrupted {
                    barrier.end_by_hand().await;
                }
                None
            }
            Err(Some(BarrierError::ByHand(_))) => {
                self.interrupted = true;
                None
            }
            Err(Some(error)) => {
                self.failures.push(format!(
                    "All clients must meet, but {error}; look at its log."
                ));
                None
            }
        }
    }

    /// Closes all connections, and makes the results.
    async fn finish(mut self, window_start: Option<Instant>) -> anyhow::Result<(Results, bool)> {
        // From here on the others may end when they like.
        self.barrier = None;
        self.command(Command::Finish);
        let settle =
            async { while self.totals.len() < self.workers.len() && self.event(None).await {} };
        let settled = timeout(2 * DRAIN_TIME, settle).await;
        if settled.is_err() {
            self.failures
                .push("Every worker must end, but one does not; please report it.".into());
        }
        let start = window_start.map_or(0.0, |start| self.clock.at(start));
        let ending = Ending {
            run: self.id,
            workers: self.totals,
            failures: self.failures,
            interrupted: self.interrupted,
            start_unix_time: start + self.offset.secs,
            clock: self.offset,
            clock_rate: self.clock_rate,
            own_clock: self.clock,
            snapshots: self.snapshots,
            samples: self.sampling.finish().await,
        };
        let results = results(&self.config, &self.board, ending)?;
        Ok((results, self.interrupted))
    }
}
