//! What this version does not know of an answer is kept, and its times are read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use transport_ws::api::{
    GroupDraft, GroupSettings, GroupUpdate, MuteKind, Muted, NewAgent, ProfileUpdate, Recipient, Upload,
};
use transport_ws::testing::{AgentChatServer, HttpFault, JournalEntry, Profile};
use transport_ws::wire::{Extra, PresenceStatus};
use transport_ws::{AgentChat, ApiError};

use crate::contract::endpoints;
use crate::double::client;

/// What a call kept: of each of its objects what was unknown, and of each of its times the moment.
struct Kept {
    extras: Vec<Extra>,
    times: Vec<Option<SystemTime>>,
}

struct Case {
    route: &'static str,
    answer: Value,
    call: fn(AgentChat) -> BoxFuture<'static, Result<Kept, ApiError>>,
}

macro_rules! cases {
    ($($route:literal $answer:tt |$api:ident| $call:expr, |$it:ident| [$($extra:expr),+] [$($time:expr),*];)+) => {
        vec![$(Case {
            route: $route,
            answer: json!($answer),
            call: |$api| async move {
                let $it = $call.await?;
                Ok(Kept { extras: vec![$($extra.clone()),+], times: vec![$($time),*] })
            }.boxed(),
        }),+]
    };
}

fn to() -> Recipient {
    Recipient::Agent("tally-ho".to_owned())
}

fn agents() -> Vec<Case> {
    cases! {
        "POST /v1/register" { "pending_id": "pnd_1" }
            |api| api.register(&NewAgent::new("a@b.example", "newcomer")), |it| [it.extra] [];
        "POST /v1/register/verify" { "agent": { "handle": "abc", "created_at": AT, "settings": {} }, "api_key": KEY }
            |api| api.register_verify("pnd_1", "123456"), |it|
            [it.extra, it.agent.extra, it.agent.settings.as_ref().unwrap().extra] [it.agent.created_at()];
        "POST /v1/agents/recover" { "message": "sent" }
            |api| api.recover("a@b.example", None), |it| [it.extra] [];
        "POST /v1/agents/recover/verify" { "handle": "abc", "api_key": KEY }
            |api| api.recover_verify("pnd_1", "123456"), |it| [it.extra] [];
        "GET /v1/agents/me" { "handle": "abc", "created_at": AT, "settings": { "inbox_mode": "open" } }
            |api| api.me(), |it| [it.extra, it.settings.as_ref().unwrap().extra] [it.created_at()];
        "GET /v1/agents/:handle" { "handle": "abc", "created_at": AT }
            |api| api.agent("abc"), |it| [it.extra] [it.created_at()];
        "PATCH /v1/agents/:handle" { "handle": "abc", "created_at": AT }
            |api| api.update_profile("abc", &ProfileUpdate::new()), |it| [it.extra] [it.created_at()];
        "POST /v1/agents/:handle/rotate-key" { "pending_id": "pnd_1" }
            |api| api.rotate_key("abc"), |it| [it.extra] [];
        "POST /v1/agents/:handle/rotate-key/verify" { "handle": "abc", "api_key": KEY }
            |api| api.rotate_key_verify("abc", "pnd_1", "123456"), |it| [it.extra] [];
        "PUT /v1/agents/:handle/avatar" { "avatar_key": "k", "avatar_url": "https://a.example/k" }
            |api| api.set_avatar("abc", "image/png", "picture".into()), |it| [it.extra] [];
        "GET /v1/conversations"
            [{ "id": "conv_1", "participants": [{ "handle": "abc" }], "last_message_at": AT }]
            |api| api.conversations(None, 0), |it|
            [it[0].extra, it[0].participants[0].extra] [it[0].last_message_at()];
        "GET /v1/conversations/:id/participants" [{ "handle": "abc" }]
            |api| api.participants("conv_1"), |it| [it[0].extra] [];
        "GET /v1/conversations/:id/context"
            { "conversation_id": "conv_1", "group": { "name": "g" }, "counterparty": { "handle": "abc" },
              "relationship": { "is_contact": true, "added_at": AT }, "unread": { "count": 1 } }
            |api| api.conversation_context("conv_1"), |it|
            [it.extra, it.group.as_ref().unwrap().extra, it.counterparty.as_ref().unwrap().extra,
             it.relationship.as_ref().unwrap().extra, it.unread.as_ref().unwrap().extra]
            [it.relationship.as_ref().unwrap().added_at()];
        "POST /v1/contacts" { "handle": "abc" } |api| api.add_contact("abc"), |it| [it.extra] [];
        "GET /v1/contacts" { "contacts": [{ "handle": "abc", "added_at": AT }], "total": 1 }
            |api| api.contacts(50, 0), |it| [it.extra, it.contacts[0].extra] [it.contacts[0].added_at()];
        "GET /v1/contacts/:handle" { "is_contact": true, "added_at": AT }
            |api| api.contact("abc"), |it| [it.extra] [it.added_at()];
        "POST /v1/mutes" { "target_kind": "agent", "created_at": AT, "muted_until": AT }
            |api| api.mute(MuteKind::Agent("abc"), None), |it| [it.extra] [it.created_at(), it.muted_until()];
        "GET /v1/mutes" { "mutes": [{ "target_kind": "agent", "created_at": AT }] }
            |api| api.mutes_of(Muted::Agents), |it| [it[0].extra] [it[0].created_at()];
        "GET /v1/mutes/agent/:handle" { "target_kind": "agent", "muted_until": AT }
            |api| api.mute_of(MuteKind::Agent("abc")), |it|
            [it.as_ref().unwrap().extra] [it.as_ref().unwrap().muted_until()];
    }
}

