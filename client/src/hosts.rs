//! Whether servers fit the list of hosts by which they were reached, and each other.

use crate::connect::Greeting;
use crate::error::ConnectError;
use batchkv_protocol::{PartitionMap, ServerHello};

/// Checks that `hellos[i]`, which came from `hosts[i]`, is of server i of as many as there are
/// hosts, and that all have the same partition map; that map is `map`, the first server's.
///
/// # Errors
/// What does not fit, naming both sides.
pub fn check_hosts(
    hosts: &[impl AsRef<str>],
    hellos: &[&ServerHello],
    map: &PartitionMap,
) -> Result<(), ConnectError> {
    let first_address = hosts.first().ok_or(ConnectError::NoHosts)?;
    for (address, hello) in hosts.iter().zip(hellos) {
        if hello.map_fingerprint != map.fingerprint() {
            return Err(ConnectError::Maps {
                first_address: first_address.as_ref().to_owned(),
                first_partitions: map.partitions().len(),
                first_fingerprint: map.fingerprint(),
                address: address.as_ref().to_owned(),
                partitions: hello.partitions.len(),
                fingerprint: hello.map_fingerprint,
            });
        }
    }
    for (index, (address, hello)) in hosts.iter().zip(hellos).enumerate() {
        if hello.server_index as usize != index || map.servers() as usize != hosts.len() {
            return Err(ConnectError::Order {
                address: address.as_ref().to_owned(),
                index,
                hosts: hosts.len(),
                server_index: hello.server_index,
                servers: map.servers(),
            });
        }
    }
    Ok(())
}

/// Checks that servers which push maps, each at its host, have the same number of partitions.
///
/// # Errors
/// The first that differs, naming both sides.
pub(crate) fn check_seeds(greetings: &[(&str, &Greeting)]) -> Result<(), ConnectError> {
    let (first_address, first) = greetings.first().ok_or(ConnectError::NoHosts)?;
    let partitions = |greeting: &Greeting| greeting.map().partitions().len();
    let differs = |(_, greeting): &&(_, &Greeting)| partitions(greeting) != partitions(first);
    match greetings.iter().find(differs) {
        None => Ok(()),
        Some((address, other)) => Err(ConnectError::Maps {
            first_address: (*first_address).to_owned(),
            first_partitions: partitions(first),
            first_fingerprint: first.hello().map_fingerprint,
            address: (*address).to_owned(),
            partitions: partitions(other),
            fingerprint: other.hello().map_fingerprint,
        }),
    }
}
