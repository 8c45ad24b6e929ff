//! Rules about clocks: a figure is as true as the seconds that it is of.

use super::check::Extent;
use super::facts::{ClockFacts, Facts};

/// Part of a second by which a clock may gain or lose in each.
const RATE_OFF_MAX: f64 = 0.001;
/// A system clock that is kept right by small corrections strays less.
const STRAYED_SECS_MAX: f64 = 0.5;
/// How far an offset may be off.
const BOUND_SECS_MAX: f64 = 0.01;

/// The clocks that were compared before the load and behind the window.
pub(super) fn compared(facts: &Facts) -> Extent {
    match facts.clocks.iter().find(|clock| clock.rate.is_none()) {
        None => Extent::On(format!(
            "the steady clocks of {} others against this client's, from before the load to behind the window",
            facts.clocks.len()
        )),
        Some(clock) => Extent::Missing(format!(
            "The clock of {} was not compared with this client's at both ends of the run, so nobody knows how \
             long a second was; look at its log.",
            clock.name
        )),
    }
}

pub(super) fn clock_rates(facts: &Facts) -> Option<String> {
    let off = |clock: &&ClockFacts| {
        let rate = clock
            .rate
            .filter(|rate| rate.gains.abs() - rate.bound > RATE_OFF_MAX);
        rate.is_some()
    };
    let clock = facts.clocks.iter().find(off)?;
    let rate = clock.rate?;
    Some(format!(
        "All clocks must go alike, but in each second of this client's that of {} goes {:.4} s, so figures of \
         either may be of other seconds than they say; look at both machines' clocks.",
        clock.name,
        1.0 + rate.gains
    ))
}

/// The clocks whose offset is known.
pub(super) fn offsets(facts: &Facts) -> Extent {
    let known = facts
        .clocks
        .iter()
        .filter(|clock| clock.bound_secs.is_some());
    match known.count() {
        0 => Extent::NotAsked("no other clock is known".into()),
        known => Extent::On(format!(
            "the offsets of {known} of {} others",
            facts.clocks.len()
        )),
    }
}

pub(super) fn clocks_unsure(facts: &Facts) -> Option<String> {
    let bound = |clock: &ClockFacts| clock.bound_secs.filter(|bound| *bound > BOUND_SECS_MAX);
    let (clock, bound_secs) = facts
        .clocks
        .iter()
        .find_map(|clock| Some((clock, bound(clock)?)))?;
    Some(format!(
        "Clocks should be known within 10 ms, but that of {} only within {:.0} ms over the run, so what happened \
         at the same time on both is not certain; look at the network, or at both machines' clocks.",
        clock.name,
        1e3 * bound_secs
    ))
}

/// The system's clock.
pub(super) fn system_clock(_: &Facts) -> Extent {
    Extent::On(
        "this client's system clock against its steady one, from the first to the last moment"
            .into(),
    )
}

pub(super) fn clock_set(facts: &Facts) -> Option<String> {
    let strayed = facts.wall_strayed_secs;
    let way = if strayed > 0.0 { "forward" } else { "back" };
    (strayed.abs() > STRAYED_SECS_MAX).then(|| {
        format!(
            "A machine's clock should not be set during a run, but this client's went {:.2} s {way}; the figures are \
             of a steady clock, and their times those of the clock before: compare them with other logs \
             accordingly.",
            strayed.abs()
        )
    })
}
