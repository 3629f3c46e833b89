//! Reading, hiding, and what acknowledgements mean: S39, S40, S45 to S47, S69.

use serde_json::{Value, json};
use transport_ws::testing::{AgentChatServer, Profile};

use crate::support::{
    BOTH, Socket, call, delete, friends, frozen, get, group, say, start, sync, tell, texts,
};

fn id(row: &Value) -> &str {
    row["id"].as_str().expect("an id")
}

#[tokio::test]
async fn s39_read() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (hank, gina, _) = friends(&server, "hank", "gina").await;
        let mut socket = Socket::hello(&server, &hank).await;
        let row = say(&server, &hank, "gina", "1", "x").await.ok();
        let read = |key: String| {
            let path = format!("/v1/messages/{}/read", id(&row));
            let server = &server;
            async move { call(server, "POST", path).key(&key).send().await }
        };
        let first = read(gina.clone()).await.ok();
        assert_eq!((first["status"].clone(), first["id"].clone()), (json!("read"), row["id"].clone()));
        let receipt = socket.event("message.read").await;
        assert_eq!(
            receipt,
            json!({ "message_id": row["id"], "read_by": "gina", "read_at": first["read_at"] })
        );
        server.advance(std::time::Duration::from_secs(5));
        assert_eq!(read(gina.clone()).await.ok()["read_at"], first["read_at"]);
        assert_eq!(socket.event("message.read").await, receipt);
        let refused =
            if profile == Profile::Legacy { (500, "INTERNAL_ERROR") } else { (404, "MESSAGE_NOT_FOUND") };
        for key in [hank.clone(), server.agent("carol")] {
            assert_eq!(read(key).await.refusal(), (refused.0, refused.1.to_owned()));
        }
        assert!(sync(&server, &gina).await.is_empty());
    }
}

#[tokio::test]
async fn s40_hide_message() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob, conversation) = friends(&server, "alice", "bob").await;
        let row = say(&server, &alice, "bob", "1", "secret").await.ok();
        let path = format!("/v1/messages/{}", id(&row));
        for _ in 0..2 {
            let hidden = delete(&server, &bob, &path).await.ok();
            assert_eq!(hidden, json!({ "message": "Message hidden from your view" }));
        }
        assert!(sync(&server, &bob).await.is_empty());
        let read = |key: String| {
            let path = format!("/v1/messages/{conversation}?limit=1");
            let server = &server;
            async move { texts(get(server, &key, &path).await.ok().as_array().expect("a list")) }
        };
        assert_eq!(read(bob.clone()).await, ["hello yourself"]);
        assert_eq!(read(alice).await, ["secret"]);
        assert_eq!(delete(&server, &bob, "/v1/messages/msg_nope").await.refusal().0, 404);
        let stranger = server.agent("mallory");
        assert_eq!(delete(&server, &stranger, &path).await.refusal(), (403, "FORBIDDEN".to_owned()));
    }
}

#[tokio::test]
async fn s45_legacy_mark_on_send() {
    let server = frozen(Profile::Legacy).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    let mut socket = Socket::hello(&server, &bob).await;
    say(&server, &alice, "bob", "1", "x").await.ok();
    let pushed = socket.event("message.new").await;
    for column in ["delivery_id", "status", "delivered_at", "read_at", "context"] {
        assert!(pushed.get(column).is_none(), "{column}");
    }
    assert!(sync(&server, &bob).await.is_empty());
}

#[tokio::test]
async fn s46_ack_mode_retains() {
    let server = frozen(Profile::Current).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    let mut socket = Socket::acking(&server, &bob).await;
    let row = say(&server, &alice, "bob", "1", "kept").await.ok();
    assert_eq!(socket.event("message.new").await["id"], row["id"]);
    assert_eq!(server.stored("bob"), 1);
    socket.close().await;
    let mut again = Socket::acking(&server, &bob).await;
    let drained = again.event("message.new").await;
    assert_eq!((drained["id"].clone(), drained["status"].clone()), (row["id"].clone(), json!("stored")));
    assert!(drained["delivery_id"].is_string());
    again.ack(&row["id"]).await;
    server.until_stored("bob", 0).await;
    again.close().await;
    let mut last = Socket::acking(&server, &bob).await;
    last.quiet(&server, "bob").await;
}

#[tokio::test]
async fn s47_ack_semantics() {
    let server = frozen(Profile::Current).await;
    let (alice, bob, conversation) = friends(&server, "alice", "bob").await;
    let mut socket = Socket::acking(&server, &bob).await;
    let row = say(&server, &alice, "bob", "1", "x").await.ok();
    let other = say(&server, &bob, "alice", "2", "y").await.ok();
    socket.event("message.new").await;
    for nothing in [json!("msg_unknown"), other["id"].clone(), json!(5), Value::Null] {
        socket.ack(&nothing).await;
    }
    socket.quiet(&server, "bob").await;
    assert_eq!((server.stored("bob"), server.stored("alice")), (1, 1));
    call(&server, "POST", format!("/v1/messages/{}/read", id(&row))).key(&bob).send().await.ok();
    for _ in 0..2 {
        socket.ack(&row["id"]).await;
    }
    socket.quiet(&server, "bob").await;
    let path = format!("/v1/messages/{conversation}?before_seq=4&limit=1");
    assert_eq!(get(&server, &alice, &path).await.ok()[0]["status"], "read");
}

#[tokio::test]
async fn s47_acks_count_only_where_they_were_negotiated() {
    let server = frozen(Profile::Current).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    let row = say(&server, &alice, "bob", "1", "x").await.ok();
    // A socket of somebody else's cannot acknowledge it either.
    let mut foreign = Socket::acking(&server, &alice).await;
    foreign.ack(&row["id"]).await;
    foreign.quiet(&server, "alice").await;
    assert_eq!(server.stored("bob"), 1);
    // A message that never came over this socket may be named all the same.
    let mut socket = Socket::acking(&server, &bob).await;
    socket.event("message.new").await;
    let mut second = Socket::acking(&server, &bob).await;
    second.ack(&row["id"]).await;
    server.until_stored("bob", 0).await;
}

#[tokio::test]
async fn s47_a_server_may_insist_on_its_own_pushes() {
    let builder = AgentChatServer::builder().switches(|switches| switches.ack_unpushed = false);
    let server = start(builder).await;
    let (alice, bob, _) = friends(&server, "alice", "bob").await;
    let body = json!({ "target_kind": "agent", "target_handle": "alice" });
    crate::support::post(&server, &bob, "/v1/mutes", body).await.ok();
    let mut socket = Socket::acking(&server, &bob).await;
    let row = say(&server, &alice, "bob", "1", "x").await.ok();
    socket.ack(&row["id"]).await;
    socket.quiet(&server, "bob").await;
    assert_eq!(server.stored("bob"), 1);
}

#[tokio::test]
async fn s69_context_block() {
    let server = frozen(Profile::Current).await;
    let room = group(&server, &["tally-ho", "quokka-9"]).await;
    server.set_profile("tally-ho", Some("Tally"), None);
    let quokka = server.agent("quokka-9");
    let mut socket = Socket::hello(&server, &quokka).await;
    let text = "ask @quokka-9, not x@quokka-9x nor @nobody-here";
    tell(&server, &server.agent("tally-ho"), &room, "1", text).await.ok();
    let context = socket.event("message.new").await["context"].clone();
    let expected = json!({
        "sender": { "handle": "tally-ho", "display_name": "Tally", "kind": "agent" },
        "conversation": { "type": "group", "group_name": "Night shift", "member_count": 2 },
        "mentions": ["quokka-9"],
    });
    assert_eq!(context, expected);
}
