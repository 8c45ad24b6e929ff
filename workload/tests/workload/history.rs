use batchkv_workload::history::{Action, Event, Violation, check, shortest_violation};
use proptest::prelude::*;

fn event(action: Action, sent: u64, answered: u64) -> Event {
    let answered = Some(answered);
    Event {
        action,
        sent,
        answered,
    }
}

fn write(value: u64, sent: u64, answered: u64) -> Event {
    event(Action::Write(value), sent, answered)
}

fn read(value: u64, sent: u64, answered: u64) -> Event {
    event(Action::Read(Some(value)), sent, answered)
}

fn read_initial(sent: u64, answered: u64) -> Event {
    event(Action::Read(None), sent, answered)
}

fn unknown_write(value: u64, sent: u64) -> Event {
    Event {
        answered: None,
        ..write(value, sent, sent)
    }
}

/// Asserts the verdict on the events in this order and in the opposite one, and brute force's.
fn assert_verdict(history: &[Event], expected: Result<(), Violation>) {
    let expected = expected.map_err(Box::new);
    assert_eq!(check(history), expected);
    let reversed: Vec<Event> = history.iter().rev().copied().collect();
    assert_eq!(check(&reversed), expected);
    assert_eq!(is_linearizable(history), expected.is_ok());
}

/// Tries every order that keeps what is before what.
fn is_linearizable(history: &[Event]) -> bool {
    fn search(state: Option<u64>, rest: &[Event]) -> bool {
        // What was never answered need not have taken effect.
        if rest.iter().all(|event| event.answered.is_none()) {
            return true;
        }
        let first_end = rest.iter().filter_map(|event| event.answered).min();
        (0..rest.len()).any(|next| {
            let event = rest[next];
            let others = [&rest[..next], &rest[next + 1..]].concat();
            let may_be_next = first_end.is_none_or(|end| event.sent <= end);
            may_be_next
                && match event.action {
                    Action::Write(value) => search(Some(value), &others),
                    Action::Read(value) => value == state && search(state, &others),
                }
        })
    }
    search(None, history)
}

#[test]
fn what_follows_in_order_is_linearizable() {
    assert_verdict(&[], Ok(()));
    let history = [
        read_initial(0, 1),
        write(1, 2, 3),
        read(1, 4, 5),
        read(1, 6, 7),
        write(2, 8, 9),
        write(3, 10, 11),
        read(3, 12, 13),
    ];
    assert_verdict(&history, Ok(()));
}

#[test]
fn a_read_beside_a_write_may_return_the_old_value_or_the_new() {
    let beside = |reads: [Event; 2]| [&[write(1, 0, 1), write(2, 10, 30)], &reads[..]].concat();
    for reads in [
        [read(1, 11, 12), read(2, 13, 14)],
        [read(2, 11, 12), read(2, 31, 32)],
        [read(1, 11, 29), read(2, 11, 29)],
        [read(2, 11, 29), read(1, 12, 28)],
    ] {
        assert_verdict(&beside(reads), Ok(()));
    }
}

#[test]
fn writes_beside_each_other_have_the_order_that_reads_give_them() {
    let writes = [write(1, 0, 20), write(2, 5, 15)];
    for reads in [
        [read(1, 21, 22), read(1, 23, 24)],
        [read(2, 21, 22), read(2, 23, 24)],
        [read(1, 6, 7), read(2, 8, 9)],
        [read(2, 6, 7), read(1, 8, 9)],
    ] {
        assert_verdict(&[writes, reads].concat(), Ok(()));
    }
    // A write that nobody read fits wherever no other value was there all the time.
    let unread = [write(1, 0, 1), write(3, 2, 10), read(1, 8, 12)];
    assert_verdict(&unread, Ok(()));
}

#[test]
fn what_touches_has_no_order() {
    assert_verdict(&[write(1, 5, 9), read_initial(9, 10)], Ok(()));
    assert_verdict(&[read(1, 1, 5), write(1, 5, 9)], Ok(()));
    assert_verdict(&[write(1, 3, 3), write(2, 3, 3), read(1, 3, 3)], Ok(()));
}

#[test]
fn a_write_of_unknown_outcome_may_have_taken_effect_at_any_time_or_never() {
    let unknown = unknown_write(9, 10);
    for reads in [
        vec![],
        vec![read(1, 11, 12), read(1, 50, 51)],
        vec![read(9, 11, 12), read(9, 50, 51)],
        vec![read(1, 11, 12), read(1, 50, 51), read(9, 60, 61)],
    ] {
        assert_verdict(&[vec![write(1, 0, 1), unknown], reads].concat(), Ok(()));
    }
    let back = [write(1, 0, 1), unknown, read(9, 20, 21), read(1, 22, 23)];
    let returned = Violation::Returned {
        before: back[0],
        between: back[2],
        after: back[3],
    };
    assert_verdict(&back, Err(returned));
    let (read, write) = (read(9, 8, 9), unknown);
    assert_verdict(
        &[read, write],
        Err(Violation::FromTheFuture { read, write }),
    );
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    let read = read(7, 5, 6);
    let violation = Violation::NeverWritten { read };
    assert_verdict(&[write(1, 0, 1), read], Err(violation));
    let text = "the read of value 7 (sent 5, answered 6) returned what nobody wrote";
    assert_eq!(violation.to_string(), text);
}

