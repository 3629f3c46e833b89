//! What is unknown of real servers can be had either way.

use std::time::Duration;

use serde_json::{Value, json};
use transport_ws::testing::{AgentChatServer, Switches};

use crate::support::{Socket, friends, get, say, start};

async fn with(change: impl FnOnce(&mut Switches)) -> AgentChatServer {
    start(AgentChatServer::builder().manual_clock().switches(change)).await
}

#[tokio::test]
async fn what_is_not_acknowledged_may_come_again_on_the_same_connection() {
    let server = with(|switches| switches.repush_after = Some(Duration::from_secs(10))).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    let mut socket = Socket::acking(&server, &bob).await;
    let row = say(&server, &alice, "bob", "1", "x").await.ok();
    assert_eq!(socket.event("message.new").await["id"], row["id"]);
    server.advance(Duration::from_secs(9));
    socket.quiet(&server, "bob").await;
    server.advance(Duration::from_secs(1));
    assert_eq!(socket.event("message.new").await["id"], row["id"]);
    socket.ack(&row["id"]).await;
    server.until_stored("bob", 0).await;
    server.advance(Duration::from_secs(10));
    socket.quiet(&server, "bob").await;
}

#[tokio::test]
async fn typing_may_be_passed_on() {
    for relays in [true, false] {
        let server = with(|switches| switches.relay_typing = relays).await;
        let (alice, bob, conversation) = friends(&server, "alice", "bob").await;
        let mut typing = Socket::hello(&server, &alice).await;
        let mut watching = Socket::hello(&server, &bob).await;
        typing.event("presence.update").await;
        let payload = json!({ "conversation_id": conversation });
        typing.send(json!({ "type": "typing.start", "payload": payload })).await;
        typing.send(json!({ "type": "message.send", "payload": {} })).await;
        typing.send_text("{{{").await;
        // The answer to a ping comes after everything before it was read.
        typing.send_message(tokio_tungstenite::tungstenite::Message::Ping(Default::default())).await;
        assert_eq!(typing.next().await, crate::support::Got::Pong);
        if relays {
            let expected = json!({ "conversation_id": conversation, "sender": "alice" });
            assert_eq!(watching.event("typing.start").await, expected);
        }
        watching.quiet(&server, "bob").await;
    }
}

#[tokio::test]
async fn sockets_may_be_counted() {
    let server = with(|switches| switches.socket_limit = Some(1)).await;
    let bob = server.agent("bob");
    let first = Socket::hello(&server, &bob).await;
    let mut second = Socket::open(&server, &[]).await;
    second.send(json!({ "type": "hello", "api_key": bob })).await;
    assert_eq!(second.closed().await, (1008, "Too many connections".to_owned()));
    first.close().await;
    server.until_sockets("bob", 0).await;
    Socket::hello(&server, &bob).await;
}

#[tokio::test]
async fn live_pushes_may_carry_a_status() {
    let server = with(|switches| switches.live_status = true).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    let mut socket = Socket::hello(&server, &bob).await;
    say(&server, &alice, "bob", "1", "x").await.ok();
    assert_eq!(socket.event("message.new").await["status"], "stored");
}

#[tokio::test]
async fn everything_may_have_members_nobody_knows() {
    let server = with(|switches| switches.unknown_members = true).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    say(&server, &alice, "bob", "1", "x").await.ok();
    let me = get(&server, &bob, "/v1/agents/me").await.ok();
    assert!(me["zebra"].is_string() && me["settings"]["zebra"].is_string());
    let mut socket = Socket::hello(&server, &bob).await;
    assert_eq!(socket.json().await, json!({ "type": "zebra.event", "payload": {} }));
    assert_eq!(socket.event("message.new").await["content"]["text"], "x");
}

#[tokio::test]
async fn a_new_account_may_find_a_welcome() {
    let server = with(|switches| switches.welcome = true).await;
    let bob = server.agent("bob");
    let rows = crate::support::sync(&server, &bob).await;
    assert_eq!((rows.len(), rows[0]["sender"].clone()), (1, json!("chatfather")));
    assert_eq!(rows[0]["context"]["sender"]["kind"], "system");
    // Answering the platform is nothing cold.
    for n in 0..2 {
        assert_eq!(say(&server, &bob, "chatfather", &format!("{n}"), "thanks").await.status, 201);
    }
    let refused =
        crate::support::call(&server, "POST", "/v1/contacts/chatfather/block").key(&bob).send().await;
    assert_eq!(refused.refusal(), (409, "SYSTEM_AGENT_PROTECTED".to_owned()));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_identifiers() {
    let run = |seed: u64| async move {
        let server = start(AgentChatServer::builder().manual_clock().seed(seed)).await;
        let alice = server.agent("alice");
        server.agent("bob");
        let row: Value = say(&server, &alice, "bob", "1", "x").await.ok();
        (alice, row)
    };
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await.1["id"], run(2).await.1["id"]);
}
