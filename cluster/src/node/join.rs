//! Becoming a member: the newcomer's side.

use super::StartError;
use batchkv_protocol::join::NEWCOMER;
use batchkv_protocol::{Control, Hello, JoinAnswer, JoinRequest, ReceiveBuffer, SendBuffer};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Within which whoever is asked must have answered.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// Time between two rounds of asking.
const ROUND_TIME: Duration = Duration::from_millis(200);
/// Most servers that one seed may lead to, one naming the next.
const HOPS_MAX: usize = 4;

/// Why whoever was asked did not answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it does not answer")]
    Late,
    #[error("it says: {0}")]
    Told(String),
    #[error("it is no batchkv server")]
    Stranger,
}

/// Asks `seeds` in turn until one of them, or whom they name, takes the server in: the cluster's id, and the server's.
/// `notice` is told why that takes long, each reason once.
pub(super) async fn join(
    seeds: &[String],
    request: &JoinRequest,
    notice: &(dyn Fn(String) + Send + Sync),
) -> Result<(u128, u64), StartError> {
    let mut said = BTreeSet::new();
    loop {
        for seed in seeds {
            let reason = match ask_through(seed, request).await {
                Ok(JoinAnswer::Joined { cluster, server }) => return Ok((cluster, server)),
                Ok(JoinAnswer::Refused { reason }) => {
                    return Err(StartError::Refused {
                        seed: seed.clone(),
                        reason,
                    });
                }
                Ok(JoinAnswer::Ask { address }) => format!("it names {address} again and again"),
                Ok(JoinAnswer::Wait { reason }) => reason,
                Err(error @ (Unanswered::Told(_) | Unanswered::Stranger)) => {
                    return Err(StartError::Refused {
                        seed: seed.clone(),
                        reason: error.to_string(),
                    });
                }
                Err(error) => error.to_string(),
            };
            let text = format!("waiting to be taken in by {seed}: {reason}");
            if said.insert(text.clone()) {
                notice(text);
            }
        }
        sleep(ROUND_TIME).await;
    }
}

/// Asks a seed, and whoever it names.
async fn ask_through(seed: &str, request: &JoinRequest) -> Result<JoinAnswer, Unanswered> {
    let mut address = seed.to_owned();
    for _ in 0..HOPS_MAX {
        match ask(&address, request).await? {
            JoinAnswer::Ask { address: next } => address = next,
            answer => return Ok(answer),
        }
    }
    Ok(JoinAnswer::Ask { address })
}

async fn ask(address: &str, request: &JoinRequest) -> Result<JoinAnswer, Unanswered> {
    let answer = timeout(ANSWER_PATIENCE, converse(address, request)).await;
    answer.unwrap_or(Err(Unanswered::Late))
}

async fn converse(address: &str, request: &JoinRequest) -> Result<JoinAnswer, Unanswered> {
    let mut stream = TcpStream::connect(address).await?;
    let mut out = SendBuffer::default();
    Hello::new(NEWCOMER, 0).write(&mut out);
    Control::JoinRequest(request.clone()).write(&mut out);
    stream.write_all(out.pending()).await?;
    let mut input = ReceiveBuffer::default();
    loop {
        match next(&mut stream, &mut input).await? {
            Control::ServerHello(_) => {}
            Control::JoinAnswer(answer) => return Ok(answer),
            Control::Error(error) => return Err(Unanswered::Told(error.text)),
            _ => return Err(Unanswered::Stranger),
        }
    }
}

async fn next(stream: &mut TcpStream, input: &mut ReceiveBuffer) -> Result<Control, Unanswered> {
    loop {
        if let Some(body) = input.body().map_err(|_| Unanswered::Stranger)? {
            let control = Control::decode(body).map_err(|_| Unanswered::Stranger);
            input.consume();
            return control;
        }
        let received = stream.read(input.spare()).await?;
        if received == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        input.filled(received);
    }
}
