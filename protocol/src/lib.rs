//! What client and server say to each other: pure bytes and values, no I/O, no clock, no threads.
//!
//! ```text
//!  client                                                        server
//!  operations -> groups by partition -> RequestWriter            ReceiveBuffer -> Request (borrows)
//!                                        SendBuffer  --- TCP -->    groups -> engine -> AnswerWriter
//!  answers <- Answers (borrows) <- ReceiveBuffer    <--- TCP ---                        SendBuffer
//! ```
//!
//! Where to start: [`frame`] (how bytes are cut into frames, and the tags), [`request`] and
//! [`answer`] (the data path, encoded and decoded by hand), [`options`] (what groups ask of a cluster),
//! [`mod@hello`] (who connects), [`join`] (how a server becomes a cluster's), [`control`] (counters, status, maps, errors), [`operator`], [`mod@placement`], [`map`] and [`live`] (which server a key lives on, and how that
//! changes), [`limits`] (every bound, in one file).
//!
//! Every frame's body is one value in the format of bincode 2's `standard()` configuration; the
//! tests compare with that crate's bytes.

#![forbid(unsafe_code)]

pub mod answer;
mod answers;
pub mod buffer;
pub mod control;
pub mod frame;
pub mod hello;
pub mod join;
mod kept;
pub mod key;
pub mod limits;
pub mod live;
pub mod map;
pub mod operator;
pub mod options;
pub mod placement;
pub mod request;
mod seen;
mod wire;

pub use answer::{Answer, AnswerFrame, AnswerWriter, Freshness, Position, References, Refusal};
pub use answers::Answers;
pub use buffer::{ReceiveBuffer, SendBuffer};
pub use control::{Control, Counters, ErrorFrame, MapFrame, ServerAddress, Status};
pub use frame::Malformed;
pub use hello::{ClientHello, Hello, OperatorHello, PeerHello, Role, ServerHello, ServerLimits};
pub use join::{JoinAnswer, JoinRequest};
pub use kept::{KeptAnswers, KeptCursor};
pub use key::Key;
pub use live::LiveMap;
pub use map::{MapError, Ownership, PartitionMap, Partitioning};
pub use operator::{ClusterStatus, OperatorAnswer, OperatorRequest};
pub use options::{Ack, GroupOptions, Sequence};
pub use placement::placement;
pub use request::{Operation, RequestCursor, RequestFrame, RequestWriter};
pub use seen::Seen;
