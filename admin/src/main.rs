//! `batchkv-admin`: looks at a cluster of batchkv servers, and tells it what to do.
//!
//! ```text
//! args (what was typed) -> link (a server that answers) -> screen (for people), json (for programs)
//! ```
//!
//! It asks any server of the cluster; what only another can do it asks of that one.

mod args;
mod json;
mod link;
mod screen;

use std::process::ExitCode;

use anyhow::{Context, bail};
use args::{Args, Command};
use batchkv_cli::screen::{complain, end, say};
use batchkv_protocol::{ClusterStatus, OperatorAnswer, OperatorRequest};
use link::Link;

const PROGRAM: &str = "batchkv-admin";
/// Servers that are asked one after the other, each named by the one before.
const HOPS_MAX: usize = 8;

fn main() -> ExitCode {
    let args: Args = match batchkv_cli::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(said) => return end(&said),
    };
    match run(&args) {
        Ok(text) => {
            say(text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(PROGRAM, format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What is printed for what was typed.
fn run(args: &Args) -> anyhow::Result<String> {
    let mut link = link::to_any(&args.hosts)?;
    match &args.command {
        Command::Status { json: true } => Ok(json::status(&status(&mut link)?)),
        Command::Status { json: false } => Ok(screen::status(&status(&mut link)?)),
        Command::Transfer { partition, server } => {
            let to = server_id(&status(&mut link)?, server)?;
            let partition = *partition;
            done(link, OperatorRequest::Transfer { partition, to })?;
            Ok(format!("server {to} leads partition {partition}"))
        }
    }
}

fn status(link: &mut Link) -> anyhow::Result<ClusterStatus> {
    match link.ask(OperatorRequest::Status)? {
        OperatorAnswer::Status(status) => Ok(status),
        other => bail!("{}", refusal(link, other)),
    }
}

/// Has it done, by whichever server can.
fn done(mut link: Link, request: OperatorRequest) -> anyhow::Result<()> {
    for _ in 0..HOPS_MAX {
        match link.ask(request)? {
            OperatorAnswer::Done => return Ok(()),
            OperatorAnswer::NotHere { address } => {
                let named_by = link.address().to_owned();
                link = link::to(&address).with_context(|| {
                    format!(
                        "{named_by} leaves it to the server at {address}, which does not answer"
                    )
                })?;
            }
            other => bail!("{}", refusal(&link, other)),
        }
    }
    bail!("{HOPS_MAX} servers have left it to one another: leaders are changing, try again")
}

fn refusal(link: &Link, answer: OperatorAnswer) -> String {
    let address = link.address();
    match answer {
        OperatorAnswer::Refused { reason } => format!("{address} refuses: {reason}"),
        _ => format!("{address} has answered something else than what was asked"),
    }
}

/// The node id of the server that was typed as its id, or as an address of it.
fn server_id(status: &ClusterStatus, typed: &str) -> anyhow::Result<u64> {
    let is_typed = |id: u64, address: &str| typed.parse() == Ok(id) || typed == address;
    let found = status
        .servers
        .iter()
        .find(|server| is_typed(server.id, &server.address));
    found.map(|server| server.id).with_context(|| {
        let known = status.servers.iter();
        let known: Vec<_> = known.map(|server| server.id.to_string()).collect();
        let known = known.join(", ");
        format!("the cluster has no server {typed}: there are {known}, or name one by its address")
    })
}
