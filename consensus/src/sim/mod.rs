//! Whole clusters in one thread, on the network in memory and a clock that the test owns. All that is
//! random comes from a seed, so a seed gives a run again:
//!
//! ```text
//! BATCHKV_SEEDS=17..18 cargo test -p batchkv-consensus sim::
//! BATCHKV_SEEDS=0..1000 cargo test --release -p batchkv-consensus sim::seeds
//! ```
//!
//! Clients propose and read while [`schedule`] cuts, crashes, replaces and hands over; [`book`] watches every
//! entry on every member and every answer.

mod book;
mod cases;
mod clients;
mod ledger;
mod schedule;
mod world;

use std::ops::Range;

use world::{Mutant, Run};

/// Seeds of the default run; `BATCHKV_SEEDS=a..b` names others.
fn chosen(default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("BATCHKV_SEEDS") else {
        return default;
    };
    let ends = text.split_once("..").map(|(a, b)| (a.parse(), b.parse()));
    match ends {
        Some((Ok(start), Ok(end))) => start..end,
        _ => panic!("BATCHKV_SEEDS is {text:?}; a range such as 0..100 is wanted"),
    }
}

#[test]
fn seeds_keep_every_promise() {
    for seed in chosen(0..30) {
        if let Err(fault) = world::run(seed, Mutant::None) {
            panic!(
                "seed {seed}: {fault}\nagain: BATCHKV_SEEDS={seed}..{} cargo test -p batchkv-consensus sim::seeds",
                seed + 1
            );
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let once: Run = world::run(7, Mutant::None).expect("a run without faults");
    let again = world::run(7, Mutant::None).expect("a run without faults");
    assert_eq!(once, again);
}

/// How many of the seeds catch a mutant.
fn caught(mutant: Mutant) -> usize {
    (0..30)
        .filter(|seed| world::run(*seed, mutant).is_err())
        .count()
}

#[test]
fn an_answer_before_the_commit_is_caught() {
    let caught = caught(Mutant::EarlyAnswer);
    assert!(caught > 0, "none of the seeds caught it");
}

#[test]
fn a_read_without_a_confirmed_point_is_caught() {
    let caught = caught(Mutant::UnconfirmedRead);
    assert!(caught > 0, "none of the seeds caught it");
}
