//! Bounds that let nothing through, and chances that are none: each is refused before anything is done, by
//! an error that names the field and its limit.

mod support;

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::agent::CallMode;
use agentchat_core::store::{Cursor, CursorStore, DedupStore, MemoryStore, OutboxStore, StoreLimits};
use agentchat_core::{
    Address, Agent, Body, CallRequest, Connector, Error, ErrorKind, Loopback, LoopbackFaults, Outbound,
    Reached, Request, Resilient, ResilientOptions, ServeOptions, ServePolicy, SubscribeOptions, Transport,
};
use support::SECOND;

#[track_caller]
fn says(error: &Error, operation: &str, words: &[&str]) {
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No), "{error:?}");
    assert!(!error.is_retryable(), "{error:?}");
    assert_eq!(error.operation(), operation, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error}");
    }
}

fn bad_reads() -> Vec<(SubscribeOptions, &'static str)> {
    let mut by_field = SubscribeOptions::own();
    by_field.max_unsettled = 0;
    vec![
        (SubscribeOptions::own().with_max_unsettled(0), "`max_unsettled`"),
        (SubscribeOptions::own().with_max_unsettled_bytes(0), "`max_unsettled_bytes`"),
        (SubscribeOptions::fresh(SECOND).with_max_unsettled(0), "`max_unsettled`"),
        (by_field, "`max_unsettled`"),
    ]
}

async fn transports() -> Vec<Arc<dyn Transport>> {
    let bare = Loopback::new().connector("a").expect("a name").connect().await.expect("attached");
    let connector = Loopback::new().connector("a").expect("a name");
    let session = Resilient::connect(connector, ResilientOptions::new()).await.expect("connected");
    vec![bare, Arc::new(session)]
}

async fn agents() -> [Agent; 2] {
    let bare = Loopback::new().connector("a").expect("a name");
    let session = Loopback::new().connector("a").expect("a name");
    let session = Resilient::connect(session, ResilientOptions::new()).await.expect("connected");
    let bare = Agent::builder(bare).start().await.expect("started");
    [bare, Agent::builder(session).start().await.expect("started")]
}

