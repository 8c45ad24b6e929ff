//! Single situations, each with its own end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ledger::proposal;
use super::world::{Mutant, PATIENCE, World, in_world, run};
use crate::group::{ReadBy, Role};
use crate::transport::memory::Faults;
use crate::{ChangeError, Config, ProposeError, ReadError};

/// Runs a case in a world of three voters that have a leader.
fn with_three<F>(config: Config, case: F)
where
    F: AsyncFnOnce(&World) -> Result<(), String>,
{
    let outcome = in_world(1, Mutant::None, config, async |world| {
        world.found(3).await?;
        world.write_one().await?;
        case(&world).await?;
        world.settle().await?;
        world.book.borrow_mut().close()
    });
    outcome.expect("the case holds");
}

fn followers(world: &World) -> Vec<u64> {
    let leader = world.leader().map(|member| member.id);
    let ids = world.ids().into_iter();
    ids.filter(|id| Some(*id) != leader).collect()
}

fn cut_off(world: &World, node: u64) {
    for other in world.ids() {
        world.network.set_cut(node, other, true);
        world.network.set_cut(other, node, true);
    }
}

#[test]
fn one_founder_and_only_once() {
    with_three(Config::default(), async |world| {
        for member in world.all() {
            let voters = BTreeMap::from([(member.id, String::new())]);
            let again = member.handle.bootstrap(voters).await;
            assert!(
                matches!(again, Err(ChangeError::NotAllowed(_))),
                "{again:?}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_dead_leader_is_replaced_within_two_of_its_longest_timeouts() {
    with_three(Config::default(), async |world| {
        let leader = world.leader().ok_or("no leader")?.id;
        world.kill(leader).await;
        let began = Instant::now();
        world.write_one().await?;
        let took = began.elapsed();
        assert!(took < 2 * Config::default().election_max, "{took:?}");
        let new = world.start(None).await?;
        world.admit(new).await?;
        let status = world.leader().ok_or("no leader")?.handle.status();
        let voters: BTreeSet<u64> = status.voters().collect();
        assert!(
            voters.contains(&new) && !voters.contains(&leader),
            "{voters:?}"
        );
        Ok(())
    });
}

#[test]
fn a_member_without_a_majority_refuses_and_recovers_without_a_hand() {
    with_three(Config::default(), async |world| {
        let leader = world.leader().ok_or("no leader")?;
        cut_off(world, leader.id);
        let point = leader.handle.read_point(ReadBy::Confirm).await;
        assert_eq!(point, Err(ReadError::NoQuorum));
        sleep(2 * Config::default().election_max).await;
        let lease = leader.handle.read_point(ReadBy::Lease).await;
        assert!(lease.is_err(), "a lease that ran out: {lease:?}");
        let operation = world.operation();
        let refused = leader.handle.propose(proposal(operation), ()).await;
        assert!(
            matches!(refused, Err(ProposeError::NotLeader { .. })),
            "{refused:?}"
        );
        world.network.mend();
        world.write_one().await.map(|_| ())
    });
}

#[test]
fn a_follower_cut_off_does_not_depose_the_leader_when_it_returns() {
    with_three(Config::default(), async |world| {
        let (leader, follower) = (world.leader().ok_or("no leader")?, followers(world)[0]);
        let term = leader.handle.status().term;
        cut_off(world, follower);
        sleep(Duration::from_secs(10)).await;
        world.network.mend();
        sleep(Duration::from_secs(2)).await;
        let status = leader.handle.status();
        assert_eq!((status.role, status.term), (Role::Leader, term));
        Ok(())
    });
}

#[test]
fn leadership_is_handed_over_in_a_few_round_trips() {
    with_three(Config::default(), async |world| {
        let (leader, to) = (world.leader().ok_or("no leader")?, followers(world)[0]);
        let began = Instant::now();
        let handed = leader.handle.transfer(to, PATIENCE).await;
        assert_eq!(handed, Ok(()));
        assert!(
            began.elapsed() < Duration::from_millis(50),
            "{:?}",
            began.elapsed()
        );
        let operation = world.operation();
        let refused = leader.handle.propose(proposal(operation), ()).await;
        assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(to) }));
        let stranger = leader.handle.transfer(99, PATIENCE).await;
        assert_eq!(stranger, Err(ChangeError::NotLeader { leader: Some(to) }));
        Ok(())
    });
}

#[test]
fn one_change_of_the_members_at_a_time() {
    with_three(Config::default(), async |world| {
        let (leader, follower) = (world.leader().ok_or("no leader")?, followers(world)[0]);
        let learner = world.start(None).await?;
        let patience = Duration::from_secs(1);
        let added = leader.handle.add_learner(learner, "", patience).await;
        assert_eq!(added, Ok(()));
        // The voters of the new set cannot be reached, so the change stays under way.
        cut_off(world, follower);
        let other = followers(world)[1];
        cut_off(world, other);
        let first = leader
            .handle
            .set_voters(BTreeSet::from([leader.id, learner]), patience);
        assert_eq!(first.await, Err(ChangeError::TimedOut));
        assert!(leader.handle.status().changing);
        let second = leader.handle.remove_learner(learner, patience).await;
        assert!(
            matches!(
                second,
                Err(ChangeError::InProgress | ChangeError::NotLeader { .. })
            ),
            "{second:?}"
        );
        world.network.mend();
        world.admit(learner).await
    });
}

#[test]
fn who_is_far_behind_gets_the_state_in_chunks_over_a_bad_network() {
    let config = Config {
        log_bytes_max: 8 << 10,
        log_bytes_keep: 2 << 10,
        ..Config::default()
    };
    with_three(config, async |world| {
        let follower = followers(world)[0];
        cut_off(world, follower);
        for _ in 0..600 {
            world.write_one().await?;
        }
        let status = world.leader().ok_or("no leader")?.handle.status();
        assert!(
            status.log_bytes < 20 << 10,
            "the log takes {} bytes",
            status.log_bytes
        );
        let faults = Faults {
            lost: 0.05,
            repeated: 0.1,
            delay_max: Duration::from_millis(10),
            ..Faults::default()
        };
        world.network.set_faults(faults);
        world.network.mend();
        let member = world.member(follower).ok_or("gone")?;
        world
            .until("the follower has the state", || {
                member.operations.borrow().len() > 600
            })
            .await?;
        assert!(world.book.borrow().installs > 0, "it came by entries");
        Ok(())
    });
}

#[test]
fn log_time_stands_still_without_a_leader_and_never_goes_back() {
    with_three(Config::default(), async |world| {
        let before = world.book.borrow().last_time();
        sleep(Duration::from_secs(3)).await;
        world.write_one().await?;
        let after = world.book.borrow().last_time();
        assert!(
            (after - before).abs_diff(3_000) < 100,
            "{before} to {after}"
        );
        Ok(())
    });
}

#[test]
fn a_group_of_one_serves_and_grows() {
    let outcome = in_world(3, Mutant::None, Config::default(), async |world| {
        world.found(1).await?;
        world.write_one().await?;
        for _ in 0..2 {
            let new = world.start(None).await?;
            world.admit(new).await?;
        }
        world.settle().await?;
        world.book.borrow_mut().close()
    });
    outcome.expect("one member is a majority of one");
}

#[test]
fn too_long_a_proposal_and_too_many_are_refused() {
    with_three(Config::default(), async |world| {
        let leader = world.leader().ok_or("no leader")?;
        let long = bytes::Bytes::from(vec![0; crate::limits::PROPOSAL_BYTES_MAX + 1]);
        let refused = leader.handle.propose(long.clone(), ()).await;
        assert_eq!(refused, Err(ProposeError::TooLong { bytes: long.len() }));
        let longest = || {
            let mut bytes = proposal(world.operation()).to_vec();
            bytes.resize(crate::limits::PROPOSAL_BYTES_MAX, 0);
            bytes.into()
        };
        let waiting: Vec<_> = (0..20)
            .map(|_| leader.handle.propose(longest(), ()))
            .collect();
        let mut busy = 0;
        for answer in waiting {
            busy += usize::from(answer.await == Err(ProposeError::Busy));
        }
        assert_eq!(busy, 20 - 7, "of 16 MiB seven of 2 MiB and some have room");
        Ok(())
    });
}

#[test]
fn a_name_that_forgot_and_votes_again_is_caught() {
    let caught = (0..60).any(|seed| run(seed, Mutant::OldName).is_err());
    assert!(caught, "none of the seeds caught it");
}
