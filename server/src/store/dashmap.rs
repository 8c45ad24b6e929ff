//! Temporary.
use super::{Engine, Placed, Usage};
use batchkv_protocol::{Answer, AnswerWriter, Counters, Operation};
/// DashMap.
#[derive(Debug)]
pub struct Dashmap {
    map: dashmap::DashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>,
}
impl Dashmap {
    /// New.
    pub fn new(_max: Option<u64>) -> Self {
        Self {
            map: dashmap::DashMap::default(),
        }
    }
}
impl Engine for Dashmap {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut AnswerWriter<'_>,
        counters: &mut Counters,
    ) -> usize {
        for (i, placed) in window.iter().enumerate() {
            match placed.operation {
                Operation::Get { key } => {
                    match self.map.get(key) {
                        Some(v) => {
                            if !answers.answer(placed.position, Answer::Value(&v)) {
                                return i;
                            }
                            counters.hits += 1;
                        }
                        None => {
                            if !answers.answer(placed.position, Answer::Missing) {
                                return i;
                            }
                        }
                    }
                    counters.gets += 1;
                }
                Operation::Put { key, value } => {
                    if !answers.answer(placed.position, Answer::Stored) {
                        return i;
                    }
                    self.map.insert(key.into(), value.into());
                    counters.puts += 1;
                }
                Operation::Delete { key } => {
                    let mark = answers.mark();
                    if !answers.answer(placed.position, Answer::Deleted { existed: true }) {
                        return i;
                    }
                    if self.map.remove(key).is_none() {
                        answers.rewind(mark);
                        answers.answer(placed.position, Answer::Deleted { existed: false });
                    }
                    counters.deletes += 1;
                }
            }
        }
        window.len()
    }
    fn usage(&self) -> Usage {
        Usage {
            records: self.map.len() as u64,
            memory_bytes: 0,
        }
    }
}
