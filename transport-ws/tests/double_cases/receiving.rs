//! Receiving: S29 to S35.

use std::time::Duration;

use serde_json::{Value, json};
use transport_ws::testing::{AgentChatServer, PauseMode, Profile};

use crate::support::{BOTH, Socket, ack_all, call, frozen, get, post, say, start, sync, texts};

/// Three rows for bob, from three agents.
async fn three_rows(server: &AgentChatServer) -> (String, Vec<Value>) {
    let bob = server.agent("bob");
    for (n, sender) in ["ann", "ben", "cat"].into_iter().enumerate() {
        let key = server.agent(sender);
        say(server, &key, "bob", "row", &format!("r{}", n + 1)).await.ok();
    }
    let rows = sync(server, &bob).await;
    assert_eq!(texts(&rows), ["r1", "r2", "r3"]);
    (bob, rows)
}

async fn ack(server: &AgentChatServer, key: &str, cursor: &Value) -> Value {
    post(server, key, "/v1/messages/sync/ack", json!({ "last_delivery_id": cursor })).await.ok()["acked"]
        .clone()
}

#[tokio::test]
async fn s29_pause_modes() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (rosa, uma) = (server.agent("rosa"), server.agent("uma"));
        for mode in [PauseMode::Send, PauseMode::Full] {
            server.set_pause("uma", mode);
            let refused = say(&server, &uma, "rosa", "1", "x").await;
            assert_eq!(refused.refusal(), (403, "AGENT_PAUSED_BY_OWNER".to_owned()));
        }
        assert_eq!(get(&server, &uma, "/v1/agents/me").await.ok()["paused_by_owner"], "full");
        let mut socket = Socket::hello(&server, &uma).await;
        say(&server, &rosa, "uma", "1", "while paused").await.ok();
        socket.quiet(&server, "uma").await;
        assert!(sync(&server, &uma).await.is_empty());
        let cursor = json!("del_00000000000000000000000000000000");
        assert_eq!(ack(&server, &uma, &cursor).await, 0);
        server.set_pause("uma", PauseMode::None);
        assert_eq!(texts(&sync(&server, &uma).await), ["while paused"]);
        // The end of a pause pushes nothing by itself.
        socket.quiet(&server, "uma").await;
        let mut again = Socket::hello(&server, &uma).await;
        assert_eq!(again.event("message.new").await["content"]["text"], "while paused");
    }
}

#[tokio::test]
async fn s29_a_server_may_drain_when_a_pause_ends() {
    let builder = AgentChatServer::builder().switches(|switches| switches.drain_on_unpause = true);
    let server = start(builder).await;
    let (rosa, uma) = (server.agent("rosa"), server.agent("uma"));
    let mut socket = Socket::hello(&server, &uma).await;
    server.set_pause("uma", PauseMode::Full);
    say(&server, &rosa, "uma", "1", "while paused").await.ok();
    server.set_pause("uma", PauseMode::None);
    assert_eq!(socket.event("message.new").await["content"]["text"], "while paused");
}

#[tokio::test]
async fn s30_mute() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (zed, yara) = (server.agent("zed"), server.agent("yara"));
        let body = json!({ "target_kind": "agent", "target_handle": "zed" });
        post(&server, &yara, "/v1/mutes", body).await.ok();
        let mut socket = Socket::hello(&server, &yara).await;
        say(&server, &zed, "yara", "1", "muted").await.ok();
        socket.quiet(&server, "yara").await;
        assert_eq!(texts(&sync(&server, &yara).await), ["muted"]);
        let listed = get(&server, &yara, "/v1/conversations").await.ok();
        assert_eq!(listed[0]["is_muted"], true);
        if profile == Profile::Current {
            assert_eq!(listed[0]["unread_count"], 1);
        }
        // The drain of the next connection does not look at mutes.
        let mut again = Socket::hello(&server, &yara).await;
        assert_eq!(again.event("message.new").await["content"]["text"], "muted");
        // An ended mute is none.
        let until =
            json!({ "target_kind": "agent", "target_handle": "zed", "muted_until": "2026-01-01T00:01:00Z" });
        post(&server, &yara, "/v1/mutes", until).await.ok();
        server.advance(Duration::from_secs(61));
        assert_eq!(get(&server, &yara, "/v1/mutes/agent/zed").await.refusal(), (404, "NOT_FOUND".to_owned()));
        say(&server, &yara, "zed", "2", "answer").await.ok();
        say(&server, &zed, "yara", "3", "heard").await.ok();
        assert_eq!(again.event("message.new").await["content"]["text"], "heard");
    }
}