#[tokio::test(start_paused = true)]
async fn an_inbox_is_not_read_with_bounds_of_zero() {
    for transport in transports().await {
        for (bad, field) in bad_reads() {
            let error = transport.subscribe(bad).await.expect_err(field);
            says(&error, "subscribe", &[field, "at least 1"]);
        }
        transport.subscribe(SubscribeOptions::own().with_max_unsettled(1)).await.expect("one is enough");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_does_not_serve_with_options_out_of_range_and_does_not_start_with_them() {
    let (options, dead) = (ServeOptions::default, Address::parse("loopback://b").expect("an address"));
    let mut by_field = options();
    by_field.concurrency = 0;
    let mut cases = vec![
        (options().with_concurrency(0), vec!["`concurrency`", "at least 1"]),
        (by_field, vec!["`concurrency`", "at least 1"]),
        (options().with_policy(ServePolicy::Batch(0)), vec!["Batch", "at least 1"]),
        (options().with_max_attempts(0), vec!["`max_attempts`", "at least 1"]),
        (options().with_dead_letter(dead, 0), vec!["`max_attempts`", "at least 1"]),
        (options().with_dead_letter_callback(|_| Ok(()), 0), vec!["`max_attempts`", "at least 1"]),
        (options().with_turn_limit(0, SECOND), vec!["`turn_limit`", "at least 1"]),
        (options().with_turn_limit(1, Duration::ZERO), vec!["`turn_limit`", "longer than nothing"]),
    ];
    let reads = bad_reads().into_iter();
    cases.extend(reads.map(|(bad, field)| (options().with_subscribe(bad), vec![field, "at least 1"])));
    let handler = |_: Request| async { Ok(()) };
    for (bad, words) in cases {
        for agent in agents().await {
            let error = agent.serve(handler, bad.clone()).await.expect_err(words[0]);
            says(&error, "serve", &words);
            drop(agent.serve(handler, options()).await.expect("nothing was begun"));
        }
        let network = Loopback::new();
        let builder = Agent::builder(network.connector("a").expect("a name")).serve(handler, bad);
        says(&builder.start().await.expect_err(words[0]), "serve", &words);
    }
}

#[tokio::test(start_paused = true)]
async fn many_are_not_asked_none_at_a_time() {
    let network = Loopback::new();
    let agent = Agent::builder(network.connector("a").expect("a name")).start().await.expect("started");
    let mode = CallMode::all().with_parallel(0);
    let targets = [agent.address().clone()];
    let error = agent.call_many(&targets, CallRequest::new(Body::text("x")), mode).await.expect_err("none");
    says(&error, "call_many", &["`parallel`", "at least 1"]);
}

#[test]
fn a_network_whose_chances_are_none_or_whose_inboxes_hold_nothing_is_not_connected_to() {
    let none = || LoopbackFaults::seeded(1);
    for bad in [2.0, 1.000_001, -0.1, f64::NAN, f64::INFINITY] {
        for (faults, field) in [
            (none().with_loss(bad, 0.0), "`lose_request`"),
            (none().with_loss(0.0, bad), "`lose_answer`"),
            (none().with_duplicates(bad), "`duplicate`"),
            (none().with_reordering(bad), "`reorder`"),
            (none().with_cuts(bad), "`cut`"),
            (none().with_drops(bad), "`drop`"),
        ] {
            let error = Loopback::with_faults(faults).connector("a").expect_err(field);
            says(&error, "connect", &[field, "0 to 1"]);
        }
    }
    let certain = none().with_loss(1.0, 1.0).with_duplicates(1.0).with_reordering(1.0).with_cuts(1.0);
    Loopback::with_faults(certain.with_drops(0.0)).connector("a").expect("both ends are chances");
    for (messages, bytes, field) in [(0, 1, "messages"), (1, 0, "bytes"), (0, 0, "messages")] {
        let error = Loopback::new().with_inbox_limits(messages, bytes).connector("a").expect_err(field);
        says(&error, "connect", &["inbox limit", field, "at least 1"]);
    }
    Loopback::new().with_inbox_limits(1, 1).connector("a").expect("one is enough");
}

fn bad_stores() -> [(StoreLimits, &'static str); 5] {
    let limits = StoreLimits::default();
    [
        (limits.with_max_sends(0), "`max_sends`"),
        (limits.with_max_send_bytes(0), "`max_send_bytes`"),
        (limits.with_max_cursors(0), "`max_cursors`"),
        (limits.with_max_settled(0), "`max_settled`"),
        (limits.with_max_settled_age(Duration::ZERO), "`max_settled_age`"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_begin_with_a_store_that_can_keep_nothing() {
    for (bad, field) in bad_stores() {
        let store = MemoryStore::with_limits(bad);
        for error in [
            store.load().await.err(),
            store.newest(1).await.err(),
            store.get("k").await.err(),
            store.set("k", &Cursor::new(vec![1])).await.err(),
        ] {
            says(&error.expect(field), "store.open", &[field]);
        }
        let options = ResilientOptions::new().with_store(MemoryStore::with_limits(bad));
        let connector = Loopback::new().connector("a").expect("a name");
        let error = Resilient::connect(connector, options).await.expect_err(field);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_no_room_in_the_store_would_be_enough_for_is_too_large_and_not_repeated() {
    let limits = StoreLimits::default().with_max_send_bytes(4_000);
    let network = Loopback::new();
    let peer = network.connector("peer").expect("a name").connect().await.expect("attached");
    let options = ResilientOptions::new().with_store(MemoryStore::with_limits(limits));
    let session = Resilient::connect(network.connector("a").expect("a name"), options).await.expect("made");
    let begun = tokio::time::Instant::now();
    let large = Outbound::new(peer.address().clone(), Body::binary(vec![0; 5_000]));
    let error = session.send(&large).await.expect_err("it can never be kept");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
    assert!(error.to_string().contains("`max_send_bytes` is 4000"), "{error}");
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
}

#[cfg(feature = "store-redb")]
#[tokio::test]
async fn a_file_is_not_opened_as_a_store_that_can_keep_nothing() {
    use agentchat_core::store::DurableStore;

    for (bad, field) in bad_stores() {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("never-made.store");
        let error = DurableStore::open_with(&path, bad).await.expect_err(field);
        says(&error, "store.open", &[field]);
        assert!(!path.exists());
    }
}
