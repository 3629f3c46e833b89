//! Opening sockets: S41 to S44, S48, S49.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;
use transport_ws::testing::{AgentChatServer, Profile};

use crate::support::{BOTH, Got, Socket, friends, frozen, say, start};

#[tokio::test]
async fn s41_hello_ok() {
    let server = frozen(Profile::Current).await;
    let key = server.agent("dave");
    for (asked, granted) in [
        (Some(json!(["ack"])), Some(json!(["ack"]))),
        (None, None),
        (Some(json!(["ack", "telepathy"])), Some(json!(["ack"]))),
        (Some(json!(["telepathy"])), Some(json!([]))),
    ] {
        let mut hello = json!({ "type": "hello", "api_key": key });
        if let Some(asked) = asked {
            hello["capabilities"] = asked;
        }
        let mut socket = Socket::open(&server, &[]).await;
        socket.send(hello).await;
        let ok = socket.json().await;
        assert_eq!((ok["type"].clone(), ok.get("capabilities").cloned()), (json!("hello.ok"), granted));
    }
    let server = frozen(Profile::Legacy).await;
    let mut socket = Socket::open(&server, &[]).await;
    socket.send(json!({ "type": "hello", "api_key": server.agent("dave"), "capabilities": ["ack"] })).await;
    assert_eq!(socket.json().await, json!({ "type": "hello.ok" }));
}

#[tokio::test]
async fn s42_hello_failures() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let mut silent = Socket::open(&server, &[]).await;
        // Whoever answers a ping is known to the server by then.
        silent.send_message(Message::Ping(Default::default())).await;
        assert_eq!(silent.next().await, Got::Pong);
        server.advance(Duration::from_millis(4_999));
        server.advance(Duration::from_millis(1));
        assert_eq!(silent.closed().await, (1008, "HELLO frame required".to_owned()));
        let wrong = ["not json", "[]", r#"{"type":"typing.start"}"#, r#"{"type":"hello","api_key":5}"#];
        for text in wrong {
            let mut socket = Socket::open(&server, &[]).await;
            socket.send_text(text).await;
            assert_eq!(socket.closed().await, (1008, "HELLO frame required first".to_owned()), "{text}");
        }
        let mut binary = Socket::open(&server, &[]).await;
        binary.send_message(Message::binary(b"{}".to_vec())).await;
        assert_eq!(binary.closed().await, (1008, "HELLO frame required first".to_owned()));
        let mut bad = Socket::open(&server, &[]).await;
        bad.send(json!({ "type": "hello", "api_key": "ac_bogus" })).await;
        assert_eq!(bad.closed().await, (1008, "Invalid token".to_owned()));
    }
}

#[tokio::test]
async fn s43_header_auth() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let bearer = format!("Bearer {}", server.agent("dave"));
        let headers = [("authorization", bearer.as_str()), ("x-agentchat-capabilities", "ack")];
        let mut socket = Socket::open(&server, &headers).await;
        if profile == Profile::Current {
            assert_eq!(socket.json().await, json!({ "type": "hello.ok", "capabilities": ["ack"] }));
        }
        server.until_sockets("dave", 1).await;
        socket.quiet(&server, "dave").await;
        let mut bad = Socket::open(&server, &[("authorization", "Bearer ac_bogus")]).await;
        assert_eq!(bad.closed().await, (1008, "Invalid token".to_owned()));
    }
    for status in [401, 403] {
        let builder = AgentChatServer::builder().switches(|switches| switches.reject_upgrade = Some(status));
        let server = start(builder).await;
        let bad = Socket::try_open(&server, &[("authorization", "Bearer ac_bogus")]).await;
        assert_eq!(bad.err(), Some(status));
        let bearer = format!("Bearer {}", server.agent("dave"));
        assert!(Socket::try_open(&server, &[("authorization", &bearer)]).await.is_ok());
    }
}

#[tokio::test]
async fn s44_push_fanout() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (hank, gina, _) = friends(&server, "hank", "gina").await;
        let mut own = Socket::hello(&server, &hank).await;
        let mut one = Socket::hello(&server, &gina).await;
        let mut other = Socket::hello(&server, &gina).await;
        if profile == Profile::Current {
            // Both know each other since one answered, so the sender hears that the recipient came.
            assert_eq!(own.event("presence.update").await["status"], "online");
        }
        let row = say(&server, &hank, "gina", "1", "both?").await.ok();
        for socket in [&mut one, &mut other] {
            assert_eq!(socket.event("message.new").await["id"], row["id"]);
        }
        own.quiet(&server, "hank").await;
    }
}

async fn backlog(server: &AgentChatServer, count: usize) {
    server.agent("bob");
    for sender in 0..count.div_ceil(50) {
        let name = format!("sender-{sender}");
        let (key, bob) = (server.agent(&name), server.agent("bob"));
        say(server, &bob, &name, &format!("open-{sender}"), "hi").await.ok();
        for n in 0..50.min(count - sender * 50) {
            let text = format!("{}", sender * 50 + n);
            assert_eq!(say(server, &key, "bob", &format!("m{n}"), &text).await.status, 201);
        }
    }
}

#[tokio::test]
async fn s48_drain_order_and_cap() {
    for profile in BOTH {
        let server = frozen(profile).await;
        backlog(&server, 450).await;
        let bob = server.agent("bob");
        let mut socket = Socket::acking(&server, &bob).await;
        let mut numbers = Vec::new();
        for batch in [200, 200, 50] {
            for _ in 0..batch {
                let row = socket.event("message.new").await;
                assert!(row["delivery_id"].is_string());
                assert_eq!(
                    (row["status"].clone(), row["delivered_at"].clone()),
                    (json!("stored"), Value::Null)
                );
                numbers
                    .push(row["content"]["text"].as_str().expect("text").parse::<usize>().expect("a number"));
            }
            // Nothing more until the pause between two batches is over.
            socket.quiet(&server, "bob").await;
            server.advance(Duration::from_millis(100));
        }
        assert_eq!(numbers, (0..450).collect::<Vec<_>>());
        let left = if profile == Profile::Legacy { 0 } else { 450 };
        assert_eq!(server.stored("bob"), left);
    }
}

#[tokio::test]
async fn s48_a_server_may_repeat_the_end_of_a_batch() {
    let builder = AgentChatServer::builder()
        .profile(Profile::Legacy)
        .manual_clock()
        .switches(|switches| switches.drain_overlap = 3);
    let server = start(builder).await;
    backlog(&server, 250).await;
    let mut socket = Socket::hello(&server, &server.agent("bob")).await;
    let mut numbers = Vec::new();
    for batch in [200, 53] {
        for _ in 0..batch {
            let text = socket.event("message.new").await["content"]["text"].clone();
            numbers.push(text.as_str().expect("text").parse::<usize>().expect("a number"));
        }
        socket.quiet(&server, "bob").await;
        server.advance(Duration::from_millis(100));
    }
    let expected: Vec<usize> = (0..200).chain(197..250).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn s49_drain_only_new_socket() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob, _) = friends(&server, "alice", "bob").await;
        let mut first = Socket::acking(&server, &bob).await;
        let body = json!({ "target_kind": "agent", "target_handle": "alice" });
        crate::support::post(&server, &bob, "/v1/mutes", body).await.ok();
        say(&server, &alice, "bob", "1", "stored").await.ok();
        let mut second = Socket::acking(&server, &bob).await;
        assert_eq!(second.event("message.new").await["content"]["text"], "stored");
        first.quiet(&server, "bob").await;
    }
}
