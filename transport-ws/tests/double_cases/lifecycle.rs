//! System events, limits of invitations, and requests that are repeated: S58 to S61.

use std::time::Duration;

use serde_json::{Value, json};
use transport_ws::testing::{AgentChatServer, HttpFault, Profile};

use crate::support::{Answer, BOTH, Socket, call, frozen, get, group, post, start, sync, tell};

#[tokio::test]
async fn s58_system_events_not_pushed() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["alice", "bob"]).await;
        let (alice, bob) = (server.agent("alice"), server.agent("bob"));
        let mut socket = Socket::hello(&server, &bob).await;
        let rename = json!({ "name": "Renamed", "description": null });
        call(&server, "PATCH", format!("/v1/groups/{room}")).key(&alice).body(rename).send().await.ok();
        socket.quiet(&server, "bob").await;
        let rows = sync(&server, &bob).await;
        assert_eq!(rows.len(), 1, "only what changed is announced");
        let data = json!({
            "event": "name_changed", "new_name": "Renamed", "actor_handle": "alice", "schema_version": 1,
        });
        assert_eq!(rows[0]["content"]["data"], data);
        let after = tell(&server, &alice, &room, "1", "x").await.ok();
        // The event took a number: to the one who is connected it is a gap.
        assert_eq!(after["seq"].as_u64(), rows[0]["seq"].as_u64().map(|seq| seq + 1));
        assert_eq!(socket.event("message.new").await["seq"], after["seq"]);
    }
}

#[tokio::test]
async fn s58_a_server_may_push_them() {
    let builder = AgentChatServer::builder().switches(|switches| switches.push_system_events = true);
    let server = start(builder).await;
    let room = group(&server, &["alice", "bob"]).await;
    let mut socket = Socket::hello(&server, &server.agent("bob")).await;
    let body = json!({ "description": "what it is for" });
    let path = format!("/v1/groups/{room}");
    call(&server, "PATCH", path).key(&server.agent("alice")).body(body).send().await.ok();
    assert_eq!(socket.event("message.new").await["content"]["data"]["event"], "description_changed");
}

#[tokio::test]
async fn s59_invite_cap() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let room = group(&server, &["host"]).await;
        let host = server.agent("host");
        let invite = |n: usize| {
            server.agent(&format!("guest-{n}"));
            post(
                &server,
                &host,
                format!("/v1/groups/{room}/members").leak(),
                json!({ "handle": format!("guest-{n}") }),
            )
        };
        for n in 0..50 {
            assert_eq!(invite(n).await.status, 201);
        }
        let refused = invite(50).await;
        assert_eq!(refused.refusal(), (429, "RATE_LIMITED".to_owned()));
        assert_eq!(refused.header("retry-after"), None);
        // Asking again for one who is invited costs nothing.
        assert_eq!(invite(3).await.status, 201);
        server.advance(Duration::from_secs(86_400));
        assert_eq!(invite(50).await.status, 201);
    }
}

async fn create(server: &AgentChatServer, key: &str, idem: &str, name: &str) -> Answer {
    let body = json!({ "name": name });
    call(server, "POST", "/v1/groups").key(key).header("idempotency-key", idem).body(body).send().await
}

async fn groups_of(server: &AgentChatServer, key: &str) -> usize {
    get(server, key, "/v1/conversations").await.ok().as_array().expect("a list").len()
}

