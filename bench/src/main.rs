//! Measurements behind batchkv's decisions. RESULTS.md beside this crate records their figures.
//!
//! - `cargo run -r -p batchkv-bench -- layout` compares rows with columns inside a group.
//! - `... -- serving` times session and engine without sockets.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

mod layout;
mod serving;
mod timing;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "batchkv-bench")]
enum Command {
    /// Rows against columns inside a group: bytes, and time to write and to read
    Layout,
    /// Session and engine without sockets, both engines
    Serving,
}

fn main() {
    match Command::parse() {
        Command::Layout => layout::run(),
        Command::Serving => serving::run(),
    }
}
