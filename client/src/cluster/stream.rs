//! The numbers of a partition's groups, as the client gives them: pure values.
//!
//! 1. Each group that writes has a number of the partition's stream, and keeps it until it is settled: it was
//!    answered, or it is given up.
//! 2. The floor is the lowest number that is not settled. A number that is given up is never sent again, and below
//!    the floor nothing is ever applied.
//! 3. No number is given out that is too far above the floor for the partition to take.

use batchkv_protocol::Sequence;
use std::collections::BTreeSet;

/// How far a number may be above the floor: what partitions take, and no group is refused for it.
pub(crate) const NUMBERS_AHEAD_MAX: u64 = 1024;

/// One stream, from its opening on.
#[derive(Debug)]
pub(crate) struct Stream {
    name: u64,
    next: u64,
    unsettled: BTreeSet<u64>,
}

impl Stream {
    /// The stream that was opened under this name.
    pub(crate) fn new(name: u64) -> Self {
        Self {
            name,
            next: 0,
            unsettled: BTreeSet::new(),
        }
    }

    pub(crate) fn name(&self) -> u64 {
        self.name
    }

    /// A number for a new group; `None` while too many are unsettled.
    pub(crate) fn take(&mut self) -> Option<u64> {
        let number = self.next;
        if number - self.floor() >= NUMBERS_AHEAD_MAX {
            return None;
        }
        self.next += 1;
        self.unsettled.insert(number);
        Some(number)
    }

    /// What a group with this number, which is not settled, is sent with now.
    pub(crate) fn sequence(&self, number: u64) -> Sequence {
        Sequence {
            stream: self.name,
            number,
            floor: self.floor(),
        }
    }

    /// The group with this number is not sent again.
    pub(crate) fn settle(&mut self, number: u64) {
        self.unsettled.remove(&number);
    }

    fn floor(&self) -> u64 {
        self.unsettled.first().copied().unwrap_or(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of all numbers that were ever given out.
        #[test]
        fn numbers_are_given_once_and_none_below_the_floor_is_unsettled(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..3000),
        ) {
            let mut stream = Stream::new(7);
            let (mut given, mut unsettled) = (0, Vec::new());
            for (takes, index) in steps {
                if takes {
                    let floor = unsettled.first().copied().unwrap_or(given);
                    let number = stream.take();
                    prop_assert_eq!(number, (given - floor < NUMBERS_AHEAD_MAX).then_some(given));
                    unsettled.extend(number);
                    given += u64::from(number.is_some());
                } else if !unsettled.is_empty() {
                    stream.settle(unsettled.remove(index.index(unsettled.len())));
                }
                for &number in &unsettled {
                    let sequence = stream.sequence(number);
                    prop_assert_eq!((sequence.stream, sequence.floor), (7, unsettled[0]));
                }
            }
        }
    }

    #[test]
    fn a_group_that_is_not_settled_holds_the_window() {
        let mut stream = Stream::new(1);
        assert_eq!(stream.take(), Some(0));
        for number in 1..NUMBERS_AHEAD_MAX {
            assert_eq!(stream.take(), Some(number));
            stream.settle(number);
        }
        assert_eq!(stream.take(), None);
        stream.settle(0);
        assert_eq!(stream.take(), Some(NUMBERS_AHEAD_MAX));
    }
}
