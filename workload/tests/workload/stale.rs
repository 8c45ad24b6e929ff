use batchkv_workload::{Floor, Stamp, Witness};

const ME: u16 = 3;
const RUN: u16 = 9;
const RECORD: u64 = 17;

fn mine(sequence: u64) -> Stamp {
    Stamp {
        run: RUN,
        writer: ME,
        sequence,
    }
}

const LOADED: Stamp = Stamp {
    run: RUN,
    writer: 0,
    sequence: 0,
};

/// Witnesses of few and of many records.
fn both(test: impl Fn(Witness)) {
    [100, 1 << 40].map(Witness::new).into_iter().for_each(test);
}

/// What a get that is sent now may not return.
pub(crate) fn read_sent(witness: &Witness, record: u64) -> Floor {
    let mut floors = Vec::new();
    witness.reads_sent(std::iter::once(record), &mut floors);
    floors[0]
}

fn write(witness: &mut Witness, sequence: u64) {
    let ticket = witness.begin(sequence);
    let floor = witness.write_sent(sequence);
    witness.write_acknowledged(RECORD, floor);
    witness.end(ticket);
}

fn allows(floor: Floor, stamp: Stamp) -> bool {
    !floor.forbids(RUN, ME, stamp)
}

#[test]
fn a_lost_put_is_found() {
    both(|mut witness| {
        let before = read_sent(&witness, RECORD);
        let ticket = witness.begin(5);
        let sent = witness.write_sent(5);
        let between = read_sent(&witness, RECORD);
        witness.write_acknowledged(RECORD, sent);
        witness.end(ticket);
        let after = read_sent(&witness, RECORD);
        assert!(allows(before, LOADED) && allows(between, LOADED));
        assert!(allows(after, mine(5)) && !allows(after, LOADED));
        assert!(after.is_known() && !before.is_known());
        assert!(!read_sent(&witness, RECORD + 1).is_known());
    });
}

#[test]
fn an_overwritten_value_that_returns_is_found() {
    both(|mut witness| {
        write(&mut witness, 1);
        write(&mut witness, 2);
        let floor = read_sent(&witness, RECORD);
        assert!(!allows(floor, mine(1)));
        assert!(allows(floor, mine(2)));
    });
}

#[test]
fn writes_that_overlap_have_no_order() {
    both(|mut witness| {
        let tickets = [1, 2].map(|sequence| witness.begin(sequence));
        let sent = [1, 2].map(|sequence| witness.write_sent(sequence));
        for at in [1, 0] {
            witness.write_acknowledged(RECORD, sent[at]);
            witness.end(tickets[at]);
        }
        let floor = read_sent(&witness, RECORD);
        assert!(allows(floor, mine(1)) && allows(floor, mine(2)) && !allows(floor, LOADED));
        write(&mut witness, 3);
        let floor = read_sent(&witness, RECORD);
        assert!(!allows(floor, mine(1)) && !allows(floor, mine(2)));
    });
}

#[test]
fn a_read_is_judged_by_what_was_known_when_it_was_sent() {
    let mut witness = Witness::new(100);
    write(&mut witness, 1);
    let floor = read_sent(&witness, RECORD);
    write(&mut witness, 2);
    assert!(allows(floor, mine(1)) && allows(floor, mine(2)));
}

#[test]
fn other_writers_are_not_judged_and_other_runs_are() {
    let mut witness = Witness::new(100);
    let other = |run, writer| Stamp {
        run,
        writer,
        sequence: 1,
    };
    let floor = read_sent(&witness, RECORD);
    assert!(allows(floor, other(RUN + 1, ME)));
    write(&mut witness, 1);
    write(&mut witness, 2);
    let floor = read_sent(&witness, RECORD);
    assert!(allows(floor, other(RUN, ME + 1)));
    // What was there before this run was overwritten.
    assert!(!allows(floor, other(RUN + 1, ME)) && !allows(floor, other(RUN + 1, ME + 1)));
}

#[test]
fn requests_that_never_end_hold_the_rule_back() {
    let mut witness = Witness::new(100);
    write(&mut witness, 1);
    // Nobody knows what became of it: it may land at any time.
    witness.begin(2);
    witness.write_sent(2);
    write(&mut witness, 3);
    write(&mut witness, 4);
    let floor = read_sent(&witness, RECORD);
    assert!(
        [2, 3, 4]
            .into_iter()
            .all(|sequence| allows(floor, mine(sequence)))
    );
    assert!(!allows(floor, mine(1)) && !allows(floor, LOADED));
}

#[test]
fn records_that_were_inserted_are_watched_too() {
    let mut witness = Witness::new(10);
    write(&mut witness, 1);
    assert!(!allows(read_sent(&witness, RECORD), LOADED));
    assert_eq!(witness.written(10), (1, vec![RECORD]));
}

#[test]
fn what_was_written_can_be_sampled() {
    let mut witness = Witness::new(1000);
    let ticket = witness.begin(1);
    for record in 0..100 {
        let floor = witness.write_sent(record + 1);
        witness.write_acknowledged(record, floor);
    }
    witness.end(ticket);
    assert_eq!(witness.written(1000).1, (0..100).collect::<Vec<_>>());
    let (all, some) = witness.written(30);
    assert!(all == 100 && (20..=30).contains(&some.len()), "{some:?}");
}
