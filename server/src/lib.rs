//! batchkv-server
