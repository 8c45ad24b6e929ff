//! Measurements behind batchkv's decisions. RESULTS.md beside this crate records their figures.
//!
//! - `cargo run -r -p batchkv-bench -- ceilings`: every layer of the standard job, against merely moving
//!   its bytes. Needs `cargo build --release --workspace` first.
//! - `... -- counts`: instructions and simulated cache misses of every layer, by valgrind. Needs that build
//!   too.
//! - `... -- mover serve ADDRESS` and `... -- mover ask ADDRESS`: the ceilings' mover over any link.
//! - `... -- rounds`: what a round of consensus costs, with 1, 16 and 32 groups of three members.
//! - `... -- serving`: session and engine without sockets, both engines.
//! - `cargo bench -p batchkv-bench`: codec, store and sampler, function by function.
//! - `bench/against-redis.sh` and `bench/link-limit.sh`: the whole system against Redis, and against the
//!   mover on a shaped link.

mod ceilings;
mod counts;
mod drawing;
mod mover;
mod null;
mod programs;
mod rounds;
mod sample;
mod serving;
mod timing;

use std::io;
use std::process::ExitCode;

use batchkv_cli::screen;
use batchkv_cli::values::count;
use clap::Parser;

use crate::counts::Layer;
use crate::mover::Side;

#[derive(Debug, Parser)]
#[command(name = "batchkv-bench")]
enum Command {
    /// Every layer of the standard job, against merely moving its bytes
    Ceilings {
        /// Runs of each layer; the first is not counted
        #[arg(long, default_value_t = 11, value_parser = count(6_u16, 1000))]
        rounds: u16,
    },
    /// Instructions and simulated cache misses of every layer; needs valgrind
    Counts,
    /// What `counts` starts under valgrind
    #[command(hide = true)]
    CountsLayer { layer: Layer, requests: usize },
    /// The bytes of the standard job, moved and nothing else, between two processes
    #[command(subcommand)]
    Mover(Side),
    /// Rounds of consensus: three members over loopback in one process, with 1, 16 and 32 groups
    Rounds {
        /// Seconds of each row
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,
    },
    /// Session and engine without sockets, both engines
    Serving,
}

fn main() -> ExitCode {
    let done = match batchkv_cli::parse(std::env::args_os()) {
        Ok(command) => run(command),
        Err(said) => return screen::end(&said),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::complain("batchkv-bench", error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<()> {
    match command {
        Command::Ceilings { rounds } => ceilings::run(rounds.into()),
        Command::Counts => counts::run(),
        Command::CountsLayer { layer, requests } => {
            counts::run_layer(layer, requests);
            Ok(())
        }
        Command::Mover(side) => side.run(serving::standard_weights()),
        Command::Rounds { seconds } => rounds::run(seconds),
        Command::Serving => {
            serving::run();
            Ok(())
        }
    }
}
