//! Why the clients did not meet, and where.

use std::io;
use std::time::Duration;

/// Why the clients did not meet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BarrierError {
    #[error("--barrier {0}: cannot listen there: {1}")]
    Listen(String, io::Error),
    #[error("--barrier {0}: client 0 cannot be reached within {1:?}: {2}")]
    Unreachable(String, Duration, io::Error),
    #[error("{who} did not come to '{meeting}' within {limit:?}")]
    Late {
        who: String,
        meeting: Meeting,
        limit: Duration,
    },
    #[error("{who} ended before '{meeting}'")]
    Gone { who: String, meeting: Meeting },
    #[error("{who} said '{said}' at '{meeting}', which does not belong there")]
    Unexpected {
        who: String,
        meeting: Meeting,
        said: String,
    },
    #[error("client {client} was started with other settings: '{theirs}' against our '{ours}'")]
    Disagreement {
        client: u32,
        theirs: String,
        ours: String,
    },
    #[error("client 0 ended the run: {0}")]
    Ended(String),
    #[error("{0} was ended by hand")]
    ByHand(String),
}

/// The moments at which all clients meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meeting {
    Join,
    Loaded,
    WarmedUp,
    Stopped,
    ReadBack,
    Closed,
}

impl std::fmt::Display for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Loaded => "loaded",
            Self::WarmedUp => "warmed up",
            Self::Stopped => "stopped",
            Self::ReadBack => "read back",
            Self::Closed => "closed",
        })
    }
}
