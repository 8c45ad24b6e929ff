//! A worker's thread: makes its connections, and does what the main thread commands.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use batchkv_client::error::ConnectError;
use batchkv_workload::{LoadOrder, Presence};
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep_until;

use crate::command::config::Config;
use crate::load::alarm::Alarm;
use crate::load::links::Links;
use crate::load::pacing::{Open, Pacing};
use crate::load::report::{Message, Report, WorkerTotals};
use crate::load::schedule::Schedule;
use crate::load::tally::Stage;
use crate::load::task::{CLOSING_TASKS, Source, Task};
use crate::load::worker::Worker;
use crate::measured::counts::Account;

/// Names of the workers' threads begin with this.
pub(crate) const WORKER_NAME: &str = "worker-";
/// Records that a client reads back, unless it is to audit all.
const READ_BACK_MAX: usize = 1 << 16;
/// Time for a server to give a connection's counters.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// What the main thread asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// Put the worker's share of the records.
    Load,
    /// Begin the workload, as warm-up.
    Run,
    /// Measure from this instant on, for so many seconds; then stop.
    Measure(Instant, u64),
    /// Read back what was written.
    ReadBack,
    /// Send the closing batches, of which histories are recorded.
    Close,
    /// Send nothing more, and let what is under way finish.
    Stop,
    /// Give up what is under way.
    Abort,
    /// Close the connections, compare counts, end.
    Finish,
}

/// Starts worker `index` and gives the way to command it; all workers share `presence`. It reports what it does, ends after
/// [`Command::Finish`] or when its commander is gone.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    config: Arc<Config>,
    run: u64,
    index: usize,
    presence: Option<Arc<Presence>>,
    report: UnboundedSender<Report>,
) -> io::Result<UnboundedSender<Command>> {
    let (commander, commands) = unbounded_channel();
    let told = PanicTold {
        report: report.clone(),
        index,
    };
    let body = move || {
        let _told = told;
        let failed = |error: io::Error| {
            let text = format!("A worker cannot be started: {error}.");
            let _ = report.send((index, Message::Failed(text)));
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                let work = work(&config, run, index, presence, report, commands);
                LocalSet::new().block_on(&runtime, work);
            }
            Err(error) => failed(error),
        }
    };
    let name = format!("{WORKER_NAME}{index}");
    thread::Builder::new().name(name).spawn(body)?;
    Ok(commander)
}

/// Tells the main thread when the worker's thread ends by a panic: it waits for the worker else.
struct PanicTold {
    report: UnboundedSender<Report>,
    index: usize,
}

impl Drop for PanicTold {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = format!(
                "Worker {} ended by a fault of this program, which stands above; please report it.",
                self.index
            );
            let _ = self.report.send((self.index, Message::Failed(text)));
        }
    }
}

async fn work(
    config: &Config,
    run: u64,
    index: usize,
    presence: Option<Arc<Presence>>,
    report: UnboundedSender<Report>,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut pumps = JoinSet::new();
    let links = match Links::connect(config, run, index, &mut pumps).await {
        Ok(links) => links,
        Err(error) => {
            let text = error.to_string();
            let message = match error {
                ConnectError::Order { .. } | ConnectError::Maps { .. } => Message::WrongHosts(text),
                _ => Message::Failed(text),
            };
            let _ = report.send((index, message));
            return;
        }
    };
    let meter = links.clone();
    let traffic = (links.len(), Box::new(move || meter.traffic()) as Box<_>);
    let routes = Arc::clone(links.routes());
    let mut worker = Worker::new(config, run as u16, index, routes, traffic, presence, report);
    if config.offer.is_some() {
        match Alarm::new() {
            Ok(alarm) => worker.alarm = Some(Rc::new(alarm)),
            Err(error) => {
                let text = format!("A worker needs a timer of the system, but gets none: {error}.");
                worker.tell(Message::Failed(text));
                return;
            }
        }
    }
    if let Some(alarm) = worker.alarm.clone() {
        pumps.spawn_local(async move { alarm.run().await });
    }
    let worker = Rc::new(worker);
    worker.tell(Message::Connected(links.len()));
    let mut tasks = JoinSet::new();
    loop {
        let boundary = worker.tally.borrow().boundary();
        let second_over = async {
            match boundary {
                Some(boundary) => sleep_until(boundary.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Finish) => break,
                Some(Command::Abort) => pumps.abort_all(),
                Some(command) => obey(command, config, (&worker, &links), index, &mut tasks),
            },
            Some(_) = tasks.join_next() => if tasks.is_empty() {
                worker.tell(Message::Done);
            },
            () = second_over => worker.close_seconds(Instant::now()),
        }
    }
    let accounts = links.settle(&worker, SETTLE_TIME).await;
    worker.tell(Message::Finished(Box::new(totals(
        &worker, index, accounts,
    ))));
}

