//! One key at a time, for people who want to look.

use anyhow::{Context, anyhow};
use batchkv_client::{Batch, Client, Options, Outcome};

use crate::screen::{say, show};

/// What to do with the key.
#[derive(Debug)]
pub(crate) enum Lookup {
    Get {
        with_version: bool,
    },
    Put {
        value: String,
        /// The version that the record must have.
        if_version: Option<u64>,
    },
    Delete,
}

/// Does it and prints what came of it; `false` when there was no such key.
///
/// # Errors
/// When a server cannot be reached, refuses the operation, or does not answer it.
pub(crate) async fn look_up(hosts: &[String], key: &str, lookup: &Lookup) -> anyhow::Result<bool> {
    let mut batch = Batch::new();
    let (text, key) = (key, key.as_bytes());
    match lookup {
        Lookup::Get {
            with_version: false,
        } => batch.get(key)?,
        Lookup::Get { with_version: true } => batch.get_with_version(key)?,
        Lookup::Put { value, if_version } => match if_version {
            None => batch.put(key, value.as_bytes())?,
            Some(version) => batch.put_if(key, value.as_bytes(), *version)?,
        },
        Lookup::Delete => batch.delete(key)?,
    };
    let client = Client::connect(hosts, Options::default()).await?;
    let answers = client.execute(batch).await;
    let outcome = answers.get(0).context("the batch has one operation")?;
    let found = match outcome {
        Outcome::Value(value) => {
            show(value);
            true
        }
        Outcome::Versioned { value, version } => {
            show(value);
            say(format_args!("version {version}"));
            true
        }
        Outcome::Stored => {
            say("stored");
            true
        }
        Outcome::StoredAs { version } => {
            say(format_args!("stored as version {version}"));
            true
        }
        Outcome::Refused(reason) => return Err(anyhow!("refused: {reason}")),
        Outcome::Deleted { existed: true } => {
            say("deleted");
            true
        }
        Outcome::Missing | Outcome::Deleted { existed: false } => {
            crate::screen::complain(format_args!("there is no key '{text}'"));
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
