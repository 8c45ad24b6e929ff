//! Client library of batchkv.

#![forbid(unsafe_code)]

pub mod connect;
pub mod connection;
pub mod error;
pub mod exchange;
pub mod hosts;
pub mod pump;
pub mod session;
