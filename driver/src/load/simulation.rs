//! Percentiles of open loops on a clock of their own, against a simulation that shares nothing with the driver but
//! the times of the arrivals.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::command::offer::{Arrivals, Offer};
use crate::load::pacing::Open;
use crate::load::schedule::Schedule;
use crate::measured::latency::{Latencies, LatencyPart};

const BATCH_SIZE: usize = 64;
/// Batches in progress at most.
const WINDOW: usize = 2;
const OPS_PER_SEC: f64 = 20_000.0;
const LINGER: Duration = Duration::from_millis(2);
const SECS: f64 = 2.0;

/// A server that takes one batch after the other, and stands still for a while.
struct Server {
    stall: (f64, f64),
    free_secs: f64,
}

impl Server {
    /// When a batch of so many operations that was sent then is answered.
    fn answers(&mut self, sent_secs: f64, operations: usize) -> f64 {
        let mut begin = sent_secs.max(self.free_secs);
        if (self.stall.0..self.stall.1).contains(&begin) {
            begin = self.stall.1;
        }
        self.free_secs = begin + 0.0002 + 0.00001 * operations as f64;
        self.free_secs
    }
}

fn schedule(arrivals: Arrivals) -> Schedule {
    let offer = Offer {
        ops_per_sec: OPS_PER_SEC,
        arrivals,
        linger: LINGER,
    };
    Schedule::new(&offer, 0, 1, 7, 0)
}

/// The latencies by the driver's pacing, whose clock jumps from one event to the next.
fn by_the_driver(arrivals: Arrivals, mut server: Server) -> Latencies {
    let begin = Instant::now();
    let at = |secs: f64| begin + Duration::from_secs_f64(secs);
    let mut open = Open::new(schedule(arrivals), begin, LINGER);
    open.measure(Some((begin, at(SECS))));
    let mut latencies = Latencies::new();
    let (mut now, mut buffer) = (begin, Vec::new());
    let mut under_way: VecDeque<Instant> = VecDeque::new();
    loop {
        under_way.retain(|answered| *answered > now);
        while buffer.len() < BATCH_SIZE {
            let Some(nanos) = open.take(now) else { break };
            buffer.push(nanos);
        }
        let is_ready = buffer.len() == BATCH_SIZE || open.is_overdue(buffer.first().copied(), now);
        if is_ready && under_way.len() < WINDOW {
            let sent_secs = (now - begin).as_secs_f64();
            let answered = at(server.answers(sent_secs, buffer.len()));
            under_way.push_back(answered);
            for nanos in buffer.drain(..) {
                latencies.record(LatencyPart::Total, answered - open.instant(nanos), 1);
            }
            continue;
        }
        let firsts = buffer.first().copied().filter(|_| !is_ready);
        let wake = open.wake(firsts.into_iter(), BATCH_SIZE - buffer.len());
        let wake = wake.filter(|_| buffer.len() < BATCH_SIZE);
        match under_way
            .front()
            .copied()
            .into_iter()
            .chain(wake)
            .filter(|it| *it > now)
            .min()
        {
            Some(next) => now = next,
            None if buffer.is_empty() && open.is_over() => return latencies,
            None => now += Duration::from_nanos(1),
        }
    }
}

/// The same from the arrivals alone: a batch is sent when it is ready and the one before the last is answered, with
/// what has arrived until then.
fn by_the_simulation(arrivals: &[f64], mut server: Server) -> Vec<f64> {
    let mut answered = vec![0.0; WINDOW];
    let (mut all, mut from) = (Vec::new(), 0);
    while from < arrivals.len() {
        let full = arrivals.get(from + BATCH_SIZE - 1);
        let overdue = arrivals[from] + LINGER.as_secs_f64();
        let ready = full.map_or(overdue, |full| full.min(overdue));
        let sent = ready.max(answered[answered.len() - WINDOW]);
        let rest = &arrivals[from..arrivals.len().min(from + BATCH_SIZE)];
        let batch = rest.partition_point(|arrival| *arrival <= sent);
        let done = server.answers(sent, batch);
        all.extend(rest[..batch].iter().map(|arrival| done - arrival));
        answered.push(done);
        from += batch;
    }
    all.sort_by(f64::total_cmp);
    all
}

fn times(arrivals: Arrivals) -> Vec<f64> {
    let mut schedule = schedule(arrivals);
    let next = || {
        let at = schedule.next().as_secs_f64();
        schedule.advance();
        at
    };
    std::iter::repeat_with(next)
        .take_while(|at| *at < SECS)
        .collect()
}

#[test]
fn percentiles_of_each_pacing_are_those_of_a_simulation() {
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        for stall in [(SECS, SECS), (0.5, 0.59), (0.4, 1.1), (1.9, 3.0)] {
            let server = || Server {
                stall,
                free_secs: 0.0,
            };
            let own = by_the_simulation(&times(arrivals), server());
            let told = by_the_driver(arrivals, server());
            let told = told.of(LatencyPart::Total);
            assert_eq!(told.len(), own.len() as u64);
            for share in [0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
                let rank = ((share * own.len() as f64).ceil() as usize).max(1);
                let expected_ns = 1e9 * own[rank - 1];
                let off = told.value_at_quantile(share) as f64 / expected_ns - 1.0;
                assert!(off.abs() < 0.01, "{arrivals:?} {stall:?} {share}: {off}");
            }
        }
    }
}
