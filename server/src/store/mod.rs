//! Engines.
use batchkv_protocol::{AnswerWriter, Counters, Operation, Position};
/// Operations that an engine is handed at once.
pub const WINDOW_OPERATIONS: usize = 64;
/// One operation of a window and where it stands in its request.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Which operation of its request it is.
    pub position: Position,
    /// The partition that its key belongs to.
    pub partition: u32,
    /// What to do.
    pub operation: Operation<'a>,
}
/// What an engine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records.
    pub records: u64,
    /// Bytes of slabs and tables.
    pub memory_bytes: u64,
}
/// A store of keys and values.
pub trait Engine: Send + Sync + 'static {
    /// Applies.
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut AnswerWriter<'_>,
        counters: &mut Counters,
    ) -> usize;
    /// Usage.
    fn usage(&self) -> Usage;
}
mod dashmap;
pub use dashmap::Dashmap;
/// Temporary.
#[derive(Debug)]
pub struct Partitioned(Dashmap);
impl Partitioned {
    /// New.
    pub fn new(_p: u32, max: Option<u64>) -> Self {
        Self(Dashmap::new(max))
    }
}
impl Engine for Partitioned {
    fn apply(
        &self,
        window: &[Placed<'_>],
        answers: &mut AnswerWriter<'_>,
        counters: &mut Counters,
    ) -> usize {
        self.0.apply(window, answers, counters)
    }
    fn usage(&self) -> Usage {
        self.0.usage()
    }
}
