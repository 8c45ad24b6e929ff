//! What was typed.

use batchkv_cli::values;
use batchkv_protocol::limits::PARTITIONS_MAX;
use clap::{Parser, Subcommand};

/// Looks at a cluster of batchkv servers, and tells it what to do.
#[derive(Debug, Parser)]
#[command(name = "batchkv-admin", version)]
pub(crate) struct Args {
    /// Servers of the cluster; the first that answers is asked
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080"
    )]
    pub(crate) hosts: Vec<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows servers, partitions, and what is missing.
    Status {
        /// Prints it as JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Has SERVER lead PARTITION.
    Transfer {
        /// The partition's number.
        #[arg(value_parser = values::count(0, PARTITIONS_MAX - 1))]
        partition: u32,
        /// The server, by its id or its address as `status` shows them.
        server: String,
    },
}
