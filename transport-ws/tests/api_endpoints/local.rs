//! What the server would refuse anyway is refused here: nothing is sent.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use transport_ws::api::{
    CONTENT_TYPES, Draft, GroupDraft, GroupUpdate, History, MuteKind, NewAgent, ProfileUpdate, Recipient,
    Upload,
};
use transport_ws::http::Failure;
use transport_ws::testing::{AgentChatServer, Profile};
use transport_ws::wire::PresenceStatus;
use transport_ws::{AgentChat, ApiError};

use crate::double::client;

type Asked = BoxFuture<'static, Result<(), ApiError>>;

/// A call with something wrong in it.
struct Bad {
    operation: &'static str,
    what: &'static str,
    call: fn(AgentChat, String) -> Asked,
    /// What is wrong, for calls that take many such.
    with: Vec<String>,
}

macro_rules! bad {
    ($($operation:literal $what:literal $with:expr, |$api:ident, $it:ident| $call:expr;)+) => {
        vec![$(Bad {
            operation: $operation,
            what: $what,
            call: |$api, $it| async move { let _ = &$it; $call.await.map(drop) }.boxed(),
            with: $with.into_iter().map(Into::into).collect(),
        }),+]
    };
}

fn handles() -> Vec<String> {
    let bad = ["", "@", "ab", "@ab", "1abc", "-abc", "abc-", "a--b", "a_bc", "a.bc", "a bc", "äbc", "@@abc"];
    bad.into_iter().map(str::to_owned).chain(["a".repeat(31)]).collect()
}

fn long(count: usize) -> String {
    "é".repeat(count)
}

const ONCE: [&str; 1] = [""];
const BOB: &str = "tally-ho";

fn to_bob() -> Recipient {
    Recipient::Agent(BOB.to_owned())
}

