//! Living sockets: S50 to S53, and what a server does when it goes.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use transport_ws::testing::{AgentChatServer, Profile};

use crate::support::{BOTH, Got, Socket, call, friends, frozen, get, post, say, start};

async fn add_contact(server: &AgentChatServer, key: &str, handle: &str) {
    post(server, key, "/v1/contacts", json!({ "handle": handle })).await.ok();
}

fn presence(handle: &str, status: &str, message: Option<&str>) -> Value {
    json!({ "handle": handle, "status": status, "custom_message": message })
}

#[tokio::test]
async fn s50_heartbeat_close() {
    for (profile, interval, timeout) in [(Profile::Legacy, 30, 10), (Profile::Current, 45, 30)] {
        let server = frozen(profile).await;
        let (deaf, watcher) = (server.agent("deaf"), server.agent("watcher"));
        add_contact(&server, &watcher, "deaf").await;
        let mut watching = Socket::hello(&server, &watcher).await;
        let mut socket = Socket::hello(&server, &deaf).await;
        assert_eq!(watching.event("presence.update").await, presence("deaf", "online", None));
        server.advance(Duration::from_secs(interval) - Duration::from_millis(1));
        socket.quiet(&server, "deaf").await;
        server.advance(Duration::from_millis(1));
        // The ping waits in the deaf client's socket, unread and unanswered.
        assert_eq!(watching.next().await, Got::Ping);
        watching.quiet(&server, "watcher").await;
        // Reading on has sent the pong; the server has it before the answer to this.
        watching.send(json!({ "type": "nothing" })).await;
        get(&server, &watcher, "/v1/agents/me").await.ok();
        until_received(&server, "nothing").await;
        server.advance(Duration::from_secs(timeout));
        assert_eq!(watching.event("presence.update").await, presence("deaf", "offline", None));
        assert_eq!(socket.next().await, Got::Ping);
        assert_eq!(socket.closed().await, (1001, "Heartbeat timeout".to_owned()));
        watching.quiet(&server, "watcher").await;
    }
}

/// Waits for a frame to have reached the server.
async fn until_received(server: &AgentChatServer, kind: &str) {
    let arrived = || {
        server.journal().iter().any(|entry| {
            matches!(entry, transport_ws::testing::JournalEntry::Received { text, .. } if text.contains(kind))
        })
    };
    while !arrived() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn s51_slow_consumer() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (_, bob, _) = friends(&server, "alice", "bob").await;
        let mut socket = Socket::hello(&server, &bob).await;
        let frame = json!({ "type": "filler", "payload": "x".repeat(256 * 1024) });
        // The kernel takes some of it; what is beyond waits in the server.
        let mut pushed = 0;
        while server.push_raw("bob", &frame) == 1 {
            pushed += 1;
            assert!(pushed < 1_000, "the queue is bounded");
            tokio::task::yield_now().await;
        }
        assert!(pushed >= 15, "4 MiB fit in: {pushed}");
        let mut read = 0;
        loop {
            match socket.next().await {
                Got::Json(value) => {
                    assert_eq!(value, frame);
                    read += 1;
                }
                Got::Close(code, reason) => {
                    assert_eq!((code, reason.as_str()), (1013, "overload"));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(read < pushed, "what was queued is given up");
    }
}

#[tokio::test]
async fn s52_presence() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (ivan, judy, carol) = (server.agent("ivan"), server.agent("judy"), server.agent("carol"));
        add_contact(&server, &judy, "ivan").await;
        // Being somebody's contact is not having them as one.
        add_contact(&server, &ivan, "carol").await;
        let mut watching = Socket::hello(&server, &judy).await;
        let mut stranger = Socket::hello(&server, &carol).await;
        let first = Socket::hello(&server, &ivan).await;
        assert_eq!(watching.event("presence.update").await, presence("ivan", "online", None));
        let busy = json!({ "status": "busy", "custom_message": "x" });
        let set = call(&server, "PUT", "/v1/presence").key(&ivan).body(busy).send().await.ok();
        assert_eq!(set, presence("ivan", "busy", Some("x")));
        assert_eq!(watching.event("presence.update").await, presence("ivan", "busy", Some("x")));
        let second = Socket::hello(&server, &ivan).await;
        first.close().await;
        server.until_sockets("ivan", 1).await;
        assert_eq!(get(&server, &judy, "/v1/presence/ivan").await.ok()["status"], "busy");
        second.close().await;
        assert_eq!(watching.event("presence.update").await, presence("ivan", "offline", None));
        watching.quiet(&server, "judy").await;
        stranger.quiet(&server, "carol").await;
        // A state that nobody renews runs out.
        let online = json!({ "status": "online" });
        call(&server, "PUT", "/v1/presence").key(&ivan).body(online).send().await.ok();
        server.advance(Duration::from_secs(299));
        assert_eq!(get(&server, &judy, "/v1/presence/ivan").await.ok()["status"], "online");
        server.advance(Duration::from_secs(1));
        assert_eq!(get(&server, &judy, "/v1/presence/ivan").await.ok()["status"], "offline");
    }
}

