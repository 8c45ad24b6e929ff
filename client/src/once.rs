//! Batches to servers that remember nothing of them: what may have taken effect is never sent again.

use crate::answers::{Answers, Reply};
use crate::batch::Batch;
use crate::lines::Lines;
use crate::router::{Request, Routed};
use crate::together::Together;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pauses before refused groups are sent again where nothing new is known: the first, and the longest.
const PAUSE_TIMES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// The connections to such servers.
#[derive(Debug)]
pub(crate) struct Once {
    lines: Lines<Request>,
    deadline: Duration,
}

/// What became of a request: its place in the send order, and its answers.
type Answered = (Range<usize>, Reply);

impl Once {
    pub(crate) fn new(lines: Lines<Request>, deadline: Duration) -> Self {
        Self { lines, deadline }
    }

    pub(crate) fn lines(&self) -> &Lines<Request> {
        &self.lines
    }

    /// See [`Client::execute`](crate::Client::execute).
    pub(crate) async fn execute(&self, batch: Batch) -> Answers {
        let routes = self.lines.routes();
        let deadline = Instant::now() + self.deadline;
        let mut answers = Answers::with_operations(batch.len());
        let mut operations: Vec<u32> = (0..batch.len() as u32).collect();
        let batch = Arc::new(batch);
        let mut pause = PAUSE_TIMES[0];
        loop {
            let news = routes.news();
            let routed = Arc::new(routes.plan().route(&batch, &operations));
            self.send(&routed, deadline, &mut answers).await;
            operations = self.refused(&batch, &answers);
            if operations.is_empty() || Instant::now() >= deadline {
                return answers;
            }
            tokio::select! {
                () = routes.more_than(news) => {}
                () = sleep(pause) => pause = (pause * 2).min(PAUSE_TIMES[1]),
            }
        }
    }

    /// Sends a routed batch, to all owners side by side, and adds what they answer.
    async fn send(&self, routed: &Arc<Routed>, deadline: Instant, answers: &mut Answers) {
        let mut sending = Together::new();
        for server in routed.owners() {
            sending.add(self.send_to(server, routed, deadline));
        }
        while let Some(answered) = sending.next().await {
            for (range, reply) in answered {
                answers.add(&routed.order()[range], reply);
            }
        }
    }

    /// Sends one server's requests, each behind the answers to the one before. Behind one that was lost nothing
    /// is sent: what the server has of it may yet take effect, and must not come behind what follows it.
    async fn send_to(&self, server: u32, routed: &Arc<Routed>, deadline: Instant) -> Vec<Answered> {
        let mut answered: Vec<Answered> = Vec::new();
        for range in routed.requests(server) {
            let lost = answered.last().and_then(|(_, reply)| reply.lost());
            let connection = match lost {
                Some(cause) => Err(Arc::clone(cause)),
                None => self.lines.connection(server, deadline).await,
            };
            let (request, reply) = Request::new(Arc::clone(routed), range.clone());
            let reply = match connection {
                Ok(connection) => {
                    connection.submit(request);
                    reply.await.expect("a request is always told its end")
                }
                Err(cause) => Reply::not_sent(range.len(), cause),
            };
            answered.push((range, reply));
        }
        answered
    }

    /// The operations that are to be sent to another owner, which the refusals name. With a fixed map there
    /// are none.
    fn refused(&self, batch: &Batch, answers: &Answers) -> Vec<u32> {
        if !self.lines.is_dynamic() {
            return Vec::new();
        }
        let refused = answers.wrong_owners().map(|(index, known)| {
            let key = batch.operation(index as usize).key();
            let routes = self.lines.routes();
            routes.offer(routes.live().partition_of(key), known);
            index
        });
        refused.collect()
    }
}
