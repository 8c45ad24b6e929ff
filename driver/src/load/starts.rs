//! When the operations of a closed loop's batch began, without a time for each: each fill began its
//! operations evenly between two instants.

use std::time::{Duration, Instant};

/// Most spans of a batch, an even number; of more, neighbours are joined.
const SPANS_MAX: usize = 32;
/// Groups of operations with the same start that a batch is told in, at most.
const GROUPS_MAX: u64 = 128;

/// The operations' starts, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Starts {
    /// The first start.
    first: Option<Instant>,
    spans: Vec<Span>,
    /// Operations that were not taken.
    left: u64,
}

/// Operations that began evenly between two instants, in nanoseconds since the first start.
#[derive(Debug, Clone, Copy)]
struct Span {
    from_nanos: u64,
    to_nanos: u64,
    /// Not taken.
    left: u64,
    /// Taken last.
    taken: u64,
}

impl Starts {
    /// Forgets all, and keeps the room.
    pub(crate) fn clear(&mut self) {
        (self.first, self.left) = (None, 0);
        self.spans.clear();
    }

    /// Adds so many operations that began evenly spread between two instants, behind all before.
    pub(crate) fn add(&mut self, from: Instant, to: Instant, operations: usize) {
        if operations == 0 {
            return;
        }
        let first = *self.first.get_or_insert(from);
        let nanos = |instant: Instant| instant.saturating_duration_since(first).as_nanos() as u64;
        if self.spans.len() == SPANS_MAX {
            self.coarsen();
        }
        self.left += operations as u64;
        self.spans.push(Span {
            from_nanos: nanos(from),
            to_nanos: nanos(to),
            left: operations as u64,
            taken: 0,
        });
    }

    /// Joins neighbours.
    fn coarsen(&mut self) {
        let joined = |pair: &[Span]| Span {
            from_nanos: pair[0].from_nanos,
            to_nanos: pair[1].to_nanos,
            left: pair[0].left + pair[1].left,
            taken: 0,
        };
        for pair in 0..self.spans.len() / 2 {
            self.spans[pair] = joined(&self.spans[2 * pair..2 * pair + 2]);
        }
        self.spans.truncate(self.spans.len() / 2);
    }

    /// Takes so many of the operations, from all spans alike, because answers come in the order of
    /// partitions; [`groups`](Self::groups) tells of them.
    pub(crate) fn take(&mut self, operations: u64) {
        let mut left = self.left;
        let mut wanted = operations.min(left);
        self.left -= wanted;
        for span in &mut self.spans {
            span.taken = 0;
            if span.left > 0 {
                // Never more than the span has, and never so few that the others could not give the rest.
                span.taken = span.left * wanted / left;
                left -= span.left;
                wanted -= span.taken;
                span.left -= span.taken;
            }
        }
    }

    /// The times from the starts that were taken last until `end`, in groups that each span at most one of
    /// `parts` of the longest time in them, as far as [`GROUPS_MAX`] allows: `each` gets the time from a
    /// group's middle, and how many are in it.
    pub(crate) fn groups(&self, end: Instant, parts: u64, mut each: impl FnMut(Duration, u64)) {
        let Some(first) = self.first else { return };
        let end_nanos = end.saturating_duration_since(first).as_nanos() as u64;
        let exact = |from: u64| (end_nanos.saturating_sub(from) / parts).max(1);
        let mut tell = |run: &Run| {
            let from = run.span.from_nanos;
            match run.is_joined {
                true => {
                    let middle = run.sum_nanos / u128::from(run.span.taken);
                    let took = end_nanos.saturating_sub(middle as u64);
                    each(Duration::from_nanos(took), run.span.taken);
                }
                false => run.span.groups(end_nanos, exact(from), &mut each),
            }
        };
        let mut run: Option<Run> = None;
        for span in self.spans.iter().filter(|span| span.taken > 0) {
            match &mut run {
                Some(run) if span.to_nanos - run.span.from_nanos <= exact(run.span.from_nanos) => {
                    run.join(span);
                }
                _ => {
                    if let Some(run) = run.replace(Run::new(*span)) {
                        tell(&run);
                    }
                }
            }
        }
        run.iter().for_each(tell);
    }
}

/// Neighbours that began at about the same time, told as one.
struct Run {
    span: Span,
    /// Of their operations' starts.
    sum_nanos: u128,
    is_joined: bool,
}

impl Run {
    fn new(span: Span) -> Self {
        let sum_nanos = span.sum_nanos();
        Self {
            span,
            sum_nanos,
            is_joined: false,
        }
    }

    fn join(&mut self, next: &Span) {
        self.sum_nanos += next.sum_nanos();
        self.span.to_nanos = next.to_nanos;
        self.span.taken += next.taken;
        self.is_joined = true;
    }
}

impl Span {
    /// Of the starts that were taken last.
    fn sum_nanos(&self) -> u128 {
        u128::from(self.from_nanos + self.to_nanos) * u128::from(self.taken) / 2
    }

