//! batchkv-client
