//! Connecting, losing the connection, coming back and closing.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mq9_client::{Client, ConnectOptions, ConnectionState, Error, ErrorKind, Message, Reached, Reconnect};
use support::scripted::{Answer, Manners, Scripted};
use support::{address, within};

fn ok() -> Answer {
    Answer::reply(r#"{"error":""}"#)
}

async fn refusal(options: ConnectOptions, url: &str) -> Error {
    within(10, "connecting", options.connect(url)).await.expect_err("no connection")
}

fn fast() -> ConnectOptions {
    ConnectOptions::new()
        .with_connect_timeout(Duration::from_millis(400))
        .with_request_timeout(Duration::from_millis(400))
        .with_reconnect(Reconnect::backoff(Duration::from_millis(5), Duration::from_millis(20)))
}

#[tokio::test]
async fn nothing_listening_is_disconnected_and_nothing_was_reached() {
    let server = Scripted::start(|_| Answer::Silence).await;
    let url = server.url();
    drop(server);
    let error = within(10, "a refusal", async {
        loop {
            // The port closes when the dropped server's task has ended.
            match fast().connect(&url).await {
                Err(error) if error.kind() == ErrorKind::Disconnected => return error,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(error.reached(), Reached::No);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout_and_nothing_was_reached() {
    let server =
        Scripted::with_manners(Manners { mute: true, ..Manners::default() }, |_| Answer::Silence).await;
    let error = refusal(fast(), &server.url()).await;
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::No));
}

#[tokio::test]
async fn credentials_refused_in_silence_are_unauthorized_at_once() {
    let manners = Manners { ping_first: true, refuse_from: Some(0), ..Manners::default() };
    let server = Scripted::with_manners(manners, |_| Answer::Silence).await;
    let begun = Instant::now();
    let error = refusal(ConnectOptions::new().with_user("ada", "wrong"), &server.url()).await;
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Unauthorized, Reached::No));
    assert!(begun.elapsed() < Duration::from_secs(2), "waited {:?}", begun.elapsed());
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn without_the_probe_the_first_call_finds_the_credentials_refused() {
    let manners = Manners { ping_first: true, refuse_from: Some(0), ..Manners::default() };
    let server = Scripted::with_manners(manners, |_| Answer::Silence).await;
    let client = ConnectOptions::new().with_probe(false).connect(&server.url()).await.expect("connects");
    let begun = Instant::now();
    let error = client.report("a", "b").await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(begun.elapsed() < Duration::from_secs(2), "waited {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_without_mq9_is_told_apart_from_a_slow_one() {
    type Case = (&'static str, Manners, fn() -> Answer, ErrorKind);
    let quiet = Manners { no_echo: true, ..Manners::default() };
    let cases: [Case; 6] = [
        ("no responders", Manners::default(), || Answer::NoResponders, ErrorKind::NotMq9),
        ("awake but silent", Manners::default(), || Answer::Silence, ErrorKind::NotMq9),
        ("another protocol", Manners::default(), || Answer::reply("+OK"), ErrorKind::NotMq9),
        ("stuck", quiet, || Answer::Silence, ErrorKind::Timeout),
        ("hanging up", Manners::default(), || Answer::Close, ErrorKind::Disconnected),
        (
            "forbidding",
            Manners::default(),
            || Answer::Error("Permissions Violation for Publish to \"$mq9.AI.AGENT.REPORT\"".into()),
            ErrorKind::Unauthorized,
        ),
    ];
    for (name, manners, answer, kind) in cases {
        let server = Scripted::with_manners(manners, move |_| answer()).await;
        let error = refusal(fast(), &server.url()).await;
        assert_eq!((error.kind(), error.reached()), (kind, Reached::No), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_broker_that_knows_no_report_passes_the_probe() {
    let server = Scripted::with_manners(Manners::default(), |asked| {
        Answer::Error(format!("unrecognized mq9 subject: {}", asked.subject))
    })
    .await;
    within(10, "connecting", fast().connect(&server.url())).await.expect("an mq9 broker");
}

#[tokio::test]
async fn unusable_addresses_and_options_are_config_errors() {
    let zero = ConnectOptions::new().with_request_timeout(Duration::ZERO);
    for (options, url) in [
        (ConnectOptions::new(), "http://x"),
        (ConnectOptions::new(), "mq9://broker/box"),
        (zero, "mq9://127.0.0.1:1"),
        (ConnectOptions::new().with_credentials_file("/nonexistent"), "mq9://127.0.0.1:1"),
        (ConnectOptions::new().with_tls_roots("/nonexistent"), "mq9://127.0.0.1:1"),
    ] {
        let error = refusal(options, url).await;
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Config, Reached::No), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_lost_connection_ends_every_call_under_way_at_once() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&arrived);
    let server = Scripted::start(move |_| {
        if counting.fetch_add(1, Ordering::SeqCst) == 9 { Answer::Close } else { Answer::Silence }
    })
    .await;
    let client = Client::connect(&server.url()).await.expect("connects");
    let begun = Instant::now();
    let (mailbox, message) = (address("a"), Message::new("x"));
    let calls = (0..10).map(|_| client.send(&mailbox, &message));
    for outcome in within(4, "the calls", futures_util::future::join_all(calls)).await {
        let error = outcome.expect_err("lost");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::Unknown));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "ended after {:?}", begun.elapsed());
}

#[tokio::test]
async fn with_close_a_lost_connection_ends_the_client() {
    let server =
        Scripted::start(|asked| if asked.subject.contains("SEND") { Answer::Close } else { ok() }).await;
    let client = fast().with_reconnect(Reconnect::Close).connect(&server.url()).await.expect("connects");
    let error = client.send(&address("a"), &Message::new("x")).await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    let reason = within(5, "the end", client.closed()).await;
    assert_eq!(reason.kind(), ErrorKind::Disconnected);
    assert_eq!(client.state(), ConnectionState::Closed);
    for _ in 0..3 {
        let error = client.report("a", "b").await.expect_err("closed");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::No));
    }
    assert_eq!(client.open_sibling().await.expect_err("closed").kind(), ErrorKind::Disconnected);
    server.open_connections(0).await;
    assert_eq!(server.accepted(), 1, "the client came back");
}

#[tokio::test]
async fn with_backoff_the_client_comes_back_and_replays_nothing() {
    let server =
        Scripted::start(|asked| if asked.subject.contains("SEND") { Answer::Close } else { ok() }).await;
    let client = fast().connect(&server.url()).await.expect("connects");
    let error = client.send(&address("a"), &Message::new("x")).await.expect_err("lost");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::Unknown));
    within(5, "coming back", async {
        loop {
            match client.report("a", "b").await {
                Ok(()) => return,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Disconnected),
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.state(), ConnectionState::Connected);
    assert_eq!(server.asked_for("MSG.SEND").len(), 1, "the failed send was sent again");
    assert_eq!(server.asked_for("AGENT.REPORT").last().map(|asked| asked.connection), Some(1));
}

#[tokio::test]
async fn while_down_calls_fail_at_once_and_the_state_says_so() {
    let server = Scripted::start(|_| Answer::Close).await;
    let patient = Reconnect::backoff(Duration::from_secs(60), Duration::from_secs(60));
    let client = fast().with_reconnect(patient).connect(&server.url()).await.expect("connects");
    assert_eq!(client.state(), ConnectionState::Connected);
    client.report("a", "b").await.expect_err("lost");
    let state = within(5, "a change", client.state_changed(ConnectionState::Connected)).await;
    assert!(matches!(state, ConnectionState::Reconnecting { attempt: 1, .. }), "{state:?}");
    let error = within(1, "a call", client.report("a", "b")).await.expect_err("down");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::No));
    assert_eq!(client.max_payload(), 1_048_576);
    client.close().await;
    assert_eq!(client.report("a", "b").await.expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn credentials_refused_while_coming_back_end_the_client() {
    let manners = Manners { ping_first: true, refuse_from: Some(1), ..Manners::default() };
    let server = Scripted::with_manners(manners, |asked| {
        if asked.subject.contains("SEND") { Answer::Close } else { Answer::probe() }
    })
    .await;
    let client = fast().connect(&server.url()).await.expect("connects");
    client.send(&address("a"), &Message::new("x")).await.expect_err("lost");
    let reason = within(5, "the end", client.closed()).await;
    assert_eq!(reason.kind(), ErrorKind::Unauthorized);
    assert_eq!(client.report("a", "b").await.expect_err("closed").kind(), ErrorKind::Unauthorized);
    assert_eq!(server.accepted(), 2, "it tried again with the same credentials");
}

#[tokio::test]
async fn closing_ends_calls_under_way_and_later_ones_for_every_clone() {
    let server = Scripted::start(|_| Answer::Silence).await;
    let client = Client::connect(&server.url()).await.expect("connects");
    let other = client.clone();
    let waiting = tokio::spawn(async move { other.report("a", "b").await });
    within(5, "the request", async {
        while server.asked_for("REPORT").len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(5, "closing", client.close()).await;
    let error = within(2, "the call", waiting).await.expect("no panic").expect_err("closed");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Closed, Reached::Unknown));
    let error = client.report("a", "b").await.expect_err("closed");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Closed, Reached::No));
    assert_eq!(client.closed().await.kind(), ErrorKind::Closed);
    within(2, "closing again", client.close()).await;
    server.open_connections(0).await;
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connection() {
    let server = Scripted::start(|_| ok()).await;
    let client = Client::connect(&server.url()).await.expect("connects");
    let clone = client.with_timeout(Duration::from_secs(1));
    server.open_connections(1).await;
    drop(client);
    clone.report("a", "b").await.expect("still open");
    drop(clone);
    server.open_connections(0).await;
}

#[tokio::test]
async fn dropping_a_client_that_is_down_stops_its_attempts() {
    let server = Scripted::start(|_| Answer::Close).await;
    let quick = Reconnect::backoff(Duration::from_millis(300), Duration::from_millis(300));
    let client = fast().with_reconnect(quick).connect(&server.url()).await.expect("connects");
    client.report("a", "b").await.expect_err("lost");
    drop(client);
    server.open_connections(0).await;
    // Longer than the longest wait: an attempt that is still to come would be seen.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_dropped_call_leaves_the_connection_usable() {
    let server =
        Scripted::start(|asked| if asked.subject.contains("SEND") { Answer::Silence } else { ok() }).await;
    let client = Client::connect(&server.url()).await.expect("connects");
    let (mailbox, message) = (address("a"), Message::new("x"));
    for _ in 0..20 {
        let call = client.send(&mailbox, &message);
        assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
    }
    client.report("a", "b").await.expect("usable");
}

#[tokio::test]
async fn a_sibling_has_its_own_connection_and_makes_no_probe() {
    let server = Scripted::start(|_| ok()).await;
    let client = Client::connect(&server.url()).await.expect("connects");
    let sibling = client.open_sibling().await.expect("connects");
    sibling.report("a", "b").await.expect("works");
    client.close().await;
    sibling.report("a", "b").await.expect("on its own");
    assert_eq!(server.accepted(), 2);
    let second: Vec<_> = server.asked().into_iter().filter(|asked| asked.connection == 1).collect();
    assert!(second.iter().all(|asked| asked.payload != br#"{"name":""}"#), "probed again");
}

#[tokio::test]
async fn a_client_shows_its_server_without_credentials() {
    let server = Scripted::start(|_| ok()).await;
    let url = server.url().replace("mq9://", "mq9://ada:s3cret@") + "/agent.box";
    let client = Client::connect(&url).await.expect("connects");
    assert_eq!(client.server_uri().to_string(), server.url());
    assert!(!format!("{client:?}").contains("s3cret"));
}
