//! Values at the edge: nothing a peer or a caller can write makes the library panic, and nothing it prints
//! gives a secret away.

use std::time::Duration;

use agentchat_core::{
    AckTag, Address, Agent, AgentEntry, AgentStatus, Body, CallRequest, Capabilities, CloseMode, Connector,
    ErrorKind, Event, Headers, Loopback, Outbound, Request, ServeOptions, SubscribeOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;

const SECOND: Duration = Duration::from_secs(1);

fn message() -> Outbound {
    Outbound::new(Address::parse("loopback://b").expect("valid"), Body::text("x"))
}

async fn start(network: &Loopback, name: &str) -> Agent {
    Agent::builder(network.connector(name).expect("a valid name")).start().await.expect("started")
}

#[test]
fn a_status_with_an_endless_interval_is_alive_and_does_not_panic() {
    let status = AgentStatus::new("online", 0, SECOND, Duration::from_secs(u64::MAX));
    assert!(status.alive);
    assert!(!AgentStatus::new("online", 0, Duration::MAX, Duration::MAX).alive);
}

#[test]
fn debug_shows_which_headers_there_are_and_not_their_values() {
    let shown = format!("{:?}", message().with_header("authorization", "Bearer sesame"));
    assert!(shown.contains("authorization") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn debug_of_an_ack_tag_is_opaque() {
    let tag = AckTag::new("7:reply.secret").expect("tag");
    assert!(!format!("{tag:?}").contains("secret"));
}

#[test]
fn debug_of_a_directory_entry_shows_no_card() {
    let entry = AgentEntry::new("a", None, Bytes::from_static(br#"{"url":"mq9://h/inbox.secret"}"#));
    let shown = format!("{entry:?}");
    assert!(!shown.contains("secret") && shown.contains("30 bytes"), "{shown}");
}

#[test]
fn parts_that_no_header_line_could_carry_are_refused_before_they_are_sent() {
    let mut able = none();
    able.keyed_state = true;
    for (case, bad) in [
        ("media type", Outbound::new(message().to, Body::new("text/plain\r\nx: y", "x"))),
        ("media type", Outbound::new(message().to, Body::new("", "x"))),
        ("tag", message().with_tag("a\nb")),
        ("tag", message().with_tag("")),
        ("tag", message().with_tag(" padded")),
        ("key", message().with_key("a\0b")),
    ] {
        let error = able.check(&bad).expect_err(case);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(case), "{error}");
    }
    able.check(&message().with_tag("größe, weit").with_key("a b")).expect("these can travel");
}

fn none() -> Capabilities {
    Capabilities::none(&["loopback"])
}

#[test]
fn a_host_of_nothing_but_a_port_is_refused() {
    assert!(Address::parse("mq9://:4222/a").expect_err("no host").to_string().contains("host"));
}

#[test]
fn a_hundred_thousand_header_lines_are_read_in_no_time_and_the_last_of_a_name_wins() {
    let lines = (0..100_000).map(|n| (format!("Name-{n}"), n.to_string()));
    let again = [("name-5".to_owned(), "later".to_owned())];
    let begun = std::time::Instant::now();
    let headers: Headers = lines.chain(again).collect();
    assert!(begun.elapsed() < Duration::from_secs(2), "reading is linear: {:?}", begun.elapsed());
    assert_eq!((headers.len(), headers.get("NAME-5")), (100_000, Some("later")));
    assert_eq!(headers.iter().last(), Some(("name-5", "later")));
}

#[tokio::test(start_paused = true)]
async fn endless_durations_are_taken_for_a_very_long_time() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "b").await);
    let forever = Duration::MAX;
    for message in [message().with_ttl(forever), message().with_delay(forever), message().with_ttl(SECOND)] {
        alice.send(&message).await.expect("accepted");
    }
    let handler = |request: Request| async move {
        request.reply(Body::text("ok")).await?;
        Ok(())
    };
    let options = ServeOptions::default().with_retry(forever, forever);
    let serving = bob.serve(handler, options).await.expect("served");
    let request = CallRequest::new(Body::text("x")).with_timeout(forever);
    alice.call(bob.address(), request).await.expect("sent").response().await.expect("answered");
    assert!(serving.stop(forever).await.error.is_none());
    alice.close(CloseMode::Detach, forever).await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_may_wait_for_ever_for_its_next_try() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "b").await);
    alice.send(&message()).await.expect("accepted");
    let (tried, mut tries) = tokio::sync::mpsc::channel(4);
    let handler = move |_: Request| {
        let tried = tried.clone();
        async move {
            tried.send(()).await?;
            Err("not today".into())
        }
    };
    let options = ServeOptions::default().with_retry(Duration::MAX, Duration::MAX);
    let serving = bob.serve(handler, options).await.expect("served");
    tries.recv().await.expect("a first try");
    assert!(tokio::time::timeout(1000 * SECOND, tries.recv()).await.is_err(), "no second try");
    let served = serving.stop(SECOND).await;
    assert_eq!((served.unsettled, served.error.is_none()), (1, true));
}

#[tokio::test(start_paused = true)]
async fn with_every_bound_at_one_a_message_is_handled() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "b").await);
    alice.send(&message()).await.expect("accepted");
    let (done, mut ended) = tokio::sync::mpsc::channel(1);
    let handler = move |_: Request| {
        let done = done.clone();
        async move { Ok(done.send(()).await?) }
    };
    let mut options = ServeOptions::default();
    options.concurrency = 1;
    options.subscribe.max_unsettled = 1;
    options.subscribe.max_unsettled_bytes = 1;
    let _serving = bob.serve(handler, options).await.expect("served");
    tokio::time::timeout(SECOND, ended.recv()).await.expect("it is handled");
}

#[tokio::test(start_paused = true)]
async fn a_name_with_a_slash_is_refused() {
    let refused = Loopback::new().connector("a/b").expect_err("it would be read as host and name");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn debug_of_what_is_received_and_of_the_network_shows_no_whole_address() {
    let network = Loopback::new();
    let transport = network.connector("secret-agent").expect("name").connect().await.expect("connected");
    let to = transport.address().clone();
    transport.send(&Outbound::new(to, Body::text("x")).with_header("k", "hunter2")).await.expect("accepted");
    let mut events = transport.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
    let Some(Ok(Event::Message(delivery))) = events.next().await else { panic!("a message waits") };
    for shown in [format!("{delivery:?}"), format!("{network:?}"), format!("{transport:?}")] {
        assert!(!shown.contains("secret-agent") && !shown.contains("hunter2"), "{shown}");
        assert!(shown.len() < 1_000, "{shown}");
    }
}
