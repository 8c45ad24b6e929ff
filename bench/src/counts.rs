//! Two measures that no other program's load touches: instructions an operation, and lines that miss a
//! simulated second-level cache of a given size, for each layer of the standard job.
//!
//! Each figure is the difference between a longer and a shorter run under callgrind, divided by the
//! operations between them, so that start, tables and load drop out. Callgrind sees user code alone:
//! what the kernel does for a socket is in the ceilings' CPU time, not here.

use std::io;
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use batchkv_bench::job::{OPERATIONS, Source, map, spec};
use batchkv_bench::served::{Served, requests};
use batchkv_cli::screen::{complain, say};
use batchkv_store::Partitioned;
use clap::ValueEnum;
use serde::Serialize;

use crate::drawing::{Encoder, generate};
use crate::programs::{Programs, Server};

/// Sizes of the simulated second level, in KiB; 8 ways and lines of 64 bytes, as most have.
const LEVEL_2_KIB: [u32; 4] = [256, 512, 1024, 2048];
/// Requests of the shorter and of the longer run of a layer without sockets.
const REQUESTS: [usize; 2] = [32, 160];
/// Measured seconds of the shorter and of the longer run of a program.
const SECS: [&str; 2] = ["2", "8"];

/// A layer that runs alone in this process.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Layer {
    /// Draws operations, with their keys and partitions
    Generator,
    /// The same, and writes the frames of their requests
    Encoder,
    /// Answers requests from a loaded store
    Serving,
}

impl Layer {
    fn name(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Encoder => "encoder",
            Self::Serving => "serving",
        }
    }
}

/// What callgrind counted over a run of so many operations.
#[derive(Debug, Clone, Copy)]
struct Counted {
    operations: u64,
    instructions: u64,
    /// Data and instruction lines that the second level did not hold.
    misses: u64,
}

#[derive(Debug, Serialize)]
struct Row {
    layer: &'static str,
    instructions_per_op: f64,
    /// Indexed as [`LEVEL_2_KIB`].
    misses_per_op: [f64; LEVEL_2_KIB.len()],
}

/// Counts every layer and prints the table.
pub(crate) fn run() -> io::Result<()> {
    let programs = Programs::find()?;
    let out = programs.scratch("callgrind.out")?;
    let valgrind = |level_2_kib| Valgrind {
        out: out.clone(),
        level_2_kib,
    };
    let mut rows = Vec::new();
    for layer in Layer::value_variants() {
        let count = |level| count_layer(&valgrind(level), *layer);
        rows.push(row(layer.name(), count)?);
    }
    let server = Server::start(Command::new(programs.server()))?;
    let client = Command::new(programs.client());
    let loaded = programs.run(
        client,
        &server.address,
        &["--warmup-secs", "0", "--secs", "1"],
    )?;
    let count = |level| count_client(&valgrind(level), &programs, &server);
    rows.push(row("client", count)?);
    drop(server);
    let count = |level| count_server(&valgrind(level), &programs);
    rows.push(row("server", count)?);
    print(&rows, &loaded.commit);
    Ok(())
}

/// Runs one layer for `requests` requests: what callgrind is started on.
pub(crate) fn run_layer(layer: Layer, requests_count: usize) {
    let (spec, map) = (spec("zipf"), map());
    match layer {
        Layer::Generator => {
            let mut source = Source::new(&spec);
            (0..requests_count).for_each(|_| generate(&mut source, &map));
        }
        Layer::Encoder => {
            let (mut source, mut encoder) = (Source::new(&spec), Encoder::default());
            (0..requests_count).for_each(|_| encoder.request(&mut source, &map));
        }
        Layer::Serving => {
            let mut served = Served::loaded(Partitioned::new(256, None), &spec);
            for request in requests(&spec).iter().cycle().take(requests_count) {
                served.feed(request);
            }
        }
    }
}

/// A layer's figures: the difference between the two runs that `count` makes, at each size.
fn row(
    layer: &'static str,
    mut count: impl FnMut(u32) -> io::Result<[Counted; 2]>,
) -> io::Result<Row> {
    let mut row = Row {
        layer,
        instructions_per_op: 0.0,
        misses_per_op: [0.0; LEVEL_2_KIB.len()],
    };
    for (size, misses) in LEVEL_2_KIB.into_iter().zip(&mut row.misses_per_op) {
        let [shorter, longer] = count(size)?;
        let more = longer - shorter;
        row.instructions_per_op = more.instructions as f64 / more.operations as f64;
        *misses = more.misses as f64 / more.operations as f64;
        complain(
            "batchkv-bench",
            format_args!("{layer}, {size} KiB: {more:?}"),
        );
    }
    Ok(row)
}

