//! What every call promises: who it says it is, what it makes of answers, when it tries again.

mod raw;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentchat_core::{Advice, Error, ErrorKind, Reached};
use raw::{KEY, Reply, Server, refusal, reply, reply_with};
use transport_ws::api::ProfileUpdate;
use transport_ws::http::{Failure, HttpHooks, RequestSeen, ResponseSeen, RetryPolicy};
use transport_ws::wire::PresenceStatus;
use transport_ws::{AgentChat, ApiError, ClientIdentity, ErrorCode};

const ME: &str = r#"{"handle":"alice","status":"active"}"#;

#[tokio::test]
async fn c01_bearer_on_every_call() {
    let server = Server::start([reply(200, ME), reply(200, "[]"), reply(200, r#"{"handle":"bob"}"#)]).await;
    let client = server.client();
    client.me().await.expect("answered");
    client.sync(None).await.expect("answered");
    client.agent("bob").await.expect("answered");
    let bearer: Vec<_> =
        server.seen().iter().map(|it| it.header("authorization").map(str::to_owned)).collect();
    let expected = Some(format!("Bearer {KEY}"));
    assert_eq!(bearer, [expected.clone(), expected, None], "a public profile needs no key");
}

#[tokio::test]
async fn who_calls_is_said_as_configured() {
    let server = Server::start([reply(200, ME), reply(200, ME)]).await;
    server.client().me().await.expect("answered");
    let identity = ClientIdentity::new("mine", Some("2".to_owned()));
    let config =
        server.config().with_client_identity(identity).with_user_agent(None).build().expect("usable");
    AgentChat::new(&config).expect("a client").me().await.expect("answered");
    let [plain, named] = server.seen().try_into().expect("two requests");
    assert!(plain.header("user-agent").is_some_and(|it| it.starts_with("agentchat-rs/")));
    assert_eq!((plain.header("x-agentchat-client"), plain.header("content-type")), (None, None));
    assert_eq!((named.header("x-agentchat-client"), named.header("user-agent")), (Some("mine"), None));
    assert_eq!(named.header("x-agentchat-client-version"), Some("2"));
}

#[tokio::test]
async fn c02_unset_members_omitted() {
    // The third has the members of a presence, too.
    let server = Server::start([reply(200, ME), reply(200, ME), reply(200, ME)]).await;
    let client = server.client();
    let invites = ProfileUpdate::new().with_invites_of_contacts_only(false);
    client.update_profile("alice", &invites).await.expect("answered");
    let update = ProfileUpdate::new().with_description("d").with_inbox_of_contacts_only(true);
    client.update_profile("@Alice", &update).await.expect("answered");
    client.set_presence(&PresenceStatus::Busy, None).await.expect("answered");
    let [invites, profile, presence] = server.seen().try_into().expect("three requests");
    assert_eq!(invites.json(), serde_json::json!({"settings":{"group_invite_policy":"open"}}));
    assert_eq!(
        profile.json(),
        serde_json::json!({"description":"d","settings":{"inbox_mode":"contacts_only"}})
    );
    assert_eq!((profile.method.as_str(), profile.path.as_str()), ("PATCH", "/v1/agents/alice"));
    assert_eq!(profile.header("content-type"), Some("application/json"));
    assert_eq!(presence.body, r#"{"status":"busy"}"#);
}

#[tokio::test]
async fn c03_path_normalise_and_encode() {
    let server = Server::start([reply(200, r#"{"handle":"x"}"#), reply(200, "[]")]).await;
    let client = server.client();
    client.agent("@Tally-Ho").await.expect("answered");
    client.history("a/b", transport_ws::api::History::After(3)).await.expect("answered");
    let paths: Vec<_> = server.seen().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/v1/agents/tally-ho", "/v1/messages/a%2Fb?limit=200&after_seq=3"]);
    let error = client.agent("..").await.expect_err("no agent");
    assert_eq!((error.failure(), server.seen().len()), (Failure::Invalid, 2), "nothing was sent");
}

#[tokio::test]
async fn c05_empty_success_body() {
    let server = Server::start([reply_with(204, &[], ""), reply(200, "")]).await;
    let client = server.client();
    client.hide_message("msg_1").await.expect("204");
    client.hide_message("msg_1").await.expect("200 without a body");
}

#[tokio::test]
async fn c06_non_json_success() {
    let html = [("content-type", "text/html")];
    let server = Server::start([reply_with(200, &html, "<html>hello</html>")]).await;
    let error = server.client().me().await.expect_err("no account");
    assert_eq!(
        (error.failure(), error.kind(), error.code()),
        (Failure::Unreadable, ErrorKind::Protocol, None)
    );
    assert_eq!((error.status(), error.reached()), (Some(200), Reached::Unknown));
}

#[tokio::test]
async fn c07_error_without_json() {
    let server = Server::start([reply_with(404, &[("content-type", "text/plain")], "404 Not Found")]).await;
    let error = server.client().me().await.expect_err("refused");
    assert_eq!(
        (error.code(), error.status(), error.message()),
        (Some("AGENT_NOT_FOUND"), Some(404), "Not Found")
    );
    assert!(error.is_synthesised());
}

#[tokio::test]
async fn c08_error_json_without_code() {
    let server = Server::start([reply(500, r#"{"oops":1}"#)]).await;
    let client = server.client().with_retry(RetryPolicy::none());
    let error = client.me().await.expect_err("failed");
    assert_eq!((error.code(), error.error_code()), (Some("INTERNAL_ERROR"), Some(ErrorCode::Internal)));
    assert_eq!(error.details_json().as_deref(), Some(r#"{"body":{"oops":1}}"#));
}

#[tokio::test]
async fn an_empty_500_and_a_page_of_html_are_failures_of_the_server() {
    let html = [("content-type", "text/html")];
    let server = Server::start([reply_with(500, &[], ""), reply_with(502, &html, "<h1>Bad</h1>")]).await;
    let client = server.client().with_retry(RetryPolicy::none());
    for status in [500, 502] {
        let error = client.me().await.expect_err("failed");
        assert_eq!(
            (error.status(), error.kind(), error.reached()),
            (Some(status), ErrorKind::Unexpected, Reached::Unknown)
        );
        assert_eq!(error.advice(), Advice::Backoff);
    }
}

#[tokio::test]
async fn c09_unknown_code_by_status() {
    let server = Server::start([refusal(403, "BRAND_NEW")]).await;
    let error = server.client().me().await.expect_err("refused");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Forbidden, Some("BRAND_NEW")));
    let core = Error::from(error);
    assert_eq!((core.kind(), core.code(), core.operation()), (ErrorKind::Forbidden, Some("BRAND_NEW"), "me"));
}

#[tokio::test]
async fn c10_request_id_attached() {
    let line = [("x-request-id", "r-1")];
    let replies = [
        reply_with(404, &line, r#"{"code":"NOT_FOUND","message":"m"}"#),
        reply_with(200, &line, "<html>"),
        reply_with(302, &[("x-request-id", "r-1"), ("location", "http://127.0.0.1:1/")], ""),
    ];
    let server = Server::start(replies).await;
    for _ in 0..3 {
        let error = server.client().me().await.expect_err("failed");
        assert_eq!(error.request_id(), Some("r-1"), "{error:?}");
        assert_eq!(Error::from(error).request_id(), Some("r-1"));
    }
}

#[tokio::test]
async fn c11_retry_get_503() {
    let server = Server::start([refusal(503, "X"), refusal(503, "X"), reply(200, ME)]).await;
    let hooks = Arc::new(Recorder::default());
    let client = AgentChat::new(&server.config().build().expect("usable")).expect("a client");
    client.with_hooks(hooks.clone()).me().await.expect("answered at last");
    assert_eq!(server.seen().len(), 3);
    let waits: Vec<_> = hooks.waits.lock().expect("kept").iter().map(Duration::as_millis).collect();
    assert!(matches!(waits[..], [187..=312, 375..=625]), "{waits:?}");
}

#[tokio::test]
async fn c14_retry_budget() {
    let server = Server::start(vec![refusal(503, "X"); 5]).await;
    let error = server.client().me().await.expect_err("failed");
    assert_eq!((server.seen().len(), error.attempts(), error.status()), (4, 4, Some(503)));
}

#[tokio::test]
async fn c15_retry_after_seconds() {
    let wait = [("retry-after", "1"), ("content-type", "application/json")];
    let limited = reply_with(429, &wait, r#"{"code":"RATE_LIMITED","message":"m"}"#);
    let server = Server::start([limited, reply(200, ME)]).await;
    let hooks = Arc::new(Recorder::default());
    let begun = Instant::now();
    server.client().with_hooks(hooks.clone()).me().await.expect("answered");
    assert!(begun.elapsed() >= Duration::from_secs(1), "a hint is a floor");
    assert_eq!(*hooks.waits.lock().expect("kept"), [Duration::from_secs(1)]);
}

/// Here it is neither 1994 nor 2094.
#[tokio::test]
async fn a_moment_to_wait_for_is_one_of_the_servers_clock() {
    for year in ["Sun, 06 Nov 1994", "Sat, 06 Nov 2094"] {
        let (date, moment) = (format!("{year} 08:49:37 GMT"), format!("{year} 08:49:57 GMT"));
        let headers = [("date", date.as_str()), ("retry-after", moment.as_str())];
        let busy = reply_with(429, &headers, r#"{"code":"RATE_LIMITED","message":"m"}"#);
        let server = Server::start([busy]).await;
        let error = server.client().me().await.expect_err("longer than it waits by itself");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(20)), "{year}");
    }
}

#[tokio::test]
async fn c18_retry_after_over_cap() {
    let limited = || reply_with(429, &[("retry-after", "60")], r#"{"code":"RATE_LIMITED","message":"m"}"#);
    let short = reply_with(429, &[("retry-after", "3")], r#"{"code":"RATE_LIMITED","message":"m"}"#);
    let server = Server::start([limited(), short]).await;
    let error = server.client().me().await.expect_err("no early retry");
    assert_eq!((error.retry_after(), error.attempts()), (Some(Duration::from_secs(60)), 1));
    assert_eq!(Error::from(error).retry_after(), Some(Duration::from_secs(60)));
    let hurried = server.client().with_call_timeout(Duration::from_secs(2));
    let error = hurried.me().await.expect_err("longer than the call may take");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn c19_retry_after_from_body() {
    let inside = r#"{"code":"RATE_LIMITED","message":"m","details":{"retry_after_ms":750}}"#;
    let beside = r#"{"code":"RATE_LIMITED","message":"m","retry_after_ms":750}"#;
    let server = Server::start([reply(429, inside), reply(429, beside)]).await;
    for _ in 0..2 {
        let client = server.client().with_retry(RetryPolicy::none());
        let error = client.me().await.expect_err("refused");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(750)));
    }
}

#[tokio::test]
async fn c20_timeout_is_connection_error() {
    let server = Server::start([Reply::Silence, Reply::Drip]).await;
    let config = server.config().with_attempt_timeout(Duration::from_millis(50)).build().expect("usable");
    let client = AgentChat::new(&config).expect("a client").with_retry(RetryPolicy::none());
    for what in ["silence", "a dripping answer"] {
        let begun = Instant::now();
        let error = client.me().await.expect_err(what);
        assert_eq!((error.failure(), error.reached()), (Failure::Timeout, Reached::Unknown), "{what}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_memory_stays_bounded() {
    let server = Server::start([Reply::Flood(200), Reply::Flood(403)]).await;
    let client = server.client();
    let error = client.me().await.expect_err("too large");
    assert!(error.to_string().contains("larger than 33554432 bytes"), "{error}");
    let error = client.me().await.expect_err("refused");
    assert_eq!((error.status(), error.code()), (Some(403), Some("FORBIDDEN")));
}

#[tokio::test]
async fn a_refused_connection_reached_nobody_and_a_cut_one_perhaps() {
    let server = Server::start([
        Reply::ThenCut(Vec::new()),
        Reply::ThenCut(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()),
    ])
    .await;
    let client = server.client().with_retry(RetryPolicy::none());
    for _ in 0..2 {
        let error = client.me().await.expect_err("cut");
        assert_eq!(
            (error.failure(), error.kind(), error.reached()),
            (Failure::Connection, ErrorKind::Disconnected, Reached::Unknown)
        );
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let config = server.config().with_base_url(format!("http://{free}")).build().expect("usable");
    let error = AgentChat::new(&config)
        .expect("a client")
        .with_retry(RetryPolicy::none())
        .me()
        .await
        .expect_err("nobody");
    assert_eq!((error.failure(), error.reached()), (Failure::Connection, Reached::No));
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(&free.to_string()), "no address: {shown}");
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let other = Server::start([]).await;
    let there = [("location", other.base.as_str())];
    let server = Server::start([reply_with(302, &there, ""), reply_with(307, &there, "")]).await;
    for _ in 0..2 {
        let error = server.client().me().await.expect_err("not followed");
        assert_eq!(error.failure(), Failure::Unreadable);
    }
    assert!(other.seen().is_empty(), "the key went to another host");
}

#[tokio::test]
async fn a_server_without_tls_gets_no_word_in_plain() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("https://{}", listener.local_addr().expect("an address"));
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        let mut heard = vec![0; 64];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut heard).await.expect("a greeting");
        heard
    });
    let key = transport_ws::ApiKey::new(KEY).expect("valid");
    let config = transport_ws::AgentChatConfig::builder(key).with_base_url(base).build().expect("usable");
    let client = AgentChat::new(&config).expect("a client").with_retry(RetryPolicy::none());
    let error = client.me().await.expect_err("no TLS there");
    assert_eq!((error.failure(), error.reached()), (Failure::Connection, Reached::No));
    let heard = heard.await.expect("heard");
    assert_eq!(heard[..2], [0x16, 0x03], "a TLS handshake and nothing else");
}

/// The environment cannot be changed within a process, so the calls are made by a child.
#[tokio::test]
async fn a_proxy_of_the_environment_is_used_only_when_asked_for() {
    const BASE: &str = "HTTP_LAYER_TEST_BASE";
    if let Ok(base) = std::env::var(BASE) {
        let key = transport_ws::ApiKey::new(KEY).expect("valid");
        for use_it in [false, true] {
            let builder = transport_ws::AgentChatConfig::builder(key.clone()).with_base_url(&base);
            let config = builder.with_env_proxy(use_it).build().expect("usable");
            AgentChat::new(&config).expect("a client").me().await.expect("answered");
        }
        return;
    }
    let (server, proxy) = (Server::start([reply(200, ME)]).await, Server::start([reply(200, ME)]).await);
    let mut child = std::process::Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", "a_proxy_of_the_environment_is_used_only_when_asked_for"]);
    child
        .env(BASE, &server.base)
        .env("http_proxy", &proxy.base)
        .env_remove("no_proxy")
        .env_remove("NO_PROXY");
    let status = tokio::task::spawn_blocking(move || child.output()).await.expect("ran").expect("ran").status;
    assert!(status.success());
    assert_eq!(server.only().path, "/v1/agents/me");
    assert_eq!(proxy.only().path, format!("{}/v1/agents/me", server.base));
}

#[tokio::test]
async fn c23_hooks_mask_key() {
    let server = Server::start([refusal(503, "X"), reply_with(200, &[("x-request-id", "r-2")], ME)]).await;
    let hooks = Arc::new(Recorder::default());
    server.client().with_hooks(hooks.clone()).me().await.expect("answered");
    let log = hooks.log.lock().expect("kept").join("\n");
    assert!(log.contains("Bearer ***") && !log.contains(KEY), "{log}");
    for part in [
        "request GET /v1/agents/me 1",
        "response 503",
        "error X",
        "retry 1",
        "request GET /v1/agents/me 2",
        "response 200 r-2",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[tokio::test]
async fn a_hook_that_panics_harms_nothing() {
    #[derive(Debug)]
    struct Panics;
    impl HttpHooks for Panics {
        fn on_request(&self, _: &RequestSeen) {
            panic!("on purpose");
        }
        fn on_retry(&self, _: &RequestSeen, _: &ApiError, _: Duration) {
            panic!("on purpose");
        }
    }
    let server = Server::start([refusal(503, "X"), reply(200, ME)]).await;
    let me = server.client().with_hooks(Arc::new(Panics)).me().await.expect("answered");
    assert_eq!(me.handle, "alice");
}

#[tokio::test]
async fn an_error_tells_core_everything_and_prints_no_details() {
    let body = r#"{"code":"SUSPENDED","message":"two\nlines","reason":"community_enforcement","detail":"blocks","details":{"email":"a@b"}}"#;
    let server = Server::start([reply(403, body)]).await;
    let error = server.client().me().await.expect_err("refused");
    assert_eq!(error.to_string(), "me: two lines (SUSPENDED)");
    assert!(!format!("{error:?}").contains("a@b"));
    assert_eq!(error.detail("reason").as_deref(), Some("community_enforcement"));
    let core = Error::from(error);
    assert_eq!(
        (core.kind(), core.advice(), core.reached()),
        (ErrorKind::Forbidden, Advice::Never, Reached::Yes)
    );
    let context: Vec<_> = core.context().collect();
    assert!(
        context.contains(&("status", "403")) && context.contains(&("reason", "community_enforcement")),
        "{context:?}"
    );
    let source = std::error::Error::source(&core).and_then(|it| it.downcast_ref::<ApiError>());
    assert_eq!(source.and_then(ApiError::error_code), Some(ErrorCode::Suspended));
}

#[derive(Debug, Default)]
struct Recorder {
    log: Mutex<Vec<String>>,
    waits: Mutex<Vec<Duration>>,
}

impl HttpHooks for Recorder {
    fn on_request(&self, it: &RequestSeen) {
        let line = format!("request {} {} {} {:?}", it.method, it.path, it.attempt, it.headers);
        self.log.lock().expect("kept").push(line);
    }

    fn on_response(&self, _: &RequestSeen, it: &ResponseSeen) {
        let id = it.request_id.as_deref().unwrap_or("-");
        self.log.lock().expect("kept").push(format!("response {} {id}", it.status));
    }

    fn on_error(&self, _: &RequestSeen, error: &ApiError) {
        self.log.lock().expect("kept").push(format!("error {}", error.code().unwrap_or("-")));
    }

    fn on_retry(&self, it: &RequestSeen, _: &ApiError, wait: Duration) {
        self.log.lock().expect("kept").push(format!("retry {}", it.attempt));
        self.waits.lock().expect("kept").push(wait);
    }
}
