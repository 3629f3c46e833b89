//! Getting a key, and losing it.

mod raw;

use raw::{Seen, Server, refusal, reply};
use serde_json::json;
use transport_ws::api::NewAgent;
use transport_ws::http::Failure;
use transport_ws::{AgentChat, AgentChatConfig, ErrorCode};

fn route(seen: &Seen) -> (&str, &str) {
    (&seen.method, &seen.path)
}

fn keyless(server: &Server) -> AgentChat {
    let config = AgentChatConfig::builder_without_key().with_base_url(&server.base).build().expect("usable");
    AgentChat::new(&config).expect("a client")
}

#[tokio::test]
async fn c38_register_flow() {
    let made = json!({"agent": {"handle":"quokka-9","email":"o@t","status":"active"}, "api_key": raw::KEY});
    let server = Server::start([
        reply(200, r#"{"pending_id":"pnd_1","message":"sent"}"#),
        reply(201, &made.to_string()),
        reply(200, r#"{"handle":"quokka-9"}"#),
    ])
    .await;
    let client = keyless(&server);
    let pending = client.register(&NewAgent::new("o@t", "@Quokka-9")).await.expect("begun");
    let registered = client.register_verify(&pending.id.expect("an id"), "482913").await.expect("made");
    assert!(!format!("{registered:?}").contains(raw::KEY));
    let error = client.me().await.expect_err("no key yet");
    assert_eq!((error.failure(), server.seen().len()), (Failure::Invalid, 2));
    client.with_key(registered.key).me().await.expect("the key is good");
    let seen = server.seen();
    assert_eq!(
        (route(&seen[0]), seen[0].json()),
        (("POST", "/v1/register"), json!({"email":"o@t","handle":"quokka-9"}))
    );
    assert_eq!(
        (route(&seen[1]), seen[1].json()),
        (("POST", "/v1/register/verify"), json!({"pending_id":"pnd_1","code":"482913"}))
    );
    assert!(seen[0].header("authorization").is_none() && seen[1].header("authorization").is_none());
    assert_eq!(seen[2].header("authorization"), Some(format!("Bearer {}", raw::KEY).as_str()));
}

#[tokio::test]
async fn c39_otp_errors() {
    let mut replies = vec![refusal(400, "INVALID_CODE"); 5];
    replies.extend([refusal(429, "OTP_ATTEMPTS_EXHAUSTED"), refusal(400, "EXPIRED"), refusal(503, "X")]);
    let server = Server::start(replies).await;
    let client = keyless(&server);
    let mut codes = Vec::new();
    for _ in 0..8 {
        let error = client.register_verify("pnd_1", "000000").await.expect_err("refused");
        assert_eq!(error.attempts(), 1, "each attempt counts, so none is made twice");
        codes.push(error.error_code().expect("a code"));
    }
    assert_eq!(codes[..5], vec![ErrorCode::InvalidCode; 5]);
    assert_eq!(codes[5..7], [ErrorCode::OtpAttemptsExhausted, ErrorCode::Expired]);
}

#[tokio::test]
async fn c40_recover_ambiguous() {
    let body = r#"{"code":"HANDLE_REQUIRED","message":"m","details":{"handles":["old-one","new-one"]}}"#;
    let server = Server::start([reply(200, r#"{"pending_id":"pnd_1"}"#), reply(409, body)]).await;
    let client = keyless(&server);
    client.recover("o@t", Some("@Old-One")).await.expect("begun");
    let error = client.recover_verify("pnd_1", "000000").await.expect_err("ambiguous");
    assert_eq!(
        (error.error_code(), error.handles()),
        (Some(ErrorCode::HandleRequired), vec!["old-one".to_owned(), "new-one".to_owned()])
    );
    assert_eq!(server.seen()[0].json(), json!({"email":"o@t","handle":"old-one"}));
}

#[tokio::test]
async fn c41_recover_no_pending_id() {
    let server = Server::start([reply(200, r#"{"message":"If an account …"}"#)]).await;
    let pending = keyless(&server).recover("ghost@t", None).await.expect("the same words for everybody");
    assert_eq!(pending.id, None);
    assert_eq!(server.only().json(), json!({"email":"ghost@t"}));
}

#[tokio::test]
async fn c42_email_caps() {
    let with_limit =
        |code: &str| reply(409, &format!(r#"{{"code":"{code}","message":"m","details":{{"limit":10}}}}"#));
    let server = Server::start([
        with_limit("EMAIL_LIMIT_REACHED"),
        refusal(409, "EMAIL_TAKEN"),
        with_limit("EMAIL_EXHAUSTED"),
    ])
    .await;
    let client = keyless(&server);
    let mut found = Vec::new();
    for _ in 0..3 {
        let error = client.register(&NewAgent::new("o@t", "abc")).await.expect_err("refused");
        found.push((error.error_code().expect("a code"), error.limit()));
    }
    let expected = [
        (ErrorCode::EmailLimit, Some(10)),
        (ErrorCode::EmailLimit, None),
        (ErrorCode::EmailExhausted, Some(10)),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn keys_are_rotated_and_accounts_deleted_once() {
    let recovered = json!({"handle":"alice","api_key":"ac_new_0123456789abcdefghij"}).to_string();
    let server = Server::start([
        reply(200, r#"{"pending_id":"p"}"#),
        reply(200, &recovered),
        refusal(503, "X"),
        reply(200, r#"{"handle":"a","api_key":"x"}"#),
    ])
    .await;
    let client = server.client();
    client.rotate_key("@Alice").await.expect("begun");
    client.rotate_key_verify("alice", "p", "123456").await.expect("rotated");
    assert_eq!(client.delete_account("alice").await.expect_err("failed").attempts(), 1);
    let error = client.recover_verify("p", "123456").await.expect_err("no key");
    assert_eq!(error.failure(), Failure::Unreadable);
    let paths: Vec<_> = server.seen().into_iter().map(|it| it.path).collect();
    assert_eq!(
        paths[..3],
        ["/v1/agents/alice/rotate-key", "/v1/agents/alice/rotate-key/verify", "/v1/agents/alice"]
    );
}
