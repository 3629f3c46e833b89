//! What is missing in a conversation: looked for, waited for, given up, told.
#![cfg(feature = "test-server")]

mod ws_support;

use std::time::{Duration, Instant};

use agentchat_core::{Connector, Event, EventStream, Resilient, ResilientOptions, SessionEvent};
use transport_ws::AgentChat;
use transport_ws::api::{Draft, Recipient};
use transport_ws::testing::{HttpFault, Profile, PushFault};
use ws_support::{Attached, World, backlog, message, next, numbers, read, say, within, word};

/// Alice, and bob, who reads and for whom nothing waits.
async fn live(world: &World) -> (Attached, Attached, EventStream) {
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    assert!(backlog(&mut events).await.is_empty());
    (alice, bob, events)
}

/// Says so many numbers, from 0 on.
async fn count(from: &Attached, to: &Attached, so_many: usize) {
    for number in numbers(0..so_many) {
        say(from, to, number).await;
    }
}

#[tokio::test]
async fn c79_live_messages_out_of_order_are_put_in_order_without_history() {
    let world = World::new().await;
    let (alice, bob, mut events) = live(&world).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Late(1), PushFault::Pass]);
    count(&alice, &bob, 3).await;
    for expected in numbers(0..3) {
        assert_eq!(word(&message(&mut events).await), expected);
    }
    assert_eq!(world.requests("GET", "/v1/messages/conv"), 0);
}

#[tokio::test]
async fn c80_gap_filled_from_history() {
    let world = World::new().await;
    let (alice, bob, mut events) = live(&world).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Drop, PushFault::Drop, PushFault::Pass]);
    count(&alice, &bob, 4).await;
    let begun = Instant::now();
    let mut tags = Vec::new();
    for expected in numbers(0..4) {
        let delivery = message(&mut events).await;
        assert_eq!(word(&delivery), expected);
        tags.push(delivery.tag);
    }
    assert!(begun.elapsed() < Duration::from_millis(1_900), "history is asked long before the 2 s are over");
    assert_eq!(world.requests("GET", "/v1/messages/conv"), 1);
    bob.ack(&tags).await.expect("settled");
    within(world.server.until_stored("bob", 0)).await;
}

/// The next event is a gap: the number that was due, and the one that came.
async fn gap(events: &mut EventStream) -> (u64, u64) {
    match next(events).await {
        Event::Gap { expected, got, .. } => (expected, got),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn c81_gap_unfillable_is_told_between_its_neighbours() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let connector = world.connector("bob");
        let (alice, bob) = (world.attach("alice").await, connector.connect().await.expect("attached"));
        let mut events = read(&bob).await;
        backlog(&mut events).await;
        let faults = world.server.faults();
        faults.pushes([PushFault::Pass, PushFault::Drop]);
        faults.on("GET /v1/messages/*", HttpFault::answer(200, "application/json", "[]"));
        count(&alice, &bob, 3).await;
        let first = message(&mut events).await;
        assert_eq!(word(&first), "0");
        let told = next(&mut events).await;
        let conversation = first.conversation.expect("the server's");
        assert_eq!(told, Event::Gap { conversation, expected: 2, got: 3 }, "{profile:?}");
        assert_eq!(word(&message(&mut events).await), "2");
        say(&alice, &bob, "3").await;
        assert_eq!(word(&message(&mut events).await), "3", "the same hole is not waited for again");
        assert_eq!((connector.receive_stats().gaps, world.requests("GET", "/v1/messages/conv")), (1, 1));
    }
}

#[tokio::test]
async fn c81_a_session_passes_a_gap_on_and_what_is_late_and_tells_its_observer() {
    let world = World::new().await;
    let alice = world.attach("alice").await;
    let bob = Resilient::connect(world.connector("bob"), ResilientOptions::new()).await.expect("attached");
    let mut observed = bob.events();
    let session = std::sync::Arc::new(bob);
    let bob: Attached = session.clone();
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let faults = world.server.faults();
    faults.pushes([PushFault::Pass, PushFault::Hold]);
    faults.on("GET /v1/messages/*", HttpFault::answer(200, "application/json", "[]"));
    count(&alice, &bob, 3).await;
    assert_eq!(word(&message(&mut events).await), "0");
    assert_eq!(gap(&mut events).await, (2, 3));
    assert_eq!(word(&message(&mut events).await), "2");
    within(async {
        loop {
            if let SessionEvent::Gap { expected, got, .. } = observed.next().await.expect("it goes on") {
                return assert_eq!((expected, got), (2, 3));
            }
        }
    })
    .await;
    assert_eq!(session.stats().gaps, 1);
    faults.release_pushes();
    let late = message(&mut events).await;
    assert!(late.late && word(&late) == "1", "{late:?}");
}

