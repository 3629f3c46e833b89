//! Sending: S11 to S19, S23 to S26.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use transport_ws::testing::{AgentChatServer, Profile};

use crate::support::{
    BOTH, Socket, ack_all, call, delete, friends, frozen, get, group, post, say, seqs, start, sync, tell,
    texts,
};

#[tokio::test]
async fn s11_send_xor() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let key = server.agent("alice");
        server.agent("bob");
        let both = json!({ "to": "bob", "conversation_id": "grp_x", "client_msg_id": "1", "content": { "text": "x" } });
        let neither = json!({ "client_msg_id": "1", "content": { "text": "x" } });
        for body in [both, neither] {
            let refused = post(&server, &key, "/v1/messages", body).await;
            assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".to_owned()));
            assert_eq!(refused.json()["details"]["formErrors"].as_array().map(Vec::len), Some(1));
        }
    }
}

#[tokio::test]
async fn s12_send_201_then_200() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob) = (server.agent("alice"), server.agent("bob"));
        let carol = server.agent("carol");
        let mut socket = Socket::hello(&server, &bob).await;
        let first = say(&server, &alice, "bob", "same", "one").await;
        let second = say(&server, &alice, "carol", "same", "two").await;
        assert_eq!((first.status, second.status), (201, 200));
        assert_eq!(first.json(), second.json());
        socket.event("message.new").await;
        socket.quiet(&server, "bob").await;
        assert!(sync(&server, &carol).await.is_empty());
        // The older server founds the thread the repetition names, and leaves it empty.
        let threads = get(&server, &carol, "/v1/conversations").await.ok().as_array().map(Vec::len);
        assert_eq!(threads, Some(usize::from(profile == Profile::Legacy)));
    }
}

#[tokio::test]
async fn s13_concurrent_duplicates() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let alice = server.agent("alice");
        server.agent("bob");
        let answers = join_all((0..20).map(|_| say(&server, &alice, "bob", "race", "x"))).await;
        let first = answers.iter().filter(|answer| answer.status == 201).count();
        let replayed = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((first, replayed), (1, 19));
        let rows: BTreeSet<String> = answers.iter().map(|answer| answer.json().to_string()).collect();
        assert_eq!(rows.len(), 1);
    }
}

#[tokio::test]
async fn s14_id_scope_per_sender() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob) = (server.agent("alice"), server.agent("bob"));
        let one = say(&server, &alice, "bob", "shared", "x").await;
        let other = say(&server, &bob, "alice", "shared", "x").await;
        assert_eq!((one.status, other.status), (201, 201));
        assert_ne!(one.json()["id"], other.json()["id"]);
    }
}

#[tokio::test]
async fn s15_seq_contiguous() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob, conversation) = friends(&server, "alice", "bob").await;
        let sends = (0..48).map(|n| {
            let (key, to) = if n % 2 == 0 { (&alice, "bob") } else { (&bob, "alice") };
            let id = format!("par-{n}");
            let server = &server;
            async move { say(server, key, to, &id, "x").await.status }
        });
        assert!(join_all(sends).await.into_iter().all(|status| status == 201));
        let rows =
            get(&server, &alice, &format!("/v1/messages/{conversation}?after_seq=0&limit=200")).await.ok();
        assert_eq!(seqs(&rows), (1..=50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn s16_response_shape() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let alice = server.agent("alice");
        server.agent("bob");
        let row = say(&server, &alice, "@BOB", "1", "hi").await.ok();
        let names: BTreeSet<&str> = row.as_object().expect("a row").keys().map(String::as_str).collect();
        let expected = [
            "id",
            "conversation_id",
            "client_msg_id",
            "seq",
            "type",
            "content",
            "metadata",
            "created_at",
            "sender",
        ];
        assert_eq!(names, BTreeSet::from(expected));
        assert_eq!((row["sender"].clone(), row["metadata"].clone()), (json!("alice"), json!({})));
    }
}

#[tokio::test]
async fn s17_size_limit() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, _, _) = friends(&server, "alice", "bob").await;
        let metadata = json!({ "k": "v" });
        // Each 漢 is three bytes.
        let bare = json!({ "text": "" }).to_string().len() + metadata.to_string().len();
        let wide = "漢".repeat(100);
        let fill = 32_768 - bare - wide.len();
        for (extra, status) in [(0, 201), (1, 413)] {
            let text = format!("{wide}{}", "x".repeat(fill + extra));
            let content = json!({ "text": text });
            assert_eq!(content.to_string().len() + metadata.to_string().len(), 32_768 + extra);
            let id = format!("size-{extra}");
            let body = json!({ "to": "bob", "client_msg_id": id, "content": content, "metadata": metadata });
            let answer = post(&server, &alice, "/v1/messages", body).await;
            assert_eq!(answer.status, status, "{}", &answer.text[..80]);
            if status == 413 {
                assert_eq!(answer.code(), "CONTENT_TOO_LARGE");
            }
        }
    }
}

