//! The steady clock of a node: tokio's, so that a test can own time.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// Time since a moment that is the same for all callers of a process; never goes back.
pub(crate) fn now() -> Duration {
    /// A clock that a test owns may begin a little before the first call.
    const HEAD_START: Duration = Duration::from_secs(3600);
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(std::time::Instant::now);
    (Instant::now().into_std() + HEAD_START).saturating_duration_since(origin)
}
