//! What a server has heard of the others.

use crate::directory::Directory;
use crate::gossip::{Led, Told};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who has been silent for longer is suspected: nothing new is given to him.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(1_500);

/// What was told last by each server of the directory. Times are of this server's steady clock.
#[derive(Debug, Clone, Default)]
pub struct View {
    servers: BTreeMap<u64, Heard>,
}

#[derive(Debug, Clone)]
struct Heard {
    /// `None` before the first time.
    told: Option<Told>,
    /// When that was; before the first time, when the server was first known of.
    at: Duration,
}

impl View {
    /// Takes note of who is in the directory: whoever is new is waited for from now on.
    pub fn meet(&mut self, directory: &Directory, now: Duration) {
        self.servers.retain(|id, _| directory.server(*id).is_some());
        for server in directory.servers() {
            let heard = || Heard {
                told: None,
                at: now,
            };
            self.servers.entry(server.id).or_insert_with(heard);
        }
    }

    /// A server of the directory has told something; of others nothing is kept.
    pub fn hear(&mut self, from: u64, told: Told, now: Duration) {
        if let Some(heard) = self.servers.get_mut(&from) {
            *heard = Heard {
                told: Some(told),
                at: now,
            };
        }
    }

    /// This server did nothing for `pause`, so nobody could be heard.
    pub fn excuse(&mut self, pause: Duration) {
        for heard in self.servers.values_mut() {
            heard.at += pause;
        }
    }

    /// What a server told last.
    #[must_use]
    pub fn told(&self, server: u64) -> Option<&Told> {
        self.servers.get(&server)?.told.as_ref()
    }

    /// For how long a server has been silent; `None` when it is not known.
    #[must_use]
    pub fn silence(&self, server: u64, now: Duration) -> Option<Duration> {
        let heard = self.servers.get(&server)?;
        Some(now.saturating_sub(heard.at))
    }

    /// Whether a server told something lately.
    #[must_use]
    pub fn is_heard(&self, server: u64, now: Duration) -> bool {
        self.told(server).is_some()
            && self
                .silence(server, now)
                .is_some_and(|silence| silence <= SUSPECT_AFTER)
    }

    /// The groups that servers say they lead, and who says so, however long ago.
    pub fn leads(&self) -> impl Iterator<Item = (u64, &Led)> {
        let told = self
            .servers
            .iter()
            .filter_map(|(id, heard)| Some((*id, heard.told.as_ref()?)));
        told.flat_map(|(id, told)| told.leads.iter().map(move |led| (id, led)))
    }
}