    fn groups(&self, end_nanos: u64, exact_nanos: u64, each: &mut impl FnMut(Duration, u64)) {
        let (length, taken) = (self.to_nanos - self.from_nanos, self.taken);
        let groups = (length / exact_nanos + 1).min(GROUPS_MAX).min(taken);
        let mut before = 0;
        for group in 1..=groups {
            let end = taken * group / groups;
            let middle = (length as f64 * (before + end) as f64 / (2 * taken) as f64) as u64;
            let took = end_nanos.saturating_sub(self.from_nanos + middle);
            each(Duration::from_nanos(took), end - before);
            before = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MICRO: Duration = Duration::from_micros(1);
    const PARTS: u64 = 1 << 24;

    /// Takes operations and gives their starts since `first`.
    fn taken(starts: &mut Starts, first: Instant, operations: u64) -> Vec<(u64, u64)> {
        // So late an end that the parts of the times until then are a microsecond long.
        let end = first + MICRO * PARTS as u32;
        let mut all = Vec::new();
        starts.take(operations);
        starts.groups(end, PARTS, |took, count| {
            all.push(((end - took - first).as_nanos() as u64, count));
        });
        all
    }

    #[test]
    fn an_even_fill_gives_even_groups() {
        let first = Instant::now();
        let mut starts = Starts::default();
        starts.add(first, first + MICRO * 8 - Duration::from_nanos(1), 8192);
        let all = taken(&mut starts, first, 8192);
        let counts: Vec<u64> = all.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1024; 8]);
        for (k, (at, _)) in (0..).zip(&all) {
            assert!(at.abs_diff(500 + 1000 * k) < 2, "{all:?}");
        }
    }

    /// The total's percentiles of a batch that took 1 ms to fill, and whose frames were answered up to
    /// 0.4 ms behind it, against every operation's own start: within 1 %.
    #[test]
    fn percentiles_are_those_of_each_operations_own_start() {
        const OPERATIONS: u64 = 8192;
        const FRAMES: u64 = 16;
        let begin = Instant::now();
        let (from, to) = (begin, begin + MICRO * 1000);
        let mut starts = Starts::default();
        starts.add(from, to, OPERATIONS as usize);
        let (mut told, mut own) = (Vec::new(), Vec::new());
        for frame in 0..FRAMES {
            let now = to + MICRO * 25 * frame as u32;
            starts.take(OPERATIONS / FRAMES);
            starts.groups(now, 100, |took, count| {
                told.extend((0..count).map(|_| took.as_nanos() as f64));
            });
            let of_frame = (frame..OPERATIONS).step_by(FRAMES as usize);
            own.extend(of_frame.map(|k| {
                let start = (to - from).mul_f64((k as f64 + 0.5) / OPERATIONS as f64);
                (now - (from + start)).as_nanos() as f64
            }));
        }
        assert_eq!(told.len(), own.len());
        told.sort_by(f64::total_cmp);
        own.sort_by(f64::total_cmp);
        for share in [0.5, 0.9, 0.95, 0.99, 0.999] {
            let at = (share * OPERATIONS as f64) as usize;
            let off = told[at] / own[at] - 1.0;
            assert!(off.abs() < 0.01, "{share}: {off}");
        }
    }

    proptest! {
        #[test]
        fn all_are_taken_once_and_the_mean_is_exact(
            fills in prop::collection::vec((0..1000_u32, 0..1000_u32, 0..3000_usize), 1..20),
            frame in 1..700_u64,
        ) {
            let begin = Instant::now();
            let (mut starts, mut now) = (Starts::default(), begin);
            let (mut count, mut sum) = (0, 0.0);
            for (pause, length, operations) in fills {
                let (from, to) = (now + MICRO * pause, now + MICRO * (pause + length));
                starts.add(from, to, operations);
                let middle = (from - begin + (to - begin)).as_nanos() as f64 / 2.0;
                sum += middle * operations as f64;
                count += operations as u64;
                now = to;
            }
            let (mut all, mut all_sum) = (0, 0.0);
            while all < count {
                let frame = frame.min(count - all);
                let parts = taken(&mut starts, begin, frame);
                prop_assert_eq!(parts.iter().map(|(_, n)| n).sum::<u64>(), frame);
                all += frame;
                all_sum += parts.iter().map(|(at, n)| *at as f64 * *n as f64).sum::<f64>();
            }
            // Whole nanoseconds are kept.
            prop_assert!((all_sum - sum).abs() <= 2.0 * count as f64, "{all_sum} {sum}");
        }

        #[test]
        fn many_fills_are_joined_and_none_is_lost(fills in 65..400_u32) {
            let begin = Instant::now();
            let mut starts = Starts::default();
            for k in 0..fills {
                starts.add(begin + MICRO * k, begin + MICRO * (k + 1), 3);
            }
            let mut all = 0;
            starts.take(u64::MAX);
            starts.groups(begin, 1, |_, count| all += count);
            prop_assert_eq!(all, 3 * u64::from(fills));
            prop_assert!(starts.spans.len() <= SPANS_MAX);
        }
    }
}
