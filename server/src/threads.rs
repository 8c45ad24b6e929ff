//! The threads that serve connections, each with a runtime of its own.

use std::io;

use batchkv_protocol::limits::DRAIN_TIME_MAX;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::connection::{self, Context};
use crate::executor::Executor;
use crate::stats::Open;

/// Names of the threads that serve connections begin with this.
pub(crate) const THREAD_NAME: &str = "server-";

/// A connection on its way to the thread that serves it, or refuses it with a reason.
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) open: Result<Open, String>,
}

/// One of the threads.
pub(crate) struct Thread {
    accepted: mpsc::UnboundedSender<Accepted>,
    handle: std::thread::JoinHandle<u64>,
}

impl Thread {
    pub(crate) fn start<X: Executor>(context: Context<X>) -> io::Result<Self> {
        let (accepted, inbox) = mpsc::unbounded_channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = std::thread::Builder::new()
            .name(format!("{THREAD_NAME}{}", context.thread))
            .spawn(move || LocalSet::new().block_on(&runtime, serve_connections(context, inbox)))?;
        Ok(Self { accepted, handle })
    }

    /// Hands a connection over. A thread that is gone leaves it closed.
    pub(crate) fn hand_over(&self, accepted: Accepted) {
        let _ = self.accepted.send(accepted);
    }

    /// Waits for the thread's end, and gives the number of panics on it.
    pub(crate) async fn join(self) -> u64 {
        drop(self.accepted);
        let joined = tokio::task::spawn_blocking(|| self.handle.join()).await;
        // The thread itself panics only with its runtime.
        joined.map_or(1, |panics| panics.unwrap_or(1))
    }
}

/// Serves what comes in `inbox` until the server stops; gives the number of connections that ended in a
/// panic, which is a fault of the server and harms no other connection.
async fn serve_connections<X: Executor>(
    context: Context<X>,
    mut inbox: mpsc::UnboundedReceiver<Accepted>,
) -> u64 {
    let context = std::rc::Rc::new(context);
    let mut connections = tokio::task::JoinSet::new();
    let mut shutdown = context.shutdown.clone();
    let mut panics = 0;
    loop {
        let accepted = tokio::select! {
            accepted = inbox.recv() => accepted,
            Some(ended) = connections.join_next() => {
                panics += u64::from(ended.is_err());
                continue;
            }
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let Some(Accepted { stream, open }) = accepted else {
            break;
        };
        let context = context.clone();
        connections.spawn_local(async move {
            let Ok(stream) = TcpStream::from_std(stream) else {
                return;
            };
            match open {
                Ok(open) => connection::serve(stream, open, &context).await,
                Err(text) => connection::refuse(stream, &context, &text).await,
            }
        });
    }
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            panics += u64::from(ended.is_err());
        }
    };
    // What is not done by then is cut off and counts as dropped, when its `Open` goes.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, drained).await;
    panics
}
