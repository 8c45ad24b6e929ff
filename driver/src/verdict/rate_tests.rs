use super::Rule;
use super::tests::{good, judge, provoke};
use crate::measured::counts::Offered;

fn offered(intended: u64) -> Offered {
    Offered {
        intended,
        arrived: intended,
        late: 0,
        unanswered: 0,
        dropped: 0,
        blocked_micros: 0,
        tardy_micros: 0,
    }
}

#[test]
fn a_missed_rate_qualifies_beyond_a_hundredth_and_chance() {
    let words = [
        "1,020,409 operations",
        "2.0 %",
        "--rate",
        "waited 30 us on",
        "4 us for",
    ];
    provoke(Rule::RateMissed, &words, |facts| {
        facts.offered = Some(Offered {
            blocked_micros: 30 * 1_020_409,
            tardy_micros: 4 * 1_020_409,
            ..offered(1_020_409)
        });
    });
    // The client's own limits are not the server's.
    provoke(
        Rule::RateMissed,
        &["--threads", "3 us on", "50 us for"],
        |facts| {
            facts.offered = Some(Offered {
                blocked_micros: 3 * 1_020_409,
                tardy_micros: 50 * 1_020_409,
                ..offered(1_020_409)
            });
        },
    );
    let mut facts = good();
    facts.offered = Some(offered(1_009_000));
    assert_eq!(judge(&facts), []);
    (facts.counts.reads, facts.counts.updates) = (58, 3);
    facts.offered = Some(offered(100));
    assert_eq!(judge(&facts), []);
}

#[test]
fn a_single_arrival_without_answer_qualifies() {
    provoke(
        Rule::DroppedArrivals,
        &["1 were never sent", "0 not answered"],
        |facts| {
            facts.offered = Some(Offered {
                dropped: 1,
                ..offered(1_000_000)
            });
        },
    );
    provoke(Rule::DroppedArrivals, &["1 not answered"], |facts| {
        facts.offered = Some(Offered {
            unanswered: 1,
            ..offered(1_000_000)
        });
    });
}

#[test]
fn a_client_that_is_itself_late_qualifies() {
    provoke(Rule::ClientLate, &["waited 101 us", "1000 us"], |facts| {
        facts.offered = Some(Offered {
            tardy_micros: 101_000_000,
            ..offered(1_000_000)
        });
    });
}
