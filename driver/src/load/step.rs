//! One operation of a request, as the wire knows it.

use batchkv_client::kind::OperationKind;
use batchkv_protocol::Key;
use batchkv_workload::{KeyBuf, KeyStyle};

/// What a step does, and what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum StepKind {
    /// A read.
    Get = 0,
    /// An update.
    Update = 1,
    /// An insert.
    Insert = 2,
    /// The first half of a read-modify-write; it counts when the second is answered.
    ModifyGet = 3,
    /// The second half.
    ModifyPut = 4,
    /// A delete.
    Delete = 5,
    /// A put of the load.
    Load = 6,
}

impl StepKind {
    #[inline]
    pub(crate) fn operation(self) -> OperationKind {
        match self {
            Self::Get | Self::ModifyGet => OperationKind::Get,
            Self::Delete => OperationKind::Delete,
            Self::Update | Self::Insert | Self::ModifyPut | Self::Load => OperationKind::Put,
        }
    }
}

/// One operation on the wire, in sixteen bytes: record (48 bits), partition (12) and kind (4); and the key,
/// so that it is formatted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    packed: u64,
    /// [`KeyBuf::short_word`]; 0 for a longer key.
    key_word: u64,
}

const RECORD_BITS: u32 = 48;
const PARTITION_BITS: u32 = 12;
/// By their numbers; only [`Step::new`] makes steps, so those behind the last never occur. A table, because a
/// match of so many arms becomes a jump that is hard to predict.
const KINDS: [StepKind; 1 << (64 - RECORD_BITS - PARTITION_BITS)] = {
    use StepKind::{Delete, Get, Insert, Load, ModifyGet, ModifyPut, Update};
    let mut kinds = [Load; 16];
    let known = [Get, Update, Insert, ModifyGet, ModifyPut, Delete, Load];
    let mut number = 0;
    while number < known.len() {
        kinds[known[number] as usize] = known[number];
        number += 1;
    }
    kinds
};
const _: () = {
    assert!(batchkv_protocol::limits::PARTITIONS_MAX as u64 <= 1 << PARTITION_BITS);
    assert!(batchkv_workload::spec::RECORDS_MAX < 1 << (RECORD_BITS - 1));
};

impl Step {
    /// A step on `record`, whose `key` lies in `partition`.
    #[inline]
    pub(crate) fn new(kind: StepKind, record: u64, key: &KeyBuf, partition: u32) -> Self {
        debug_assert!(record < 1 << RECORD_BITS);
        Self {
            packed: record
                | u64::from(partition) << RECORD_BITS
                | (kind as u64) << (RECORD_BITS + PARTITION_BITS),
            key_word: key.short_word().unwrap_or(0),
        }
    }

    /// Makes `key` the key of the step's record, which has this `style`.
    #[inline(always)]
    pub(crate) fn set_key(self, style: KeyStyle, key: &mut KeyBuf) {
        match self.key_word {
            0 => key.set(style, self.record()),
            word => key.set_short(word),
        }
    }

    #[inline]
    pub(crate) fn record(self) -> u64 {
        self.packed & ((1 << RECORD_BITS) - 1)
    }

    #[inline]
    pub(crate) fn partition(self) -> u32 {
        (self.packed >> RECORD_BITS) as u32 & ((1 << PARTITION_BITS) - 1)
    }

    /// Whether an operation is complete with this step; the first half of a pair is none of its own.
    #[inline]
    pub(crate) fn is_operation(self) -> bool {
        self.kind() != StepKind::ModifyGet
    }

    #[inline]
    pub(crate) fn kind(self) -> StepKind {
        KINDS[(self.packed >> (RECORD_BITS + PARTITION_BITS)) as usize]
    }
}

/// A step's class when a request is grouped: its partition.
impl From<Step> for u32 {
    #[inline]
    fn from(step: Step) -> Self {
        step.partition()
    }
}

/// The key as the wire takes it.
#[inline(always)]
pub(crate) fn wire_key(key: &KeyBuf) -> Key<'_> {
    let (buffer, key_bytes) = key.padded();
    Key::within(buffer, 0, key_bytes).expect("a key lies within its buffer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_its_parts() {
        let kinds = [
            StepKind::Get,
            StepKind::Update,
            StepKind::Insert,
            StepKind::ModifyGet,
            StepKind::ModifyPut,
            StepKind::Delete,
            StepKind::Load,
        ];
        for kind in kinds {
            for (record, partition) in [
                (0, 0),
                (12_345_678, 1),
                (1 << 41, 4095),
                ((1 << 48) - 1, 17),
            ] {
                for style in [KeyStyle::Decimal, KeyStyle::User] {
                    let key = KeyBuf::new(style, record);
                    let step = Step::new(kind, record, &key, partition);
                    let parts = (step.kind(), step.record(), step.partition());
                    assert_eq!(parts, (kind, record, partition));
                    let mut again = KeyBuf::default();
                    step.set_key(style, &mut again);
                    assert_eq!(again.as_bytes(), key.as_bytes());
                }
            }
        }
    }
}
