//! The mq9 double behind a real nats-server.
//!
//! Skipped, with a line saying so, where nats-server is not installed; a failure instead if
//! `REQUIRE_NATS_SERVER=1`.

#![cfg(feature = "test-broker")]

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, HeaderMap, RequestErrorKind};
use mq9_client::testing::{EngineHost, EngineProfile, NatsServer, Responder};
use serde_json::{Value, json};

const CREATE: &str = "$mq9.AI.MAILBOX.CREATE";
const SEND: &str = "$mq9.AI.MSG.SEND.box";
const FETCH: &str = "$mq9.AI.MSG.FETCH.box";
const ALL_NOW: &str = r#"{"deliver":"earliest","config":{"max_wait_ms":0}}"#;
const PATIENCE: Duration = Duration::from_secs(5);
/// Made for these tests; nothing else ever trusted it.
const NKEY_SEED: &str = "SUABTHUUNPFLF6HAOSUFCS2RWWVTRO4VBU2A6CXGP5VFMLOTKVKSBVDA6Y";
const NKEY_PUBLIC: &str = "UA5SUCAKHJVR2OYAQJEXRU7YZYTOGIRSFGDU6SHSKPQND46474LMRTFN";

/// Whether the test can run; says so if not.
fn installed() -> bool {
    let installed = NatsServer::available();
    if !installed {
        assert_ne!(std::env::var("REQUIRE_NATS_SERVER").as_deref(), Ok("1"), "nats-server is required");
        // Not by `println!`: that is not shown of a test that passes.
        let _ = writeln!(std::io::stderr(), "skipped: nats-server is not installed");
    }
    installed
}

fn host() -> EngineHost {
    EngineHost::in_memory(EngineProfile::robustmq())
}

fn options() -> ConnectOptions {
    ConnectOptions::new().request_timeout(Some(PATIENCE))
}

fn pem(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "tls", name].iter().collect()
}

async fn request(client: &Client, subject: &'static str, body: impl Into<String>) -> Value {
    let reply = client.request(subject, body.into().into()).await.unwrap();
    assert_eq!(reply.headers, None, "mq9 replies carry no headers");
    serde_json::from_slice(&reply.payload).unwrap()
}

