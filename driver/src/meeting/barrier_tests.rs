use super::*;

const LIMIT: Duration = Duration::from_secs(60);

fn member(client: u32, address: &str) -> Membership {
    Membership {
        client,
        clients: 3,
        barrier: Some(address.into()),
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn three_clients_meet_and_share_the_run() {
    let (listener, address) = listen().await;
    let meet_all = async |joined: Result<(Barrier, u64), BarrierError>| {
        let (mut barrier, run) = joined.unwrap();
        for meeting in [Meeting::Loaded, Meeting::WarmedUp, Meeting::Stopped] {
            let start = barrier.meet(meeting, LIMIT).await.unwrap();
            assert!(start >= Instant::now() - LIMIT);
        }
        run
    };
    let follow = async |client| {
        let member = member(client, &address);
        meet_all(Barrier::join(&member, "same=1", LIMIT, Clock::new()).await).await
    };
    let lead =
        async { meet_all(Barrier::lead(listener, 3, "same=1", LIMIT, Clock::new()).await).await };
    let (a, b, c) = tokio::join!(lead, follow(1), follow(2));
    assert_eq!((a, a), (b, c));
}

#[tokio::test]
async fn a_dying_peer_ends_the_meeting_for_all() {
    let (listener, address) = listen().await;
    let lead = async {
        let (mut barrier, _) = Barrier::lead(listener, 3, "", LIMIT, Clock::new())
            .await
            .unwrap();
        barrier.meet(Meeting::Loaded, LIMIT).await.unwrap_err()
    };
    let stay = async {
        let joined = Barrier::join(&member(1, &address), "", LIMIT, Clock::new()).await;
        joined
            .unwrap()
            .0
            .meet(Meeting::Loaded, LIMIT)
            .await
            .unwrap_err()
    };
    let die = async {
        drop(
            Barrier::join(&member(2, &address), "", LIMIT, Clock::new())
                .await
                .unwrap(),
        )
    };
    let (leader, stayer, ()) = tokio::join!(lead, stay, die);
    assert_eq!(leader.to_string(), "client 2 ended before 'loaded'");
    // The one that stayed is told why, or cut off when it had not come yet.
    assert!(matches!(
        stayer,
        BarrierError::Ended(_) | BarrierError::Gone { .. }
    ));
}

#[tokio::test]
async fn a_peer_that_dies_between_meetings_is_noticed() {
    let (listener, address) = listen().await;
    let lead = async {
        let (mut barrier, _) = Barrier::lead(listener, 3, "", LIMIT, Clock::new())
            .await
            .unwrap();
        barrier.gone().await
    };
    let early = async {
        let joined = Barrier::join(&member(1, &address), "", LIMIT, Clock::new()).await;
        joined.unwrap().0.meet(Meeting::Loaded, LIMIT).await
    };
    let die = async {
        drop(
            Barrier::join(&member(2, &address), "", LIMIT, Clock::new())
                .await
                .unwrap(),
        )
    };
    let leader = async { tokio::join!(lead, die).0 };
    // The one that waits at the next meeting is cut off with the leader.
    let (gone, early) = tokio::join!(leader, early);
    assert_eq!(gone, Parting::Gone("client 2".into()));
    assert!(matches!(early, Err(BarrierError::Gone { .. })));
}

#[tokio::test]
async fn other_settings_are_refused_and_named() {
    let (listener, address) = listen().await;
    let lead = Barrier::lead(listener, 3, "secs=30", LIMIT, Clock::new());
    let member = member(1, &address);
    let follow = Barrier::join(&member, "secs=20", LIMIT, Clock::new());
    let (leader, _) = tokio::join!(lead, follow);
    let text = leader.unwrap_err().to_string();
    assert!(text.contains("client 1") && text.contains("secs=20") && text.contains("secs=30"));
}

#[tokio::test]
async fn a_stranger_does_not_disturb() {
    let (listener, address) = listen().await;
    let stranger = async {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
    };
    let follow = async |client| {
        let member = member(client, &address);
        Barrier::join(&member, "", LIMIT, Clock::new())
            .await
            .unwrap()
    };
    let lead = async {
        Barrier::lead(listener, 3, "", LIMIT, Clock::new())
            .await
            .unwrap()
    };
    let peers = async { tokio::join!(follow(1), follow(2)) };
    let ((), leader, _) = tokio::join!(stranger, lead, peers);
    assert_eq!(leader.0.peers.len(), 2);
}

#[tokio::test]
async fn a_client_that_never_comes_is_late() {
    let (listener, _) = listen().await;
    let late = Barrier::lead(listener, 3, "", Duration::ZERO, Clock::new()).await;
    assert!(matches!(late.unwrap_err(), BarrierError::Late { .. }));
}

#[tokio::test]
async fn clocks_that_are_hours_apart_still_find_one_moment() {
    let (listener, address) = listen().await;
    let meet_all = async |joined: Result<(Barrier, u64), BarrierError>| {
        let (mut barrier, _) = joined.unwrap();
        let start = barrier.meet(Meeting::WarmedUp, LIMIT).await.unwrap();
        barrier.meet(Meeting::Stopped, LIMIT).await.unwrap();
        (start, barrier.offset())
    };
    let (clock, wrong_secs) = (Clock::new(), [0.0, 7_200.0, -0.25]);
    let follow = async |client: u32| {
        let (member, clock) = (
            member(client, &address),
            clock.ahead_by(wrong_secs[client as usize]),
        );
        meet_all(Barrier::join(&member, "", LIMIT, clock).await).await
    };
    let lead = async { meet_all(Barrier::lead(listener, 3, "", LIMIT, clock).await).await };
    let ((start, own), first, second) = tokio::join!(lead, follow(1), follow(2));
    assert_eq!(own, Offset::default());
    // Times of this size are read to half a microsecond.
    let rounding_secs = 2e-6;
    for ((moment, offset), wrong_secs) in [first, second].into_iter().zip(&wrong_secs[1..]) {
        let bound_secs = offset.bound_secs + rounding_secs;
        assert!((offset.secs + wrong_secs).abs() <= bound_secs, "{offset:?}");
        let apart = moment.max(start) - moment.min(start);
        assert!(apart.as_secs_f64() <= bound_secs, "{apart:?} {offset:?}");
    }
}

#[tokio::test]
async fn an_end_by_hand_is_no_failure_of_the_others() {
    for by_hand in 0..3 {
        let (listener, address) = listen().await;
        let end = async |(mut barrier, _): (Barrier, u64), client: u32| {
            if client == by_hand {
                barrier.end_by_hand().await;
            } else if client == 0 {
                assert_eq!(barrier.gone().await, Parting::ByHand);
                barrier.end_by_hand().await;
            } else {
                // The others wait at the next meeting, and hear it there.
                let heard = barrier.meet(Meeting::Loaded, LIMIT).await.unwrap_err();
                assert!(matches!(heard, BarrierError::ByHand(_)), "{heard}");
            }
        };
        let follow = async |client| {
            let joined = Barrier::join(&member(client, &address), "", LIMIT, Clock::new()).await;
            end(joined.unwrap(), client).await;
        };
        let lead = async {
            let joined = Barrier::lead(listener, 3, "", LIMIT, Clock::new()).await;
            end(joined.unwrap(), 0).await;
        };
        tokio::join!(lead, follow(1), follow(2));
    }
}

#[tokio::test]
async fn an_end_by_hand_is_heard_at_a_meeting_too() {
    let (listener, address) = listen().await;
    let lead = async {
        let (mut barrier, _) = Barrier::lead(listener, 3, "", LIMIT, Clock::new())
            .await
            .unwrap();
        barrier.meet(Meeting::Loaded, LIMIT).await.unwrap_err()
    };
    let wait = async {
        let joined = Barrier::join(&member(1, &address), "", LIMIT, Clock::new()).await;
        joined
            .unwrap()
            .0
            .meet(Meeting::Loaded, LIMIT)
            .await
            .unwrap_err()
    };
    let end = async {
        let joined = Barrier::join(&member(2, &address), "", LIMIT, Clock::new()).await;
        joined.unwrap().0.end_by_hand().await;
    };
    let (leader, waiter, ()) = tokio::join!(lead, wait, end);
    assert_eq!(leader.to_string(), "client 2 was ended by hand");
    assert_eq!(waiter.to_string(), "client 0 was ended by hand");
}
