//! What the server prints and writes: the ready line, three lines a second, CSV rows a second (what was
//! done, what was used), and totals at the end.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use batchkv_server::Observer;
use batchkv_server::stats::Snapshot;
use batchkv_telemetry::sample::unix_time;
use batchkv_telemetry::{Sampler, Series};
use tokio::time::{MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_secs(1);

const CSV_HEADER: &str = "unix_time,uptime_secs,gets,hits,puts,deletes,refused,wrong_owner,frames,connections,\
                          bytes_received,bytes_sent,records,memory_bytes,service_nanos";

/// The server's output.
pub(crate) struct Report {
    csv: Option<BufWriter<File>>,
    resources: Option<Resources>,
    started: Instant,
    last: Snapshot,
    last_time: Instant,
}

/// Prints why the program fails.
#[expect(clippy::print_stderr, reason = "the program's own error output")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

impl Report {
    /// Creates the CSV files that there are to be, with their headers.
    pub(crate) fn new(
        stats_file: Option<&Path>,
        resources_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let stats = |path| create_csv("--stats-file", path, &format!("{CSV_HEADER}\n"));
        let csv = stats_file.map(stats).transpose()?;
        let resources = resources_file.map(Resources::create).transpose()?;
        let now = Instant::now();
        Ok(Self {
            csv,
            resources,
            started: now,
            last: Snapshot::default(),
            last_time: now,
        })
    }

    /// Prints where metrics are served, in front of the ready line.
    pub(crate) fn metrics(&self, address: SocketAddr) -> io::Result<()> {
        print_flushed(format_args!("metrics http://{address}/metrics\n"))
    }

    /// Prints the ready line.
    pub(crate) fn ready(&self, address: SocketAddr) -> io::Result<()> {
        print_flushed(format_args!("ready {address}\n"))
    }

    /// Reports every second, for ever.
    pub(crate) async fn every_second(&mut self, observer: &Observer) -> anyhow::Result<()> {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.second(&observer.snapshot())?;
        }
    }

    fn second(&mut self, now: &Snapshot) -> anyhow::Result<()> {
        let seconds = self.last_time.elapsed().as_secs_f64();
        let done = now.counters - self.last.counters;
        let rate = |operations: u64| operations as f64 / seconds;
        print_flushed(format_args!(
            "get/s {:.2}\nput/s {:.2}\nops/s {:.2}\n\n",
            rate(done.gets),
            rate(done.puts),
            rate(done.executed())
        ))?;
        self.last = *now;
        self.last_time = Instant::now();
        self.row(now)
    }

    /// Prints the totals and writes the last row.
    pub(crate) fn totals(&mut self, totals: &Snapshot) -> anyhow::Result<()> {
        self.row(totals)?;
        let Snapshot {
            counters, usage, ..
        } = totals;
        print_flushed(format_args!(
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
        ))?;
        if let (Some(half), Some(most)) =
            (totals.service.reached(0.5), totals.service.reached(0.99))
        {
            print_flushed(format_args!(
                "service: from a frame's reading to its answers' writing half took below {half:?}, 99 % below {most:?}\n"
            ))?;
        }
        Ok(())
    }

    fn row(&mut self, now: &Snapshot) -> anyhow::Result<()> {
        if let Some(resources) = &mut self.resources {
            resources.row()?;
        }
        let Some(csv) = &mut self.csv else {
            return Ok(());
        };
        let counters = now.counters;
        writeln!(
            csv,
            "{:.3},{:.3},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            unix_time().as_secs_f64(),
            self.started.elapsed().as_secs_f64(),
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
            now.service.nanos
        )
        .and_then(|()| csv.flush())
        .context("cannot write the statistics file")
    }
}

/// The rows of what machine and program use.
struct Resources {
    csv: BufWriter<File>,
    sampler: Sampler,
}

impl Resources {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let columns = Sampler::columns().context("the kernel's counters cannot be read")?;
        let mut resources = Self {
            csv: create_csv("--resources-file", path, &Series::header(&columns))?,
            sampler: Sampler::default(),
        };
        resources.row()?;
        Ok(resources)
    }

    fn row(&mut self) -> anyhow::Result<()> {
        let row = self.sampler.sample();
        let row = row.context("the kernel's counters cannot be read")?;
        let written = self.csv.write_all(Series::line(&row).as_bytes());
        let written = written.and_then(|()| self.csv.flush());
        written.context("cannot write the resources file")
    }
}

fn create_csv(flag: &str, path: &Path, header: &str) -> anyhow::Result<BufWriter<File>> {
    let create = || {
        let mut csv = BufWriter::new(File::create(path)?);
        csv.write_all(header.as_bytes())?;
        csv.flush()?;
        io::Result::Ok(csv)
    };
    create().with_context(|| format!("cannot write {flag} {}", path.display()))
}

/// Prints at once; a reader that has gone away is no failure of the server.
fn print_flushed(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
