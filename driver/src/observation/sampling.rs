//! What this client and its machine use, looked at once a second.

use std::time::Duration;

use batchkv_telemetry::{Sampler, Series};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_secs(1);

/// Takes a sample a second until it is told to finish.
#[derive(Debug)]
pub(crate) struct Sampling {
    stop: oneshot::Sender<()>,
    rows: JoinHandle<Option<Series>>,
}

impl Sampling {
    pub(crate) fn start() -> Self {
        let (stop, stopped) = oneshot::channel();
        let rows = tokio::spawn(sample_until(stopped));
        Self { stop, rows }
    }

    /// The samples, the last of them taken now; `None` where the kernel does not count.
    pub(crate) async fn finish(self) -> Option<Series> {
        drop(self.stop);
        self.rows.await.ok().flatten()
    }
}

async fn sample_until(mut stopped: oneshot::Receiver<()>) -> Option<Series> {
    let mut series = Series::new(Sampler::columns().ok()?);
    let mut sampler = Sampler::default();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let last = tokio::select! {
            _ = &mut stopped => true,
            _ = ticks.tick() => false,
        };
        series.push(sampler.sample().ok()?);
        if last {
            return Some(series);
        }
    }
}
