//! What the server prints and writes: the ready line, three lines a second, CSV rows a second (what was
//! done, what was used), and totals at the end.
//!
//! All of it is an extra. It has a thread of its own, so that a terminal or pipe that nobody reads stops
//! nothing; what cannot be written is complained of once and then left alone, and the program's exit code tells in the
//! end.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use batchkv_cli::screen;
use batchkv_server::Observer;
use batchkv_server::stats::Snapshot;
use batchkv_telemetry::sample::unix_time;
use batchkv_telemetry::{Sampler, Series, table};

const PERIOD: Duration = Duration::from_secs(1);
/// Time for the totals to be written when the server has stopped.
const TOTALS_TIME: Duration = Duration::from_secs(5);

const CSV_COLUMNS: [&str; 16] = [
    "unix_time",
    "uptime_secs",
    "gets",
    "hits",
    "puts",
    "deletes",
    "refused",
    "wrong_owner",
    "frames",
    "connections",
    "bytes_received",
    "bytes_sent",
    "records",
    "memory_bytes",
    "service_nanos",
    "newest_client",
];

/// Prints a complaint of this program.
pub(crate) fn complain(text: impl std::fmt::Display) {
    screen::complain("batchkv-server", text);
}

/// Something to write to, until that fails.
struct Extra<T> {
    name: &'static str,
    /// `None` when it is not wanted, or has failed.
    target: Option<T>,
    failed: bool,
}

impl<T> Extra<T> {
    fn new(name: &'static str, target: Option<T>) -> Self {
        Self {
            name,
            target,
            failed: false,
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut T) -> anyhow::Result<()>) {
        let Some(target) = &mut self.target else {
            return;
        };
        if let Err(error) = write(target) {
            let name = self.name;
            complain(format_args!(
                "{name}: {error:#}; nothing more is written there, the service goes on"
            ));
            self.target = None;
            self.failed = true;
        }
    }
}

/// The server's output, before and while it is written.
pub(crate) struct Report {
    terminal: Extra<Terminal>,
    csv: Extra<File>,
    resources: Extra<Resources>,
    started: Instant,
    last: Snapshot,
    last_time: Instant,
    /// Whether it was said that puts are refused.
    is_memory_short: bool,
}

/// The thread that writes a [`Report`].
pub(crate) struct Reporting {
    totals: Sender<Snapshot>,
    written: Receiver<bool>,
}

impl Reporting {
    /// Waits for the totals to be written; whether everything was, from the beginning.
    pub(crate) fn finish(self, totals: &Snapshot) -> bool {
        // A thread that is gone has not written them.
        let _ = self.totals.send(*totals);
        let written = self.written.recv_timeout(TOTALS_TIME);
        if written == Err(RecvTimeoutError::Timeout) {
            complain("the totals are not written: nobody reads the output");
        }
        written.unwrap_or(false)
    }
}

impl Report {
    /// Creates the CSV files that there are to be, with their headers.
    pub(crate) fn new(
        stats_file: Option<&Path>,
        resources_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let stats = |path| create_csv("--stats-file", path, &CSV_COLUMNS);
        let csv = stats_file.map(stats).transpose()?;
        let resources = resources_file.map(Resources::create).transpose()?;
        let now = Instant::now();
        Ok(Self {
            terminal: Extra::new("standard output", Some(Terminal)),
            csv: Extra::new("--stats-file", csv),
            resources: Extra::new("--resources-file", resources),
            started: now,
            last: Snapshot::default(),
            last_time: now,
            is_memory_short: false,
        })
    }