fn calls() -> Vec<Bad> {
    let mut all = bad! {
        "register" "handle" handles(), |api, it| api.register(&NewAgent::new("a@b.example", &it));
        "register" "email" ["", "@", "a@", "@b", "a b@c", "ab", "a@b@c"], |api, it| api.register(&NewAgent::new(it, "newcomer"));
        "register" "name" [long(101)], |api, it| api.register(&NewAgent::new("a@b.example", "newcomer").with_display_name(it));
        "register" "description" [long(501)], |api, it| api.register(&NewAgent::new("a@b.example", "newcomer").with_description(it));
        "register_verify" "code" codes(), |api, it| api.register_verify("pnd_1", &it);
        "register_verify" "pending" ["", " "], |api, it| api.register_verify(&it, "123456");
        "recover" "email" ["", "ab", "a b@c"], |api, it| api.recover(&it, None);
        "recover" "handle" handles(), |api, it| api.recover("a@b.example", Some(&it));
        "recover_verify" "code" codes(), |api, it| api.recover_verify("pnd_1", &it);
        "recover_verify" "pending" ["", " "], |api, it| api.recover_verify(&it, "123456");
        "rotate_key" "handle" handles(), |api, it| api.rotate_key(&it);
        "rotate_key_verify" "handle" handles(), |api, it| api.rotate_key_verify(&it, "pnd_1", "123456");
        "rotate_key_verify" "code" codes(), |api, it| api.rotate_key_verify("quokka-9", "pnd_1", &it);
        "rotate_key_verify" "pending" ["", " "], |api, it| api.rotate_key_verify("quokka-9", &it, "123456");
        "delete_account" "handle" handles(), |api, it| api.delete_account(&it);
        "agent" "handle" handles(), |api, it| api.agent(&it);
        "update_profile" "handle" handles(), |api, it| api.update_profile(&it, &ProfileUpdate::new());
        "update_profile" "name" [long(101)], |api, it| api.update_profile("quokka-9", &ProfileUpdate::new().with_display_name(it));
        "update_profile" "description" [long(501)], |api, it| api.update_profile("quokka-9", &ProfileUpdate::new().with_description(it));
        "set_avatar" "handle" handles(), |api, it| api.set_avatar(&it, "image/png", "picture".into());
        "set_avatar" "empty" ONCE, |api, it| api.set_avatar("quokka-9", "image/png", it.into());
        "set_avatar" "too large" ["a".repeat(5 * 1024 * 1024 + 1)], |api, it| api.set_avatar("quokka-9", "image/png", it.into());
        "set_avatar" "type" ["", "text/plain"], |api, it| api.set_avatar("quokka-9", &it, "picture".into());
        "remove_avatar" "handle" handles(), |api, it| api.remove_avatar(&it);
        "set_group_avatar" "empty" ONCE, |api, it| api.set_group_avatar("grp_1", "image/png", it.into());
        "set_group_avatar" "too large" ["a".repeat(5 * 1024 * 1024 + 1)], |api, it| api.set_group_avatar("grp_1", "image/png", it.into());
        "set_group_avatar" "type" ["application/pdf"], |api, it| api.set_group_avatar("grp_1", &it, "picture".into());
        "set_group_avatar" "group" ["", ".", ".."], |api, it| api.set_group_avatar(&it, "image/png", "picture".into());
        "send" "handle" handles(), |api, it| api.send(&Draft::text(Recipient::Agent(it), "hi"));
        "send" "group" ["", " "], |api, it| api.send(&Draft::text(Recipient::Group(it), "hi"));
        "send" "size" ["a".repeat(32_768)], |api, it| api.send(&Draft::text(to_bob(), it));
        "sync_ack" "cursor" ONCE, |api, it| api.sync_ack(&it);
        "history" "limit" ["0", "201", "4294967295"], |api, it| api.history_limited("conv_1", History::Newest, it.parse().unwrap());
        "history" "conversation" ["", ".", ".."], |api, it| api.history(&it, History::Newest);
        "mark_read" "message" ONCE, |api, it| api.mark_read(&it, None);
        "mark_read" "key" keys(), |api, it| api.mark_read("msg_1", Some(&it));
        "hide_message" "message" ONCE, |api, it| api.hide_message(&it);
        "participants" "conversation" ONCE, |api, it| api.participants(&it);
        "conversation_context" "conversation" ONCE, |api, it| api.conversation_context(&it);
        "hide_conversation" "conversation" ONCE, |api, it| api.hide_conversation(&it);
        "create_group" "name" [String::new(), long(101)], |api, it| api.create_group(&GroupDraft::new(it), None);
        "create_group" "description" [long(501)], |api, it| api.create_group(&GroupDraft::new("g").with_description(it), None);
        "create_group" "picture" ["", "x", "ftp://x.example/p"], |api, it| api.create_group(&GroupDraft::new("g").with_avatar_url(it), None);
        "create_group" "member" handles(), |api, it| api.create_group(&GroupDraft::new("g").with_member(&it), None);
        "create_group" "members" ["256"], |api, it| api.create_group(&crowd(it.parse().unwrap()), None);
        "create_group" "key" keys(), |api, it| api.create_group(&GroupDraft::new("g"), Some(&it));
        "group" "group" ONCE, |api, it| api.group(&it);
        "update_group" "name" [String::new(), long(101)], |api, it| api.update_group("grp_1", &GroupUpdate::new().with_name(it), None);
        "update_group" "description" [long(501)], |api, it| api.update_group("grp_1", &GroupUpdate::new().with_description(Some(it)), None);
        "update_group" "picture" ["x"], |api, it| api.update_group("grp_1", &GroupUpdate::new().with_avatar_url(Some(it)), None);
        "delete_group" "key" keys(), |api, it| api.delete_group("grp_1", Some(&it));
        "add_group_member" "handle" handles(), |api, it| api.add_group_member("grp_1", &it, None);
        "remove_group_member" "handle" handles(), |api, it| api.remove_group_member("grp_1", &it, None);
        "promote" "handle" handles(), |api, it| api.promote("grp_1", &it, None);
        "demote" "handle" handles(), |api, it| api.demote("grp_1", &it, None);
        "leave_group" "group" ONCE, |api, it| api.leave_group(&it, None);
        "accept_invitation" "invitation" ONCE, |api, it| api.accept_invitation(&it, None);
        "reject_invitation" "invitation" ONCE, |api, it| api.reject_invitation(&it);
    };
    all.extend(more());
    all
}

