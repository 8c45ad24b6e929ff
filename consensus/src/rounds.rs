//! Which proposals share an entry, and when it is proposed: pure, driven by [`crate::proposer`].
//!
//! Consensus costs by the round and by time, not by operation, so what arrives while a round is under way
//! joins the next one. Where that alone leaves small rounds following each other closely, a linger lets
//! more join: none when nothing waits, growing to [`LINGER_MAX`] while rounds find many callers.

use std::time::Duration;

use bytes::Bytes;

use crate::limits::{ROUND_BYTES, ROUND_PROPOSALS_MAX};

/// Longest time that a proposal waits for others, beside the time that the round before takes.
pub(crate) const LINGER_MAX: Duration = Duration::from_millis(10);
/// The first step of a linger; shorter ones are none, since timers have steps of a millisecond.
const LINGER_MIN: Duration = Duration::from_millis(1);
/// A round of this many proposals was worth waiting for; one of fewer was not.
const SHARED: usize = 4;
/// A second round may be under way beside one that is older than this.
const SLOW: Duration = Duration::from_millis(5);
/// Most rounds under way.
const UNDER_WAY_MAX: usize = 2;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    /// Propose these as one entry, and call [`Rounds::done`] with the round's name when it is answered.
    Propose(Begun, Vec<(Bytes, T)>),
    /// Ask again when something arrives, a round is done, or this moment has come.
    WaitUntil(Duration),
    /// Ask again when something arrives or a round is done.
    Wait,
}

/// Names a round under way: the moment that it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun(Duration);

/// The rounds of one group at its proposer. Moments are readings of one steady clock.
#[derive(Debug)]
pub(crate) struct Rounds<T> {
    waiting: Vec<(Bytes, T)>,
    waiting_bytes: usize,
    /// When the first and the last of `waiting` arrived.
    first_at: Duration,
    last_at: Duration,
    /// When each round under way began, oldest first.
    under_way: Vec<Duration>,
    linger: Duration,
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            waiting_bytes: 0,
            first_at: Duration::ZERO,
            last_at: Duration::ZERO,
            under_way: Vec::new(),
            linger: Duration::ZERO,
        }
    }
}

impl<T> Rounds<T> {
    /// A proposal arrived.
    pub(crate) fn push(&mut self, now: Duration, bytes: Bytes, caller: T) {
        if self.waiting.is_empty() {
            self.first_at = now;
        }
        self.last_at = now;
        self.waiting_bytes += bytes.len();
        self.waiting.push((bytes, caller));
    }

    /// A round was answered.
    pub(crate) fn done(&mut self, round: Begun) {
        if let Some(place) = self.under_way.iter().position(|moment| *moment == round.0) {
            self.under_way.remove(place);
        }
    }

    /// What to do at `now`.
    pub(crate) fn next(&mut self, now: Duration) -> Next<T> {
        if self.waiting.is_empty() {
            return Next::Wait;
        }
        match self.ready_at() {
            None => Next::Wait,
            Some(moment) if moment > now => Next::WaitUntil(moment),
            Some(_) => {
                let round = self.take();
                self.adapt(round.len());
                self.under_way.push(now);
                Next::Propose(Begun(now), round)
            }
        }
    }

    /// When the next round may begin, unless a round has to be done first.
    fn ready_at(&self) -> Option<Duration> {
        let room = match self.under_way.last() {
            None => Duration::ZERO,
            Some(newest) if self.under_way.len() < UNDER_WAY_MAX => *newest + SLOW,
            Some(_) => return None,
        };
        let full = self.waiting_bytes >= ROUND_BYTES || self.waiting.len() >= ROUND_PROPOSALS_MAX;
        if full || self.linger.is_zero() {
            return Some(room);
        }
        // Whoever would join has joined once nothing came for a quarter of the linger.
        let quiet = self.last_at + (self.linger / 4).max(LINGER_MIN);
        Some(room.max(quiet.min(self.first_at + self.linger)))
    }

    /// The oldest proposals, up to the bounds of a round, but at least one.
    fn take(&mut self) -> Vec<(Bytes, T)> {
        let mut bytes = 0;
        let fit = self
            .waiting
            .iter()
            .take(ROUND_PROPOSALS_MAX)
            .take_while(|(proposal, _)| {
                bytes += proposal.len();
                bytes <= ROUND_BYTES
            })
            .count()
            .max(1);
        let rest = self.waiting.split_off(fit);
        let round = std::mem::replace(&mut self.waiting, rest);
        self.waiting_bytes -= round.iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
        round
    }

