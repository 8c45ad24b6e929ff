//! Whether what happened to one key can have happened to an atomic register: the linearizability
//! checker.
//!
//! A history is the reads and writes of one key, each with the instant before it was sent and the
//! instant after its answer came, and every write with a value of its own. It is linearizable if each
//! event can be given one point between its two instants, such that every read returns what the last
//! write before it wrote. Event x is *before* event y if x's answer is earlier than y's sending;
//! what overlaps or touches has no order, so that a coarse clock misses alarms and makes none.
//!
//! Since values are unique, the events of one value, its write and all reads of it, have to stand
//! together in any such order. Whether they can is decided in O(n log n) by the zones of P. B.
//! Gibbons and E. Korach, "Testing Shared Memories", SIAM Journal on Computing 26 (4), 1997. A value's
//! zone lies between the earliest end of its events (`first_end`) and their latest start
//! (`last_start`):
//!
//! ```text
//! forward: first_end < last_start        backward: last_start <= first_end
//!   write |---|                             write |------------|
//!   read            |---|                   read         |-----------|
//!             [=====]                                    [=====]
//!    it was there all the time             it was there at some instant of its write
//! ```
//!
//! The history is linearizable if and only if
//!
//! 1. every value read was written, by a write that is not behind the read, or is the initial one;
//! 2. no two forward zones overlap;
//! 3. no backward zone lies strictly inside a forward one.
//!
//! For values A and B, one event of A is before one of B exactly if A's `first_end` is less than B's
//! `last_start`; 2 and 3 together say that this never holds both ways. Longer cycles need no look:
//! in each, the value with the latest start contradicts the value behind it.
//!
//! What is special: the initial value (loaded, or none) was written before everything. A write of
//! unknown outcome never ends; it may have taken effect at any time, or not at all. Writes that were
//! certainly not applied are left out of the history. Keys with deletes are not supported: "missing"
//! would be a value that is written many times.

use std::fmt;

use thiserror::Error;

/// What an event did. A write's value is written by no other write of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wrote this value.
    Write(u64),
    /// Returned the value of this write; `None` = the initial value.
    Read(Option<u64>),
}

/// A read or write of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it did.
    pub action: Action,
    /// An instant before it was sent, in any unit of a clock that all events share.
    pub sent: u64,
    /// An instant after its answer came, not below `sent`; `None` = no answer came: a write of
    /// unknown outcome.
    pub answered: Option<u64>,
}

impl Event {
    fn value(&self) -> Option<u64> {
        match self.action {
            Action::Write(value) => Some(value),
            Action::Read(value) => value,
        }
    }

    fn is_read(&self) -> bool {
        matches!(self.action, Action::Read(_))
    }

    fn end(&self) -> u64 {
        self.answered.unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Write(value) => write!(f, "the write of value {value}")?,
            Action::Read(Some(value)) => write!(f, "the read of value {value}")?,
            Action::Read(None) => write!(f, "the read of the initial value")?,
        }
        match self.answered {
            Some(answered) => write!(f, " (sent {}, answered {answered})", self.sent),
            None => write!(f, " (sent {}, not answered)", self.sent),
        }
    }
}

/// Why a history is not linearizable: the fewest events, of the values looked at, that contradict
/// each other. All of one value's events have to stand together, because it was written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A read returned what no write of the history wrote.
    #[error("{read} returned what nobody wrote")]
    NeverWritten {
        /// The read.
        read: Event,
    },
    /// A read returned a value before it was written.
    #[error("{read} was over before {write} began")]
    FromTheFuture {
        /// The read.
        read: Event,
        /// The write of its value.
        write: Event,
    },
    /// The initial value was read after another one had been written.
    #[error("{replaced} was over before {read} began")]
    InitialReturned {
        /// Shows that another value had been written.
        replaced: Event,
        /// The read of the initial value.
        read: Event,
    },
    /// A value was there, then another one, then the first again.
    #[error("{before} was over before {between} began, which was over before {after} began")]
    Returned {
        /// An event of a value.
        before: Event,
        /// An event of another value.
        between: Event,
        /// An event of the first value again.
        after: Event,
    },
    /// Two values had to be there before each other.
    #[error(
        "{a_over} was over before {b_begun} began, and {b_over} was over before {a_begun} began"
    )]
    Crossed {
        /// An event of value A.
        a_over: Event,
        /// A later event of value B.
        b_begun: Event,
        /// Another event of value B.
        b_over: Event,
        /// A later event of value A.
        a_begun: Event,
    },
    /// Two writes of the same value: such a history cannot be judged.
    #[error("{first} and {second} wrote the same: each write needs a value of its own")]
    WrittenTwice {
        /// One write.
        first: Event,
        /// The other.
        second: Event,
    },
}

impl Violation {
    /// The events that contradict each other.
    pub fn events(&self) -> Vec<Event> {
        match *self {
            Self::NeverWritten { read } => vec![read],
            Self::FromTheFuture { read, write } => vec![read, write],
            Self::InitialReturned { replaced, read } => vec![replaced, read],
            Self::Returned {
                before,
                between,
                after,
            } => vec![before, between, after],
            Self::Crossed {
                a_over,
                b_begun,
                b_over,
                a_begun,
            } => vec![a_over, b_begun, b_over, a_begun],
            Self::WrittenTwice { first, second } => vec![first, second],
        }
    }

