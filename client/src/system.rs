//! Limits of the system that this side of a connection runs into: what they are called, and where they stand.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use std::io;
use std::net::UdpSocket;

/// What this machine or process has no more of, whatever the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SystemLimit {
    /// File descriptors of the process.
    #[error(
        "this process may have only {0} files open at a time, sockets included, and it has: raise its limit \
         (ulimit -n)"
    )]
    ProcessFiles(u64),
    /// File descriptors of the machine.
    #[error("this machine has as many files open as it may (fs.file-max)")]
    MachineFiles,
    /// Addresses, or ports, to connect from.
    #[error(
        "this machine has no address, or no port left, to connect from (net.ipv4.ip_local_port_range)"
    )]
    LocalAddress,
    /// Memory of the kernel.
    #[error("this machine's kernel has no memory left for a socket")]
    Memory,
}

impl SystemLimit {
    /// The limit that `error` tells of, if it is one.
    #[must_use]
    pub fn behind(error: &io::Error) -> Option<Self> {
        match Errno::from_raw(error.raw_os_error()?) {
            Errno::EMFILE => Some(Self::ProcessFiles(open_files_max())),
            Errno::ENFILE => Some(Self::MachineFiles),
            Errno::EADDRNOTAVAIL => Some(Self::LocalAddress),
            Errno::ENOBUFS | Errno::ENOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// The limit that lets no socket be made now, if there is one: the system's resolver does not tell.
    pub(crate) fn reached() -> Option<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0));
        socket.err().and_then(|error| Self::behind(&error))
    }
}

fn open_files_max() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_and_other_errors_are_none() {
        let told = |errno: Errno| SystemLimit::behind(&io::Error::from(errno));
        let files = told(Errno::EMFILE).unwrap();
        let allowed = getrlimit(Resource::RLIMIT_NOFILE).unwrap().0.to_string();
        assert!(files.to_string().contains(&allowed), "{files}");
        assert_eq!(told(Errno::ENFILE), Some(SystemLimit::MachineFiles));
        assert_eq!(told(Errno::EADDRNOTAVAIL), Some(SystemLimit::LocalAddress));
        assert_eq!(told(Errno::ENOMEM), Some(SystemLimit::Memory));
        assert_eq!(told(Errno::ECONNREFUSED), None);
        assert_eq!(SystemLimit::behind(&io::ErrorKind::NotFound.into()), None);
    }
}
