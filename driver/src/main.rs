//! `batchkv-client`, the load driver: what was typed, the run, its results.
//!
//! ```text
//! run/           a run, stage by stage, from the main thread; from what was counted to its results
//!  |  meeting/       where several clients meet                                     -> command
//!  |  load/          worker threads: connections, tasks, requests, pacing, counts   -> command, history
//!  '> results/       files, the summary for people, several clients' files merged
//!      |  observation/   servers' clocks and threads, this machine, figures for Prometheus
//!      |  history/       recorded operations, and whether they are linearizable
//!      '> verdict/       the rules
//! command/       what was typed, and what it means; get, put, delete; verify-workload -> verdict
//! measured/      the nouns: counts, latencies, one second
//! clock, screen  one time axis; what people see
//! ```
//!
//! `run/` uses all; every other folder uses what stands below it at its arrow, and the last two lines, which
//! use nothing. No two use each other, nor do two files. Inside `load/` the order is
//!
//! ```text
//! control (a worker's life) -> task (fills buffers) -> links (connections) -> request (one on its way)
//!     -> worker (what they share) -> tally (counts), report (what the main thread hears), memory -> step
//! ```

mod clock;
mod command;
mod history;
mod load;
mod measured;
mod meeting;
mod observation;
mod results;
mod run;
mod screen;
mod verdict;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use batchkv_cli::parse_with_config;
use command::address::Hosts;
use command::args::{Args, Command, RunArgs};
use command::config::{Config, ConfigError};
use command::lookup::{Lookup, look_up};
use command::verify;
use results::files::prepare;
use results::{Results, merge, report};
use run::conclusion::judge_results;
use screen::{complain, say, show};
use tokio::runtime;
use verdict::Verdict;

/// The run was INVALID, or could not be done.
const FAILED: u8 = 1;
/// The command line cannot be understood.
const WRONG_USAGE: u8 = 2;
/// The run was QUALIFIED, and only a VALID one is good enough.
const NOT_VALID: u8 = 3;
/// Ended by hand with true figures: what shells give for SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = match parse_with_config::<Args>(std::env::args_os()) {
        Ok(args) => args,
        Err(said) => return batchkv_cli::screen::end(&said),
    };
    let done = match args.command {
        None => measure(&args.run),
        Some(Command::Merge { dir, strict }) => merge_files(&dir, strict),
        Some(Command::Rules) => {
            show(verdict::page().trim_end().as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::VerifyWorkload { run, servers }) => verify_workload(&run, servers),
        Some(Command::Get {
            key,
            with_version,
            hosts,
        }) => one(&hosts.hosts, &key, &Lookup::Get { with_version }),
        Some(Command::Put {
            key,
            value,
            if_version,
            hosts,
        }) => one(&hosts.hosts, &key, &Lookup::Put { value, if_version }),
        Some(Command::Delete { key, hosts }) => one(&hosts.hosts, &key, &Lookup::Delete),
    };
    done.unwrap_or_else(|error| {
        complain(format_args!("{error:#}"));
        let usage = error.is::<ConfigError>();
        ExitCode::from(if usage { WRONG_USAGE } else { FAILED })
    })
}

fn measure(typed: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = Config::new(typed)?;
    if typed.check {
        return Ok(ExitCode::SUCCESS);
    }
    let (output, alone) = (config.output.clone(), config.member.clients == 1);
    if let Some(dir) = &output {
        prepare(dir).map_err(|error| ConfigError::output(dir, &error))?;
    }
    say(format_args!("workload {}", config.spec));
    let (mut results, interrupted) = runtime()?.block_on(run::run(config))?;
    // A rule that fails must not take the figures with it, nor a disk that fills up.
    let measured = output.as_ref().map_or(Ok(()), |dir| results.write(dir));
    judge_results(alone, &mut results);
    say(report::report(&results.summary));
    measured?;
    if let Some(dir) = &output {
        results.write_summary(dir)?;
    }
    let code = exit_code(&results, typed.strict);
    Ok(match interrupted && code == 0 {
        true => ExitCode::from(INTERRUPTED),
        false => ExitCode::from(code),
    })
}

fn verify_workload(typed: &RunArgs, servers: u32) -> anyhow::Result<ExitCode> {
    let proof = verify::verify(&Config::new(typed)?, servers)?;
    say(&proof.text);
    Ok(ExitCode::from(if proof.passed { 0 } else { FAILED }))
}

fn merge_files(dir: &Path, strict: bool) -> anyhow::Result<ExitCode> {
    let results = merge::merge(dir)?;
    let written = results.write(dir);
    say(report::report(&results.summary));
    written?;
    Ok(ExitCode::from(exit_code(&results, strict)))
}

fn one(hosts: &Hosts, key: &str, lookup: &Lookup) -> anyhow::Result<ExitCode> {
    let found = runtime()?.block_on(look_up(&hosts.0, key, lookup))?;
    Ok(ExitCode::from(if found { 0 } else { FAILED }))
}

fn exit_code(results: &Results, strict: bool) -> u8 {
    match results.summary.verdict {
        Verdict::Qualified if strict => NOT_VALID,
        Verdict::Valid | Verdict::Qualified => 0,
        Verdict::Invalid => FAILED,
    }
}

fn runtime() -> anyhow::Result<runtime::Runtime> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime cannot be started")
}