#[tokio::test]
async fn s31_sync_basic() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (bob, rows) = three_rows(&server).await;
        assert_eq!(sync(&server, &bob).await, rows);
        for row in &rows {
            assert_eq!(row["status"], "stored");
            let id = row["delivery_id"].as_str().expect("an id");
            let hex = id.strip_prefix("del_").expect("the prefix");
            assert!(hex.len() == 32 && hex.bytes().all(|b| b"0123456789abcdef".contains(&b)));
            assert_eq!((row["delivered_at"].clone(), row["read_at"].clone()), (Value::Null, Value::Null));
            assert_eq!(row.get("context").is_some(), profile == Profile::Current);
        }
        assert_eq!(call(&server, "GET", "/v1/messages/sync").send().await.status, 401);
    }
}

#[tokio::test]
async fn s32_sync_limits() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let bob = server.agent("bob");
        for sender in 0..10 {
            let key = server.agent(&format!("sender-{sender}"));
            say(&server, &bob, &format!("sender-{sender}"), &format!("open-{sender}"), "hi").await.ok();
            for n in 0..60 {
                assert_eq!(say(&server, &key, "bob", &format!("m{n}"), "x").await.status, 201);
            }
        }
        for (query, count) in [("", 200), ("?limit=500", 500), ("?limit=501", 500)] {
            let rows = get(&server, &bob, &format!("/v1/messages/sync{query}")).await.ok();
            assert_eq!(rows.as_array().map(Vec::len), Some(count), "{query}");
        }
        for query in ["?limit=0", "?limit=x", "?limit=-1", "?limit="] {
            let refused = get(&server, &bob, &format!("/v1/messages/sync{query}")).await;
            assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".to_owned()), "{query}");
        }
    }
}

#[tokio::test]
async fn s33_sync_cursor() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (bob, rows) = three_rows(&server).await;
        let ann = server.agent("ann");
        let after = |key: String, cursor: Value| {
            let path = format!("/v1/messages/sync?after={}", cursor.as_str().expect("a cursor"));
            let server = &server;
            async move { texts(get(server, &key, &path).await.ok().as_array().expect("a list")) }
        };
        let first = rows[0]["delivery_id"].clone();
        assert_eq!(after(bob.clone(), first.clone()).await, ["r2", "r3"]);
        assert!(after(bob.clone(), json!("garbage")).await.is_empty());
        assert!(after(bob.clone(), json!("del_00000000000000000000000000000000")).await.is_empty());
        say(&server, &bob, "ann", "back", "hi").await.ok();
        assert!(after(ann, first.clone()).await.is_empty());
        // A cursor still points once its row is delivered.
        assert_eq!(ack(&server, &bob, &first).await, 1);
        assert_eq!(after(bob, first).await, ["r2", "r3"]);
    }
}

#[tokio::test]
async fn s34_sync_ack() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (bob, rows) = three_rows(&server).await;
        let second = &rows[1]["delivery_id"];
        assert_eq!(ack(&server, &bob, second).await, 2);
        assert_eq!(ack(&server, &bob, second).await, 0);
        assert_eq!(ack(&server, &bob, &json!("garbage")).await, 0);
        for body in [json!({}), json!({ "last_delivery_id": 5 }), json!({ "last_delivery_id": "" })] {
            let refused = post(&server, &bob, "/v1/messages/sync/ack", body).await;
            assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".to_owned()));
        }
        assert_eq!(texts(&sync(&server, &bob).await), ["r3"]);
    }
}

#[tokio::test]
async fn s35_ack_isolation() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (bob, rows) = three_rows(&server).await;
        let ann = server.agent("ann");
        say(&server, &bob, "ann", "back", "hi").await.ok();
        assert_eq!(ack(&server, &ann, &rows[2]["delivery_id"]).await, 0);
        assert_eq!((server.stored("bob"), server.stored("ann")), (3, 1));
        ack_all(&server, &ann).await;
        assert_eq!((server.stored("bob"), server.stored("ann")), (3, 0));
    }
}