#[test]
fn a_read_from_the_future_is_found() {
    let (read, write) = (read(1, 0, 4), write(1, 5, 6));
    let violation = Violation::FromTheFuture { read, write };
    assert_verdict(&[write, read], Err(violation));
    let text = "the read of value 1 (sent 0, answered 4) was over before \
                the write of value 1 (sent 5, answered 6) began";
    assert_eq!(violation.to_string(), text);
}

#[test]
fn a_lost_first_put_is_found() {
    let (replaced, read) = (write(1, 0, 4), read_initial(5, 6));
    let violation = Violation::InitialReturned { replaced, read };
    assert_verdict(&[read_initial(0, 1), replaced, read], Err(violation));
    let text = "the write of value 1 (sent 0, answered 4) was over before \
                the read of the initial value (sent 5, answered 6) began";
    assert_eq!(violation.to_string(), text);
}

#[test]
fn a_lost_put_is_found() {
    let history = [
        write(1, 0, 1),
        read(1, 2, 3),
        write(2, 4, 5),
        read(1, 6, 7),
        write(3, 8, 9),
    ];
    let violation = Violation::Returned {
        before: history[0],
        between: history[2],
        after: history[3],
    };
    assert_verdict(&history, Err(violation));
    let text = "the write of value 1 (sent 0, answered 1) was over before \
                the write of value 2 (sent 4, answered 5) began, which was over before \
                the read of value 1 (sent 6, answered 7) began";
    assert_eq!(violation.to_string(), text);
}

#[test]
fn a_lost_put_is_found_although_another_value_touches_the_one_that_hides_it() {
    let history = [
        write(1, 0, 5),
        write(2, 5, 5),
        write(3, 8, 9),
        read(1, 15, 20),
    ];
    let violation = Violation::Returned {
        before: history[0],
        between: history[2],
        after: history[3],
    };
    assert_verdict(&history, Err(violation));
}

#[test]
fn a_stale_read_is_found_behind_any_number_of_writes() {
    let mut history: Vec<Event> = (1..=1000)
        .map(|n| write(n, 10 * n, 10 * n + 15))
        .chain((1..=1000).map(|n| read(n, 10 * n + 12, 10 * n + 14)))
        .collect();
    assert_eq!(check(&history), Ok(()));
    let stale = read(400, 6000, 6100);
    history.push(stale);
    let violation = *check(&history).unwrap_err();
    let Violation::Returned {
        before,
        between,
        after,
    } = violation
    else {
        panic!("{violation}");
    };
    assert_eq!((before, after), (read(400, 4012, 4014), stale));
    assert!(between.sent > 4014 && between.answered < Some(6000));
}

#[test]
fn a_new_value_before_an_old_one_is_found() {
    // All reads lie beside the write of 2, so no write alone contradicts them.
    let history = [
        write(1, 0, 1),
        write(2, 10, 50),
        read(2, 11, 20),
        read(1, 21, 30),
    ];
    let violation = Violation::Returned {
        before: history[0],
        between: history[2],
        after: history[3],
    };
    assert_verdict(&history, Err(violation));
}

#[test]
fn a_value_that_interrupts_a_later_one_is_found() {
    let history = [
        write(1, 0, 10),
        write(2, 0, 12),
        read(1, 14, 20),
        read(2, 30, 31),
    ];
    let violation = Violation::Returned {
        before: history[1],
        between: history[2],
        after: history[3],
    };
    assert_verdict(&history, Err(violation));
}

#[test]
fn two_values_that_had_to_be_before_each_other_are_found() {
    let history = [
        write(1, 0, 10),
        write(2, 12, 50),
        read(2, 5, 20),
        read(1, 21, 60),
    ];
    let violation = Violation::Crossed {
        a_over: history[0],
        b_begun: history[1],
        b_over: history[2],
        a_begun: history[3],
    };
    assert_verdict(&history, Err(violation));
    let text = "the write of value 1 (sent 0, answered 10) was over before \
                the write of value 2 (sent 12, answered 50) began, and \
                the read of value 2 (sent 5, answered 20) was over before \
                the read of value 1 (sent 21, answered 60) began";
    assert_eq!(violation.to_string(), text);
}

#[test]
fn a_value_written_twice_cannot_be_judged() {
    let history = [write(1, 0, 1), write(1, 2, 3)];
    let (first, second) = (history[0], history[1]);
    let expected = Violation::WrittenTwice { first, second };
    assert_eq!(check(&history), Err(Box::new(expected)));
}

/// An operation on a simulated atomic register.
#[derive(Clone, Debug)]
struct Step {
    is_write: bool,
    /// A write that is never answered; whether it takes effect.
    unknown: Option<bool>,
    /// Time since the previous step took effect.
    gap: u64,
    /// Time between its sending and its effect, and from there to its answer.
    before: u64,
    after: u64,
}

