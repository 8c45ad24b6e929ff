//! Wakes a worker's tasks at instants, finer than the runtime's own timer, whose tick is a millisecond: what a
//! schedule makes due would wait half of one on average, which is longer than many answers take.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

/// Alarms that lie closer together than this go off together.
const TICK: Duration = Duration::from_micros(50);

/// The alarms of a worker's tasks, on one timer of the system.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<Timer>,
    /// By instant, and by a number that is each alarm's own.
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    /// When the timer goes off, if it is set.
    set_to: Cell<Option<Instant>>,
    numbers: Cell<u64>,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// Must be called within the runtime.
    ///
    /// # Errors
    /// When the system gives no timer.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        #[expect(
            deprecated,
            reason = "what takes its place is unsafe; the timer gives the descriptor that it owns"
        )]
        let timer = AsyncFd::new(Timer(timer))?;
        Ok(Self {
            timer,
            waiting: RefCell::default(),
            set_to: Cell::new(None),
            numbers: Cell::new(0),
        })
    }

    /// Lets alarms go off, for as long as it is polled.
    pub(crate) async fn run(&self) {
        while let Ok(mut ready) = self.timer.readable().await {
            ready.clear_ready();
            // How often it went off is of no interest, nor that it was set anew meanwhile.
            let _ = self.timer.get_ref().0.wait();
            self.set_to.set(None);
            self.go_off(Instant::now() + TICK);
        }
    }

    fn go_off(&self, until: Instant) {
        let mut waiting = self.waiting.borrow_mut();
        let later = waiting.split_off(&(until, u64::MAX));
        let due = std::mem::replace(&mut *waiting, later);
        due.into_values().for_each(Waker::wake);
        if let Some(((next, _), _)) = waiting.first_key_value() {
            self.set(*next);
        }
    }

    /// Sets the timer, unless it goes off before.
    fn set(&self, instant: Instant) {
        if self.set_to.get().is_some_and(|set_to| set_to <= instant) {
            return;
        }
        // A wait of zero would take the timer back.
        let wait = instant.saturating_duration_since(Instant::now());
        let wait = TimeSpec::from_duration(wait.max(Duration::from_nanos(1)));
        let timer = &self.timer.get_ref().0;
        // Who waits looks at the clock by the runtime's timer as well.
        let _ = timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty());
        self.set_to.set(Some(instant));
    }

    /// Waits until `instant`, less a tick.
    pub(crate) async fn wait(&self, instant: Instant) {
        let mut waiting = Waiting {
            alarm: self,
            key: (instant, self.numbers.get()),
        };
        self.numbers.set(self.numbers.get() + 1);
        poll_fn(|cx| waiting.poll(cx)).await;
    }
}

/// One alarm, which is taken back when nobody waits for it any more.
struct Waiting<'a> {
    alarm: &'a Alarm,
    key: (Instant, u64),
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if Instant::now() + TICK >= self.key.0 {
            return Poll::Ready(());
        }
        let mut waiting = self.alarm.waiting.borrow_mut();
        waiting.insert(self.key, cx.waker().clone());
        drop(waiting);
        self.alarm.set(self.key.0);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.alarm.waiting.borrow_mut().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;
    use tokio::select;

    /// The one that was set first is the last to go off, and holds none of the others up.
    #[test]
    fn alarms_go_off_and_not_before_their_time() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            let begin = Instant::now();
            let one = |micros: u64| {
                let (alarm, due) = (&alarm, begin + Duration::from_micros(micros));
                async move {
                    alarm.wait(due).await;
                    assert!(Instant::now() + TICK >= due);
                }
            };
            let all = async { tokio::join!(one(30_000), one(700), one(10_000), one(0)) };
            select! {
                biased;
                () = one(3_600_000_000) => panic!("an hour has passed"),
                () = alarm.run() => panic!("the timer ended"),
                _ = all => {}
            }
            assert!(alarm.waiting.borrow().len() <= 1);
        });
    }

    #[test]
    fn who_does_not_wait_any_more_leaves_nothing() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            let far = Instant::now() + Duration::from_secs(3600);
            select! {
                biased;
                () = alarm.wait(far) => panic!("an hour has passed"),
                () = async {} => {}
            }
            assert!(alarm.waiting.borrow().is_empty());
        });
    }
}
