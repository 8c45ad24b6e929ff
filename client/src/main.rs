//! `batchkv-client`: loads a batchkv cluster, runs a YCSB workload on it and measures.

mod driver;

use std::process::ExitCode;

fn main() -> ExitCode {
    driver::main(std::env::args_os())
}
