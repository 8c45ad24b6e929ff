//! Futures of one kind that are awaited together, on the task of whoever awaits them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Few futures: each is looked at whenever one of them may have got further.
pub(crate) struct Together<F> {
    futures: Vec<Pin<Box<F>>>,
}

impl<F: Future> Together<F> {
    pub(crate) fn new() -> Self {
        let futures = Vec::new();
        Self { futures }
    }

    pub(crate) fn add(&mut self, future: F) {
        self.futures.push(Box::pin(future));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    /// What the next future that is done gives, or `None` when none is left. Dropping this loses nothing.
    pub(crate) async fn next(&mut self) -> Option<F::Output> {
        poll_fn(|cx| match self.is_empty() {
            true => Poll::Ready(None),
            false => self.poll_any(cx).map(Some),
        })
        .await
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        for index in 0..self.futures.len() {
            if let Poll::Ready(output) = self.futures[index].as_mut().poll(cx) {
                drop(self.futures.swap_remove(index));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    }
}
