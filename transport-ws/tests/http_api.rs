//! The routes: each call asks what it should, and reads what was recorded.

mod raw;

use std::future::Future;
use std::time::Duration;

use raw::{Reply, Seen, Server, refusal, reply, reply_with};
use serde_json::{Value, json};
use transport_ws::api::{GroupDraft, GroupUpdate, History, MuteKind, Recipient, Upload, UploadTicket};
use transport_ws::http::{Failure, RetryPolicy};
use transport_ws::wire::PresenceStatus;
use transport_ws::{AgentChat, ApiError};

/// Makes one call that is answered with `answer`, and returns what was asked.
async fn asked<T, F>(answer: &str, call: impl FnOnce(AgentChat) -> F) -> (Seen, T)
where
    F: Future<Output = Result<T, ApiError>>,
{
    let server = Server::start([reply(200, answer)]).await;
    let result = call(server.client()).await.expect("answered");
    (server.only(), result)
}

fn route(seen: &Seen) -> (&str, &str) {
    (&seen.method, &seen.path)
}

#[tokio::test]
async fn what_waits_is_read_by_cursor_and_acknowledged() {
    let page = r#"[{"id":"m1","delivery_id":"del_1"},7,{"id":"m2","delivery_id":null},{"id":"m3","delivery_id":"del_3"}]"#;
    let (seen, page) = asked(page, |client| async move { client.sync(Some("del_0")).await }).await;
    assert_eq!(route(&seen), ("GET", "/v1/messages/sync?limit=200&after=del_0"));
    assert_eq!((page.len(), page.readable().count(), page.is_last()), (4, 3, true));
    let cursors: Vec<_> = (0..=4).map(|count| page.cursor(count)).collect();
    assert_eq!(cursors, [None, Some("del_1"), Some("del_1"), Some("del_1"), Some("del_3")]);

    let (seen, acked) = asked(r#"{"acked":2}"#, |client| async move { client.sync_ack("del_3").await }).await;
    assert_eq!(
        (route(&seen), seen.body.as_str()),
        (("POST", "/v1/messages/sync/ack"), r#"{"last_delivery_id":"del_3"}"#)
    );
    assert_eq!(acked, 2);
    let server = Server::start([]).await;
    assert_eq!(server.client().sync_ack("").await.expect_err("empty").failure(), Failure::Invalid);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_no_empty_page() {
    let server = Server::start([reply(200, r#"{"messages":[]}"#), reply(200, r#"{"agents":[]}"#)]).await;
    let error = server.client().sync(None).await.expect_err("no list");
    assert_eq!(error.failure(), Failure::Unreadable);
    assert_eq!(server.client().invitations().await.expect_err("no list").failure(), Failure::Unreadable);
}

#[tokio::test]
async fn history_has_one_cursor_at_a_time() {
    for (at, query) in [
        (History::Newest, ""),
        (History::Before(5), "&before_seq=5"),
        (History::After(0), "&after_seq=0"),
        (History::UpTo("msg_1"), "&around_message_id=msg_1"),
    ] {
        let (seen, page) = asked("[]", |client| async move { client.history("conv_1", at).await }).await;
        assert_eq!(route(&seen), ("GET", format!("/v1/messages/conv_1?limit=200{query}").as_str()));
        assert!(page.is_empty() && page.is_last());
    }
}

#[tokio::test]
async fn presence_is_set_and_asked() {
    let set = r#"{"handle":"alice","status":"busy","custom_message":"on call"}"#;
    let (seen, presence) =
        asked(set, |client| async move { client.set_presence(&PresenceStatus::Busy, Some("on call")).await })
            .await;
    assert_eq!(
        (route(&seen), seen.json()),
        (("PUT", "/v1/presence"), json!({"status":"busy","custom_message":"on call"}))
    );
    assert_eq!((presence.handle.as_str(), presence.status), ("alice", PresenceStatus::Busy));
    let silent =
        async |client: transport_ws::AgentChat| client.set_presence(&PresenceStatus::Busy, Some("x")).await;
    let (_, presence) = asked("", silent).await;
    assert_eq!((presence.status, presence.custom_message.as_deref()), (PresenceStatus::Busy, Some("x")));
    let one =
        r#"{"handle":"bob","status":"online","custom_message":null,"last_seen":"2026-11-21T19:31:00.253Z"}"#;
    let (seen, presence) = asked(one, |client| async move { client.presence("@Bob").await }).await;
    assert_eq!((route(&seen), presence.status), (("GET", "/v1/presence/bob"), PresenceStatus::Online));
    let many = format!(r#"{{"presences":[{one},7]}}"#);
    let (seen, presences) =
        asked(&many, |client| async move { client.presences(&["@Bob", "cat"]).await }).await;
    assert_eq!(
        (route(&seen), seen.json()),
        (("POST", "/v1/presence/batch"), json!({"handles":["bob","cat"]}))
    );
    assert_eq!(presences.len(), 1);
    let none = Server::start([]).await.client().presences(&[]).await.expect_err("nobody");
    assert_eq!(none.failure(), Failure::Invalid);
}

#[tokio::test]
async fn c93_pagination() {
    let page = |from: usize, to: usize| {
        let agents: Vec<_> = (from..to).map(|n| json!({"handle": format!("a-{n}")})).collect();
        reply(200, &json!({"agents": agents, "total": 130, "limit": 50, "offset": from}).to_string())
    };
    let server =
        Server::start([page(0, 50), refusal(400, "VALIDATION_ERROR"), page(50, 100), page(100, 130)]).await;
    let mut agents = server.client().directory_agents("a-");
    let (mut found, mut failed) = (Vec::new(), 0);
    loop {
        match agents.next().await {
            Ok(Some(agent)) => found.push(agent.handle),
            Ok(None) => break,
            Err(_) => failed += 1,
        }
    }
    assert_eq!((found.len(), failed), (130, 1), "a page that failed is asked for again");
    assert!(found.iter().enumerate().all(|(n, handle)| *handle == format!("a-{n}")));
    let offsets: Vec<_> = server
        .seen()
        .into_iter()
        .map(|it| it.path.replace("/v1/directory?q=a-&limit=50&offset=", ""))
        .collect();
    assert_eq!(offsets, ["0", "50", "50", "100"]);
    assert!(agents.next().await.expect("ended").is_none());
}

#[tokio::test]
async fn a_directory_of_smaller_pages_than_asked_for_loses_nobody() {
    let page = |handles: &[&str]| {
        let agents: Vec<_> = handles.iter().map(|handle| json!({ "handle": handle })).collect();
        reply(200, &json!({"agents": agents, "total": 3, "limit": 2}).to_string())
    };
    let server = Server::start([page(&["a", "b"]), page(&["c"])]).await;
    let mut agents = server.client().directory_agents("xx");
    let mut found = Vec::new();
    while let Some(agent) = agents.next().await.expect("answered") {
        found.push(agent.handle);
    }
    assert_eq!(found, ["a", "b", "c"]);
    assert!(server.seen()[1].path.ends_with("&offset=2"), "{}", server.seen()[1].path);
}

#[tokio::test]
async fn a_directory_without_a_total_ends_with_an_empty_page() {
    let server =
        Server::start([reply(200, r#"{"agents":[{"handle":"a b"},{"x":1}]}"#), reply(200, "{}")]).await;
    let mut agents = server.client().directory_agents("a b&c");
    assert_eq!(agents.next().await.expect("answered").map(|it| it.handle).as_deref(), Some("a b"));
    assert!(agents.next().await.expect("answered").is_none());
    assert_eq!(server.seen()[0].path, "/v1/directory?q=a+b%26c&limit=50&offset=0");
}

const GROUP: &str = r#"{"id":"grp_1","name":"Test room","created_by":"alice","member_count":2,"members":[{"handle":"alice","role":"admin"},{"x":1}],"your_role":"admin","new":1}"#;

#[tokio::test]
async fn c12_no_retry_plain_post() {
    let server = Server::start([refusal(503, "X"), reply(201, "{}")]).await;
    let error = server.client().create_group(&GroupDraft::new("g"), None).await.expect_err("once");
    assert_eq!((error.attempts(), server.seen().len()), (1, 1));
}

#[tokio::test]
async fn c13_retry_post_with_idem_key() {
    let made = format!(
        r#"{{"group":{GROUP},"add_results":[{{"handle":"bob","outcome":"invited","invite_id":"gri_1"}}]}}"#
    );
    let server =
        Server::start([refusal(503, "X"), refusal(409, "IDEMPOTENT_IN_PROGRESS"), reply(201, &made)]).await;
    let draft = GroupDraft::new("g").with_member("@Bob").with_member("ghost").with_member("alice");
    let group = server.client().create_group(&draft, Some("key-12345678")).await.expect("made");
    assert_eq!((group.group.id.as_str(), group.group.members.len()), ("grp_1", 1));
    assert_eq!(group.missing(&draft), ["ghost"]);
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for request in &seen {
        assert_eq!((request.header("idempotency-key"), &request.body), (Some("key-12345678"), &seen[0].body));
    }
    assert_eq!(seen[0].json(), json!({"name":"g","member_handles":["bob","ghost","alice"]}));
    let error = server.client().create_group(&draft, Some("short")).await.expect_err("malformed");
    assert_eq!((error.failure(), server.seen().len()), (Failure::Invalid, 3));
}

#[tokio::test]
async fn groups_are_led() {
    let update = GroupUpdate::new().with_name("n").with_description(None);
    let (seen, group) =
        asked(GROUP, |client| async move { client.update_group("grp_1", &update, None).await }).await;
    assert_eq!(
        (route(&seen), seen.json()),
        (("PATCH", "/v1/groups/grp_1"), json!({"name":"n","description":null}))
    );
    assert_eq!(group.extra.json("new").as_deref(), Some("1"));
    let (seen, added) =
        asked(r#"{"handle":"bob","outcome":"invited","invite_id":"gri_1"}"#, |client| async move {
            client.add_group_member("grp_1", "@Bob", None).await
        })
        .await;
    assert_eq!((route(&seen), seen.json()), (("POST", "/v1/groups/grp_1/members"), json!({"handle":"bob"})));
    assert_eq!(added.invite_id.as_deref(), Some("gri_1"));
    let (seen, left) = asked(r#"{"message":"Left group","promoted_handle":"bob"}"#, |client| async move {
        client.leave_group("grp_1", None).await
    })
    .await;
    assert_eq!((route(&seen), left.as_deref()), (("POST", "/v1/groups/grp_1/leave"), Some("bob")));
    let (seen, _) = asked(GROUP, |client| async move { client.accept_invitation("gri_1", None).await }).await;
    assert_eq!(route(&seen), ("POST", "/v1/groups/invites/gri_1/accept"));
    let (seen, invitations) =
        asked(r#"[{"id":"gri_1","group_id":"grp_1","inviter_handle":"a"},{"id":5}]"#, |client| async move {
            client.invitations().await
        })
        .await;
    assert_eq!((route(&seen), invitations.len()), (("GET", "/v1/groups/invites"), 1));
}

#[tokio::test]
async fn calls_without_an_answer_have_their_routes() {
    let server = Server::start(vec![reply(200, r#"{"ok":true}"#); 16]).await;
    let client = &server.client();
    client.mark_read("msg_1", None).await.expect("done");
    client.delete_group("grp_1", None).await.expect("done");
    client.remove_group_member("grp_1", "Bob", None).await.expect("done");
    client.promote("grp_1", "bob", None).await.expect("done");
    client.demote("grp_1", "bob", None).await.expect("done");
    client.reject_invitation("gri_1").await.expect("done");
    client.hide_conversation("conv_1").await.expect("done");
    client.set_contact_note("Bob", None).await.expect("done");
    client.remove_contact("bob").await.expect("done");
    client.block("bob", None).await.expect("done");
    client.unblock("bob").await.expect("done");
    client.report_agent("bob", Some("spam"), Some("idem-key-1")).await.expect("done");
    client.unmute(MuteKind::Agent("@Bob")).await.expect("done");
    client.delete_webhook("whk_1").await.expect("done");
    client.remove_avatar("alice").await.expect("done");
    client.set_group_avatar("grp_1", "image/png", (&b"png"[..]).into()).await.expect("done");
    let seen = server.seen();
    let routes: Vec<_> = seen.iter().map(|it| format!("{} {}", it.method, it.path)).collect();
    assert_eq!(
        routes,
        [
            "POST /v1/messages/msg_1/read",
            "DELETE /v1/groups/grp_1",
            "DELETE /v1/groups/grp_1/members/bob",
            "POST /v1/groups/grp_1/members/bob/promote",
            "POST /v1/groups/grp_1/members/bob/demote",
            "DELETE /v1/groups/invites/gri_1",
            "DELETE /v1/conversations/conv_1",
            "PATCH /v1/contacts/bob",
            "DELETE /v1/contacts/bob",
            "POST /v1/contacts/bob/block",
            "DELETE /v1/contacts/bob/block",
            "POST /v1/contacts/bob/report",
            "DELETE /v1/mutes/agent/bob",
            "DELETE /v1/webhooks/whk_1",
            "DELETE /v1/agents/alice/avatar",
            "PUT /v1/groups/grp_1/avatar",
        ]
    );
    assert_eq!(
        (seen[7].body.as_str(), seen[11].body.as_str()),
        (r#"{"notes":null}"#, r#"{"reason":"spam"}"#)
    );
    assert_eq!(seen[11].header("idempotency-key"), Some("idem-key-1"));
    assert_eq!((seen[15].body.as_str(), seen[15].header("content-type")), ("png", Some("image/png")));
}

#[tokio::test]
async fn contacts_and_conversations_are_read() {
    let (_, added) =
        asked(
            r#"{"handle":"bob","display_name":null}"#,
            |client| async move { client.add_contact("@Bob").await },
        )
        .await;
    assert_eq!(added.handle, "bob");
    let page =
        r#"{"contacts":[{"handle":"bob","notes":"n","avatar_key":null}],"total":1,"limit":50,"offset":0}"#;
    let (seen, page) = asked(page, |client| async move { client.contacts(50, 0).await }).await;
    assert_eq!((route(&seen), page.total), (("GET", "/v1/contacts?limit=50&offset=0"), Some(1)));
    assert_eq!(page.contacts[0].notes.as_deref(), Some("n"));
    let (_, relation) = asked(r#"{"is_contact":true,"added_at":null,"notes":"n"}"#, |client| async move {
        client.contact("bob").await
    })
    .await;
    assert_eq!((relation.is_contact, relation.note.as_deref()), (true, Some("n")));
    let list = r#"[{"id":"conv_1","type":"direct","participants":[{"handle":"bob"}],"is_muted":true,"unread_count":2}]"#;
    let (seen, list) = asked(list, |client| async move { client.conversations(Some(5), 10).await }).await;
    assert_eq!(route(&seen), ("GET", "/v1/conversations?limit=5&offset=10"));
    assert!(list[0].is_direct_with("@Bob") && list[0].is_muted && list[0].unread_count == Some(2));
    let context = r#"{"conversation_id":"conv_1","type":"direct","group":null,"counterparty":{"handle":"bob"},"relationship":{"is_contact":true,"note":"pager"},"unread":{"count":2,"oldest_seq":11,"newest_seq":12}}"#;
    let (_, context) =
        asked(context, |client| async move { client.conversation_context("conv_1").await }).await;
    assert_eq!(context.unread.and_then(|it| it.newest_seq), Some(12));
    let (seen, people) =
        asked(r#"[{"handle":"bob"}]"#, |client| async move { client.participants("conv_1").await }).await;
    assert_eq!((route(&seen).1, people.len()), ("/v1/conversations/conv_1/participants", 1));
}

#[tokio::test]
async fn c94_mute_status_404() {
    let server = Server::start([
        refusal(404, "NOT_FOUND"),
        reply(200, r#"{"target_kind":"agent"}"#),
        refusal(404, "AGENT_NOT_FOUND"),
    ])
    .await;
    let client = server.client();
    assert_eq!(client.mute_of(MuteKind::Agent("bob")).await.expect("none"), None);
    assert!(client.mute_of(MuteKind::Conversation("conv_1")).await.expect("one").is_some());
    client.mute_of(MuteKind::Agent("ghost")).await.expect_err("nobody");
    assert_eq!(server.seen()[1].path, "/v1/mutes/conversation/conv_1");
    let (seen, _) =
        asked(r#"{"target_kind":"agent","target_id":"agt_1","muted_until":null}"#, |client| async move {
            client.mute(MuteKind::Agent("@Bob"), None).await
        })
        .await;
    assert_eq!(
        (route(&seen), seen.json()),
        (("POST", "/v1/mutes"), json!({"target_kind":"agent","target_handle":"bob"}))
    );
    let (_, mutes) =
        asked(r#"{"mutes":[{"target_kind":"agent"}]}"#, |client| async move { client.mutes().await }).await;
    assert_eq!(mutes.len(), 1);
}

#[tokio::test]
async fn c21_redirect_not_followed() {
    let storage = Server::start([]).await;
    let place = format!("{}/signed?x=1", storage.base);
    let server = Server::start([reply_with(302, &[("location", &place)], ""), reply(200, "{}")]).await;
    assert_eq!(server.client().attachment_url("att_1").await.expect("a place"), place);
    assert!(storage.seen().is_empty());
    assert_eq!(
        server.client().attachment_url("att_1").await.expect_err("no place").failure(),
        Failure::Unreadable
    );
}

#[tokio::test]
async fn c22_upload_put_without_key() {
    let storage = Server::start([reply_with(200, &[], "")]).await;
    let ticket = json!({"attachment_id": "att_1", "upload_url": format!("{}/put?sig=abc", storage.base), "expires_in": 7200});
    let server = Server::start([reply(201, &ticket.to_string())]).await;
    let bob = Recipient::parse("@Bob").expect("a handle");
    let upload = Upload::new(bob, "notes.md", "text/markdown", &b"abc"[..]);
    let ticket = server.client().upload(&upload).await.expect("uploaded");
    assert_eq!((ticket.attachment_id.as_str(), ticket.expires_in), ("att_1", Some(7200)));
    assert_eq!(
        server.only().json(),
        json!({"to":"bob","filename":"notes.md","content_type":"text/markdown","size":3,
        "sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"})
    );
    let put = storage.only();
    assert_eq!((put.method.as_str(), put.path.as_str(), put.body.as_str()), ("PUT", "/put?sig=abc", "abc"));
    assert_eq!((put.header("authorization"), put.header("content-type")), (None, Some("text/markdown")));
    assert!(put.headers.iter().all(|(_, value)| !value.contains(raw::KEY)));
    assert!(!format!("{ticket:?}").contains("sig=abc"));
}

#[tokio::test]
async fn an_upload_url_may_not_weaken_the_connection() {
    let config = Server::start([]).await.config().with_base_url("https://h").build().expect("usable");
    let client = AgentChat::new(&config).expect("a client");
    for url in ["http://storage/put", "file:///etc/passwd", "nonsense"] {
        let ticket: UploadTicket =
            serde_json::from_value(json!({"attachment_id":"a","upload_url":url})).expect("a ticket");
        let error = client.put_upload(&ticket, "text/plain", "x".into()).await.expect_err(url);
        assert_eq!(error.failure(), Failure::Invalid, "{url}");
    }
}

#[tokio::test]
async fn c97_reply_claim_fail_open() {
    let server = Server::start([refusal(500, "X"), Reply::Silence, refusal(500, "X")]).await;
    let client = server.client().with_call_timeout(Duration::from_millis(50));
    for why in ["a failure", "silence"] {
        assert!(client.claim_reply("msg_1", "daemon:1", false).await.claimed, "{why}");
    }
    assert_eq!(server.seen().len(), 2, "one attempt each");
    assert_eq!(client.claim_replies(&["a", "b"], "h", false).await.count, 2);

    let claimed = |yes: bool| reply(200, &json!({ "claimed": yes, "deferred": !yes }).to_string());
    let server = Server::start([refusal(404, "NOT_FOUND"), claimed(true), claimed(false)]).await;
    let batch = server.client().claim_replies(&["a", "b", "c"], "h", true).await;
    assert_eq!((batch.count, batch.deferred), (1, true));
    let seen = server.seen();
    assert_eq!(seen[0].json(), json!({"message_ids":["a","b","c"],"holder":"h","defer_if_active":true}));
    assert_eq!(seen[2].json(), json!({"message_id":"b","holder":"h","defer_if_active":true}));

    for (answer, count) in
        [(json!({"claimed_count": 1}), 1), (json!({"claimed_count": 9}), 2), (Value::Null, 2), (json!({}), 2)]
    {
        let server = Server::start([reply(200, &answer.to_string())]).await;
        assert_eq!(server.client().claim_replies(&["a", "b"], "h", false).await.count, count, "{answer}");
    }
}

#[tokio::test]
async fn who_is_active_is_said_and_asked_without_failing() {
    let server = Server::start([
        reply(200, "{}"),
        reply(200, r#"{"active":true}"#),
        refusal(500, "X"),
        reply(200, ""),
    ])
    .await;
    let client = server.client().with_retry(RetryPolicy::none());
    client.set_reply_active(Some("s"), Duration::from_secs(600)).await;
    assert!(client.is_reply_active().await);
    assert!(!client.is_reply_active().await, "unknown is not active");
    client.clear_reply_active(Some("s")).await;
    let seen = server.seen();
    assert_eq!(
        (route(&seen[0]), seen[0].json()),
        (("PUT", "/v1/reply/active"), json!({"session_id":"s","ttl_seconds":600}))
    );
    assert_eq!(
        (route(&seen[3]), seen[3].json()),
        (("DELETE", "/v1/reply/active"), json!({"session_id":"s"}))
    );
}

#[tokio::test]
async fn webhooks_are_made_and_listed() {
    let made = r#"{"id":"whk_1","url":"https://h","events":["message.new"],"active":true,"secret":"ab"}"#;
    let (seen, webhook) =
        asked(made, |client| async move { client.create_webhook("https://h", &["message.new"]).await }).await;
    assert_eq!(
        (route(&seen), seen.json()),
        (("POST", "/v1/webhooks"), json!({"url":"https://h","events":["message.new"]}))
    );
    assert_eq!(webhook.secret.as_deref(), Some("ab"));
    let (_, list) =
        asked(&format!(r#"{{"webhooks":[{made}]}}"#), |client| async move { client.webhooks().await }).await;
    assert_eq!(list.len(), 1);
}