    fn adapt(&mut self, proposals: usize) {
        self.linger = if proposals >= SHARED {
            (self.linger * 2).clamp(LINGER_MIN, LINGER_MAX)
        } else if self.linger > LINGER_MIN {
            self.linger / 2
        } else {
            Duration::ZERO
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Begun, LINGER_MAX, Next, Rounds, SLOW};
    use crate::limits::{ROUND_BYTES, ROUND_PROPOSALS_MAX};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::time::Duration;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn callers(next: Next<u32>) -> Vec<u32> {
        match next {
            Next::Propose(_, round) => round.into_iter().map(|(_, caller)| caller).collect(),
            other => panic!("no round: {other:?}"),
        }
    }

    #[test]
    fn the_first_proposal_does_not_wait() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.next(at(0)), Next::Wait);
        rounds.push(at(3), Bytes::from_static(b"x"), 1);
        assert_eq!(callers(rounds.next(at(3))), [1]);
    }

    #[test]
    fn what_arrives_under_way_shares_the_next_round() {
        let mut rounds = Rounds::default();
        rounds.push(at(0), Bytes::from_static(b"x"), 1);
        assert_eq!(callers(rounds.next(at(0))), [1]);
        rounds.push(at(1), Bytes::from_static(b"x"), 2);
        rounds.push(at(2), Bytes::from_static(b"x"), 3);
        assert_eq!(rounds.next(at(2)), Next::WaitUntil(SLOW));
        rounds.done(Begun(at(0)));
        assert_eq!(callers(rounds.next(at(3))), [2, 3]);
    }

    #[test]
    fn a_slow_round_is_joined_by_one_more_and_no_third() {
        let mut rounds = Rounds::default();
        for caller in 0..3 {
            rounds.push(at(0), Bytes::from(vec![0; ROUND_BYTES]), caller);
        }
        assert_eq!(callers(rounds.next(at(0))), [0]);
        assert_eq!(rounds.next(at(4)), Next::WaitUntil(SLOW));
        assert_eq!(callers(rounds.next(at(5))), [1]);
        assert_eq!(rounds.next(at(1_000)), Next::Wait);
        rounds.done(Begun(at(0)));
        assert_eq!(callers(rounds.next(at(1_000))), [2]);
    }

    /// Plays callers that propose again `think` after their answer, with rounds of `round_trip`; returns
    /// rounds and the longest wait of a proposal.
    fn closed_loop(clients: u32, think: Duration, round_trip: Duration) -> (u32, Duration) {
        let mut rounds = Rounds::default();
        let mut ready: Vec<Duration> = (0..clients).map(|_| at(0)).collect();
        let mut sent: Vec<Option<Duration>> = vec![None; clients as usize];
        let mut open: Vec<(Begun, Vec<u32>)> = Vec::new();
        let (mut count, mut longest) = (0, Duration::ZERO);
        for step in 0..20_000_u64 {
            let now = Duration::from_micros(50 * step);
            while let Some(place) = open
                .iter()
                .position(|(began, _)| began.0 + round_trip <= now)
            {
                let (began, round) = open.remove(place);
                rounds.done(began);
                for client in round {
                    let asked = sent[client as usize].take().expect("it waits");
                    longest = longest.max(now - asked);
                    ready[client as usize] = now + think;
                }
            }
            for client in 0..clients {
                if sent[client as usize].is_none() && ready[client as usize] <= now {
                    sent[client as usize] = Some(now);
                    rounds.push(now, Bytes::from_static(b"x"), client);
                }
            }
            while let Next::Propose(begun, round) = rounds.next(now) {
                count += 1;
                open.push((begun, round.into_iter().map(|(_, caller)| caller).collect()));
            }
        }
        (count, longest)
    }

    #[test]
    fn one_caller_is_never_held_up() {
        let (rounds, longest) = closed_loop(1, at(0), Duration::from_micros(300));
        assert!(rounds > 2_500, "{rounds} rounds a second");
        assert!(longest < at(1), "{longest:?}");
    }

    #[test]
    fn many_callers_make_few_rounds() {
        let (rounds, longest) = closed_loop(200, at(1), Duration::from_micros(300));
        assert!(rounds < 400, "{rounds} rounds a second");
        assert!(longest < 2 * LINGER_MAX, "{longest:?}");
    }

    proptest! {
        #[test]
        fn every_proposal_is_in_one_round_in_order_and_rounds_are_bounded(
            steps in prop::collection::vec((0_u64..4, 0_usize..ROUND_BYTES * 3 / 2, prop::bool::ANY), 1..200),
        ) {
            let mut rounds = Rounds::default();
            let (mut now, mut pushed, mut seen) = (at(0), 0_u32, Vec::new());
            let mut open = Vec::new();
            let mut note = |next: Next<u32>, open: &mut Vec<Begun>| {
                if let Next::Propose(begun, round) = next {
                    let bytes: usize = round.iter().map(|(bytes, _)| bytes.len()).sum();
                    prop_assert!(bytes <= ROUND_BYTES || round.len() == 1);
                    prop_assert!(round.len() <= ROUND_PROPOSALS_MAX);
                    seen.extend(round.into_iter().map(|(_, caller)| caller));
                    open.push(begun);
                    prop_assert!(open.len() <= 2);
                }
                Ok(())
            };
            for (wait, bytes, finish) in steps {
                now += at(wait) + Duration::from_nanos(1);
                rounds.push(now, Bytes::from(vec![0; bytes]), pushed);
                pushed += 1;
                if finish && !open.is_empty() {
                    rounds.done(open.remove(0));
                }
                note(rounds.next(now), &mut open)?;
            }
            for _ in 0..400 {
                now += LINGER_MAX;
                if !open.is_empty() {
                    rounds.done(open.remove(0));
                }
                note(rounds.next(now), &mut open)?;
            }
            prop_assert_eq!(seen, (0..pushed).collect::<Vec<_>>());
        }
    }
}
