//! A number that tells whether two runs asked for the same.

use crate::hash;
use crate::inserts::Inserts;
use crate::keys::KeyBuf;
use crate::load::LoadOrder;
use crate::mix::Kind;
use crate::share::{Share, ShareError};
use crate::spec::Spec;
use crate::stream::{Identity, Phase, Stream};
use crate::values::Stamp;

/// Operations of each stream, and records of the load, that count.
const OPERATIONS: usize = 64;

/// The fingerprint of what client `client` of `clients` does with `tasks` tasks: a hash of the first
/// operations of every task's measured stream and of the client's load, with their keys and value
/// lengths. The same on every machine and with any number of workers.
///
/// # Errors
/// When `client` is not below `clients`.
pub fn fingerprint(
    spec: &Spec,
    seed: u64,
    client: u32,
    clients: u32,
    tasks: u32,
) -> Result<u64, ShareError> {
    let share = Share::new(client, clients, 0, 1)?;
    let mut sum = hash::words(&[spec.records(), u64::from(clients), u64::from(tasks)]);
    let mut add = |kind: u64, record: u64, sequence: u64| {
        let stamp = Stamp {
            run: 0,
            writer: share.writer(),
            sequence,
        };
        let key = KeyBuf::new(spec.key_style(), record);
        let value_bytes = spec.value_sizes().bytes(record, stamp) as u64;
        sum = hash::words(&[sum, kind, record, hash::key(key.as_bytes()), value_bytes]);
    };
    for record in LoadOrder::new(spec.records(), share).take(OPERATIONS) {
        add(Kind::ALL.len() as u64, record, 0);
    }
    for task in 0..tasks {
        let identity = Identity {
            seed,
            client,
            task,
            phase: Phase::Run,
        };
        let mut stream = Stream::new(spec, identity);
        let mut inserts = Inserts::new(spec.records(), share);
        for sequence in 1..=OPERATIONS as u64 {
            let operation = stream.next(&mut inserts);
            add(operation.kind as u64, operation.record, sequence);
        }
    }
    Ok(sum)
}
