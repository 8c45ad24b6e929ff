//! The workload of batchkv: which operations are asked, on which keys, with which values, and
//! whether the answers can be true.
//!
//! Pure: no I/O, no clock, no threads; knows no protocol and no server. Everything follows from a
//! [`Spec`] and a seed, with the same bits on every machine.
//!
//! ```text
//! Options --Spec::new--> Spec --+--> LoadOrder ------> record          (load)
//!  (typed)            (valid)   +--> Stream::next ---> kind, record    (run)
//!                                        ^ Inserts (per worker)
//! record --KeyBuf--> key --values::write--> value ...answer... values::check --> Stamp
//!                                                  Witness (a word a record) <---+
//! ```
//!
//! Start reading at [`spec`] (what can be asked for), then [`chooser`] (which records), [`stream`] (the hot loop)
//! and [`zipf`] (its heart, for the laws in [`law`]). No two modules use each other; [`error`] is of all of them. [`values`], [`stale`] and [`presence`] hold what makes an answer believable,
//! [`history`] judges all that happened to a key of the [`watchlist`], [`load`] and [`inserts`] say who writes which record,
//! [`keys`] how a record becomes a key, [`expected`] what each part of the keys should get. [`mod@fingerprint`] tells whether two runs asked for the same.

mod alias;
pub mod chooser;
pub mod error;
pub mod expected;
pub mod fingerprint;
mod hash;
pub mod history;
pub mod inserts;
pub mod keys;
pub mod law;
pub mod load;
pub mod mix;
pub mod permutation;
pub mod presence;
pub mod random;
pub mod share;
pub mod sizes;
pub mod skew;
pub mod spec;
pub mod stale;
pub mod stream;
pub mod values;
pub mod watchlist;
pub mod zipf;

pub use chooser::ChooserName;
pub use error::SpecError;
pub use expected::expected_shares;
pub use fingerprint::fingerprint;
pub use inserts::Inserts;
pub use keys::{KeyBuf, KeyStyle};
pub use load::LoadOrder;
pub use mix::{Kind, Mix};
pub use presence::{Certainty, Presence};
pub use share::Share;
pub use sizes::ValueSizes;
pub use skew::{Bucket, SkewSample};
pub use spec::{Options, Spec, Workload};
pub use stale::{Floor, Ticket, Witness};
pub use stream::{Identity, Operation, Phase, Stream};
pub use values::{Stamp, ValueFault, Writer};
pub use watchlist::WatchList;
