//! Addresses to listen on: none that strangers can reach, unless that was asked for.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The address that was typed.
///
/// # Errors
/// When it is none, or may be reached from outside the private network and that is not allowed.
pub fn address(text: &str, allow_public: bool) -> Result<SocketAddr, String> {
    let resolved = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; give HOST:PORT"))?;
    let address = resolved
        .into_iter()
        .next()
        .ok_or_else(|| "the name has no address".to_owned())?;
    if is_public(address.ip()) && !allow_public {
        return Err(format!(
            "{} may be reached from outside the private network; name a loopback or private \
             address, or add --allow-public",
            address.ip()
        ));
    }
    Ok(address)
}

/// Whether an address is neither loopback nor private (RFC 1918, RFC 4193) nor link-local; the
/// unspecified address means every interface, so it counts as public.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}
