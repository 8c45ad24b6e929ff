//! batchkv-server

pub mod store;
