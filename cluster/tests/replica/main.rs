//! A replica against a model, copied in the middle of writes, on each engine.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

mod history;
mod images;
mod model;
mod single;
mod world;