/// What the worker's life came to.
fn totals(worker: &Worker, index: usize, accounts: Vec<(usize, Account)>) -> WorkerTotals {
    let mut tally = worker.tally.borrow_mut();
    let recorder = worker.recorder.as_ref();
    WorkerTotals {
        map: worker.routes.live().snapshot(),
        accounts,
        checks: tally.checks,
        examples: std::mem::take(&mut tally.examples),
        standstill: tally.standstill,
        written: worker.witness.borrow().written(0).0,
        rest: worker.is_open_loop().then(|| tally.take_rest()),
        recording: recorder.map(|recorder| (index, recorder.borrow_mut().finish())),
    }
}

fn obey(
    command: Command,
    config: &Config,
    (worker, links): (&Rc<Worker>, &Links),
    index: usize,
    tasks: &mut JoinSet<()>,
) {
    let numbers = (index as u32..config.tasks).step_by(config.threads);
    let mut spawn = |number, source, pacing| {
        tasks
            .spawn_local(Task::new(Rc::clone(worker), links.clone(), number, source, pacing).run());
    };
    match command {
        Command::Load => {
            worker.begin(Stage::Load);
            let order = LoadOrder::new(config.spec.records(), config.share(index));
            let order = Rc::new(RefCell::new(order));
            for number in numbers {
                spawn(number, Source::Load(Rc::clone(&order)), Pacing::Closed);
            }
        }
        Command::Run => {
            worker.begin(Stage::WarmUp);
            let begin = Instant::now();
            for number in numbers {
                let source = Source::warm_up(worker, number);
                spawn(number, source, pacing(config, number, begin));
            }
        }
        Command::ReadBack => {
            worker.begin_reading_back();
            let most = match config.audit {
                true => usize::MAX,
                false => READ_BACK_MAX / config.threads,
            };
            let (_, records) = worker.witness.borrow().written(most);
            let records = Rc::new(RefCell::new(records.into_iter()));
            for number in numbers {
                spawn(
                    number,
                    Source::ReadBack(Rc::clone(&records)),
                    Pacing::Closed,
                );
            }
        }
        Command::Close => {
            worker.begin_closing();
            for number in (index as u32..).step_by(config.threads).take(CLOSING_TASKS) {
                spawn(number, Source::closing(worker, number), Pacing::Closed);
            }
        }
        Command::Measure(start, secs) => worker.tally.borrow_mut().measure(start, secs),
        Command::Stop => worker.stop(),
        Command::Abort | Command::Finish => unreachable!("the caller obeys these itself"),
    }
}

/// How task `number` begins operations from `begin` on.
fn pacing(config: &Config, number: u32, begin: Instant) -> Pacing {
    let Some(offer) = &config.offer else {
        return Pacing::Closed;
    };
    let (seed, client) = (config.seed, config.member.client);
    let schedule = Schedule::new(offer, number, config.tasks, seed, client);
    Pacing::Open(Open::new(schedule, begin, offer.linger))
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
