//! Stores three fruits, reads them back, removes one. Start a server first, then:
//!
//!     cargo run --example hello -- 127.0.0.1:8080
//!
//! Several servers are given in the order of their indices: `a:8080,b:8080`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program, not a library

use batchkv_client::{Batch, Client, Options, Outcome};
use std::error::Error;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let hosts = std::env::args().nth(1);
    match run(hosts.as_deref().unwrap_or("127.0.0.1:8080")).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(hosts: &str) -> Result<(), Box<dyn Error>> {
    let hosts: Vec<&str> = hosts.split(',').collect();
    let client = Client::connect(&hosts, Options::default()).await?;

    let mut puts = Batch::new();
    puts.put(b"apple", b"red")?
        .put(b"pear", b"green")?
        .put(b"plum", b"blue")?;
    show("put", &client, puts).await?;

    // Operations of one batch on the same key apply in its order: this get sees no plum.
    let mut reads = Batch::new();
    reads.get(b"apple")?.delete(b"plum")?.get(b"plum")?;
    show("read", &client, reads).await?;

    for (host, counts) in hosts.iter().zip(client.close().await?) {
        println!("{host} executed {} operations", counts.served.executed());
    }
    Ok(())
}

async fn show(what: &str, client: &Client, batch: Batch) -> Result<(), Box<dyn Error>> {
    let answers = client.execute(batch).await;
    for (index, outcome) in answers.iter().enumerate() {
        match outcome {
            Outcome::Value(value) => println!("{what} {index}: {}", value.escape_ascii()),
            other => println!("{what} {index}: {other:?}"),
        }
    }
    match answers.lost() {
        Some(cause) => Err(cause.to_string().into()),
        None => Ok(()),
    }
}