fn more() -> Vec<Bad> {
    bad! {
        "add_contact" "handle" handles(), |api, it| api.add_contact(&it);
        "contacts" "limit" ["0", "101"], |api, it| api.contacts(it.parse().unwrap(), 0);
        "contact" "handle" handles(), |api, it| api.contact(&it);
        "set_contact_note" "handle" handles(), |api, it| api.set_contact_note(&it, None);
        "set_contact_note" "note" [long(1001)], |api, it| api.set_contact_note(BOB, Some(&it));
        "remove_contact" "handle" handles(), |api, it| api.remove_contact(&it);
        "block" "handle" handles(), |api, it| api.block(&it, None);
        "unblock" "handle" handles(), |api, it| api.unblock(&it);
        "report_agent" "handle" handles(), |api, it| api.report_agent(&it, None, None);
        "report_agent" "reason" [long(1001)], |api, it| api.report_agent(BOB, Some(&it), None);
        "mute" "handle" handles(), |api, it| api.mute(MuteKind::Agent(&it), None);
        "mute" "conversation" ["", " "], |api, it| api.mute(MuteKind::Conversation(&it), None);
        "mute" "end" ["", "tomorrow", "2026-02-30T00:00:00Z"], |api, it| api.mute(MuteKind::Agent(BOB), Some(&it));
        "mute_of" "handle" handles(), |api, it| api.mute_of(MuteKind::Agent(&it));
        "mute_of" "conversation" ONCE, |api, it| api.mute_of(MuteKind::Conversation(&it));
        "unmute" "handle" handles(), |api, it| api.unmute(MuteKind::Agent(&it));
        "set_presence" "words" [long(201)], |api, it| api.set_presence(&PresenceStatus::Busy, Some(&it));
        "set_presence" "status" ["away"], |api, it| api.set_presence(&PresenceStatus::from(it.as_str()), None);
        "presence" "handle" handles(), |api, it| api.presence(&it);
        "presences" "handle" handles(), |api, it| api.presences(&[BOB, &it]);
        "presences" "number" ["0", "101"], |api, it| api.presences(&vec![BOB; it.parse().unwrap()]);
        "directory" "query" [String::new(), "a".to_owned(), long(51)], |api, it| api.directory(&it, 20, 0);
        "directory" "limit" ["0", "51"], |api, it| api.directory("ab", it.parse().unwrap(), 0);
        "directory" "offset" ["10001"], |api, it| api.directory("ab", 20, it.parse().unwrap());
        "directory" "query of all" ["a"], |api, it| first(api, it);
        "create_upload" "handle" handles(), |api, it| api.create_upload(&Upload::new(Recipient::Agent(it), "a", "text/plain", "a"));
        "create_upload" "group" ONCE, |api, it| api.create_upload(&Upload::new(Recipient::Group(it), "a", "text/plain", "a"));
        "create_upload" "name" [String::new(), long(256)], |api, it| api.create_upload(&Upload::new(to_bob(), it, "text/plain", "a"));
        "create_upload" "type" ["", "text/html", "image/svg+xml", "text/plain; charset=utf-8"], |api, it| api.create_upload(&Upload::new(to_bob(), "a", it, "a"));
        "create_upload" "size" ["0", "26214401"], |api, it| api.create_upload(&Upload::new(to_bob(), "a", "text/plain", vec![0; it.parse().unwrap()]));
        "create_upload" "of an upload" ONCE, |api, it| api.upload(&Upload::new(to_bob(), "a", "text/plain", it));
        "attachment_url" "attachment" ONCE, |api, it| api.attachment_url(&it);
        "create_webhook" "events" ONCE, |api, it| api.create_webhook("https://a.example", &[]);
        "create_webhook" "event" ONCE, |api, it| api.create_webhook("https://a.example", &["message.new", &it]);
        "create_webhook" "url" ["", "a.example", "ftp://a.example"], |api, it| api.create_webhook(&it, &["message.new"]);
        "webhook" "id" ONCE, |api, it| api.webhook(&it);
        "delete_webhook" "id" ONCE, |api, it| api.delete_webhook(&it);
    }
}

fn codes() -> [&'static str; 6] {
    ["", "12345", "1234567", "12345x", " 12345", "１２３４５６"]
}

fn keys() -> [String; 4] {
    ["".to_owned(), "short-1".to_owned(), "a".repeat(129), "with blanks".to_owned()]
}

fn crowd(members: usize) -> GroupDraft {
    (0..members).fold(GroupDraft::new("g"), |draft, number| draft.with_member(&format!("agent-{number}")))
}

