//! The bytes of proposals: golden, round trips, cuts and flips; and what of a group is proposed.

use batchkv_cluster::limits::{KEY_BYTES_MAX, PROPOSAL_BYTES_MAX, VALUE_BYTES_MAX};
use batchkv_cluster::{Malformed, Proposal, Sequence, Write, WriteSet};
use batchkv_protocol::Operation;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use std::collections::BTreeMap;

/// Kind, key, value and version.
type Owned = (u8, Vec<u8>, Vec<u8>, u64);

fn borrowed((kind, key, value, version): &Owned) -> Write<'_> {
    match kind % 4 {
        0 => Write::Put { key, value },
        1 => Write::Delete { key },
        2 => Write::PutIf {
            key,
            value,
            version: *version,
        },
        _ => Write::Get { key },
    }
}

fn write() -> impl Strategy<Value = Owned> {
    (
        any::<u8>(),
        vec(any::<u8>(), 1..40),
        vec(any::<u8>(), 0..300),
        any::<u64>(),
    )
}

fn sequence() -> impl Strategy<Value = Sequence> {
    any::<[u64; 3]>().prop_map(|[stream, number, floor]| Sequence {
        stream,
        number,
        floor,
    })
}

#[test]
fn golden_bytes() {
    assert_eq!(Proposal::OpenStream.encode().unwrap(), [1, 0]);
    let proposal = Proposal::Writes {
        sequence: Some(Sequence {
            stream: 300,
            number: 5,
            floor: 4,
        }),
        writes: vec![
            Write::Get { key: b"a" },
            Write::Put {
                key: b"a",
                value: b"xy",
            },
            Write::Delete { key: b"bc" },
            Write::PutIf {
                key: b"d",
                value: b"",
                version: 70_000,
            },
        ],
    };
    let expected = [
        &[1, 1, 1, 251, 0x2C, 1, 5, 4, 4][..],
        &[3, 1, b'a'],
        &[0, 1, b'a', 2, b'x', b'y'],
        &[1, 2, b'b', b'c'],
        &[2, 1, b'd', 0, 252, 0x70, 0x11, 1, 0],
    ]
    .concat();
    assert_eq!(proposal.encode().unwrap(), expected);
    assert_eq!(Proposal::decode(&expected).unwrap(), proposal);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_encoded_comes_back_and_nothing_shorter_or_longer_does(
        sequence in option::of(sequence()),
        writes in vec(write(), 1..20),
        cut in any::<usize>(),
    ) {
        let writes = writes.iter().map(borrowed).collect();
        let proposal = Proposal::Writes { sequence, writes };
        let mut bytes = proposal.encode().unwrap();
        prop_assert_eq!(&Proposal::decode(&bytes).unwrap(), &proposal);
        assert!(Proposal::decode(&bytes[..cut % bytes.len()]).is_err());
        bytes.push(0);
        assert!(Proposal::decode(&bytes).is_err());
    }

    #[test]
    fn flipped_bits_give_an_error_or_a_proposal(
        writes in vec(write(), 1..6),
        flips in vec(any::<(usize, u8)>(), 1..4),
    ) {
        let writes = writes.iter().map(borrowed).collect();
        let mut bytes = Proposal::Writes { sequence: None, writes }.encode().unwrap();
        for (at, bits) in flips {
            let at = at % bytes.len();
            bytes[at] ^= bits;
        }
        if let Ok(proposal) = Proposal::decode(&bytes) {
            let again = proposal.encode().unwrap();
            prop_assert_eq!(Proposal::decode(&again).unwrap(), proposal);
        }
    }

    /// A group is executed twice: in one go, and as a cluster does it, first its write set and then
    /// the gets that were left behind.
    #[test]
    fn gets_read_the_same_beside_the_write_set_as_within_their_group(
        group in vec((0..3u8, 0..6u8), 1..40)
    ) {
        let keys: Vec<[u8; 1]> = group.iter().map(|(_, key)| [*key]).collect();
        let values: Vec<[u8; 1]> = (0..group.len()).map(|at| [at as u8]).collect();
        let operations: Vec<Operation<'_>> = (0..group.len())
            .map(|at| {
                let key = (&keys[at]).into();
                match group[at].0 {
                    0 => Operation::Get { key },
                    1 => Operation::Put { key, value: &values[at] },
                    _ => Operation::Delete { key },
                }
            })
            .collect();

        let mut state = BTreeMap::new();
        let expected: Vec<_> = operations.iter().map(|one| execute(&mut state, *one)).collect();

        let set = WriteSet::of(&operations);
        let mut state = BTreeMap::new();
        let mut found = vec![None; operations.len()];
        for position in &set.positions {
            let at = usize::from(*position);
            assert_eq!(set.writes[set.positions.binary_search(position).unwrap()].key(), operations[at].key().bytes());
            found[at] = Some(execute(&mut state, operations[at]));
        }
        for (at, answer) in found.iter_mut().enumerate() {
            let is_get = matches!(operations[at], Operation::Get { .. });
            assert!(is_get || answer.is_some(), "a write was left behind");
            answer.get_or_insert_with(|| execute(&mut state, operations[at]));
        }
        let found: Vec<_> = found.into_iter().flatten().collect();
        prop_assert_eq!(found, expected);
    }
}

fn execute<'a>(
    state: &mut BTreeMap<&'a [u8], &'a [u8]>,
    operation: Operation<'a>,
) -> Option<&'a [u8]> {
    let key = operation.key().bytes();
    match operation {
        Operation::Get { .. } => state.get(key).copied(),
        Operation::Put { value, .. } => state.insert(key, value).and(None),
        Operation::Delete { .. } => state.remove(key),
    }
}

#[test]
fn a_group_that_only_reads_proposes_nothing() {
    let get = Operation::Get { key: b"a".into() };
    assert_eq!(WriteSet::of(&[get, get]), WriteSet::default());
}

#[test]
fn limits_are_kept_at_both_ends() {
    let key = vec![0; KEY_BYTES_MAX];
    let value = vec![0; VALUE_BYTES_MAX];
    let one = |write| Proposal::Writes {
        sequence: None,
        writes: vec![write],
    };
    let longest = one(Write::Put {
        key: &key,
        value: &value,
    });
    assert_eq!(
        Proposal::decode(&longest.encode().unwrap()).unwrap(),
        longest
    );

    let too_long = vec![0; KEY_BYTES_MAX + 1];
    let no_writes = Proposal::Writes {
        sequence: None,
        writes: vec![],
    };
    for proposal in [
        one(Write::Delete { key: &too_long }),
        one(Write::Delete { key: &[] }),
        no_writes,
    ] {
        assert!(matches!(
            proposal.encode(),
            Err(Malformed::OutOfRange { .. })
        ));
    }
    let put = Write::Put {
        key: &key,
        value: &value,
    };
    let too_much = Proposal::Writes {
        sequence: None,
        writes: vec![put, put],
    };
    assert!(too_much.encode().is_err());

    let empty_key = [1, 1, 0, 1, 1, 0];
    assert!(matches!(
        Proposal::decode(&empty_key),
        Err(Malformed::OutOfRange { .. })
    ));
    let bytes = vec![1; PROPOSAL_BYTES_MAX + 1];
    assert!(Proposal::decode(&bytes).is_err());
    assert!(matches!(
        Proposal::decode(&[2, 0]),
        Err(Malformed::Format { found: Some(2), .. })
    ));
}