#[tokio::test]
async fn s53_presence_privacy() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (hank, _) = (server.agent("hank"), server.agent("gina"));
        for handle in ["gina", "nobody-here"] {
            let refused = get(&server, &hank, &format!("/v1/presence/{handle}")).await;
            assert_eq!(refused.refusal(), (404, "NOT_FOUND".to_owned()));
        }
        add_contact(&server, &hank, "gina").await;
        assert_eq!(get(&server, &hank, "/v1/presence/gina").await.ok()["last_seen"], Value::Null);
        // This route takes handles as they are.
        assert_eq!(get(&server, &hank, "/v1/presence/%40gina").await.status, 404);
        let body = json!({ "handles": ["gina", "GINA", "nobody-here"] });
        let batch = post(&server, &hank, "/v1/presence/batch", body).await.ok();
        assert_eq!(batch["presences"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn a_server_that_goes_down_says_so_and_keeps_what_it_knows() {
    let mut server = start(AgentChatServer::builder()).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    let mut hello = Socket::hello(&server, &bob).await;
    let mut second = Socket::hello(&server, &bob).await;
    server.down().await.expect("the port");
    for socket in [&mut hello, &mut second] {
        assert_eq!(socket.closed().await, (1001, "Server shutting down".to_owned()));
    }
    let refused = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await;
    assert_eq!(refused.map_err(|error| error.kind()).err(), Some(std::io::ErrorKind::ConnectionRefused));
    server.up().await.expect("the port");
    say(&server, &alice, "bob", "after", "still here").await.ok();
    let mut again = Socket::hello(&server, &bob).await;
    assert_eq!(again.event("message.new").await["content"]["text"], "still here");
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_agents_seemingly_online() {
    let mut server = start(AgentChatServer::builder()).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    let mut socket = Socket::hello(&server, &bob).await;
    server.kill().await.expect("the port");
    assert_eq!(socket.next().await, Got::Ended);
    server.up().await.expect("the port");
    assert_eq!(server.sockets("bob"), 0);
    assert_eq!(get(&server, &alice, "/v1/presence/bob").await.ok()["status"], "online");
}

#[tokio::test]
async fn dropping_a_server_ends_its_sockets() {
    let server = start(AgentChatServer::builder()).await;
    let keys: Vec<String> = (0..5).map(|n| server.agent(&format!("agent-{n}"))).collect();
    let mut sockets = join_all(keys.iter().map(|key| Socket::hello(&server, key))).await;
    let port = server.port();
    drop(server);
    for socket in &mut sockets {
        assert_eq!(socket.next().await, Got::Ended);
    }
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_null_instead_of_hello_brings_the_older_server_down() {
    let server = frozen(Profile::Legacy).await;
    let mut socket = Socket::open(&server, &[]).await;
    socket.send_text("null").await;
    assert_eq!(socket.next().await, Got::Ended);
    let server = frozen(Profile::Current).await;
    let mut socket = Socket::open(&server, &[]).await;
    socket.send_text("null").await;
    assert_eq!(socket.closed().await, (1008, "HELLO frame required first".to_owned()));
}
