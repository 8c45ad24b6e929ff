//! Servers that say less than they should: what was not checked never passes as checked.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

#[path = "../../client/tests/common/mod.rs"]
mod common;
mod driver;

use batchkv_client::protocol::frame::{self, Kind};
use driver::{SMALL, Scratch, client, reasons};
use std::net::TcpListener;

/// A run on a server that gives its counters or closes instead; exit status and summary.
fn run(name: &str, tells_counts: bool) -> (i32, serde_json::Value) {
    let store = common::Store::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = common::start_with(listener, move |mut peer| {
        peer.greet(common::hello(0, 1))?;
        while let Some(body) = peer.frame()? {
            if frame::kind(&body).unwrap() == Kind::Control && !tells_counts {
                break;
            }
            peer.respond(&body, &store)?;
        }
        Ok(())
    });
    let scratch = Scratch::new(name);
    let output = scratch.path().display();
    let (code, _, _) = client(&format!("--hosts {address} {SMALL} --output {output}"));
    (code, scratch.summary(""))
}

#[test]
fn a_server_that_closes_instead_of_telling_its_counts_is_no_proof() {
    let (code, summary) = run("counts", false);
    let told = reasons(&summary, "counts-not-told");
    assert_eq!((code, told.len()), (1, 1), "{summary}");
    assert!(told[0].contains("connection 0 of worker 0"), "{told:?}");
    let (_, honest) = run("counts-told", true);
    assert!(reasons(&honest, "counts-not-told").is_empty(), "{honest}");
}

#[test]
fn a_server_without_status_is_not_taken_for_a_machine_of_its_own() {
    let (code, summary) = run("status", true);
    assert_eq!(code, 0, "{summary}");
    assert_eq!(summary["verdict"], "QUALIFIED");
    let unchecked = reasons(&summary, "not-checked").join(" ");
    for rule in ["shared-machine", "clients-limit"] {
        assert!(unchecked.contains(rule), "{rule}: {summary}");
    }
    let checked = summary["checked"].as_array().unwrap();
    let machine = checked.iter().find(|line| line["rule"] == "shared-machine");
    assert_eq!(machine.unwrap()["outcome"], "not-made");
}