#[tokio::test]
async fn s60_idempotency_key() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let alice = server.agent("alice");
        let first = create(&server, &alice, "key-0001", "One").await;
        let again = create(&server, &alice, "key-0001", "One").await;
        assert_eq!((first.status, again.status), (201, 201));
        assert_eq!(first.text, again.text);
        assert_eq!(
            (first.header("idempotent-replay"), again.header("idempotent-replay")),
            (None, Some("true"))
        );
        let conflict = create(&server, &alice, "key-0001", "Two").await;
        assert_eq!(conflict.refusal(), (422, "IDEMPOTENCY_KEY_CONFLICT".to_owned()));
        for bad in ["short", "with space in it", &"k".repeat(129)] {
            let refused = create(&server, &alice, bad, "One").await;
            assert_eq!(refused.refusal(), (400, "IDEMPOTENCY_KEY_INVALID".to_owned()), "{bad}");
        }
        assert_eq!(groups_of(&server, &alice).await, 1);
        // Refusals are remembered too.
        let report = || call(&server, "POST", "/v1/contacts/nobody/report").key(&alice);
        let refused = report().header("idempotency-key", "key-0002").send().await;
        server.agent("nobody");
        let remembered = report().header("idempotency-key", "key-0002").send().await;
        assert_eq!((refused.status, remembered.status), (404, 404));
        assert_eq!(remembered.header("idempotent-replay"), Some("true"));
        // Another agent's keys are its own, and a day later all is forgotten.
        assert_eq!(create(&server, &server.agent("bob"), "key-0001", "Two").await.status, 201);
        server.advance(Duration::from_secs(86_400));
        let fresh = create(&server, &alice, "key-0001", "Two").await;
        assert_eq!((fresh.status, fresh.header("idempotent-replay")), (201, None));
    }
}

#[tokio::test]
async fn s60_a_second_request_meets_the_first_under_way() {
    for profile in BOTH {
        let server = start(AgentChatServer::builder().profile(profile)).await;
        let alice = server.agent("alice");
        server.faults().on("POST /v1/groups", HttpFault::passing().work(Duration::from_millis(300)));
        let second = async {
            while server.faults().pending() > 0 {
                tokio::task::yield_now().await;
            }
            loop {
                let answer = create(&server, &alice, "key-0001", "One").await;
                // The first may not have taken its key yet, but it will be there before it is done.
                if answer.status != 201 || answer.header("idempotent-replay").is_some() {
                    return answer;
                }
            }
        };
        let (first, second) = tokio::join!(create(&server, &alice, "key-0001", "One"), second);
        assert_eq!(second.refusal(), (409, "IDEMPOTENT_IN_PROGRESS".to_owned()));
        assert_eq!(first.status, 201);
        assert_eq!(groups_of(&server, &alice).await, 1);
    }
}

#[tokio::test]
async fn s61_idem_5xx_released() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let alice = server.agent("alice");
        server.faults().on("POST /v1/groups", HttpFault::status(500));
        assert_eq!(create(&server, &alice, "key-0001", "One").await.status, 500);
        let retried = create(&server, &alice, "key-0001", "One").await;
        assert_eq!((retried.status, retried.header("idempotent-replay")), (201, None));
    }
    // A failure of the server's own is not remembered either.
    let server = frozen(Profile::Legacy).await;
    let alice = server.agent("alice");
    let read = || {
        call(&server, "POST", "/v1/messages/msg_nope/read").key(&alice).header("idempotency-key", "key-0003")
    };
    for _ in 0..2 {
        let failed = read().send().await;
        assert_eq!((failed.status, failed.header("idempotent-replay")), (500, None));
    }
}

#[tokio::test]
async fn the_key_is_ignored_where_messages_have_their_own() {
    let server = frozen(Profile::Current).await;
    let (alice, bob) = (server.agent("alice"), server.agent("bob"));
    for n in 0..2 {
        let body = json!({ "to": "bob", "client_msg_id": format!("m{n}"), "content": { "text": "x" } });
        let sent = call(&server, "POST", "/v1/messages").key(&alice).header("idempotency-key", "key-0001");
        assert_eq!(sent.body(body).send().await.status, 201);
        let reply = json!({ "to": "alice", "client_msg_id": format!("r{n}"), "content": { "text": "x" } });
        post(&server, &bob, "/v1/messages", reply).await.ok();
    }
    assert_eq!(get(&server, &alice, "/v1/groups/invites").await.ok(), Value::Array(Vec::new()));
}