fn groups_and_others() -> Vec<Case> {
    cases! {
        "POST /v1/groups"
            { "group": { "id": "grp_1", "created_at": AT, "last_message_at": AT, "settings": {},
                         "members": [{ "handle": "abc", "joined_at": AT }] },
              "add_results": [{ "handle": "abc", "outcome": "invited" }] }
            |api| api.create_group(&GroupDraft::new("g"), None), |it|
            [it.extra, it.group.extra, it.group.members[0].extra, it.add_results[0].extra,
             it.group.settings.as_ref().unwrap().extra]
            [it.group.created_at(), it.group.last_message_at(), it.group.members[0].joined_at()];
        "GET /v1/groups/:id" { "id": "grp_1" } |api| api.group("grp_1"), |it| [it.extra] [];
        "PATCH /v1/groups/:id" { "id": "grp_1" }
            |api| api.update_group("grp_1", &GroupUpdate::new(), None), |it| [it.extra] [];
        "DELETE /v1/groups/:id" { "message": "Group deleted", "deleted_at": AT }
            |api| api.delete_group("grp_1", None), |it| [it.extra] [it.deleted_at()];
        "PUT /v1/groups/:id/avatar" { "avatar_key": "k" }
            |api| api.set_group_avatar("grp_1", "image/png", "picture".into()), |it| [it.extra] [];
        "POST /v1/groups/:id/members" { "handle": "abc", "outcome": "invited" }
            |api| api.add_group_member("grp_1", "abc", None), |it| [it.extra] [];
        "GET /v1/groups/invites" [{ "id": "gri_1", "group_id": "grp_1", "created_at": AT }]
            |api| api.invitations(), |it| [it[0].extra] [it[0].created_at()];
        "POST /v1/groups/invites/:id/accept" { "id": "grp_1" }
            |api| api.accept_invitation("gri_1", None), |it| [it.extra] [];
        "PUT /v1/presence" { "handle": "abc", "status": "busy" }
            |api| api.set_presence(&PresenceStatus::Busy, None), |it| [it.extra] [];
        "GET /v1/presence/:handle" { "handle": "abc", "status": "busy", "last_seen": AT }
            |api| api.presence("abc"), |it| [it.extra] [it.last_seen()];
        "POST /v1/presence/batch" { "presences": [{ "handle": "abc", "last_seen": AT }] }
            |api| api.presences(&["abc"]), |it| [it[0].extra] [it[0].last_seen()];
        "GET /v1/directory" { "agents": [{ "handle": "abc", "created_at": AT }] }
            |api| api.directory("ab", 20, 0), |it| [it.extra, it.agents[0].extra] [it.agents[0].created_at()];
        "POST /v1/uploads" { "attachment_id": "att_1", "upload_url": "https://a.example/u" }
            |api| api.create_upload(&Upload::new(to(), "a", "text/plain", "a")), |it| [it.extra] [];
        "POST /v1/webhooks" { "id": "whk_1", "url": "https://a.example", "created_at": AT, "secret": "s" }
            |api| api.create_webhook("https://a.example", &["message.new"]), |it| [it.extra] [it.created_at()];
        "GET /v1/webhooks" { "webhooks": [{ "id": "whk_1", "created_at": AT }] }
            |api| api.webhooks(), |it| [it[0].extra] [it[0].created_at()];
        "GET /v1/webhooks/:id" { "id": "whk_1", "created_at": AT }
            |api| api.webhook("whk_1"), |it| [it.extra] [it.created_at()];
    }
}

/// Endpoints whose answers say nothing more, or are messages, which keep all they came with.
const WITHOUT: [&str; 30] = [
    "DELETE /v1/agents/:handle",
    "DELETE /v1/agents/:handle/avatar",
    "POST /v1/messages",
    "GET /v1/messages/sync",
    "POST /v1/messages/sync/ack",
    "GET /v1/messages/:conversation_id",
    "POST /v1/messages/:id/read",
    "DELETE /v1/messages/:id",
    "DELETE /v1/conversations/:id",
    "DELETE /v1/groups/:id/avatar",
    "DELETE /v1/groups/:id/members/:handle",
    "POST /v1/groups/:id/members/:handle/promote",
    "POST /v1/groups/:id/members/:handle/demote",
    "POST /v1/groups/:id/leave",
    "DELETE /v1/groups/invites/:id",
    "PATCH /v1/contacts/:handle",
    "DELETE /v1/contacts/:handle",
    "POST /v1/contacts/:handle/block",
    "DELETE /v1/contacts/:handle/block",
    "POST /v1/contacts/:handle/report",
    "DELETE /v1/mutes/agent/:handle",
    "GET /v1/mutes/conversation/:id",
    "DELETE /v1/mutes/conversation/:id",
    "GET /v1/attachments/:id",
    "DELETE /v1/webhooks/:id",
    "PUT /v1/reply/active",
    "GET /v1/reply/active",
    "DELETE /v1/reply/active",
    "POST /v1/reply/claim",
    "POST /v1/reply/claim-batch",
];

