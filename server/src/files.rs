//! How many files, and so connections, the process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the program has open beside connections: the sockets that it listens on, its output, and what its
/// runtimes wait with.
const FILES_BESIDE: u64 = 24;
/// The same for each thread that serves connections.
const FILES_PER_THREAD: u64 = 4;

/// Raises the limit of open files as far as the process may; gives it, or `None` where the system does not tell.
pub(crate) fn raise_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

/// Connections that can be open at a time with a limit of so many files, at least 1.
pub(crate) fn connections(files: u64, threads: usize) -> u64 {
    let beside = FILES_BESIDE + FILES_PER_THREAD * threads as u64;
    files.saturating_sub(beside).max(1)
}