fn steps(events_max: usize, time_max: u64) -> impl Strategy<Value = Vec<Step>> {
    let step = (
        any::<bool>(),
        prop::option::weighted(0.1, any::<bool>()),
        (0..4_u64, 0..=time_max, 0..=time_max),
    );
    let step = step.prop_map(|(is_write, unknown, (gap, before, after))| Step {
        is_write,
        unknown,
        gap,
        before,
        after,
    });
    prop::collection::vec(step, 0..=events_max)
}

/// What the register's clients see: linearizable by construction.
fn simulate(steps: &[Step]) -> Vec<Event> {
    let mut now = 100;
    let mut state = None;
    let mut history = Vec::new();
    for (number, step) in (1..).zip(steps) {
        now += step.gap;
        let value = number ^ 5; // the values' order is not that of the writes
        let action = match step.is_write {
            true => Action::Write(value),
            false => Action::Read(state),
        };
        let mut event = event(action, now - step.before, now + step.after);
        if step.is_write {
            if step.unknown.is_some() {
                event.answered = None;
            }
            if step.unknown != Some(false) {
                state = Some(value);
            }
        }
        history.push(event);
    }
    history
}

/// A change to one event of a history: another value read, other instants.
#[derive(Clone, Debug)]
struct Mutation {
    event: prop::sample::Index,
    value: Option<u64>,
    later: u64,
    longer: u64,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let value = prop::option::of(0..=7_u64);
    (any::<prop::sample::Index>(), value, 0..20_u64, 0..8_u64).prop_map(
        |(event, value, later, longer)| Mutation {
            event,
            value,
            later,
            longer,
        },
    )
}

fn mutate(history: &mut [Event], mutation: &Mutation) {
    if history.is_empty() {
        return;
    }
    let event = mutation.event.get_mut(history);
    if let Action::Read(value) = &mut event.action {
        *value = mutation.value;
    }
    let length = event.answered.map(|answered| answered - event.sent);
    event.sent = event.sent + mutation.later - 10;
    event.answered = length.map(|length| event.sent + (length + mutation.longer).saturating_sub(4));
}

/// Up to seven events without any order behind them.
fn small_histories() -> impl Strategy<Value = Vec<Event>> {
    let event = (
        prop::option::weighted(0.6, prop::option::weighted(0.8, 1..=4_u64)),
        0..10_u64,
        prop::option::weighted(0.9, 0..6_u64),
    );
    prop::collection::vec(event, 0..=7).prop_map(|events| {
        let to_event = |(number, (read, sent, length)): (u64, (_, u64, Option<u64>))| Event {
            action: match read {
                Some(value) => Action::Read(value),
                None => Action::Write(number),
            },
            sent,
            answered: match read {
                Some(_) => Some(sent + length.unwrap_or(9)),
                None => length.map(|length| sent + length),
            },
        };
        let (reads, writes): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| event.0.is_some());
        (1..)
            .zip(writes)
            .chain((0..).zip(reads))
            .map(to_event)
            .collect()
    })
}

/// Compares the checker with brute force, and looks whether its explanation explains.
fn compare(history: &[Event]) -> Result<(), TestCaseError> {
    let verdict = check(history);
    prop_assert_eq!(verdict.is_ok(), is_linearizable(history), "{:?}", verdict);
    let shown = shortest_violation(history);
    prop_assert_eq!(shown.is_empty(), verdict.is_ok());
    prop_assert!(shown.iter().all(|event| history.contains(event)));
    if let Err(violation) = verdict {
        prop_assert!(!is_linearizable(&shown), "{} is not shown", violation);
    }
    Ok(())
}

#[test]
fn a_violation_is_shown_by_as_few_events_as_can_be() {
    // Of a hundred writes and their reads one read is stale: its write, the next one, and itself.
    let mut history: Vec<Event> = (0..100)
        .flat_map(|k| {
            [
                write(k, 10 * k, 10 * k + 2),
                read(k, 10 * k + 4, 10 * k + 6),
            ]
        })
        .collect();
    assert_eq!(shortest_violation(&history), []);
    history.push(read(41, 423, 424));
    let shown = [write(41, 410, 412), write(42, 420, 422), read(41, 423, 424)];
    assert_eq!(shortest_violation(&history), shown);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn an_atomic_register_raises_no_alarm(steps in steps(60, 30)) {
        prop_assert_eq!(check(&simulate(&steps)), Ok(()));
    }

    #[test]
    fn changed_histories_get_the_verdict_of_brute_force(
        steps in steps(7, 6),
        mutations in prop::collection::vec(mutation(), 1..=3),
    ) {
        let mut history = simulate(&steps);
        for mutation in &mutations {
            mutate(&mut history, mutation);
        }
        compare(&history)?;
    }

    #[test]
    fn any_history_gets_the_verdict_of_brute_force(history in small_histories()) {
        compare(&history)?;
    }
}
