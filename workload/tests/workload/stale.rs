use batchkv_workload::stale::SAMPLE_ONE_IN;
use batchkv_workload::{Floor, StaleRead, Stamp, Witness};

const ME: u16 = 3;
const RUN: u16 = 9;
const RECORD: u64 = 17;

fn witness() -> Witness {
    Witness::new(RUN, ME)
}

fn mine(sequence: u64) -> Option<Stamp> {
    Some(Stamp {
        run: RUN,
        writer: ME,
        sequence,
    })
}

const LOADED: Option<Stamp> = Some(Stamp {
    run: RUN,
    writer: 0,
    sequence: 0,
});

fn write(witness: &mut Witness, sequence: u64) {
    witness.write_sent(RECORD, sequence);
    witness.write_acknowledged(RECORD, sequence);
}

fn read(witness: &Witness, floor: Floor, stamp: Option<Stamp>) -> bool {
    witness.read_answered(RECORD, floor, stamp).is_ok()
}

#[test]
fn a_lost_put_is_found() {
    let mut witness = witness();
    let before = witness.read_sent(RECORD);
    witness.write_sent(RECORD, 5);
    let between = witness.read_sent(RECORD);
    witness.write_acknowledged(RECORD, 5);
    let after = witness.read_sent(RECORD);
    assert!(read(&witness, before, LOADED) && read(&witness, between, LOADED));
    assert!(read(&witness, after, mine(5)) && read(&witness, after, None));
    let error = witness.read_answered(RECORD, after, LOADED);
    assert_eq!(
        error,
        Err(StaleRead {
            record: RECORD,
            sequence: 0
        })
    );
}

#[test]
fn an_overwritten_value_that_returns_is_found() {
    let mut witness = witness();
    write(&mut witness, 1);
    write(&mut witness, 2);
    let floor = witness.read_sent(RECORD);
    assert!(!read(&witness, floor, mine(1)));
    assert!(read(&witness, floor, mine(2)));
}

#[test]
fn writes_that_overlap_have_no_order() {
    let mut witness = witness();
    witness.write_sent(RECORD, 1);
    witness.write_sent(RECORD, 2);
    witness.write_acknowledged(RECORD, 2);
    witness.write_acknowledged(RECORD, 1);
    let floor = witness.read_sent(RECORD);
    assert!(read(&witness, floor, mine(1)) && read(&witness, floor, mine(2)));
    write(&mut witness, 3);
    let floor = witness.read_sent(RECORD);
    assert!(!read(&witness, floor, mine(1)) && !read(&witness, floor, mine(2)));
}

#[test]
fn a_read_is_judged_by_what_was_known_when_it_was_sent() {
    let mut witness = witness();
    write(&mut witness, 1);
    let floor = witness.read_sent(RECORD);
    write(&mut witness, 2);
    assert!(read(&witness, floor, mine(1)) && read(&witness, floor, mine(2)));
}

#[test]
fn other_writers_and_runs_are_not_judged() {
    let mut witness = witness();
    write(&mut witness, 1);
    write(&mut witness, 2);
    let floor = witness.read_sent(RECORD);
    for stamp in [
        Stamp {
            run: RUN,
            writer: ME + 1,
            sequence: 1,
        },
        Stamp {
            run: RUN + 1,
            writer: ME,
            sequence: 1,
        },
    ] {
        assert!(read(&witness, floor, Some(stamp)));
    }
}

#[test]
fn deletes_and_unknown_outcomes_reset() {
    let mut witness = witness();
    write(&mut witness, 1);
    witness.write_sent(RECORD, 2);
    witness.forget(RECORD);
    let floor = witness.read_sent(RECORD);
    assert!(read(&witness, floor, mine(1)) && read(&witness, floor, LOADED));
    // Write 2 may still be under way, and land after these.
    write(&mut witness, 3);
    write(&mut witness, 4);
    let floor = witness.read_sent(RECORD);
    assert!(read(&witness, floor, mine(2)) && read(&witness, floor, mine(4)));
    assert!(!read(&witness, floor, mine(3)) && !read(&witness, floor, LOADED));
    witness.write_acknowledged(RECORD, 2);
    assert_eq!(floor, witness.read_sent(RECORD));
}

#[test]
fn one_record_in_64_is_sampled() {
    let sampled = (0..1_000_000).filter(|&r| Witness::is_sampled(r)).count();
    let expected = 1_000_000 / SAMPLE_ONE_IN as usize;
    assert!(sampled.abs_diff(expected) < expected / 20, "{sampled}");
}