#[tokio::test]
async fn c82_gap_http_error_goes_on_without() {
    let world = World::new().await;
    let (alice, bob, mut events) = live(&world).await;
    let faults = world.server.faults();
    faults.pushes([PushFault::Pass, PushFault::Drop]);
    faults.repeat("GET /v1/messages/*", 10, HttpFault::status(500));
    count(&alice, &bob, 3).await;
    assert_eq!(word(&message(&mut events).await), "0");
    let begun = Instant::now();
    assert_eq!(gap(&mut events).await, (2, 3));
    assert_eq!(word(&message(&mut events).await), "2");
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "what is late may still come: 2 s");
    say(&alice, &bob, "3").await;
    assert_eq!(word(&message(&mut events).await), "3", "the same hole is not waited for again");
}

#[tokio::test]
async fn c86_late_lower_seq_is_delivered_and_called_late() {
    let world = World::new().await;
    let (alice, bob, mut events) = live(&world).await;
    // History does not have it either at first; it is pushed when nobody waits for it any more.
    let faults = world.server.faults();
    faults.pushes([PushFault::Pass, PushFault::Hold, PushFault::Pass]);
    faults.repeat("GET /v1/messages/*", 10, HttpFault::status(500));
    count(&alice, &bob, 3).await;
    assert_eq!(word(&message(&mut events).await), "0");
    assert_eq!(word(&message(&mut events).await), "2");
    faults.release_pushes();
    let late = message(&mut events).await;
    assert!(late.late && word(&late) == "1", "{late:?}");
    bob.ack(&[late.tag]).await.expect("settled");
}

#[tokio::test]
async fn c87_own_send_no_gap() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let (alice, bob, mut events) = live(&world).await;
        let begun = Instant::now();
        for round in 0..5 {
            say(&alice, &bob, round.to_string()).await;
            assert_eq!(word(&message(&mut events).await), round.to_string());
            say(&bob, &alice, "yes").await;
        }
        assert!(begun.elapsed() < Duration::from_millis(1_900), "no reply makes the next message wait");
        assert_eq!(world.requests("GET", "/v1/messages/conv"), 0);
    }
}

#[tokio::test]
async fn c87_own_sends_beside_the_attachment_make_nobody_wait() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let connector = world.connector("bob");
        let (alice, bob) = (world.attach("alice").await, connector.connect().await.expect("attached"));
        let mut events = read(&bob).await;
        backlog(&mut events).await;
        let reply = || Draft::text(Recipient::Agent("alice".to_owned()), "yes");
        for round in 0..3 {
            say(&alice, &bob, round.to_string()).await;
            let begun = Instant::now();
            assert_eq!(word(&message(&mut events).await), round.to_string());
            assert!(begun.elapsed() < Duration::from_millis(500), "{profile:?}: {:?}", begun.elapsed());
            connector.client().send(&reply()).await.expect("sent");
        }
        assert_eq!(world.requests("GET", "/v1/messages/conv"), 0, "the connector's client tells of its own");
        // Of another client's sends history tells, which is asked at once; nothing is missing.
        let other = AgentChat::new(&world.config("bob").build().expect("valid")).expect("a client");
        say(&alice, &bob, "more").await;
        assert_eq!(word(&message(&mut events).await), "more");
        other.send(&reply()).await.expect("sent");
        say(&alice, &bob, "last").await;
        let begun = Instant::now();
        let last = next(&mut events).await;
        assert!(matches!(&last, Event::Message(last) if word(last) == "last" && !last.late), "{last:?}");
        assert!(begun.elapsed() < Duration::from_millis(1_500), "{profile:?}: {:?}", begun.elapsed());
        assert_eq!(connector.receive_stats().gaps, 0);
    }
}

#[tokio::test]
async fn c88_a_gap_holds_up_its_own_conversation_only() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let carol = world.attach("carol").await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Drop, PushFault::Pass]);
    count(&alice, &bob, 3).await;
    assert_eq!(word(&message(&mut events).await), "0");
    let begun = Instant::now();
    say(&carol, &bob, "hers").await;
    assert_eq!(word(&message(&mut events).await), "hers");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(word(&message(&mut events).await), "1");
}