#[tokio::test]
async fn s18_check_order() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob, _) = friends(&server, "alice", "bob").await;
        let closed = json!({ "settings": { "inbox_mode": "contacts_only" } });
        call(&server, "PATCH", "/v1/agents/bob").key(&bob).body(closed).send().await.ok();
        delete(&server, &bob, "/v1/contacts/alice").await.ok();
        call(&server, "POST", "/v1/contacts/alice/block").key(&bob).send().await.ok();
        server.agent("carol");
        for n in 0..60 {
            say(&server, &alice, "carol", &format!("fill-{n}"), "x").await;
        }
        assert_eq!(say(&server, &alice, "carol", "over", "x").await.status, 429);
        assert_eq!(say(&server, &alice, "bob", "x", "x").await.refusal(), (403, "BLOCKED".to_owned()));
    }
}

#[tokio::test]
async fn s19_direct_id_rejected() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, _, conversation) = friends(&server, "alice", "bob").await;
        let refused = tell(&server, &alice, &conversation, "1", "x").await;
        assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".to_owned()));
        assert!(refused.json().get("details").is_none());
        let unknown = tell(&server, &alice, "grp_nope", "1", "x").await;
        assert_eq!(unknown.refusal(), (404, "GROUP_NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn s23_awaiting_reply() {
    let server = frozen(Profile::Current).await;
    let (rosa, sam) = (server.agent("rosa"), server.agent("sam"));
    let first = say(&server, &rosa, "sam", "cold-1", "hello?").await.ok();
    let second = say(&server, &rosa, "sam", "cold-2", "hello??").await;
    assert_eq!(second.refusal(), (403, "AWAITING_REPLY".to_owned()));
    let details = &second.json()["details"];
    assert_eq!(details["recipient_handle"], "sam");
    assert_eq!(details["waiting_since"], first["created_at"]);
    // The very message that is waited on may be repeated.
    let replay = say(&server, &rosa, "sam", "cold-1", "hello?").await;
    assert_eq!((replay.status, replay.json()), (200, first));
    say(&server, &sam, "rosa", "reply", "yes").await.ok();
    assert_eq!(say(&server, &rosa, "sam", "cold-2", "good").await.status, 201);
    // The older server lets cold messages pile up.
    let server = frozen(Profile::Legacy).await;
    let rosa = server.agent("rosa");
    server.agent("sam");
    for n in 0..4 {
        assert_eq!(say(&server, &rosa, "sam", &format!("cold-{n}"), "hello?").await.status, 201);
    }
}

#[tokio::test]
async fn s23_awaiting_may_come_before_the_replay() {
    let builder = AgentChatServer::builder().switches(|switches| switches.awaiting_before_replay = true);
    let server = start(builder).await;
    let rosa = server.agent("rosa");
    server.agent("sam");
    say(&server, &rosa, "sam", "cold-1", "hello?").await.ok();
    let replay = say(&server, &rosa, "sam", "cold-1", "hello?").await;
    assert_eq!(replay.refusal(), (403, "AWAITING_REPLY".to_owned()));
}

#[tokio::test]
async fn s24_reply_establishes() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob) = (server.agent("alice"), server.agent("bob"));
        say(&server, &alice, "bob", "1", "hello").await.ok();
        let knows = |key: String, path: &'static str| {
            let server = &server;
            async move { get(server, &key, path).await.ok()["is_contact"] == json!(true) }
        };
        assert!(!knows(alice.clone(), "/v1/contacts/bob").await);
        say(&server, &bob, "alice", "2", "hi").await.ok();
        assert!(knows(alice.clone(), "/v1/contacts/bob").await);
        assert!(knows(bob.clone(), "/v1/contacts/alice").await);
    }
}

#[tokio::test]
async fn s25_inbox_modes() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (rosa, tina) = (server.agent("rosa"), server.agent("tina"));
        let closed = json!({ "settings": { "inbox_mode": "contacts_only" } });
        call(&server, "PATCH", "/v1/agents/tina").key(&tina).body(closed).send().await.ok();
        let stranger = say(&server, &rosa, "tina", "1", "x").await;
        assert_eq!(stranger.refusal(), (403, "INBOX_RESTRICTED".to_owned()));
        post(&server, &tina, "/v1/contacts", json!({ "handle": "rosa" })).await.ok();
        assert_eq!(say(&server, &rosa, "tina", "2", "x").await.status, 201);
        say(&server, &tina, "rosa", "3", "x").await.ok();
        delete(&server, &tina, "/v1/contacts/rosa").await.ok();
        let established = say(&server, &rosa, "tina", "4", "x").await.status;
        assert_eq!(established, if profile == Profile::Legacy { 403 } else { 201 });
    }
}

#[tokio::test]
async fn s26_block_both_ways() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob, _) = friends(&server, "alice", "bob").await;
        let room = group(&server, &["alice", "bob"]).await;
        call(&server, "POST", "/v1/contacts/bob/block").key(&alice).send().await.ok();
        assert_eq!(say(&server, &alice, "bob", "1", "x").await.refusal(), (403, "BLOCKED".to_owned()));
        assert_eq!(say(&server, &bob, "alice", "2", "x").await.refusal(), (403, "BLOCKED".to_owned()));
        assert_eq!(tell(&server, &bob, &room, "3", "in the group").await.status, 201);
        assert_eq!(texts(&sync(&server, &alice).await), ["in the group"]);
        ack_all(&server, &alice).await;
        delete(&server, &alice, "/v1/contacts/bob/block").await.ok();
        assert_eq!(say(&server, &bob, "alice", "2", "x").await.status, 201);
    }
}
