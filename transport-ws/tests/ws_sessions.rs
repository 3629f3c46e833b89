//! How a socket begins and ends, and what that means.
#![cfg(feature = "test-server")]

mod ws_support;

use std::time::{Duration, Instant};

use agentchat_core::{CloseMode, Connector, ErrorKind, Reached, SendOutcome};
use transport_ws::testing::{AgentChatServer, HttpFault, JournalEntry, Profile, Standing};
use transport_ws::{AgentChatConfig, ApiKey, Handshake};
use ws_support::{World, backlog, connector, ending, message, read, say, within, word};

#[tokio::test]
async fn c43_hello_shape() {
    let world = World::new().await;
    let bob = world.attach("bob").await;
    let key = world.server.agent("bob");
    let hello: serde_json::Value = serde_json::from_str(&world.received()[0]).expect("JSON");
    assert_eq!(hello, serde_json::json!({"type": "hello", "api_key": key, "capabilities": ["ack"]}));
    for entry in world.server.journal() {
        if let JournalEntry::Opened { headers, .. } = entry {
            assert!(headers.iter().all(|(_, value)| !value.contains(&key)), "the key is in the frame alone");
        }
    }
    assert_eq!(bob.address().as_str(), "agentchat://bob");
}

#[tokio::test]
async fn a_key_of_another_account_than_the_configured_one_opens_no_socket() {
    let world = World::new().await;
    connector(world.config("bob").with_handle("@Bob")).connect().await.expect("it is bob's key");
    let sockets = world.received().len();
    let error = connector(world.config("bob").with_handle("alice")).connect().await.expect_err("bob's key");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("another account"), "{error}");
    assert_eq!(world.received().len(), sockets, "it said hello");
}

#[tokio::test]
async fn a_header_opens_a_session_on_both_servers() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let config = world.config("bob").with_handshake(Handshake::Header);
        let (alice, bob) =
            (world.attach("alice").await, connector(config).connect().await.expect("attached"));
        let acks = bob.capabilities().ack != agentchat_core::AckGuarantee::None;
        assert_eq!(acks, profile == Profile::Current);
        let mut events = read(&bob).await;
        say(&alice, &bob, "a").await;
        assert_eq!(word(&message(&mut events).await), "a");
    }
}

