//! What each part of the keys should get of a workload's operations, by the chooser's own
//! probabilities: nothing is drawn.

use crate::inserts::Inserts;
use crate::keys::KeyBuf;
use crate::mix::Kind;
use crate::share::Share;
use crate::spec::Spec;

/// Ranks that are looked at one by one, the hottest first, and keys that stand for all others.
const RANKS_MAX: u64 = 1 << 20;

/// The share of all operations, 0 to 1, that goes to each of `parts` parts of the keys; `part_of`
/// gives a key's part, below `parts`. `None` where the shares change during the run: the chooser
/// `latest` beside inserts.
///
/// Exact without inserts and up to 2^20 ranks. Inserted records and colder ranks, no one of which
/// matters, count as spread like the keys of the first 2^20 records: off by 0.1 percentage points at
/// most.
pub fn expected_shares(
    spec: &Spec,
    parts: usize,
    part_of: impl Fn(&[u8]) -> usize,
) -> Option<Vec<f64>> {
    let chooser = spec.tables();
    let inserting = spec.mix().share(Kind::Insert);
    if chooser.follows_inserts() && inserting > 0.0 {
        return None;
    }
    let part = |record| part_of(KeyBuf::new(spec.key_style(), record).as_bytes());
    let alone = Share::new(0, 1, 0, 1).expect("worker 0 of client 0 of 1");
    let inserts = Inserts::new(spec.records(), alone);
    let ranks = chooser.ranks().len().min(RANKS_MAX);
    let mut shares = vec![0.0; parts];
    for rank in 0..ranks {
        let drawn = (1.0 - inserting) * chooser.ranks().probability(rank);
        shares[part(chooser.record(rank, &inserts))] += drawn;
    }
    let rest = 1.0 - shares.iter().sum::<f64>();
    // Less is what rounding leaves.
    if rest > 1e-6 {
        let mut keys = vec![0_u32; parts];
        (0..RANKS_MAX).for_each(|record| keys[part(record)] += 1);
        for (share, keys) in shares.iter_mut().zip(keys) {
            *share += rest * f64::from(keys) / RANKS_MAX as f64;
        }
    }
    Some(shares)
}
