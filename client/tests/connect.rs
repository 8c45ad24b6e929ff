//! How servers are reached: several addresses, several hosts, and what is said when that fails.

#![allow(clippy::unwrap_used)] // a step that fails is a test that fails

mod common;

use batchkv_client::connect::{ConnectOptions, greet_all, greet_any};
use batchkv_client::{Client, ConnectError, Options};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A listener that drops what would connect to it, its queue being full; and what fills it.
async fn swallowing() -> (SocketAddr, Socket, Vec<TcpStream>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    let patience = Duration::from_millis(200);
    while let Ok(stream) = timeout(patience, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    (address, listener, queued)
}

fn brief(millis: u64) -> ConnectOptions {
    ConnectOptions {
        connect_time: Duration::from_millis(millis),
        ..ConnectOptions::default()
    }
}

#[tokio::test]
async fn an_address_that_swallows_what_is_sent_to_it_does_not_hide_the_next() {
    let (silent, _listener, _queued) = swallowing().await;
    let served: SocketAddr = common::start(0, 1).parse().unwrap();
    let options = ConnectOptions::default();
    let greeting = greet_any(&[silent, served], "two", &options).await.unwrap();
    assert_eq!(greeting.hello().server_index, 0);

    let error = greet_any(&[silent, silent], "two", &brief(300)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "no batchkv server at two: no connection within 300ms"
    );
}

#[tokio::test]
async fn an_address_with_something_else_does_not_hide_the_next_and_is_named_when_none_is_left() {
    let other = common::start_with(common::listener(), |_| Ok(()));
    let mute = common::listener();
    let closed = common::listener().local_addr().unwrap();
    let other: SocketAddr = other.parse().unwrap();
    let mute_address = mute.local_addr().unwrap();
    let served: SocketAddr = common::start(0, 1).parse().unwrap();
    let options = ConnectOptions::default();
    let all = [closed, other, mute_address, served];
    greet_any(&all, "several", &options).await.unwrap();

    let error = greet_any(&[closed, other, closed], "several", &options).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
    let error = greet_any(&[closed, mute_address], "several", &brief(300)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "no batchkv server at several: no hello within 300ms"
    );
    let error = greet_any(&[], "several", &options).await.unwrap_err();
    assert!(
        error.to_string().ends_with("the name has no address"),
        "{error}"
    );
}

/// Servers that say hello once all of them were asked.
fn shy_servers(servers: u32) -> Vec<String> {
    let all_asked = Arc::new(Barrier::new(servers as usize));
    let start = |index| {
        let all_asked = Arc::clone(&all_asked);
        common::start_with(common::listener(), move |mut peer| {
            peer.frame()?;
            all_asked.wait();
            peer.say_hello(common::hello(index, servers))?;
            while peer.frame()?.is_some() {}
            Ok(())
        })
    };
    (0..servers).map(start).collect()
}

#[tokio::test]
async fn hosts_are_greeted_side_by_side_and_stay_in_order() {
    let hosts = shy_servers(3);
    let greetings = greet_all(&hosts, &ConnectOptions::default()).await.unwrap();
    let indices: Vec<u32> = greetings.iter().map(|g| g.hello().server_index).collect();
    assert_eq!(indices, [0, 1, 2]);
    Client::connect(&shy_servers(4), Options::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_has_one_id_over_all_its_connections_and_two_clients_have_two() {
    let (told, ids) = std::sync::mpsc::channel();
    let start = |index| {
        let told = told.clone();
        common::start_with(common::listener(), move |mut peer| {
            told.send(peer.take_hello()?.client_id).unwrap();
            peer.say_hello(common::hello(index, 2))?;
            while peer.frame()?.is_some() {}
            Ok(())
        })
    };
    let hosts = [start(0), start(1)];
    let options = Options {
        connections_per_server: 2.try_into().unwrap(),
        ..Options::default()
    };
    let clients = [
        Client::connect(&hosts, options.clone()).await.unwrap(),
        Client::connect(&hosts, options).await.unwrap(),
    ];
    let ids: Vec<[u8; 16]> = ids.iter().take(8).collect();
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(ids[4 * number..][..4], [client.id(); 4]);
    }
    assert_ne!(clients[0].id(), clients[1].id());
}
