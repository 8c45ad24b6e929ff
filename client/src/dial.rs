//! Reaching a host that has several addresses: they are tried one beside the other, as RFC 8305 has it.

use crate::together::Together;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::sleep;

/// Time that an address has for itself before the next is tried beside it (RFC 8305, section 5).
pub(crate) const STAGGER_TIME: Duration = Duration::from_millis(250);

/// The addresses of `host` (`host:port`): the system's best first, then its two families in turn.
pub(crate) async fn addresses(host: &str) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = lookup_host(host).await?.collect();
    match found.is_empty() {
        true => Err(no_address()),
        false => Ok(in_turn(found)),
    }
}

pub(crate) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// One family after the other, each in its order, so that one that is unreachable as a whole costs little.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let of_first = |address: &SocketAddr| address.is_ipv6() == addresses[0].is_ipv6();
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(of_first);
    let mut ordered = Vec::with_capacity(addresses.len());
    for index in 0..first.len().max(second.len()) {
        ordered.extend(first.get(index));
        ordered.extend(second.get(index));
    }
    ordered
}

/// What the first attempt that succeeds gives. The next address is tried as soon as one has failed, and
/// after [`STAGGER_TIME`] beside those that have not.
///
/// # Errors
/// What all attempts failed with, in that order, when each address has failed.
pub(crate) async fn first_to_succeed<T, E, F>(
    addresses: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut untried = addresses.iter().peekable();
    let mut attempts = Together::new();
    let mut failures = Vec::new();
    loop {
        if let Some(&address) = untried.next() {
            attempts.add(attempt(address));
        }
        tokio::select! {
            ended = attempts.next() => match ended {
                Some(Ok(reached)) => return Ok(reached),
                Some(Err(failure)) => failures.push(failure),
                None => return Err(failures),
            },
            () = sleep(STAGGER_TIME), if untried.peek().is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::Mutex;
    use std::time::Instant;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], number))
    }

    #[test]
    fn families_take_turns_and_keep_their_order() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"].map(parse);
        let ordered = ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"].map(parse);
        assert_eq!(in_turn(found.to_vec()), ordered);
    }

    #[tokio::test]
    async fn a_silent_address_does_not_hold_up_the_next() {
        let begun = Instant::now();
        let tried = Mutex::new(Vec::new());
        let addresses = [1, 2].map(address);
        let reached = first_to_succeed(&addresses, |address| {
            tried.lock().unwrap().push(begun.elapsed());
            async move {
                match address.port() {
                    1 => pending().await,
                    port => Ok::<_, ()>(port),
                }
            }
        });
        assert_eq!(reached.await, Ok(2));
        assert!(tried.lock().unwrap()[1] >= STAGGER_TIME);
    }

    #[tokio::test]
    async fn an_address_that_fails_makes_way_at_once_and_all_failures_are_told() {
        let ports = [1, 2, 3].map(address);
        let failing = |address: SocketAddr| async move {
            match address.port() {
                3 => Ok(3),
                port => Err(port),
            }
        };
        assert_eq!(first_to_succeed(&ports, failing).await, Ok(3));
        assert_eq!(
            first_to_succeed(&ports[..2], failing).await,
            Err(vec![1, 2])
        );
        assert_eq!(first_to_succeed(&[], failing).await, Err(vec![]));
    }
}
