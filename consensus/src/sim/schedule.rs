//! What befalls a cluster, drawn from the seed. A majority of voters that never forgot lives at all times.

use std::time::Duration;

use tokio::time::sleep;

use super::world::{Mutant, World};
use crate::transport::memory::Faults;

/// Misfortunes of one run.
const STEPS: u64 = 8;

/// Plays a schedule to its end.
pub(super) async fn play(world: &World) -> Result<(), String> {
    world
        .until("a first leader", || world.leader().is_some())
        .await?;
    for _ in 0..STEPS {
        sleep(Duration::from_millis(100 + world.draw(1_000))).await;
        match world.draw(8) {
            0 => world.network.set_faults(bad(world)),
            1 => world.network.set_faults(Faults::default()),
            2 => world.network.mend(),
            3 => isolate(world, world.pick(&world.ids())),
            4 => one_way(world),
            5 => {
                if let Some(leader) = world.leader() {
                    isolate(world, leader.id);
                }
            }
            6 => hand_over(world).await,
            _ => replace(world).await?,
        }
    }
    sleep(Duration::from_millis(500)).await;
    Ok(())
}

fn bad(world: &World) -> Faults {
    Faults {
        lost: world.draw(15) as f64 / 100.0,
        repeated: world.draw(15) as f64 / 100.0,
        delay_min: Duration::from_micros(200),
        delay_max: Duration::from_micros(300 + world.draw(25_000)),
    }
}

/// Cuts a node off from all others, both ways.
fn isolate(world: &World, node: u64) {
    world.network.mend();
    for other in world.ids() {
        world.network.set_cut(node, other, true);
        world.network.set_cut(other, node, true);
    }
}

/// Cuts one way between two nodes, or all ways out of one.
fn one_way(world: &World) {
    world.network.mend();
    let (from, to) = (world.pick(&world.ids()), world.pick(&world.ids()));
    for other in world.ids() {
        if from == to || other == to {
            world.network.set_cut(from, other, true);
        }
    }
}

async fn hand_over(world: &World) {
    let to = world.pick(&world.ids());
    if let Some(leader) = world.leader() {
        // It may fail: the leader may be cut off, or hand over to itself.
        let _outcome = leader.handle.transfer(to, Duration::from_secs(1)).await;
    }
}

/// Kills a node, whoever it is; a new one takes its place in the group.
async fn replace(world: &World) -> Result<(), String> {
    world.network.mend();
    let dead = world.pick(&world.ids());
    world.kill(dead).await;
    sleep(Duration::from_millis(world.draw(800))).await;
    if world.mutant == Mutant::OldName {
        world.start(Some(dead)).await?;
        return Ok(());
    }
    let new = world.start(None).await?;
    world.admit(new).await
}