/// The same with a member that nobody knows in each object.
fn with_unknown(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: serde_json::Map<String, Value> =
                members.iter().map(|(name, value)| (name.clone(), with_unknown(value))).collect();
            members.insert("x_new".to_owned(), 1.into());
            Value::Object(members)
        }
        Value::Array(items) => items.iter().map(with_unknown).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn each_answer_keeps_what_is_unknown_in_each_of_its_objects_and_reads_its_times() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    let cases: Vec<Case> = agents().into_iter().chain(groups_and_others()).collect();
    for Case { route, answer, call } in &cases {
        let endpoints = endpoints();
        let endpoint = endpoints.iter().find(|it| it.route == *route).expect(route);
        let body = with_unknown(answer).to_string();
        server.faults().on(&endpoint.pattern(), HttpFault::answer(200, "application/json", &body));
        let kept = call(client(&server, "quokka-9")).await.unwrap_or_else(|error| panic!("{route}: {error}"));
        for (number, extra) in kept.extras.iter().enumerate() {
            assert_eq!(extra.read::<u64>("x_new"), Some(1), "{route}: object {number} lost it");
            assert_eq!(extra.names().count(), 1, "{route}: a known member of object {number} is unknown");
        }
        let at = UNIX_EPOCH + Duration::new(1_795_288_353, 989_901_000);
        assert!(kept.times.iter().all(|it| *it == Some(at)), "{route}: {:?}", kept.times);
        assert_eq!(kept.times.len(), body.matches(AT).count(), "{route}: a time has no method");
    }
    let told = |route: &str| cases.iter().any(|case| case.route == route) || WITHOUT.contains(&route);
    let missing: Vec<_> = endpoints().into_iter().map(|it| it.route).filter(|route| !told(route)).collect();
    assert!(missing.is_empty(), "{missing:?} are told nowhere");
}

#[tokio::test]
async fn what_is_no_time_is_kept_as_it_was_written() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    let answer = r#"{"handle":"abc","created_at":"soon"}"#;
    server.faults().on("GET /v1/agents/*", HttpFault::answer(200, "application/json", answer));
    let agent = client(&server, "quokka-9").agent("abc").await.expect("answered");
    assert_eq!((agent.created_at.as_deref(), agent.created_at()), (Some("soon"), None));
}

/// The last request: its path and body.
fn last(server: &AgentChatServer) -> (String, Value) {
    let request = |entry: JournalEntry| match entry {
        JournalEntry::Request { path, body, .. } => {
            Some((path, serde_json::from_slice(&body).unwrap_or_default()))
        }
        _ => None,
    };
    server.journal().into_iter().filter_map(request).next_back().expect("a request")
}

#[tokio::test]
async fn settings_of_groups_and_kinds_of_mutes_are_asked_for() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    server.agent("tally-ho");
    let api = client(&server, "quokka-9");
    let settings = || GroupSettings::new().with_who_can_invite("admin");
    let made = api.create_group(&GroupDraft::new("g").with_settings(settings()), None).await.expect("made");
    assert_eq!(last(&server).1["settings"], json!({ "who_can_invite": "admin" }));
    assert_eq!(made.group.settings.and_then(|it| it.who_can_invite).as_deref(), Some("admin"));
    let id = made.group.id;
    api.update_group(&id, &GroupUpdate::new().with_settings(settings()), None).await.expect("changed");
    assert_eq!(last(&server).1, json!({ "settings": { "who_can_invite": "admin" } }));
    let error = api
        .update_group(
            &id,
            &GroupUpdate::new().with_settings(GroupSettings::new().with_who_can_invite("x")),
            None,
        )
        .await
        .expect_err("unknown");
    assert_eq!(error.code(), Some("VALIDATION_ERROR"));
    api.mute(MuteKind::Agent("tally-ho"), None).await.expect("muted");
    for (muted, kind, found) in [(Muted::Agents, "agent", 1), (Muted::Conversations, "conversation", 0)] {
        assert_eq!(api.mutes_of(muted).await.expect("listed").len(), found, "{kind}");
        assert_eq!(last(&server).0, format!("/v1/mutes?kind={kind}"));
    }
    let gone = api.delete_group(&id, None).await.expect("deleted");
    assert!(gone.deleted_at().is_some() && gone.message.is_some(), "{gone:?}");
}

const AT: &str = "2026-11-21T19:12:33.989901+00:00";
const KEY: &str = "ac_new_0123456789abcdefghij";
