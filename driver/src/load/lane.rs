//! A task's way to one server: its window of unanswered requests.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// How many of a task's requests to a server are unanswered, and who waits for there to be fewer.
#[derive(Debug)]
pub(crate) struct Lane {
    /// The server's index.
    pub(crate) server: usize,
    /// The worker's connection that the lane uses.
    pub(crate) link: usize,
    unanswered: Cell<usize>,
    /// When a request ended last.
    room_since: Cell<Instant>,
    waiting: RefCell<Option<Waker>>,
}

impl Lane {
    pub(crate) fn new(server: usize, link: usize) -> Self {
        Self {
            server,
            link,
            unanswered: Cell::new(0),
            room_since: Cell::new(Instant::now()),
            waiting: RefCell::new(None),
        }
    }

    /// Waits until fewer than `window` requests are unanswered. Only the lane's task waits here.
    pub(crate) async fn room(&self, window: usize) {
        poll_fn(|cx| self.poll_room(window, cx)).await;
    }

    /// Whether fewer than `window` requests are unanswered; else the task is woken when one ends.
    pub(crate) fn poll_room(&self, window: usize, cx: &Context<'_>) -> Poll<()> {
        if self.has_room(window) {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn has_room(&self, window: usize) -> bool {
        self.unanswered.get() < window
    }

    /// A request is about to be submitted.
    pub(crate) fn enter(&self) {
        self.unanswered.set(self.unanswered.get() + 1);
    }

    /// When a request ended last: since then there has been room for another.
    pub(crate) fn room_since(&self) -> Instant {
        self.room_since.get()
    }

    /// A request ended at `now`.
    pub(crate) fn leave(&self, now: Instant) {
        self.room_since.set(now);
        self.unanswered.set(self.unanswered.get() - 1);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}
