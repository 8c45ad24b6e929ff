//! A simulated store with many operations in flight: the stale-read rule must be silent about every
//! linearizable one, and loud about those that lose or delay.

use std::collections::HashMap;

use crate::stale::read_sent;
use batchkv_workload::random::Random;
use batchkv_workload::{Floor, Stamp, Ticket, Witness};

const RUN: u16 = 1;
const WORKERS: usize = 3;
const RECORDS: u64 = 4;
const IN_FLIGHT: usize = 24;
const LOADED: Stamp = Stamp {
    run: RUN,
    writer: 0,
    sequence: 0,
};

/// What a store does with a put or a get.
#[derive(Clone, Copy, PartialEq)]
enum Store {
    Linearizable,
    /// Acknowledges puts and deletes, and does nothing.
    DropsWrites,
    /// One get in 50 answers with the value of 20 writes ago.
    ServesOldValues,
}

enum Ask {
    Put(Stamp, Ticket, Floor),
    Get(Floor),
    Delete(Ticket, Floor),
}

struct InFlight {
    worker: usize,
    record: u64,
    ask: Ask,
    took_effect: bool,
    answer: Option<Stamp>,
    /// The worker has given up waiting; the operation may still take effect.
    abandoned: bool,
}

struct Simulation {
    store: Store,
    random: Random,
    witnesses: Vec<Witness>,
    sequences: [u64; WORKERS],
    /// Every value that each record had, the newest last.
    values: HashMap<u64, Vec<Option<Stamp>>>,
    in_flight: Vec<InFlight>,
    alarms: u64,
}

impl Simulation {
    fn new(store: Store, seed: u64) -> Self {
        Self {
            store,
            random: Random::new(&[seed]),
            witnesses: (0..WORKERS).map(|_| Witness::new(RECORDS)).collect(),
            sequences: [0; WORKERS],
            values: (0..RECORDS)
                .map(|record| (record, vec![Some(LOADED)]))
                .collect(),
            in_flight: Vec::new(),
            alarms: 0,
        }
    }

    fn send(&mut self) {
        let worker = self.random.below(WORKERS as u64) as usize;
        let record = self.random.below(RECORDS);
        let witness = &mut self.witnesses[worker];
        let sequence = self.sequences[worker] + 1;
        let ask = match self.random.below(100) {
            0..40 => {
                let (ticket, floor) = (witness.begin(sequence), witness.write_sent(sequence));
                let stamp = Stamp {
                    run: RUN,
                    writer: worker as u16,
                    sequence,
                };
                Ask::Put(stamp, ticket, floor)
            }
            40..42 => Ask::Delete(witness.begin(sequence), witness.write_sent(sequence)),
            _ => Ask::Get(read_sent(witness, record)),
        };
        self.sequences[worker] = sequence;
        self.in_flight.push(InFlight {
            worker,
            record,
            ask,
            took_effect: false,
            answer: None,
            abandoned: false,
        });
    }

    fn take_effect(&mut self, at: usize) {
        let operation = &mut self.in_flight[at];
        operation.took_effect = true;
        let values = self.values.entry(operation.record).or_default();
        match operation.ask {
            Ask::Put(..) | Ask::Delete(..) if self.store == Store::DropsWrites => {}
            Ask::Put(stamp, ..) => values.push(Some(stamp)),
            Ask::Delete(..) => values.push(None),
            Ask::Get(_) => {
                let old = self.store == Store::ServesOldValues && self.random.below(50) == 0;
                let age = if old { 20 } else { 0 };
                operation.answer = values.iter().rev().nth(age).copied().flatten();
            }
        }
    }

    fn answer(&mut self, at: usize) {
        let operation = self.in_flight.swap_remove(at);
        if operation.abandoned {
            return;
        }
        let witness = &mut self.witnesses[operation.worker];
        match operation.ask {
            Ask::Put(_, ticket, floor) | Ask::Delete(ticket, floor) => {
                witness.write_acknowledged(operation.record, floor);
                witness.end(ticket);
            }
            Ask::Get(floor) => {
                let stamp = operation.answer;
                let writer = operation.worker as u16;
                let wrong = stamp.is_some_and(|stamp| floor.forbids(RUN, writer, stamp));
                self.alarms += u64::from(wrong);
            }
        }
    }

    fn abandon(&mut self, at: usize) {
        self.in_flight[at].abandoned = true;
    }

    fn run(mut self, steps: u32) -> u64 {
        for _ in 0..steps {
            let at = self.random.below(IN_FLIGHT as u64) as usize;
            if at >= self.in_flight.len() {
                self.send();
            } else if self.store == Store::Linearizable && self.random.below(1_000) == 0 {
                self.abandon(at);
            } else if self.in_flight[at].took_effect {
                self.answer(at);
            } else {
                self.take_effect(at);
            }
        }
        self.alarms
    }
}

#[test]
fn a_linearizable_store_raises_no_alarm() {
    for seed in 0..20 {
        assert_eq!(Simulation::new(Store::Linearizable, seed).run(100_000), 0);
    }
}

#[test]
fn a_store_that_drops_writes_raises_alarms() {
    let alarms = Simulation::new(Store::DropsWrites, 1).run(100_000);
    assert!(alarms > 1_000, "{alarms}");
}

#[test]
fn a_store_that_serves_old_values_raises_alarms() {
    let alarms = Simulation::new(Store::ServesOldValues, 1).run(100_000);
    assert!(alarms > 50, "{alarms}");
}
