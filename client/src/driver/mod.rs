//! The load driver: what was typed, the run, its results.

mod args;
mod barrier;
mod config;
mod host;
mod merge;
mod report;
mod results;
mod screen;
mod verdict;

use std::path::Path;
use std::process::ExitCode;

use args::{Args, Command, rewrite_single_dashes};
use clap::Parser;
use verdict::Verdict;

/// Does what the command line asks for.
pub(crate) fn main(typed: impl IntoIterator<Item = String>) -> ExitCode {
    ExitCode::SUCCESS
}
