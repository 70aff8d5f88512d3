//! More connections than there is room for, and those of clients that do not get in.

use std::{io, net::SocketAddr, time::Duration};

use mp_manager::{Error, Manager};
use mp_manager_proto::v1::Reason;
use mp_manager_tests::{
    AUTHKEY, TestServer,
    wire::{self, Wire, kind, path},
    within,
};

use crate::Innocent;

/// Connects from another address than everybody else.
async fn connect(server: &TestServer) -> Wire {
    try_to_connect(server).await.unwrap()
}

async fn try_to_connect(server: &TestServer) -> io::Result<Wire> {
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
    Wire::connect(server.address().parse().unwrap(), Some(elsewhere)).await
}

/// Tries to get in; what it is told if not, and nothing if it is cut off.
async fn try_to_get_in(server: &TestServer) -> Result<Wire, Option<String>> {
    let mut wire = try_to_connect(server).await.map_err(|_| None)?;
    match within(wire.try_to_authenticate(AUTHKEY)).await {
        Ok(Ok(_)) => Ok(wire),
        Ok(Err(refusal)) => {
            assert_eq!(refusal.reason(), Reason::LimitExceeded, "{refusal}");
            Err(Some(refusal.to_string()))
        }
        Err(_) => Err(None),
    }
}

#[tokio::test]
async fn connections_have_a_limit() {
    let server = TestServer::with(|options| options.limits.max_connections = 2);
    let innocent = Innocent::on(&server).await;
    let second = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let error = within(Manager::connect(&server.address(), AUTHKEY)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("2 connections") && said.contains("--max-connections"), "{said}");
    // Whoever leaves makes room.
    second.close().await.unwrap();
    within(async { while Manager::connect(&server.address(), AUTHKEY).await.is_err() {} }).await;
    innocent.manager.ping().await.unwrap();
}

#[tokio::test]
async fn one_address_has_a_share_of_the_connections() {
    let server = TestServer::with(|options| options.limits.max_connections_per_peer = 2);
    let innocent = Innocent::on(&server).await;
    let mut members = Vec::new();
    for _ in 0..2 {
        let mut wire = connect(&server).await;
        within(wire.authenticate(AUTHKEY)).await.unwrap();
        members.push(wire);
    }
    let refusal = try_to_get_in(&server).await.unwrap_err().expect("it is told why");
    assert!(refusal.contains("from this address"), "{refusal}");
    assert!(refusal.contains("--max-connections-per-peer"), "{refusal}");
    innocent.is_undisturbed().await;
    members.pop();
    within(async { while try_to_get_in(&server).await.is_err() {} }).await;
}

/// The oldest give way, but only those of who has too many.
#[tokio::test]
async fn strangers_do_not_keep_anyone_out() {
    let server = TestServer::with(|options| {
        options.limits.max_unauthenticated_connections = 3;
        options.handshake_timeout = Duration::from_secs(1000);
    });
    let innocent = Innocent::on(&server).await;
    let mut first = connect(&server).await;
    let mut second = connect(&server).await;
    second.begin().await.unwrap();
    let mut third = connect(&server).await;
    let _fourth = connect(&server).await;
    within(first.closed()).await;
    innocent.is_undisturbed().await;
    within(second.closed()).await;
    // One may be in the way of as many as like.
    third.authenticate(AUTHKEY).await.unwrap();
    for _ in 0..10 {
        let _strangers = [connect(&server).await, connect(&server).await, connect(&server).await];
        innocent.is_undisturbed().await;
    }
}

/// Neither those who say nothing, nor those who say much and read nothing.
#[tokio::test]
async fn a_stranger_is_cut_off_in_time() {
    let server = TestServer::with(|options| options.handshake_timeout = Duration::from_millis(100));
    let innocent = Innocent::on(&server).await;
    let mut silent = connect(&server).await;
    within(silent.closed()).await;

    let mut talker = connect(&server).await;
    talker.begin().await.unwrap();
    let pings = wire::frame(kind::PING, 0, 0, &[7; 8]).repeat(1000);
    within(async { while talker.send(&pings).await.is_ok() {} }).await;

    let mut idler = connect(&server).await;
    within(idler.authenticate(AUTHKEY)).await.unwrap();
    within(idler.closed()).await;
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn who_fails_too_often_is_not_heard_for_a_while() {
    let server = TestServer::with(|options| options.limits.max_failed_handshakes = 3);
    let innocent = Innocent::on(&server).await;
    let fails = async || {
        let mut wire = connect(&server).await;
        let _ = wire.authenticate("a wrong authkey").await.unwrap_err();
    };
    is_turned_away_for_a_while(&server, fails).await;
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn who_breaks_the_protocol_too_often_is_not_heard_for_a_while() {
    let server = TestServer::with(|options| options.limits.max_failed_handshakes = 3);
    let innocent = Innocent::on(&server).await;
    let breaks_it = async || {
        if let Ok(mut wire) = try_to_get_in(&server).await {
            let garbage = wire::frame(kind::DATA, 0, 3, &[0xff; 20]);
            wire.send(&[wire::call(3, path::SESSION), garbage].concat()).await.unwrap();
            wire.closed().await;
        }
    };
    is_turned_away_for_a_while(&server, breaks_it).await;
    innocent.is_undisturbed().await;
}

/// Does something until its address is turned away; in the end it is let in again.
async fn is_turned_away_for_a_while(server: &TestServer, act: impl AsyncFn()) {
    let until_told = async {
        loop {
            act().await;
            if let Err(Some(refusal)) = try_to_get_in(server).await {
                break refusal;
            }
        }
    };
    let refusal = within(until_told).await;
    assert!(refusal.contains("clients at this address have failed"), "{refusal}");
    within(async { while try_to_get_in(server).await.is_err() {} }).await;
}

/// There are too many of them to be told.
#[tokio::test]
async fn a_crowd_is_turned_away_without_a_word() {
    let server = TestServer::with(|options| options.limits.max_connections_per_peer = 0);
    let mut told = 0;
    for _ in 0..50 {
        told += usize::from(matches!(try_to_get_in(&server).await, Err(Some(_))));
    }
    assert!((1..50).contains(&told), "{told}");
}