#[tokio::test]
async fn c45_hello_timeout_retries() {
    let world = World::new().await;
    world.server.faults().swallow_hellos(1);
    let bob = connector(world.config("bob").with_hello_timeout(Duration::from_millis(200)));
    let begun = Instant::now();
    let error = bob.connect().await.expect_err("no answer");
    assert!(error.kind() == ErrorKind::Timeout && error.is_retryable(), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let ours = |entry: &JournalEntry| matches!(entry, JournalEntry::Gone { code: Some(1008), .. });
    within(async {
        while !world.server.journal().iter().any(ours) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bob.connect().await.expect("the next attempt is answered");
}

#[tokio::test]
async fn c46_fatal_1008_when_the_key_is_bad_by_rest_too() {
    for handshake in [Handshake::Hello, Handshake::Header] {
        let world = World::new().await;
        let bob = connector(world.config("bob").with_handshake(handshake));
        bob.connect().await.expect("attached").close(CloseMode::Detach).await.expect("closed");
        world.server.rotate_key("bob");
        let error = bob.connect().await.expect_err("the key is old");
        assert!(error.kind() == ErrorKind::Unauthorized && error.is_fatal(), "{error:?}");
        let never = ApiKey::new("ac_0123456789abcdefghijklmnop").expect("well formed");
        let stranger = AgentChatConfig::builder(never).with_base_url(world.server.base_url());
        let error = connector(stranger).connect().await.expect_err("nobody's key");
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
    }
}

#[tokio::test]
async fn c47_a_refusal_that_rest_does_not_confirm_is_a_lost_connection() {
    for (code, reason) in [(1008, "Invalid token"), (4401, ""), (4403, "")] {
        let world = World::new().await;
        let bob = world.connector("bob");
        bob.connect().await.expect("attached").close(CloseMode::Detach).await.expect("closed");
        world.server.faults().close_next_socket(code, reason);
        let error = bob.connect().await.expect_err("closed");
        assert!(error.kind() == ErrorKind::Disconnected && error.is_retryable(), "{error:?}");
        bob.connect().await.expect("the key is good");
    }
    for status in [401, 403] {
        let world = World::new().await;
        let bob = world.connector("bob");
        bob.connect().await.expect("attached").close(CloseMode::Detach).await.expect("closed");
        world.server.faults().on("GET /v1/ws", HttpFault::status(status));
        let error = bob.connect().await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error:?}");
    }
}

#[tokio::test]
async fn c47_fatal_4401_4403_http401_when_rest_confirms_it() {
    for code in [4401, 4403] {
        let world = World::new().await;
        let bob = world.connector("bob");
        bob.connect().await.expect("attached").close(CloseMode::Detach).await.expect("closed");
        world.server.rotate_key("bob");
        world.server.faults().close_next_socket(code, "");
        let error = bob.connect().await.expect_err("the key is old");
        assert!(error.kind() == ErrorKind::Unauthorized && error.is_fatal(), "{code}: {error:?}");
    }
    for status in [401, 403] {
        let world = World::new().await;
        let bob = world.connector("bob");
        bob.connect().await.expect("attached").close(CloseMode::Detach).await.expect("closed");
        world.server.rotate_key("bob");
        world.server.faults().on("GET /v1/ws", HttpFault::status(status));
        let error = bob.connect().await.expect_err("the key is old");
        assert!(error.kind() == ErrorKind::Unauthorized && error.is_fatal(), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn c48_other_codes_are_a_lost_connection() {
    for code in [1000, 1001, 1006, 1011, 1012, 1013, 4000] {
        let world = World::new().await;
        let bob = world.connector("bob");
        let attached = bob.connect().await.expect("attached");
        let mut events = read(&attached).await;
        backlog(&mut events).await;
        world.server.kick("bob", code, "whatever");
        let error = ending(&mut events).await;
        assert!(error.kind() == ErrorKind::Disconnected && error.is_retryable(), "{code}: {error:?}");
        let error = attached.ack(&[]).await.expect_err("over");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::No));
        bob.connect().await.expect("the next attachment");
    }
}

#[tokio::test]
async fn a_greeting_that_the_server_never_gets_is_tried_three_times_more() {
    let world = World::new().await;
    let bob = world.connector("bob");
    bob.connect().await.expect("attached").close(CloseMode::Detach).await.expect("closed");
    let faults = world.server.faults();
    // The account can be read, and then cannot: the second is an outage, and no number of times is enough.
    let miss = || faults.close_next_socket(1008, "HELLO frame required first");
    for round in 0..2 {
        for time in 0..3 {
            miss();
            let error = bob.connect().await.expect_err("closed");
            assert!(
                error.kind() == ErrorKind::Disconnected && error.is_retryable(),
                "{round} {time} {error:?}"
            );
        }
        if round == 0 {
            bob.connect().await.expect("heard, and counted anew from here");
        }
    }
    miss();
    faults.on("GET /v1/agents/me", HttpFault::status(503));
    assert!(bob.connect().await.expect_err("closed").is_retryable());
    miss();
    let error = bob.connect().await.expect_err("closed");
    assert!(error.is_fatal() && !error.is_retryable(), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn c49_rotated_key_and_suspension_are_final() {
    let world = World::new().await;
    let (bob, carol) = (world.attach("bob").await, world.attach("carol").await);
    let (mut his, mut hers) = (read(&bob).await, read(&carol).await);
    backlog(&mut his).await;
    backlog(&mut hers).await;
    let key = world.server.rotate_key("bob");
    assert!(ending(&mut his).await.is_fatal());
    world.server.set_status("carol", Standing::Suspended);
    let error = ending(&mut hers).await;
    assert!(error.is_fatal(), "{error:?}");
    let renewed = AgentChatConfig::builder(ApiKey::new(key).expect("a key"));
    connector(renewed.with_base_url(world.server.base_url())).connect().await.expect("the new key is good");
}

#[tokio::test]
async fn a_database_that_is_away_is_no_bad_key() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let header = connector(world.config("carol").with_handshake(Handshake::Header));
    header.connect().await.expect("attached").close(CloseMode::Detach).await.expect("closed");
    // As recorded: every key is refused, after seven seconds.
    world.server.faults().database_down(Some(Duration::from_secs(7)));
    let error = within(header.connect()).await.expect_err("away");
    assert!(error.is_retryable() && !error.is_fatal(), "{error:?}");
    let hello = connector(world.config("bob").with_hello_timeout(Duration::from_millis(300)));
    let error = within(hello.connect()).await.expect_err("away");
    assert!(error.is_retryable() && !error.is_fatal(), "{error:?}");
    world.server.faults().database_down(None);
    say(&alice, &bob, "the sockets stood").await;
    assert_eq!(word(&message(&mut read(&bob).await).await), "the sockets stood");
}

#[tokio::test]
async fn a_database_that_comes_back_between_two_questions_about_the_key_is_no_bad_key() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let faults = world.server.faults();
    // The last refusal is from before the database was back; the profile is from after it.
    faults.on("POST /v1/messages", HttpFault::status(401));
    faults.on("GET /v1/agents/me", HttpFault::status(401));
    let message = agentchat_core::Outbound::new(bob.address().clone(), agentchat_core::Body::text("a"));
    let error = alice.send(&message).await.expect_err("refused once");
    assert!(error.is_retryable() && !error.is_fatal(), "{error:?}");
    alice.send(&message).await.expect("the key was good all the time");
}

#[tokio::test]
async fn c54_answers_ping_and_pings_itself() {
    let beat = (Duration::from_millis(50), Duration::from_millis(500));
    let world = World::with(AgentChatServer::builder().heartbeat(beat.0, beat.1)).await;
    let config = world.config("bob").with_keepalive(Duration::from_secs(1), Duration::from_secs(1));
    let bob = connector(config).connect().await.expect("attached");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(world.server.sockets("bob"), 1);
    assert!(bob.ack(&[]).await.is_ok());
}

#[tokio::test]
async fn c55_dead_peer() {
    let world = World::new().await;
    let config = world.config("bob").with_keepalive(Duration::from_secs(1), Duration::from_secs(1));
    let bob = connector(config).connect().await.expect("attached");
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().stall();
    let begun = Instant::now();
    assert_eq!(ending(&mut events).await.kind(), ErrorKind::Disconnected);
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn c56_unknown_frames_and_c57_an_oversize_one() {
    let world = World::new().await;
    let connector = world.connector("bob");
    let (alice, bob) = (world.attach("alice").await, connector.connect().await.expect("attached"));
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    for text in [r#"{"type":"zebra.event","payload":{}}"#, "no json", "[]", "{}", r#"{"type":"message.new"}"#]
    {
        assert_eq!(world.server.push_text("bob", text), 1);
    }
    say(&alice, &bob, "a").await;
    assert_eq!(word(&message(&mut events).await), "a");
    assert_eq!(connector.receive_stats().unreadable_frames, 4, "a kind that is not known is no fault");
    let huge = format!(r#"{{"type":"zebra","payload":"{}"}}"#, "x".repeat(3 * 1024 * 1024));
    world.server.push_text("bob", &huge);
    assert_eq!(ending(&mut events).await.kind(), ErrorKind::Disconnected);
    let bob = world.attach("bob").await;
    assert_eq!(word(&message(&mut read(&bob).await).await), "a", "what was not settled comes again");
}

#[tokio::test]
async fn c58_dispose_closes_with_1000() {
    let world = World::new().await;
    let bob = world.attach("bob").await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    bob.close(CloseMode::Detach).await.expect("closed");
    assert_eq!(ending(&mut events).await.kind(), ErrorKind::Closed);
    within(world.server.until_sockets("bob", 0)).await;
    let entries = world.server.journal();
    assert!(
        entries.iter().any(|it| matches!(it, JournalEntry::Gone { code: Some(1000), .. })),
        "{entries:?}"
    );
}

#[tokio::test]
async fn c36_ambiguous_then_awaiting_is_the_first_attempt() {
    let world = World::with(AgentChatServer::builder().switches(|it| it.awaiting_before_replay = true)).await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let message = agentchat_core::Outbound::new(bob.address().clone(), agentchat_core::Body::text("a"));
    world.server.drop_next_response(true);
    let error = alice.send(&message).await.expect_err("the answer is lost");
    assert_eq!(error.reached(), Reached::Unknown);
    let receipt = alice.send(&message).await.expect("it is found");
    assert!(matches!(receipt.outcome, SendOutcome::Duplicate(_)), "{receipt:?}");
    let second = agentchat_core::Outbound::new(bob.address().clone(), agentchat_core::Body::text("b"));
    let error = alice.send(&second).await.expect_err("not before there is a reply");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Forbidden, Some("AWAITING_REPLY")));
}
