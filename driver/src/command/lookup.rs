//! One key at a time, for people who want to look.

use anyhow::{Context, anyhow};
use batchkv_client::{Batch, Client, Options, Outcome};

use crate::screen::{say, show};

/// What to do with the key.
#[derive(Debug)]
pub(crate) enum Lookup {
    Get,
    Put(String),
    Delete,
}

/// Does it and prints what came of it; `false` when there was no such key.
///
/// # Errors
/// When a server cannot be reached, refuses the operation, or does not answer it.
pub(crate) async fn look_up(hosts: &[String], key: &str, lookup: &Lookup) -> anyhow::Result<bool> {
    let mut batch = Batch::new();
    match lookup {
        Lookup::Get => batch.get(key.as_bytes())?,
        Lookup::Put(value) => batch.put(key.as_bytes(), value.as_bytes())?,
        Lookup::Delete => batch.delete(key.as_bytes())?,
    };
    let client = Client::connect(hosts, Options::default()).await?;
    let answers = client.execute(batch).await;
    let outcome = answers.get(0).context("the batch has one operation")?;
    let found = match outcome {
        Outcome::Value(value) => {
            show(value);
            true
        }
        Outcome::Stored => {
            say("stored");
            true
        }
        Outcome::Deleted { existed: true } => {
            say("deleted");
            true
        }
        Outcome::Missing | Outcome::Deleted { existed: false } => {
            crate::screen::complain(format_args!("there is no key '{key}'"));
            false
        }
        other => {
            let cause = answers.lost().map_or_else(
                || anyhow!("the server answered: {other:?}"),
                |lost| anyhow!("{lost}"),
            );
            return Err(cause);
        }
    };
    Ok(found)
}
