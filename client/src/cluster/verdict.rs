//! What is to be done with a unit, when something has come of sending it: pure values.
//!
//! 1. Whatever may have taken effect is sent again with the same number alone. Only what certainly did not is
//!    given another.
//! 2. What came of a unit is known as soon as one sending of it was answered. Refusals that pass, and owners that are
//!    others, are no answers.
//! 3. When the time is over, what may have taken effect is unknown; else the last refusal stands.

use crate::answers::Outcome;
use crate::answers::Reply;
use batchkv_protocol::Refusal;
use batchkv_protocol::map::Ownership;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The reply stands.
    Done,
    /// Send it again as it is; to another owner, where one was named.
    Again(Option<Ownership>),
    /// Send it again with a number of a stream that is opened anew.
    Anew,
    /// Nobody can tell any more whether it has taken effect.
    Unknown,
}

/// What is known of a unit's sendings so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fate {
    /// Whether an earlier one may have taken effect, or may yet.
    pub(crate) may_be_applied: bool,
}

impl Fate {
    /// Takes note of a sending of which nothing came, or not in time.
    pub(crate) fn unanswered(&mut self) {
        self.may_be_applied = true;
    }

    /// What `reply` means.
    pub(crate) fn next(&mut self, reply: &Reply) -> Next {
        for outcome in reply.outcomes() {
            match outcome {
                Outcome::WrongOwner(known) => return Next::Again(Some(known)),
                Outcome::Unknown | Outcome::Refused(Refusal::Unsettled) => {
                    self.unanswered();
                    return Next::Again(None);
                }
                Outcome::Refused(Refusal::StreamExpired | Refusal::Answered) => {
                    return match self.may_be_applied {
                        true => Next::Unknown,
                        false => Next::Anew,
                    };
                }
                Outcome::Refused(reason) if reason.passes() => return Next::Again(None),
                Outcome::NotSent => return Next::Again(None),
                _ => {}
            }
        }
        Next::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchkv_protocol::Answer;
    use proptest::prelude::*;

    const KNOWN: Ownership = Ownership { owner: 1, epoch: 7 };

    /// A reply of three operations that were all answered so, but for the first where it is `first`.
    fn reply(answer: Option<Answer<'static>>, first: Option<Answer<'static>>) -> Reply {
        let mut reply = Reply::with_operations(3);
        for index in 0..3 {
            let answer = if index == 0 { first.or(answer) } else { answer };
            if let Some(answer) = answer {
                reply.take(index, answer);
            }
        }
        reply
    }

    fn any_answer() -> impl Strategy<Value = Option<Answer<'static>>> {
        let reasons = [
            Refusal::OutOfMemory,
            Refusal::NoLeader,
            Refusal::Busy,
            Refusal::Unsettled,
            Refusal::StreamExpired,
            Refusal::Answered,
            Refusal::TooFarAhead,
            Refusal::VersionMismatch { found: 3 },
        ];
        let mut all: Vec<_> = reasons.map(|reason| Some(Answer::Refused(reason))).into();
        all.extend([Some(Answer::Stored), Some(Answer::WrongOwner(KNOWN)), None]);
        prop::sample::select(all)
    }

    proptest! {
        /// Whatever comes in whatever order: what may have taken effect never gets another number, and an answer ends it.
        #[test]
        fn what_may_have_taken_effect_keeps_its_number(answers in prop::collection::vec(any_answer(), 1..20)) {
            let (mut fate, mut doubtful) = (Fate::default(), false);
            for answer in answers {
                let next = fate.next(&reply(answer, None));
                doubtful |= answer == Some(Answer::Refused(Refusal::Unsettled));
                prop_assert_eq!(fate.may_be_applied, doubtful);
                match next {
                    Next::Anew => prop_assert!(!doubtful),
                    Next::Unknown => prop_assert!(doubtful),
                    Next::Again(owner) => prop_assert_eq!(owner.is_some(), answer == Some(Answer::WrongOwner(KNOWN))),
                    Next::Done => {
                        let refusals = [Refusal::OutOfMemory, Refusal::VersionMismatch { found: 3 }];
                        let mut stand = refusals.map(Answer::Refused).to_vec();
                        stand.push(Answer::Stored);
                        prop_assert!(answer.is_some_and(|answer| stand.contains(&answer)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_unit_that_is_answered_in_part_is_not_done() {
        let stored = Some(Answer::Stored);
        assert_eq!(Fate::default().next(&reply(stored, None)), Next::Done);
        let in_part = reply(None, stored);
        assert_eq!(Fate::default().next(&in_part), Next::Again(None));
    }
}
