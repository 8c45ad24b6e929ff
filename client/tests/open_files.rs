//! A limit of the system on the client's side is named as what it is. Alone in its process, whose limit
//! it changes.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

mod common;

use batchkv_client::{Client, Options};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::File;

const OPEN_FILES_MAX: u64 = 64;

#[tokio::test]
async fn a_process_with_no_file_descriptor_left_is_told_so() {
    let address = common::start(0, 1);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES_MAX, hard).unwrap();
    let mut open = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        open.push(file);
    }
    let expected = format!(
        "this process may have only {OPEN_FILES_MAX} files open at a time, sockets included, and it has: \
         raise its limit (ulimit -n)"
    );
    // A name that has to be looked up fails already there, and the resolver does not say why.
    let (_, port) = address.rsplit_once(':').unwrap();
    for host in [address.clone(), format!("localhost:{port}")] {
        let error = Client::connect(&[&host], Options::default()).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("cannot connect to {host}: {expected}")
        );
    }
    open.clear();
    Client::connect(&[address], Options::default())
        .await
        .unwrap();
}