    /// Prints where metrics are served, then the ready line; then reports every second.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        mut self,
        observer: Observer,
        bound: SocketAddr,
        metrics: Option<SocketAddr>,
    ) -> io::Result<Reporting> {
        let (totals, stop) = mpsc::channel();
        let (done, written) = mpsc::channel();
        let report = move || {
            if let Some(address) = metrics {
                self.print(format_args!("metrics http://{address}/metrics\n"));
            }
            self.print(format_args!("ready {bound}\n"));
            self.every_second(&observer, &stop);
            let failed = [self.terminal.failed, self.csv.failed, self.resources.failed];
            // Whoever waited has given up.
            let _ = done.send(!failed.contains(&true));
        };
        let thread = thread::Builder::new().name("report".to_owned());
        thread.spawn(report)?;
        Ok(Reporting { totals, written })
    }

    /// Reports every second until there are totals, and writes those.
    fn every_second(&mut self, observer: &Observer, stop: &Receiver<Snapshot>) {
        let mut next = Instant::now() + PERIOD;
        loop {
            match stop.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(totals) => return self.totals(&totals),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.second(&observer.snapshot());
            // What was late is left out, and the beat kept.
            while next <= Instant::now() {
                next += PERIOD;
            }
        }
    }

    fn second(&mut self, now: &Snapshot) {
        let seconds = self.last_time.elapsed().as_secs_f64();
        let done = now.counters - self.last.counters;
        let rate = |operations: u64| operations as f64 / seconds;
        self.print(format_args!(
            "get/s {:.2}\nput/s {:.2}\nops/s {:.2}\n\n",
            rate(done.gets),
            rate(done.puts),
            rate(done.executed())
        ));
        if now.out_of_memory() > 0 && !self.is_memory_short {
            self.is_memory_short = true;
            let bytes = now.usage.memory_bytes;
            complain(format_args!(
                "puts are refused: the store's memory is used up ({bytes} bytes, see --max-memory)"
            ));
        }
        self.last = *now;
        self.last_time = Instant::now();
        self.row(now);
    }

    /// Prints the totals and writes the last row.
    fn totals(&mut self, totals: &Snapshot) {
        self.row(totals);
        let Snapshot {
            counters, usage, ..
        } = totals;
        self.print(format_args!(
            "total: {} gets ({} hits), {} puts, {} deletes, {} refused, {} for another owner; {} records in {} bytes\n\
             dropped: {} connections with answers unsent or a frame unfinished\n",
            counters.gets,
            counters.hits,
            counters.puts,
            counters.deletes,
            counters.refused,
            counters.wrong_owner,
            usage.records,
            usage.memory_bytes,
            totals.dropped,
        ));
        if let (Some(half), Some(most)) =
            (totals.service.reached(0.5), totals.service.reached(0.99))
        {
            self.print(format_args!(
                "service: from a frame's reading to its answers' writing half took below {half:?}, 99 % below {most:?}\n"
            ));
        }
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        self.terminal.write(|terminal| terminal.print(text));
    }

    fn row(&mut self, now: &Snapshot) {
        self.resources.write(Resources::row);
        let times = [unix_time(), self.started.elapsed()];
        let times = times.map(|time| format!("{:.3}", time.as_secs_f64()));
        let counters = now.counters;
        let counts = [
            counters.gets,
            counters.hits,
            counters.puts,
            counters.deletes,
            counters.refused,
            counters.wrong_owner,
            now.frames,
            now.connections,
            now.bytes_received,
            now.bytes_sent,
            now.usage.records,
            now.usage.memory_bytes,
            now.service.nanos,
        ];
        let newest_client = format!("{:032x}", u128::from_le_bytes(now.newest_client));
        let row = table::line(
            times
                .into_iter()
                .chain(counts.map(|count| count.to_string()))
                .chain([newest_client]),
        );
        self.csv.write(|csv| Ok(csv.write_all(row.as_bytes())?));
    }
}

struct Terminal;

impl Terminal {
    /// Prints at once; a reader that has gone away is no failure of the server.
    fn print(&mut self, text: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }
}

/// The rows of what machine and program use.
struct Resources {
    csv: File,
    sampler: Sampler,
}

impl Resources {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let columns = Sampler::columns().context("the kernel's counters cannot be read")?;
        let mut resources = Self {
            csv: create_csv("--resources-file", path, &columns)?,
            sampler: Sampler::default(),
        };
        resources.row()?;
        Ok(resources)
    }

    fn row(&mut self) -> anyhow::Result<()> {
        let row = self.sampler.sample();
        let row = row.context("the kernel's counters cannot be read")?;
        Ok(self.csv.write_all(Series::line(&row).as_bytes())?)
    }
}

fn create_csv<C: std::fmt::Display>(
    flag: &str,
    path: &Path,
    columns: &[C],
) -> anyhow::Result<File> {
    let create = || {
        let mut csv = File::create(path)?;
        csv.write_all(table::line(columns).as_bytes())?;
        io::Result::Ok(csv)
    };
    create().with_context(|| format!("cannot write {flag} {}", path.display()))
}
