//! What the server prints and writes: the ready line, three lines a second, a CSV row a second, and
//! totals at the end.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use batchkv_server::Observer;
use batchkv_server::stats::Snapshot;
use tokio::time::{MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_secs(1);

const CSV_HEADER: &str = "unix_time,uptime_secs,gets,hits,puts,deletes,refused,wrong_owner,frames,connections,\
                          bytes_received,bytes_sent,records,memory_bytes";

/// The server's output.
pub(crate) struct Report {
    csv: Option<BufWriter<File>>,
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
    /// Creates the CSV file, when there is to be one, with its header.
    pub(crate) fn new(stats_file: Option<&Path>) -> anyhow::Result<Self> {
        let csv = stats_file.map(create_csv).transpose()?;
        let now = Instant::now();
        Ok(Self {
            csv,
            started: now,
            last: Snapshot::default(),
            last_time: now,
        })
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
        Ok(())
    }

    fn row(&mut self, now: &Snapshot) -> anyhow::Result<()> {
        let Some(csv) = &mut self.csv else {
            return Ok(());
        };
        let unix_time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let counters = now.counters;
        writeln!(
            csv,
            "{:.3},{:.3},{},{},{},{},{},{},{},{},{},{},{},{}",
            unix_time.as_secs_f64(),
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
            now.usage.memory_bytes
        )
        .and_then(|()| csv.flush())
        .context("cannot write the statistics file")
    }
}

fn create_csv(path: &Path) -> anyhow::Result<BufWriter<File>> {
    let create = || {
        let mut csv = BufWriter::new(File::create(path)?);
        writeln!(csv, "{CSV_HEADER}")?;
        csv.flush()?;
        io::Result::Ok(csv)
    };
    create().with_context(|| format!("cannot write --stats-file {}", path.display()))
}

/// Prints at once; a reader that has gone away is no failure of the server.
fn print_flushed(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
