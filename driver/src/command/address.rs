//! Where servers and other clients are, as it is typed.

use std::fmt;

use batchkv_protocol::limits::SERVERS_MAX;

/// `host:port` of each server, by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hosts(pub(crate) Vec<String>);

/// Which of a run's clients one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 0.
    pub(crate) client: u32,
    pub(crate) clients: u32,
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.client, self.clients)
    }
}

/// Addresses with commas between.
///
/// # Errors
/// When one is no `HOST:PORT`, or stands there twice.
pub(crate) fn hosts(typed: &str) -> Result<Hosts, String> {
    let hosts: Vec<String> = typed.split(',').map(|host| host.trim().into()).collect();
    for (i, host) in hosts.iter().enumerate() {
        if !is_address(host) {
            let allowed = "allowed are HOST:PORT, separated by commas, ports 1 to 65535";
            return Err(format!("'{host}' is no address; {allowed}"));
        }
        if hosts[..i].contains(host) {
            let allowed = "each server is named once, in the order of the servers' indices";
            return Err(format!("'{host}' stands there twice; {allowed}"));
        }
    }
    match hosts.len() <= SERVERS_MAX as usize {
        true => Ok(Hosts(hosts)),
        false => Err(format!("at most {SERVERS_MAX} are allowed")),
    }
}

/// One address.
///
/// # Errors
/// When it is no `HOST:PORT`.
pub(crate) fn address(typed: &str) -> Result<String, String> {
    match is_address(typed) {
        true => Ok(typed.into()),
        false => Err("allowed is HOST:PORT, port 1 to 65535".into()),
    }
}

/// Client I, from 0, of N.
///
/// # Errors
/// When it is no `I/N`.
pub(crate) fn place(typed: &str) -> Result<Place, String> {
    let parts = typed.split_once('/').and_then(|(client, clients)| {
        let (client, clients) = (client.parse().ok()?, clients.parse().ok()?);
        (client < clients).then_some(Place { client, clients })
    });
    parts.ok_or_else(|| "allowed is I/N, client I (from 0) of N, like 0/2 and 1/2".into())
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}
