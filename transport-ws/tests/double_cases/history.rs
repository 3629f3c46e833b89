//! History: S36 to S38.

use serde_json::{Value, json};
use transport_ws::testing::Profile;

use crate::support::{
    BOTH, Socket, ack_all, call, delete, friends, frozen, get, group, say, seqs, sync, tell, texts,
};

#[tokio::test]
async fn s36_history_cursors() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, _, conversation) = friends(&server, "alice", "bob").await;
        for n in 3..=10 {
            say(&server, &alice, "bob", &format!("m{n}"), "x").await.ok();
        }
        let path = format!("/v1/messages/{conversation}");
        let page = |query: &'static str| {
            let (server, alice, path) = (&server, &alice, format!("{path}{query}"));
            async move { seqs(&get(server, alice, &path).await.ok()) }
        };
        assert_eq!(page("").await, (1..=10).rev().collect::<Vec<_>>());
        assert_eq!(page("?before_seq=5").await, [4, 3, 2, 1]);
        assert_eq!(page("?after_seq=5").await, [6, 7, 8, 9, 10]);
        assert_eq!(page("?after_seq=5&limit=2").await, [6, 7]);
        assert_eq!(page("?limit=0").await, [10]);
        assert_eq!(page("?limit=1000").await.len(), 10);
        for query in ["?before_seq=9&after_seq=1", "?before_seq=-1", "?after_seq=abc"] {
            let refused = get(&server, &alice, &format!("{path}{query}")).await;
            assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".to_owned()), "{query}");
        }
    }
}

#[tokio::test]
async fn s36_around_a_message() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, _, conversation) = friends(&server, "alice", "bob").await;
        let row = say(&server, &alice, "bob", "m3", "x").await.ok();
        say(&server, &alice, "bob", "m4", "x").await.ok();
        let id = row["id"].as_str().expect("an id");
        let path = format!("/v1/messages/{conversation}?limit=2&around_message_id={id}");
        let expected = if profile == Profile::Current { [3, 2] } else { [4, 3] };
        assert_eq!(seqs(&get(&server, &alice, &path).await.ok()), expected);
    }
}

#[tokio::test]
async fn s37_history_visibility() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, carol) = (server.agent("alice"), server.agent("carol"));
        let room = group(&server, &["alice", "bob"]).await;
        // What was announced so far has seq 1.
        for n in 2..=6 {
            tell(&server, &alice, &room, &format!("m{n}"), "x").await.ok();
        }
        let body = json!({ "handle": "carol" });
        let added =
            crate::support::post(&server, &alice, &format!("/v1/groups/{room}/members"), body).await.ok();
        let accept =
            format!("/v1/groups/invites/{}/accept", added["invite_id"].as_str().expect("an invitation"));
        call(&server, "POST", accept).key(&carol).send().await.ok();
        tell(&server, &alice, &room, "m8", "x").await.ok();
        let path = format!("/v1/messages/{room}?after_seq=0");
        assert_eq!(seqs(&get(&server, &carol, &path).await.ok()), [7, 8]);
        assert_eq!(seqs(&get(&server, &alice, &path).await.ok()), (1..=8).collect::<Vec<_>>());

        let (yara, _, conversation) = friends(&server, "yara", "zed").await;
        let row = say(&server, &server.agent("zed"), "yara", "hide", "hidden").await.ok();
        say(&server, &server.agent("zed"), "yara", "keep", "kept").await.ok();
        delete(&server, &yara, &format!("/v1/messages/{}", row["id"].as_str().expect("an id"))).await.ok();
        let path = format!("/v1/messages/{conversation}?after_seq=0");
        assert_eq!(seqs(&get(&server, &yara, &path).await.ok()), [1, 2, 4]);
        delete(&server, &yara, &format!("/v1/conversations/{conversation}")).await.ok();
        assert_eq!(get(&server, &yara, "/v1/conversations").await.ok(), json!([]));
        assert!(seqs(&get(&server, &yara, &path).await.ok()).is_empty());
        say(&server, &server.agent("zed"), "yara", "back", "resurface").await.ok();
        assert_eq!(seqs(&get(&server, &yara, &path).await.ok()), [5]);
        assert_eq!(get(&server, &yara, "/v1/conversations").await.ok().as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn s37_strangers_read_nothing() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (_, _, conversation) = friends(&server, "alice", "bob").await;
        let stranger = server.agent("mallory");
        let expected =
            if profile == Profile::Legacy { (403, "FORBIDDEN") } else { (404, "CONVERSATION_NOT_FOUND") };
        for id in [conversation.as_str(), "conv_nope"] {
            let refused = get(&server, &stranger, &format!("/v1/messages/{id}")).await;
            assert_eq!(refused.refusal(), (expected.0, expected.1.to_owned()));
        }
        let seen = get(&server, &stranger, &format!("/v1/conversations/{conversation}/participants")).await;
        assert_eq!(seen.status, if profile == Profile::Legacy { 200 } else { 404 });
    }
}