/// A server, a responder on it, a client with a mailbox named `box`.
async fn setup() -> (NatsServer, Responder, EngineHost, Client) {
    let server = NatsServer::start().await.unwrap();
    let host = host();
    let responder = Responder::start(&server.mq9_url(), host.clone()).await.unwrap();
    let client = options().connect(server.url()).await.unwrap();
    assert_eq!(request(&client, CREATE, r#"{"name":"box"}"#).await["error"], "");
    (server, responder, host, client)
}

#[tokio::test]
async fn the_engine_answers_through_a_real_server() {
    if !installed() {
        return;
    }
    let (_server, _responder, _host, client) = setup().await;
    let mut headers = HeaderMap::new();
    headers.insert("mq9-priority", "critical");
    headers.insert("mq9-tags", "a,b");
    client.request_with_headers(SEND, headers, "hello".into()).await.unwrap();
    request(&client, SEND, "plain").await;
    let fetched = request(&client, FETCH, ALL_NOW).await;
    let seen: Vec<(&Value, &Value, bool)> = fetched["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| (&message["payload"], &message["priority"], message["header"].is_null()))
        .collect();
    let expected = [(&json!("hello"), &json!("critical"), false), (&json!("plain"), &json!("normal"), true)];
    assert_eq!(seen, expected);
    let tagged = request(&client, "$mq9.AI.MSG.QUERY.box", r#"{"tags":["b"]}"#).await;
    assert_eq!(tagged["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn commands_are_answered_in_order_and_a_waiting_fetch_delays_none() {
    if !installed() {
        return;
    }
    let (_server, _responder, host, client) = setup().await;
    let begin = Instant::now();
    let waiting = client.request(FETCH, r#"{"config":{"max_wait_ms":25000}}"#.into());
    let rest = async {
        while host.counts().fetches == 0 {
            assert!(begin.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for number in 0..100 {
            assert_eq!(request(&client, SEND, "x").await["msg_id"], number);
        }
        host.advance(Duration::from_secs(25));
    };
    let (waited, ()) = tokio::join!(waiting, rest);
    assert_eq!(&waited.unwrap().payload[..], br#"{"error":"","messages":[]}"#);
    assert!(begin.elapsed() < PATIENCE);
}

#[tokio::test]
async fn nobody_serves_mq9_once_the_responder_has_stopped() {
    if !installed() {
        return;
    }
    let (server, responder, host, client) = setup().await;
    assert!(responder.is_running());
    responder.stop().await;
    let error = client.request(CREATE, "{}".into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);

    let again = Responder::start(&server.url(), host).await.unwrap();
    assert_eq!(request(&client, CREATE, r#"{"name":"box"}"#).await["error"], "mailbox box already exists");
    drop(again);
    let deadline = Instant::now() + PATIENCE;
    // What the responder had read when it was dropped is never answered.
    let hasty = ConnectOptions::new().request_timeout(Some(Duration::from_millis(50)));
    let client = hasty.connect(server.url()).await.unwrap();
    while client.request(CREATE, "{}".into()).await.is_ok() {
        assert!(Instant::now() < deadline, "a dropped responder goes on answering");
    }
}

#[tokio::test]
async fn a_reply_larger_than_the_server_carries_becomes_an_error() {
    if !installed() {
        return;
    }
    let server = NatsServer::builder().max_payload(4096).start().await.unwrap();
    let _responder = Responder::start(&server.url(), host()).await.unwrap();
    let client = options().connect(server.url()).await.unwrap();
    assert_eq!(client.max_payload(), 4096);
    request(&client, CREATE, r#"{"name":"box"}"#).await;
    for _ in 0..2 {
        request(&client, SEND, "x".repeat(4000)).await;
    }
    let reply = request(&client, FETCH, ALL_NOW).await;
    assert!(reply["error"].as_str().unwrap().contains("4096"), "{reply}");
}

#[tokio::test]
async fn a_server_killed_and_started_again_finds_its_responder_back() {
    if !installed() {
        return;
    }
    let (mut server, responder, _host, _client) = setup().await;
    let port = server.port();
    server.down().unwrap();
    server.down().unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    server.up().await.unwrap();
    assert_eq!(server.port(), port);
    let client = options().connect(server.url()).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let reply = loop {
        match client.request(CREATE, r#"{"name":"box"}"#.into()).await {
            Ok(reply) => break reply,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(String::from_utf8_lossy(&reply.payload).contains("already exists"));
    assert!(responder.is_running());
}

#[tokio::test]
async fn credentials_of_every_kind_are_asked_for() {
    if !installed() {
        return;
    }
    let by_user = NatsServer::builder().user("u", "p\"w").user("other", "x").start().await.unwrap();
    let by_token = NatsServer::builder().token("t0k").start().await.unwrap();
    let by_nkey = NatsServer::builder().nkey_user(NKEY_PUBLIC).start().await.unwrap();
    for server in [&by_user, &by_token, &by_nkey] {
        assert!(Responder::start(&server.url(), host()).await.is_err(), "{server:?}");
        let shown = format!("{server:?}");
        assert!(!shown.contains("p\\\"w") && !shown.contains("t0k"), "{shown}");
    }
    let with = |server: &NatsServer, login: &str| format!("mq9://{login}@127.0.0.1:{}", server.port());
    Responder::start(&with(&by_user, "other:x"), host()).await.unwrap();
    Responder::start(&with(&by_token, "t0k"), host()).await.unwrap();
    Responder::builder(&by_nkey.url(), host()).nkey_seed(NKEY_SEED).start().await.unwrap();
    let login = ConnectOptions::with_user_and_password("u".into(), "p\"w".into());
    login.connect(by_user.url()).await.unwrap();
}

#[tokio::test]
async fn tls_is_served_and_client_certificates_are_verified() {
    if !installed() {
        return;
    }
    let (certificate, key) = (pem("server.pem"), pem("server.key"));
    let server = NatsServer::builder().tls(certificate.clone(), key.clone()).start().await.unwrap();
    assert!(server.url().starts_with("tls://") && server.mq9_url().starts_with("mq9s://"));
    let trusting = || Responder::builder(&server.mq9_url(), host()).root_certificates(pem("ca.pem"));
    trusting().start().await.unwrap();
    assert!(Responder::start(&server.mq9_url(), host()).await.is_err(), "an unknown authority");

    let strict = NatsServer::builder().tls(certificate, key).verify_clients(pem("ca.pem"));
    let strict = strict.start().await.unwrap();
    let stranger = Responder::builder(&strict.url(), host()).root_certificates(pem("ca.pem"));
    assert!(stranger.start().await.is_err(), "no client certificate");
    let known = Responder::builder(&strict.url(), host())
        .root_certificates(pem("ca.pem"))
        .client_certificate(pem("client.pem"), pem("client.key"));
    known.start().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    if !installed() {
        return;
    }
    let error = NatsServer::builder().tls("/nowhere.pem", "/nowhere.key").start().await.unwrap_err();
    assert!(error.to_string().contains("nowhere.pem"), "{error}");
}

#[tokio::test]
async fn a_responder_without_server_fails_soon() {
    let begin = Instant::now();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("nats://{}", socket.local_addr().unwrap());
    assert!(Responder::start(&url, host()).await.is_err());
    assert!(begin.elapsed() < PATIENCE + Duration::from_secs(1));
}
