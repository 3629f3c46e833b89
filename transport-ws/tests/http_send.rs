//! Sending: one id, the right route, and honest answers.

mod raw;

use agentchat_core::{Advice, ClientMsgId, Error, ErrorKind, Reached};
use raw::{Reply, Server, refusal, reply, reply_with};
use serde_json::json;
use transport_ws::ErrorCode;
use transport_ws::api::{Draft, MAX_CONTENT, Recipient};
use transport_ws::http::{Failure, RetryPolicy};

const ROW: &str = r#"{"id":"msg_e7VK","conversation_id":"conv__tdb","client_msg_id":"c-1","seq":1,"type":"text","content":{"text":"hello bob"},"metadata":{},"created_at":"2026-11-21T19:13:20.230582+00:00","sender":"alice"}"#;

fn to(text: &str) -> Recipient {
    Recipient::parse(text).expect("a recipient")
}

fn hello() -> Draft {
    Draft::text(to("@bob"), "hello bob")
}

#[tokio::test]
async fn c24_generates_client_msg_id() {
    let server = Server::start([reply(201, ROW)]).await;
    let draft = hello();
    server.client().send(&draft).await.expect("stored");
    let request = server.only();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/messages"));
    assert_eq!(
        request.json(),
        json!({"to":"bob","client_msg_id":draft.client_msg_id(),"content":{"text":"hello bob"}})
    );
    assert_eq!(draft.client_msg_id().len(), 36, "a UUID");
    assert_ne!(hello().client_msg_id(), draft.client_msg_id());
}

