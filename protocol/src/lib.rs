//! batchkv-protocol
