//! A network in memory, with the faults of a real one, drawn from a seed.
//!
//! With tokio's paused clock and one thread for all nodes, a seed gives a run again: which message is
//! lost, repeated, late or overtaken.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::{Deliver, Lane, Transport, Unsent};
use crate::task;

/// What happens to messages on their way, each drawn by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// The share of messages that are lost, from 0 to 1.
    pub lost: f64,
    /// The share of messages that arrive a second time.
    pub repeated: f64,
    /// The shortest way of a message.
    pub delay_min: Duration,
    /// The longest: messages overtake each other where it differs from the shortest.
    pub delay_max: Duration,
}

impl Default for Faults {
    /// A network without faults whose messages take half a millisecond.
    fn default() -> Self {
        Self {
            lost: 0.0,
            repeated: 0.0,
            delay_min: Duration::from_micros(500),
            delay_max: Duration::from_micros(500),
        }
    }
}

/// The network that all nodes of a test share.
pub struct Network(RefCell<State>);

struct State {
    random: Xoshiro256PlusPlus,
    faults: Faults,
    nodes: BTreeMap<u64, Deliver>,
    /// Directed ways that let nothing through.
    cut: BTreeSet<(u64, u64)>,
}

impl Network {
    /// A network without nodes and without faults.
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self(RefCell::new(State {
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            faults: Faults::default(),
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
        })))
    }

    /// The transport of a node.
    pub fn node(self: &Rc<Self>, id: u64) -> Rc<dyn Transport> {
        Rc::new(MemoryTransport {
            id,
            network: Rc::clone(self),
        })
    }

    /// What happens to messages from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Cuts or mends the way from one node to another. The other direction is a way of its own.
    pub fn set_cut(&self, from: u64, to: u64, cut: bool) {
        let mut state = self.0.borrow_mut();
        if cut {
            state.cut.insert((from, to));
        } else {
            state.cut.remove(&(from, to));
        }
    }

    /// Mends all ways.
    pub fn mend(&self) {
        self.0.borrow_mut().cut.clear();
    }

    /// Hands a message over, unless its way was cut, or an end of it is gone, meanwhile.
    fn arrive(&self, from: u64, to: u64, message: Bytes) {
        let deliver = {
            let state = self.0.borrow();
            if state.cut.contains(&(from, to)) || !state.nodes.contains_key(&from) {
                return;
            }
            state.nodes.get(&to).map(Rc::clone)
        };
        if let Some(deliver) = deliver {
            // A malformed message would end a connection, and there is none.
            let _malformed = deliver(from, message);
        }
    }
}

impl State {
    /// The delays of a message's copies: none if it is lost.
    fn draw(&mut self) -> Vec<Duration> {
        if self.chance(self.faults.lost) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.chance(self.faults.repeated));
        (0..copies).map(|_| self.delay()).collect()
    }

    fn chance(&mut self, share: f64) -> bool {
        /// 2^53: as many values as a float tells apart between 0 and 1.
        const STEPS: f64 = 9_007_199_254_740_992.0;
        (self.random.next_u64() >> 11) as f64 / STEPS < share
    }

    fn delay(&mut self) -> Duration {
        let Faults {
            delay_min,
            delay_max,
            ..
        } = self.faults;
        let span = delay_max.saturating_sub(delay_min).as_micros() as u64 + 1;
        delay_min + Duration::from_micros(self.random.next_u64() % span)
    }
}

struct MemoryTransport {
    id: u64,
    network: Rc<Network>,
}

impl Transport for MemoryTransport {
    fn attach(&self, deliver: Deliver) {
        let mut state = self.network.0.borrow_mut();
        state.nodes.insert(self.id, deliver);
    }

    /// Every node of the network is known.
    fn learn(&self, _node: u64, _address: &str) {}

    fn send(&self, to: u64, _lane: Lane, message: Bytes) -> Result<(), Unsent> {
        let delays = {
            let mut state = self.network.0.borrow_mut();
            if !state.nodes.contains_key(&self.id) {
                return Err(Unsent);
            }
            state.draw()
        };
        for delay in delays {
            let (network, from, message) = (Rc::clone(&self.network), self.id, message.clone());
            task::spawn(async move {
                tokio::time::sleep(delay).await;
                network.arrive(from, to, message);
            });
        }
        Ok(())
    }

    fn close(&self) {
        self.network.0.borrow_mut().nodes.remove(&self.id);
    }
}