async fn first(api: AgentChat, query: String) -> Result<(), ApiError> {
    api.directory_agents(query).next().await.map(drop)
}

#[tokio::test]
async fn what_breaks_a_rule_of_the_contract_is_never_sent() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    let api = client(&server, "quokka-9");
    for bad in calls() {
        for with in &bad.with {
            let shown: String = with.chars().take(32).collect();
            let which = format!("{} {} {shown:?}", bad.operation, bad.what);
            let error = (bad.call)(api.clone(), with.clone()).await.err();
            let error = error.unwrap_or_else(|| panic!("{which} went through"));
            assert_eq!((error.failure(), error.operation()), (Failure::Invalid, bad.operation), "{which}");
            assert_eq!(error.reached(), agentchat_core::Reached::No, "{which}");
            assert!(!error.message().is_empty() && !error.message().contains("éé"), "{which}: {error}");
        }
    }
    assert!(server.journal().is_empty(), "something was sent");
}

#[tokio::test]
async fn what_keeps_just_within_the_rules_is_sent() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    server.agent(BOB);
    let api = client(&server, "quokka-9");
    let sent = |result: Result<(), ApiError>, what: &str| {
        if let Err(error) = result {
            assert_eq!(error.failure(), Failure::Refused, "{what}: {error}");
        }
    };
    let draft = NewAgent::new("a@b.example", "@ABC").with_display_name(long(100)).with_description(long(500));
    api.register(&draft).await.expect("registered");
    let most = "a".repeat(30);
    sent(api.agent(&format!(" @{most} ")).await.map(drop), "thirty letters");
    let update = ProfileUpdate::new().with_display_name(long(100)).with_description(long(500));
    api.update_profile("quokka-9", &update).await.expect("updated");
    sent(api.set_avatar("quokka-9", "image/png", vec![0; 5 * 1024 * 1024].into()).await.map(drop), "picture");
    api.create_group(&crowd(255), None).await.expect("made");
    let group = GroupDraft::new(long(100)).with_description(long(500)).with_avatar_url("https://a.example/p");
    let group = api.create_group(&group, None).await.expect("made").group.id;
    let update = GroupUpdate::new().with_name("g").with_description(None).with_avatar_url(None);
    api.update_group(&group, &update, None).await.expect("changed");
    api.add_contact(BOB).await.expect("added");
    api.set_contact_note(BOB, Some(&long(1000))).await.expect("noted");
    api.set_contact_note(BOB, Some("")).await.expect("noted");
    for limit in [1, 100] {
        api.contacts(limit, 0).await.expect("listed");
    }
    for limit in [1, 200] {
        api.history_limited(&group, History::Newest, limit).await.expect("read");
    }
    api.directory("ta", 1, 0).await.expect("searched");
    api.directory(&"a".repeat(50), 50, 10_000).await.expect("searched");
    api.presences(&[BOB; 100]).await.expect("asked");
    api.set_presence(&PresenceStatus::Busy, Some(&long(200))).await.expect("set");
    for content_type in CONTENT_TYPES {
        api.create_upload(&Upload::new(to_bob(), "é".repeat(255), content_type, "a"))
            .await
            .expect(content_type);
    }
    let large = Upload::new(to_bob(), "a", "text/plain", vec![0; 26_214_400]);
    api.create_upload(&large).await.expect("the largest");
    api.mute(MuteKind::Agent(BOB), Some("2999-01-31T12:00:00+02:00")).await.expect("muted");
    api.create_webhook("https://a.example/hook", &["message.new"]).await.expect("made");
    api.report_agent(BOB, Some(&long(1000)), None).await.expect("reported");
}

#[tokio::test]
async fn handles_in_answers_are_not_checked() {
    let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
    let api = client(&server, "quokka-9");
    let body = r#"{"agents":[{"handle":"X"},{"handle":"a_b"}],"total":2}"#;
    let fault = transport_ws::testing::HttpFault::answer(200, "application/json", body);
    server.faults().on("GET /v1/directory", fault);
    let page = api.directory("xx", 20, 0).await.expect("answered");
    assert_eq!(page.agents.iter().map(|it| it.handle.as_str()).collect::<Vec<_>>(), ["X", "a_b"]);
}
