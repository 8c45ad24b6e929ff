//! Clients: some write through whoever they believe to lead, some read from every member.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::book::Book;
use super::ledger::proposal;
use super::world::World;
use crate::group::ReadBy;
use crate::{ProposeError, task};

const WRITERS: u64 = 4;

/// Starts all clients; they end when the world says so.
pub(super) fn start(world: &Rc<World>) -> Vec<JoinHandle<()>> {
    let mut clients: Vec<_> = (0..WRITERS)
        .map(|_| task::spawn(write(Rc::clone(world))))
        .collect();
    for by in [ReadBy::Confirm, ReadBy::Lease] {
        clients.push(task::spawn(read(Rc::clone(world), by)));
    }
    clients
}

async fn write(world: Rc<World>) {
    let mut believed = 1;
    while !world.ended.get() {
        sleep(Duration::from_micros(500 + world.draw(20_000))).await;
        let Some(member) = world.member(believed) else {
            believed = world.pick(&world.ids());
            continue;
        };
        let (operation, floor) = (world.operation(), world.book.borrow().floor());
        let answer = member.handle.propose(proposal(operation), ()).await;
        note(&world.book, operation, floor, &answer);
        match answer {
            Ok(_) => {}
            Err(ProposeError::NotLeader {
                leader: Some(leader),
            }) => believed = leader,
            Err(_) => believed = world.pick(&world.ids()),
        }
    }
}

/// Tells the referee what became of an operation.
pub(super) fn note(
    book: &Rc<RefCell<Book>>,
    operation: u64,
    floor: usize,
    answer: &Result<Option<usize>, ProposeError>,
) {
    let mut book = book.borrow_mut();
    match answer {
        Ok(position) => book.answered(operation, floor, *position),
        Err(ProposeError::Unknown | ProposeError::Stopped) => book.unknown += 1,
        Err(_) => book.refused(operation),
    }
}

/// Asks every member in turn, whether or not it leads.
async fn read(world: Rc<World>, by: ReadBy) {
    while !world.ended.get() {
        for id in world.ids() {
            sleep(Duration::from_micros(500 + world.draw(8_000))).await;
            let Some(member) = world.member(id) else {
                continue;
            };
            let floor = world.book.borrow().floor();
            let Ok(point) = member.handle.read_point(by).await else {
                continue;
            };
            let applied = member.handle.wait_applied(point);
            let applied = tokio::time::timeout(Duration::from_secs(1), applied).await;
            if matches!(applied, Ok(Ok(()))) {
                let seen = member.operations.borrow().len();
                world.book.borrow_mut().read(id, floor, seen);
            }
        }
    }
}