#[tokio::test]
async fn c25_same_id_on_retry() {
    let lost =
        [Reply::Bytes(b"HTTP/1.1 500 E\r\ncontent-length: 0\r\n\r\n".to_vec()), Reply::ThenCut(Vec::new())];
    let server = Server::start(lost.into_iter().chain([reply(201, ROW)])).await;
    server.client().send(&hello()).await.expect("stored at last");
    let bodies: Vec<_> = server.seen().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

#[tokio::test]
async fn c26_replay_visible() {
    let server = Server::start([reply(201, ROW), reply(200, ROW)]).await;
    let client = server.client();
    let first = client.send(&hello()).await.expect("stored");
    let again = client.send(&hello()).await.expect("known");
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!((again.row.id(), again.row.seq()), (Some("msg_e7VK"), Some(1)));
}

#[tokio::test]
async fn c27_group_vs_handle_routing() {
    let server = Server::start([reply(201, ROW), reply(201, ROW)]).await;
    let client = server.client();
    client.send(&Draft::text(to("@A-b"), "x")).await.expect("stored");
    client.send(&Draft::text(to("grp_x"), "x")).await.expect("stored");
    let [direct, group] = server.seen().try_into().expect("two requests");
    assert_eq!((direct.json()["to"].as_str(), direct.json().get("conversation_id")), (Some("a-b"), None));
    assert_eq!((group.json()["conversation_id"].as_str(), group.json().get("to")), (Some("grp_x"), None));
}

#[tokio::test]
async fn c28_direct_id_refused_locally() {
    let error = Recipient::parse("conv_x").expect_err("refused");
    assert_eq!((error.failure(), error.kind()), (Failure::Invalid, ErrorKind::Invalid));
    assert_eq!((error.advice(), error.reached()), (Advice::Never, Reached::No));
}

#[tokio::test]
async fn c29_size_guard() {
    let server = Server::start([reply(201, ROW), refusal(413, "CONTENT_TOO_LARGE")]).await;
    let client = server.client();
    let frame = r#"{"text":""}"#.len();
    let largest = Draft::text(to("bob"), "x".repeat(MAX_CONTENT - frame));
    client.send(&largest).await.expect("the largest is carried");
    let larger = Draft::text(to("bob"), "x".repeat(MAX_CONTENT - frame + 1));
    let error = client.send(&larger).await.expect_err("too large");
    assert_eq!(
        (error.kind(), error.failure(), error.reached()),
        (ErrorKind::TooLarge, Failure::Invalid, Reached::No)
    );
    let with_metadata = largest.with_metadata("{}").expect("an object");
    assert_eq!(client.send(&with_metadata).await.expect_err("counted").kind(), ErrorKind::TooLarge);
    assert_eq!(server.seen().len(), 1, "nothing was sent");
    let error = client.send(&hello()).await.expect_err("the server counts otherwise");
    assert_eq!((error.kind(), error.failure(), error.attempts()), (ErrorKind::TooLarge, Failure::Refused, 1));
}

#[tokio::test]
async fn c30_backlog_header() {
    let warned = |line| reply_with(201, &[("x-backlog-warning", line)], ROW);
    let server = Server::start([warned("tally-ho=5123"), warned("tally-ho"), reply(201, ROW)]).await;
    let client = server.client();
    let warning = client.send(&hello()).await.expect("stored").backlog.expect("a warning");
    assert_eq!((warning.handle.as_str(), warning.waiting), ("tally-ho", 5123));
    assert_eq!(client.send(&hello()).await.expect("stored").backlog, None);
    assert_eq!(client.send(&hello()).await.expect("stored").backlog, None);
}

#[tokio::test]
async fn c31_skipped_recipients() {
    let server = Server::start([reply(201, r#"{"id":"m","skipped_recipients":["wren-two","kite"]}"#)]).await;
    let sent = server.client().send(&Draft::text(to("grp_1"), "x")).await.expect("stored");
    assert_eq!(sent.skipped, ["wren-two", "kite"]);
}

#[tokio::test]
async fn c32_awaiting_reply() {
    let body = r#"{"code":"AWAITING_REPLY","message":"m","details":{"recipient_handle":"bob","waiting_since":"2026-08-11T08:00:00Z"}}"#;
    let server = Server::start([reply(403, body)]).await;
    let error = server.client().send(&hello()).await.expect_err("refused");
    let details = error.awaiting_reply().expect("details");
    assert_eq!(details.recipient_handle.as_deref(), Some("bob"));
    assert_eq!(details.waiting_since.as_deref(), Some("2026-08-11T08:00:00Z"));
    assert_eq!((error.attempts(), error.advice(), server.seen().len()), (1, Advice::Never, 1));
}

#[tokio::test]
async fn c33_backlogged_not_retried() {
    let body = r#"{"code":"RECIPIENT_BACKLOGGED","message":"m","details":{"recipient_handle":"vic","undelivered_count":10000}}"#;
    let server = Server::start([reply_with(429, &[("retry-after", "1")], body)]).await;
    let error = server.client().send(&hello()).await.expect_err("refused");
    let details = error.backlogged().expect("details");
    assert_eq!((details.recipient_handle.as_deref(), details.undelivered_count), (Some("vic"), Some(10_000)));
    assert_eq!((error.attempts(), error.kind()), (1, ErrorKind::RateLimited));
    assert_eq!(Error::from(error).advice(), Advice::Never);
}

#[tokio::test]
async fn c34_cold_cap_aliases() {
    let codes = ["RATE_LIMITED", "COLD_CAP_EXCEEDED", "COLD_OUTREACH_CAP_EXCEEDED"];
    let server = Server::start(codes.map(|code| refusal(429, code))).await;
    let mut found = Vec::new();
    for code in codes {
        let error = server.client().send(&hello()).await.expect_err(code);
        assert_eq!((error.attempts(), error.advice(), error.code()), (1, Advice::Never, Some(code)));
        found.push(error.error_code().expect("a code"));
    }
    assert_eq!(found, [ErrorCode::RateLimited, ErrorCode::ColdCap, ErrorCode::ColdCap]);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn c35_per_second_limit_retried() {
    let limited =
        |wait| reply_with(429, &[("retry-after", wait)], r#"{"code":"RATE_LIMITED","message":"m"}"#);
    let server = Server::start([limited("0"), limited("1"), reply(201, ROW)]).await;
    server.client().send(&hello()).await.expect("stored");
    let bodies: Vec<_> = server.seen().into_iter().map(|it| it.body).collect();
    assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

#[tokio::test]
async fn c36_ambiguous_then_awaiting() {
    let id = ClientMsgId::new("c-1").expect("an id");
    let conversations = r#"[{"id":"grp_1","type":"group","participants":[]},{"id":"conv__tdb","type":"direct","participants":[{"handle":"bob"}]}]"#;
    let foreign = ROW.replace("msg_e7VK", "msg_bobs").replace("alice", "bob");
    let script = |history: String| {
        [
            Reply::ThenCut(Vec::new()),
            refusal(403, "AWAITING_REPLY"),
            reply(200, conversations),
            reply(200, &history),
        ]
    };
    let server = Server::start(script(format!("[{foreign},{ROW}]"))).await;
    let sent = server.client().send(&hello().with_client_msg_id(&id)).await.expect("it was stored");
    assert_eq!((sent.replayed, sent.row.id()), (true, Some("msg_e7VK")));
    assert_eq!(server.seen()[3].path, "/v1/messages/conv__tdb?limit=200");

    let server = Server::start(script(format!("[{foreign}]"))).await;
    let error = server.client().send(&hello().with_client_msg_id(&id)).await.expect_err("it was another one");
    assert_eq!((error.error_code(), error.is_ambiguous()), (Some(ErrorCode::AwaitingReply), true));
}

#[tokio::test]
async fn c37_paused_and_suspended() {
    let suspended = r#"{"code":"SUSPENDED","message":"m","reason":"community_enforcement","detail":"d"}"#;
    let server = Server::start([refusal(403, "AGENT_PAUSED_BY_OWNER"), reply(403, suspended)]).await;
    let paused = server.client().send(&hello()).await.expect_err("paused");
    let suspended = server.client().send(&hello()).await.expect_err("suspended");
    assert_eq!(paused.error_code(), Some(ErrorCode::PausedByOwner));
    assert_eq!(suspended.error_code(), Some(ErrorCode::Suspended));
    assert_eq!(suspended.detail("reason").as_deref(), Some("community_enforcement"));
    assert_eq!((paused.attempts(), suspended.attempts(), server.seen().len()), (1, 1, 2));
}

#[tokio::test]
async fn an_answer_that_is_no_message_is_no_success() {
    let server = Server::start([reply(201, "{}"), reply(200, "[]"), reply(201, "")]).await;
    let client = server.client().with_retry(RetryPolicy::none());
    for _ in 0..3 {
        let error = client.send(&hello()).await.expect_err("no message");
        assert_eq!((error.failure(), error.reached()), (Failure::Unreadable, Reached::Unknown));
        assert!(error.advice() != Advice::Never, "repeating it finds out");
    }
}

#[tokio::test]
async fn structured_data_and_metadata_go_out_as_they_are() {
    let server = Server::start([reply(201, ROW), reply(201, ROW)]).await;
    let client = server.client();
    let draft = Draft::data(to("bob"), r#"{"n":1.50,"a":[1, 2]}"#).expect("an object");
    let draft = draft.with_metadata(r#"{"reply_to":"msg_1"}"#).expect("an object").with_text("beside");
    client.send(&draft).await.expect("stored");
    client.send(&Draft::attachment(to("bob"), "att_1")).await.expect("stored");
    let [data, file] = server.seen().try_into().expect("two requests");
    assert!(data.body.contains(r#""data":{"n":1.50,"a":[1, 2]}"#), "{}", data.body);
    assert_eq!(data.json()["metadata"], json!({"reply_to":"msg_1"}));
    assert_eq!(
        (data.json()["type"].as_str(), data.json()["content"]["text"].as_str()),
        (Some("structured"), Some("beside"))
    );
    assert_eq!(
        (file.json()["type"].as_str(), file.json()["content"].clone()),
        (Some("file"), json!({"attachment_id":"att_1"}))
    );
    assert!(Draft::data(to("bob"), "[1]").is_err() && Draft::data(to("bob"), "{").is_err());
}