fn count_layer(valgrind: &Valgrind, layer: Layer) -> io::Result<[Counted; 2]> {
    let own = std::env::current_exe()?;
    let count = |requests: usize| {
        let arguments = ["counts-layer", layer.name(), &requests.to_string()];
        let status = valgrind.command(&own).args(arguments).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("valgrind ended with {status}")));
        }
        valgrind.read((requests * OPERATIONS) as u64)
    };
    Ok([count(REQUESTS[0])?, count(REQUESTS[1])?])
}

/// The client against a server that runs as ever and holds the records.
fn count_client(
    valgrind: &Valgrind,
    programs: &Programs,
    server: &Server,
) -> io::Result<[Counted; 2]> {
    let count = |secs: &str| {
        let client = valgrind.command(&programs.client());
        let flags = ["--no-load", "--warmup-secs", "0", "--secs", secs];
        let ran = programs.run(client, &server.address, &flags)?;
        valgrind.read(ran.operations)
    };
    Ok([count(SECS[0])?, count(SECS[1])?])
}

/// The server, asked by a client that runs as ever.
fn count_server(valgrind: &Valgrind, programs: &Programs) -> io::Result<[Counted; 2]> {
    let count = |secs: &str| {
        let mut server = Server::start(valgrind.command(&programs.server()))?;
        let client = Command::new(programs.client());
        let flags = ["--warmup-secs", "0", "--secs", secs];
        let ran = programs.run(client, &server.address, &flags)?;
        server.stop()?;
        valgrind.read(ran.operations)
    };
    Ok([count(SECS[0])?, count(SECS[1])?])
}

/// How a program is started under callgrind.
struct Valgrind {
    out: PathBuf,
    level_2_kib: u32,
}

impl Valgrind {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("valgrind");
        command
            .args(["--quiet", "--tool=callgrind", "--cache-sim=yes"])
            .arg(format!("--LL={},8,64", self.level_2_kib << 10))
            .arg(format!("--callgrind-out-file={}", self.out.display()))
            .arg(program)
            .stdout(Stdio::null());
        command
    }

    fn read(&self, operations: u64) -> io::Result<Counted> {
        let text = std::fs::read_to_string(&self.out)?;
        std::fs::remove_file(&self.out)?;
        parse(&text, operations)
            .ok_or_else(|| io::Error::other("callgrind's file has no events with their totals"))
    }
}

/// Totals of a file in callgrind's format: a line of names behind `events:`, one of sums behind `totals:`.
fn parse(text: &str, operations: u64) -> Option<Counted> {
    let words = |head: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(head))?;
        Some(line.split_whitespace())
    };
    let sums: Vec<(&str, u64)> = words("events:")?
        .zip(words("totals:")?)
        .map(|(name, sum)| Some((name, sum.parse().ok()?)))
        .collect::<Option<_>>()?;
    let sum = |name: &str| Some(sums.iter().find(|(other, _)| *other == name)?.1);
    Some(Counted {
        operations,
        instructions: sum("Ir")?,
        misses: sum("ILmr")? + sum("DLmr")? + sum("DLmw")?,
    })
}

impl Sub for Counted {
    type Output = Self;

    fn sub(self, shorter: Self) -> Self {
        Self {
            operations: self.operations - shorter.operations,
            instructions: self.instructions - shorter.instructions,
            misses: self.misses - shorter.misses,
        }
    }
}

fn print(rows: &[Row], commit: &str) {
    say(format_args!("commit {commit}"));
    let sizes = LEVEL_2_KIB.map(|kib| format!("{:>9}", format!("{kib} KiB")));
    say(format_args!(
        "{:<24} {:>12} {}",
        "layer",
        "instructions",
        sizes.join(" ")
    ));
    for row in rows {
        let misses = row.misses_per_op.map(|misses| format!("{misses:>9.3}"));
        let instructions = row.instructions_per_op;
        say(format_args!(
            "{:<24} {instructions:>12.1} {}",
            row.layer,
            misses.join(" ")
        ));
    }
    let json = serde_json::to_string(rows).expect("rows are plain figures");
    say(format_args!("{json}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_by_their_names() {
        let text = "version: 1\nevents: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\n\
                    fn=(1) main\n16 5\n\ntotals: 100 30 20 9 8 7 1 2 3\n";
        let counted = parse(text, 10).expect("the file is whole");
        assert_eq!((counted.instructions, counted.misses), (100, 6));
        assert!(parse("events: Ir\ntotals: 5\n", 10).is_none());
        assert!(parse("", 10).is_none());
    }
}
