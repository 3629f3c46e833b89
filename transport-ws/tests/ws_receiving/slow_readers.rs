//! Readers that are behind: the server is held back, and nothing is lost.

use std::time::Duration;

use agentchat_core::{Event, SubscribeOptions};
use transport_ws::testing::AgentChatServer;

use crate::ws_support::{World, backlog, is_quiet, message, next, numbers, read, say, word};

#[tokio::test]
async fn c89_a_reader_that_stops_keeps_its_socket_and_loses_nothing() {
    let beat = (Duration::from_millis(100), Duration::from_millis(300));
    let builder =
        AgentChatServer::builder().heartbeat(beat.0, beat.1).switches(|it| it.awaiting_reply = false);
    let world = World::with(builder).await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let options = SubscribeOptions::own().with_max_unsettled(2);
    let mut events = bob.subscribe(options).await.expect("read").events;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    for number in 0..100 {
        say(&alice, &bob, number.to_string()).await;
    }
    assert_eq!(world.server.sockets("bob"), 1, "pings were answered while nobody read");
    let mut found = Vec::new();
    while found.len() < 100 {
        let delivery = message(&mut events).await;
        found.push(word(&delivery));
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
    assert_eq!(found, numbers(0..100));
}

#[tokio::test]
async fn a_reader_more_than_its_queue_behind_is_given_the_rest_from_the_server() {
    let world = World::new().await;
    let bob = world.attach("bob").await;
    let writers: Vec<_> = {
        let mut writers = Vec::new();
        for number in 0..20 {
            writers.push(world.attach(&format!("writer{}", char::from(b'a' + number))).await);
        }
        writers
    };
    let options = SubscribeOptions::own().with_max_unsettled(1);
    let mut events = bob.subscribe(options).await.expect("read").events;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    // More than the 1,024 rows that are kept for a reader.
    let (each, all) = (56, 20 * 56);
    futures_util::future::join_all(writers.iter().map(|writer| {
        let bob = &bob;
        async move {
            for number in 0..each {
                say(writer, bob, number.to_string()).await;
            }
        }
    }))
    .await;
    let mut of = std::collections::HashMap::<_, Vec<usize>>::new();
    for _ in 0..all {
        let delivery = message(&mut events).await;
        of.entry(delivery.conversation.clone()).or_default().push(word(&delivery).parse().expect("a number"));
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
    assert_eq!(of.len(), 20);
    for found in of.values() {
        assert_eq!(*found, (0..each).collect::<Vec<_>>());
    }
    assert!(is_quiet(&mut events).await, "each once");
}

#[tokio::test]
async fn a_burst_holds_the_server_back_and_costs_no_request() {
    let world = World::new().await;
    let bob = world.attach("bob").await;
    let mut events = read(&bob).await;
    assert!(backlog(&mut events).await.is_empty());
    let asked = world.requests("GET", "/v1/messages/sync");
    for number in 0..BURST {
        // On no list of the server's: one that is not taken from the socket never comes.
        let seq = number + 1;
        let ids = format!(r#""id":"msg_{number}","conversation_id":"conv_1","client_msg_id":"c{number}""#);
        let row = format!(r#"{{{ids},"seq":{seq},"sender":"alice","content":{{"text":"{number}"}}}}"#);
        let frame = format!(r#"{{"type":"message.new","payload":{row}}}"#);
        assert_eq!(world.server.push_text("bob", &frame), 1);
    }
    let mut found = Vec::new();
    while found.len() < BURST {
        let delivery = message(&mut events).await;
        bob.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
        found.push(word(&delivery));
    }
    assert_eq!(found, numbers(0..BURST));
    assert_eq!(world.requests("GET", "/v1/messages/sync"), asked);
}

/// More than an attachment keeps for a reader that is behind.
const BURST: usize = 3_000;