#[tokio::test]
async fn s38_delivery_view() {
    for profile in BOTH {
        let server = frozen(profile).await;
        let (alice, bob, conversation) = friends(&server, "alice", "bob").await;
        say(&server, &alice, "bob", "1", "direct").await.ok();
        let newest = |key: String, conversation: String| {
            let server = &server;
            async move { get(server, &key, &format!("/v1/messages/{conversation}?limit=1")).await.ok()[0].clone() }
        };
        let before = newest(alice.clone(), conversation.clone()).await;
        assert_eq!(before["status"], "stored");
        ack_all(&server, &bob).await;
        let after = newest(alice.clone(), conversation.clone()).await;
        assert_eq!(
            (after["status"].clone(), after["delivery_id"].clone()),
            (json!("delivered"), before["delivery_id"].clone())
        );
        assert!(after["delivered_at"].is_string());

        let room = group(&server, &["alice", "bob"]).await;
        tell(&server, &alice, &room, "2", "group").await.ok();
        ack_all(&server, &bob).await;
        let own = newest(alice, room.clone()).await;
        assert_eq!((own["status"].clone(), own["delivery_id"].clone()), (json!("stored"), Value::Null));
        assert_eq!(newest(bob, room).await["status"], "delivered");
    }
}

#[tokio::test]
async fn s38_conversations_tell_what_is_unread() {
    let server = frozen(Profile::Current).await;
    let (alice, bob, conversation) = friends(&server, "alice", "bob").await;
    let read = |key: String| {
        let server = &server;
        async move { get(server, &key, "/v1/conversations").await.ok()[0].clone() }
    };
    say(&server, &alice, "bob", "3", "one more\n  line").await.ok();
    let row = read(bob.clone()).await;
    // The first message was delivered before, but never read.
    assert_eq!((row["unread_count"].clone(), row["oldest_unread_seq"].clone()), (json!(2), json!(1)));
    assert_eq!(row["newest_unread_seq"], 3);
    assert_eq!(row["last_message_preview"], "one more line");
    assert_eq!((row["last_message_is_own"].clone(), row["type"].clone()), (json!(false), json!("direct")));
    assert_eq!(row["participants"], json!([{ "handle": "alice", "display_name": null, "avatar_url": null }]));
    let context = get(&server, &bob, &format!("/v1/conversations/{conversation}/context")).await.ok();
    assert_eq!(context["unread"], json!({ "count": 2, "oldest_seq": 1, "newest_seq": 3 }));
    assert_eq!(
        (context["counterparty"]["handle"].clone(), context["relationship"]["is_contact"].clone()),
        (json!("alice"), json!(true))
    );
    let _open = Socket::acking(&server, &bob).await;
    assert_eq!(texts(&sync(&server, &bob).await), ["one more\n  line"]);
}
