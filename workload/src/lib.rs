//! batchkv-workload