    /// These events and the writes of their values: a history that shows the violation by itself.
    fn shown_by(&self, history: &[Event]) -> Vec<Event> {
        let mut events = self.events();
        let values: Vec<_> = events.iter().map(Event::value).collect();
        let of_them = |event: &&Event| !event.is_read() && values.contains(&event.value());
        for write in history.iter().filter(of_them) {
            if !events.contains(write) {
                events.push(*write);
            }
        }
        events
    }
}

/// The events of one value, and between which instants they put it.
struct Zone<'a> {
    /// Never empty.
    events: &'a [Event],
    /// The earliest end; `None` = before everything: the end of the initial value's write.
    first_end: Option<u64>,
    /// The latest start.
    last_start: u64,
}

impl<'a> Zone<'a> {
    /// The zone of one value's events, its write in front, if each read can be of that write.
    fn new(events: &'a [Event]) -> Result<Self, Box<Violation>> {
        let zone = |first_end| Zone {
            events,
            first_end,
            last_start: latest_start(events).sent,
        };
        if events[0].value().is_none() {
            return Ok(zone(None));
        }
        let (write, others) = (events[0], &events[1..]);
        if write.is_read() {
            return Err(Violation::NeverWritten { read: write }.into());
        }
        for &other in others {
            if !other.is_read() {
                let (first, second) = (write, other);
                return Err(Violation::WrittenTwice { first, second }.into());
            }
            if other.end() < write.sent {
                return Err(Violation::FromTheFuture { read: other, write }.into());
            }
        }
        Ok(zone(Some(earliest_end(events).end())))
    }

    fn is_forward(&self) -> bool {
        self.first_end < Some(self.last_start)
    }

    /// Whether one of these events is before one of the other value's.
    fn is_before(&self, other: &Self) -> bool {
        self.first_end < Some(other.last_start)
    }

    /// Whether the value was there before the event, and again or still behind it.
    fn is_around(&self, event: &Event) -> bool {
        self.first_end < Some(event.sent) && event.end() < self.last_start
    }
}

fn earliest_end(events: &[Event]) -> Event {
    let earliest = events.iter().min_by_key(|event| event.end());
    *earliest.expect("a zone has events")
}

fn latest_start(events: &[Event]) -> Event {
    let latest = events.iter().max_by_key(|event| event.sent);
    *latest.expect("a zone has events")
}

/// Whether the events of one key, in any order, are linearizable.
///
/// # Errors
/// The events that show that they are not.
pub fn check(history: &[Event]) -> Result<(), Box<Violation>> {
    let mut events = history.to_vec();
    events.sort_unstable_by_key(|event| (event.value(), event.is_read()));
    let zones: Result<Vec<_>, _> = events
        .chunk_by(|one, next| one.value() == next.value())
        .map(Zone::new)
        .collect();
    let (mut forward, backward): (Vec<_>, Vec<_>) = zones?.into_iter().partition(Zone::is_forward);
    forward.sort_unstable_by_key(|zone| zone.first_end);
    // If any two overlap, two neighbours do.
    for pair in forward.windows(2) {
        check_pair(&pair[0], &pair[1])?;
    }
    for inner in &backward {
        // Forward zones are apart by now: of those that begin before, the last one ends last.
        let begun = forward.partition_point(|outer| outer.is_before(inner));
        if let Some(outer) = forward[..begun].last() {
            check_pair(outer, inner)?;
        }
    }
    Ok(())
}

/// A part of a history that is not linearizable either, of which no event can be spared, ordered by
/// sending; empty when the history is linearizable. A read keeps the write of its value, unless the
/// violation is that there is none.
pub fn shortest_violation(history: &[Event]) -> Vec<Event> {
    let Err(violation) = check(history) else {
        return Vec::new();
    };
    let never_written = |violation: &Violation| matches!(violation, Violation::NeverWritten { .. });
    let same = |found: &Violation| never_written(found) == never_written(&violation);
    let mut events = violation.shown_by(history);
    events.sort_unstable_by_key(|event| (event.sent, event.is_read(), event.value()));
    let mut place = 0;
    while place < events.len() {
        let mut fewer = events.clone();
        fewer.remove(place);
        match check(&fewer) {
            Err(found) if same(&found) => events = fewer,
            _ => place += 1,
        }
    }
    events
}

/// Whether two values are not both before each other; the initial value can only be `a`.
fn check_pair(a: &Zone<'_>, b: &Zone<'_>) -> Result<(), Box<Violation>> {
    if !(a.is_before(b) && b.is_before(a)) {
        return Ok(());
    }
    if a.first_end.is_none() {
        return Err(Box::new(Violation::InitialReturned {
            replaced: earliest_end(b.events),
            read: latest_start(a.events),
        }));
    }
    for (outer, inner) in [(a, b), (b, a)] {
        if let Some(&between) = inner.events.iter().find(|event| outer.is_around(event)) {
            return Err(Box::new(Violation::Returned {
                before: earliest_end(outer.events),
                between,
                after: latest_start(outer.events),
            }));
        }
    }
    Err(Box::new(Violation::Crossed {
        a_over: earliest_end(a.events),
        b_begun: latest_start(b.events),
        b_over: earliest_end(b.events),
        a_begun: latest_start(a.events),
    }))
}
