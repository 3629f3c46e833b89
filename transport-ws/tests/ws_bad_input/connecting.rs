//! Answers to requests, and sockets that do not come about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentchat_core::{Connector, Error, ErrorKind};
use transport_ws::testing::{HttpFault, Profile};

use crate::key_log::no_key_is_told;
use crate::scripted::{KEY, Line, Scripted, answer};
use crate::ws_support::{World, backlog, message, read, say, within, word, words};
use crate::{LONG, MILLI, keeps_the_key, told};

#[tokio::test]
async fn a_page_for_people_in_place_of_a_list_is_asked_for_again_and_costs_no_message() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
        say(&alice, &bob, "stored").await;
        world.server.faults().on("GET /v1/messages/sync", HttpFault::html(200));
        let mut events = read(&bob).await;
        assert_eq!(words(&backlog(&mut events).await), ["stored"], "{profile:?}");
        assert!(world.requests("GET", "/v1/messages/sync") >= 2, "{profile:?}: it was asked again");
        say(&alice, &bob, "live").await;
        assert_eq!(word(&message(&mut events).await), "live", "{profile:?}");
    }
}

/// Connecting fails with an error that is worth trying again, in time, and without the key.
async fn connecting_fails(
    rest: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static,
    within_time: Duration,
) -> Error {
    no_key_is_told();
    let live = |_, line: Line| -> futures_util::future::BoxFuture<'static, ()> { Box::pin(line.close()) };
    let server = Scripted::start(Arc::new(rest), Arc::new(live)).await;
    let config = server.config().with_attempt_timeout(500 * MILLI).with_connect_timeout(500 * MILLI);
    let config = config.with_hello_timeout(500 * MILLI).build().expect("valid");
    let connector = transport_ws::AgentChatConnector::new(config).expect("a connector");
    let begun = Instant::now();
    let error = within(connector.connect()).await.expect_err("no attachment");
    assert!(begun.elapsed() < within_time, "{:?}", begun.elapsed());
    assert!(!error.is_fatal() && error.is_retryable(), "{error:?}");
    keeps_the_key(&error);
    error
}

#[tokio::test]
async fn a_page_for_people_in_place_of_the_account_is_worth_another_attempt() {
    for status in ["200 OK", "502 Bad Gateway", "503 Service Unavailable"] {
        let html = move |_: &str, _: &str| answer(status, "content-type: text/html\r\n", "<html>no</html>");
        connecting_fails(html, LONG).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_worth_another_attempt() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 2",
        b"\xff\xfe\x00",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"handle\":",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
    ] {
        connecting_fails(move |_, _| bytes.to_vec(), LONG).await;
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed_and_leaks_no_key() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let there = format!("location: http://{}/v1/agents/me\r\n", other.local_addr().expect("an address"));
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let there = there.clone();
        connecting_fails(move |_, _| answer(status, &there, ""), LONG).await;
    }
    assert!(tokio::time::timeout(100 * MILLI, other.accept()).await.is_err(), "nobody called");
}

#[tokio::test]
async fn a_server_that_never_answers_or_drips_is_given_up_in_time() {
    for drips in [false, true] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                open.spawn(async move {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    let _ = stream.read(&mut [0; 4096]).await;
                    let mut bytes = b"HTTP/1.1 200 OK\r\nx: ".iter().copied().chain(std::iter::repeat(b'y'));
                    while drips && stream.write_all(&[bytes.next().unwrap_or(b'y')]).await.is_ok() {
                        tokio::time::sleep(20 * MILLI).await;
                    }
                    std::future::pending::<()>().await;
                });
            }
        });
        let key = transport_ws::ApiKey::new(KEY).expect("a key");
        let config = transport_ws::AgentChatConfig::builder(key).with_base_url(base);
        let config = config.with_attempt_timeout(400 * MILLI).with_hello_timeout(400 * MILLI);
        let connector = transport_ws::AgentChatConnector::new(config.build().expect("valid")).expect("made");
        let begun = Instant::now();
        let error = within(connector.connect()).await.expect_err("no answer");
        assert!(error.kind() == ErrorKind::Timeout && error.is_retryable(), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        keeps_the_key(&error);
        server.abort();
    }
}

#[tokio::test]
async fn an_upgrade_that_is_answered_with_something_else_is_worth_another_attempt() {
    for (name, fault) in [
        ("html", HttpFault::html(200)),
        ("a redirect", HttpFault::redirect("http://127.0.0.1:1/v1/ws")),
        ("a refusal", HttpFault::status(503)),
    ] {
        let world = World::new().await;
        let connector = world.connector("bob");
        within(connector.connect()).await.expect("attached");
        world.server.faults().on("GET /v1/ws", fault);
        let error = within(connector.connect()).await.expect_err("no socket");
        assert!(error.is_retryable() && !error.is_fatal(), "{name}: {error:?}");
        assert!(!told(&error).contains(&world.server.agent("bob")), "{name}");
        within(connector.connect()).await.expect("the next one is a socket");
    }
}

#[tokio::test]
async fn a_socket_that_is_never_greeted_is_given_up_in_time() {
    let server = Scripted::live(|number, mut line| async move {
        if number == 0 {
            // A frame that never comes to its end.
            line.bytes(b"\x81\x7e\xff\xff").await;
            loop {
                line.bytes(b" ").await;
                tokio::time::sleep(10 * MILLI).await;
            }
        }
        line.text("{\"type\":").await;
        line.listen(LONG).await;
    })
    .await;
    let config = server.config().with_hello_timeout(300 * MILLI).build().expect("valid");
    let connector = transport_ws::AgentChatConnector::new(config).expect("made");
    for _ in 0..2 {
        let begun = Instant::now();
        let error = within(connector.connect()).await.expect_err("no word");
        assert!(error.kind() == ErrorKind::Timeout && error.is_retryable(), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        keeps_the_key(&error);
    }
}
