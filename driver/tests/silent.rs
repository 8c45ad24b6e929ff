//! Servers that say less than they should, or other times: what was not checked never passes as checked.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails there

#[path = "../../client/tests/common/mod.rs"]
mod common;
mod driver;

use batchkv_client::protocol::control::FEATURE_STATUS;
use batchkv_client::protocol::frame::{self, Kind};
use batchkv_client::protocol::{Control, Status};
use driver::{SMALL, Scratch, client, reasons};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Instant;

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
    // Whichever worker ends first is named.
    assert!(told[0].contains("connection 0 of worker"), "{told:?}");
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

/// A server whose clock goes so many times as fast; exit status and summary.
fn run_with_clock(name: &str, speed: f64) -> (i32, serde_json::Value) {
    let (store, begin) = (common::Store::default(), Instant::now());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = common::start_with(listener, move |mut peer| {
        let asked = peer.frame()?.unwrap();
        let mut hello = common::hello(0, 1);
        if let Control::ClientHello(asked) = Control::decode(&asked).unwrap() {
            hello.features = asked.features & FEATURE_STATUS;
        }
        peer.say(&Control::ServerHello(hello))?;
        while let Some(body) = peer.frame()? {
            let is_control = frame::kind(&body).unwrap() == Kind::Control;
            if is_control && Control::decode(&body).unwrap() == Control::StatusRequest {
                let elapsed = begin.elapsed().mul_f64(speed);
                peer.say(&Control::Status(Status {
                    unix_nanos: elapsed.as_nanos() as u64,
                    machine: 1,
                    threads_cpu_micros: vec![elapsed.as_micros() as u64 / 2],
                }))?;
            } else {
                peer.respond(&body, &store)?;
            }
        }
        Ok(())
    });
    let scratch = Scratch::new(name);
    let output = scratch.path().display();
    let (code, _, _) = client(&format!("--hosts {address} {SMALL} --output {output}"));
    (code, scratch.summary(""))
}

/// To a client whose own clock goes at half its speed, all others go at double speed.
#[test]
fn clocks_of_other_speeds_are_found() {
    for (name, speed) in [("double", 2.0), ("half", 0.5)] {
        let (code, summary) = run_with_clock(name, speed);
        assert_eq!(code, 1, "{summary}");
        assert_eq!(reasons(&summary, "clock-rates").len(), 1, "{summary}");
    }
    let (code, honest) = run_with_clock("right", 1.0);
    assert_eq!(code, 0, "{honest}");
    assert!(reasons(&honest, "clock-rates").is_empty(), "{honest}");
}

#[test]
fn all_connections_of_a_run_are_one_clients_and_another_run_is_another_client() {
    let (store, (told, ids)) = (common::Store::default(), mpsc::channel());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = common::start_with(listener, move |mut peer| {
        told.send(peer.take_hello()?.client_id).unwrap();
        peer.say_hello(common::hello(0, 1))?;
        while let Some(body) = peer.frame()? {
            peer.respond(&body, &store)?;
        }
        Ok(())
    });
    let clients = [(); 2].map(|()| {
        let (code, _, said) = client(&format!("--hosts {address} {SMALL} --connections 2"));
        assert_eq!(code, 0, "{said}");
        let ids: Vec<[u8; 16]> = ids.try_iter().collect();
        // Those that carry operations, and the one that asks for the status.
        assert_eq!(ids, [ids[0]; 3]);
        ids[0]
    });
    assert_ne!(clients[0], clients[1]);
}
