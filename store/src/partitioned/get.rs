//! Gets: lookups that take no lock, and repeat themselves when somebody was faster.

use super::bucket::{self, Slot};
use super::table::{Finding, Lookup};
use super::words::copy_out;
use super::{DISTURBED_MAX, Partitioned};
use batchkv_protocol::{Answer, Answers, Counters, Position};

impl Partitioned {
    #[inline]
    pub(super) fn get<'s>(
        &'s self,
        lookup: &mut Lookup<'s, '_>,
        position: Position,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> bool {
        // Often a put of the same window was here: found out before the value is copied in vain.
        if !lookup.is_current() {
            lookup.search(&self.slab);
        }
        match self.try_get(lookup, position, answers, counters) {
            Some(fits) => fits,
            None => self.get_disturbed(lookup, position, answers, counters),
        }
    }

    /// [`get`](Self::get) where another thread changes the bucket, or a put of the window has split it.
    #[cold]
    fn get_disturbed<'s>(
        &'s self,
        lookup: &mut Lookup<'s, '_>,
        position: Position,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> bool {
        let mut disturbed = 0;
        while disturbed < DISTURBED_MAX {
            lookup.search(&self.slab);
            if matches!(lookup.finding, Finding::Unknown) {
                bucket::wait(&mut disturbed);
            } else if let Some(fits) = self.try_get(lookup, position, answers, counters) {
                return fits;
            } else {
                disturbed += 1;
            }
        }
        let _guard = lookup.lock(&self.slab);
        self.try_get(lookup, position, answers, counters)
            .expect("nobody disturbs the owner of a bucket")
    }

    /// Answers with what the lookup found, if that is still true then; else leaves no trace.
    #[inline(always)]
    fn try_get(
        &self,
        lookup: &Lookup<'_, '_>,
        position: Position,
        answers: &mut impl Answers,
        counters: &mut Counters,
    ) -> Option<bool> {
        let mark = answers.mark();
        let (fits, is_hit) = match lookup.finding {
            Finding::Unknown => return None,
            Finding::Absent => (answers.answer(position, Answer::Missing), false),
            Finding::Present(Slot { locator, .. }) => {
                let room = answers.value(position, locator.value_bytes());
                let fits = room.is_some();
                if let (Some(room), Some(block)) = (room, locator.block()) {
                    let words = self.slab.words(block.unit);
                    copy_out(words.get(lookup.key.block_words()..).unwrap_or(&[]), room);
                }
                (fits, true)
            }
        };
        if !lookup.is_current() {
            answers.rewind(mark);
            return None;
        }
        counters.gets += u64::from(fits);
        if fits && is_hit {
            counters.hits += 1;
            answers.refer(lookup.key.word);
        }
        Some(fits)
    }
}
