//! Every layer of the standard job measured apart, with the same bytes, against what merely moving
//! them costs.
//!
//! The layers take turns, so that the machine's moods meet all of them. CPU time is user and system
//! time of both ends; on loopback the kernel's work for one end cannot be told from the other's.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use batchkv_bench::job::{OPERATIONS, Source, map, spec};
use batchkv_bench::served::{Served, requests};
use batchkv_cli::screen::{complain, say};
use batchkv_store::Partitioned;
use serde::Serialize;

use crate::drawing::{Encoder, generate};
use crate::mover::{self, Threads};
use crate::null::NullServer;
use crate::programs::{Programs, Server};
use crate::sample::{Median, Sample, children_cpu, process_cpu};
use crate::serving::weights;

const PIECE_TIME: Duration = Duration::from_millis(700);
const CLIENT_FLAGS: [&str; 4] = ["--warmup-secs", "1", "--secs", "3"];

/// A layer's name, and what runs it once.
type Layer<'a> = (String, Box<dyn FnMut() -> io::Result<Sample> + 'a>);

#[derive(Serialize)]
struct Row {
    layer: String,
    ops_per_sec: Median,
    cpu_ns_per_op: Median,
    share_of_mover: f64,
    cpu_of_mover: f64,
}

pub(crate) fn run(rounds: usize) -> io::Result<()> {
    let programs = Programs::find()?;
    let spec = spec("zipf");
    let requests = requests(&spec);
    let mut served = Served::loaded(Partitioned::new(256, None), &spec);
    let weights = weights(&requests, &mut served);
    say(format_args!("{weights:?}"));
    let (map, mut source, mut encoder) = (map(), Source::new(&spec), Encoder::default());
    let mut encoded = Source::new(&spec);
    let null = NullServer::start()?;
    let mut layers: Vec<Layer<'_>> = Vec::new();
    for (name, threads) in [("mover", Threads::Two), ("one-thread mover", Threads::One)] {
        for connections in [1, 2, 4] {
            let name = format!("{name}, {connections} connections");
            let run = move || mover::run(weights, connections, threads, PIECE_TIME);
            layers.push((name, Box::new(run)));
        }
    }
    layers.push((
        "generator".into(),
        Box::new(|| Ok(repeat(|| generate(&mut source, &map)))),
    ));
    layers.push((
        "generator and encode".into(),
        Box::new(|| Ok(repeat(|| encoder.request(&mut encoded, &map)))),
    ));
    let mut next = requests.iter().cycle();
    let mut serve = || {
        if let Some(request) = next.next() {
            served.feed(request);
        }
    };
    layers.push((
        "session and engine".into(),
        Box::new(move || Ok(repeat(&mut serve))),
    ));
    layers.push((
        "client against null".into(),
        Box::new(|| against_null(&programs, &null)),
    ));
    layers.push(("full path".into(), Box::new(|| full_path(&programs))));
    let rows = measure(layers, rounds)?;
    print(&rows);
    Ok(())
}

/// Runs every layer once a round; the first round does not count.
fn measure(mut layers: Vec<Layer<'_>>, rounds: usize) -> io::Result<Vec<Row>> {
    let mut samples: Vec<Vec<Sample>> = layers.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for ((_, run), samples) in layers.iter_mut().zip(&mut samples) {
            let sample = run()?;
            if round > 0 {
                samples.push(sample);
            }
        }
        complain("batchkv-bench", format_args!("round {round} of {rounds}"));
    }
    let medians = samples.iter().map(|samples| {
        let of = |figure: fn(&Sample) -> f64| Median::of(samples.iter().map(figure).collect());
        (of(Sample::ops_per_sec), of(Sample::cpu_ns))
    });
    let medians: Vec<(Median, Median)> = medians.collect();
    let movers = layers
        .iter()
        .zip(&medians)
        .filter(|((name, _), _)| name.starts_with("mover"));
    let best = movers
        .map(|(_, medians)| *medians)
        .max_by(|a, b| a.0.median.total_cmp(&b.0.median));
    let (mover_ops, mover_cpu) = best.expect("the movers are layers");
    let rows = layers
        .into_iter()
        .zip(medians)
        .map(|((layer, _), (ops_per_sec, cpu_ns_per_op))| Row {
            layer,
            share_of_mover: ops_per_sec.median / mover_ops.median,
            cpu_of_mover: cpu_ns_per_op.median / mover_cpu.median,
            ops_per_sec,
            cpu_ns_per_op,
        });
    Ok(rows.collect())
}

fn print(rows: &[Row]) {
    say(format_args!(
        "{:<32} {:>28} {:>26} {:>9} {:>9}",
        "layer", "M ops/s (95 %)", "CPU ns/op (95 %)", "of mover", "CPU"
    ));
    for row in rows {
        let (ops, cpu) = (row.ops_per_sec, row.cpu_ns_per_op);
        say(format_args!(
            "{:<32} {:>9.2} ({:>7.2} to {:>6.2}) {:>8.1} ({:>6.1} to {:>5.1}) {:>9.3} {:>8.2}x",
            row.layer,
            ops.median / 1e6,
            ops.low / 1e6,
            ops.high / 1e6,
            cpu.median,
            cpu.low,
            cpu.high,
            row.share_of_mover,
            row.cpu_of_mover,
        ));
    }
    say(format_args!(
        "{}",
        serde_json::to_string(rows).expect("rows are plain figures")
    ));
}

/// Calls what works on one request until the time is over.
fn repeat(mut request: impl FnMut()) -> Sample {
    let (start, cpu) = (Instant::now(), process_cpu());
    let mut operations = 0;
    while start.elapsed() < PIECE_TIME {
        request();
        operations += OPERATIONS as u64;
    }
    Sample {
        operations,
        wall: start.elapsed(),
        cpu: process_cpu() - cpu,
    }
}

fn against_null(programs: &Programs, null: &NullServer) -> io::Result<Sample> {
    let cpu = process_cpu() + children_cpu();
    let flags = [&CLIENT_FLAGS[..], &["--no-load", "--no-verify"]].concat();
    let address = null.address.to_string();
    let mut sample = client(programs, &address, &flags)?;
    sample.cpu = process_cpu() + children_cpu() - cpu;
    Ok(sample)
}

fn full_path(programs: &Programs) -> io::Result<Sample> {
    let cpu = children_cpu();
    let mut server = Server::start(Command::new(programs.server()))?;
    let mut sample = client(programs, &server.address, &CLIENT_FLAGS)?;
    server.stop()?;
    sample.cpu = children_cpu() - cpu;
    Ok(sample)
}

/// Runs the client; its CPU time is for the caller to add. The operations are all of its life, its load
/// and warm-up too, as its CPU time is; the wall time is what they take at the measured rate.
fn client(programs: &Programs, address: &str, flags: &[&str]) -> io::Result<Sample> {
    let ran = programs.run(Command::new(programs.client()), address, flags)?;
    Ok(Sample {
        operations: ran.operations,
        wall: Duration::from_secs_f64(ran.operations as f64 / ran.ops_per_sec),
        cpu: Duration::ZERO,
    })
}
