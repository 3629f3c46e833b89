//! Live beside stored, late, missing: what comes is in its conversation's order.

use std::time::{Duration, Instant};

use transport_ws::testing::{HttpFault, Profile, PushFault};

use crate::ws_support::{World, backlog, is_quiet, message, numbers, read, say, within, word, words};

/// A backlog, and a live message that is pushed before the server drains.
async fn live_before_the_drain(profile: Profile) {
    let world = World::of(profile).await;
    let (alice, away) = (world.attach("alice").await, world.attach("bob").await);
    let faults = world.server.faults();
    away.close(agentchat_core::CloseMode::Detach).await.expect("closed");
    world.server.until_sockets("bob", 0).await;
    for number in 0..125 {
        say(&alice, &away, number.to_string()).await;
    }
    faults.pushes(vec![PushFault::Hold; 125]);
    let bob = world.attach("bob").await;
    let mut events = read(&bob).await;
    say(&alice, &bob, "125").await;
    faults.release_pushes();
    let mut found = Vec::new();
    while found.len() < 126 {
        let delivery = message(&mut events).await;
        bob.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
        found.push(word(&delivery));
    }
    assert_eq!(found, numbers(0..126));
    assert!(is_quiet(&mut events).await, "each once");
}

#[tokio::test]
async fn a_live_message_before_125_stored_ones_comes_behind_them() {
    live_before_the_drain(Profile::Current).await;
}

#[tokio::test]
async fn a_live_message_before_125_drained_ones_comes_behind_them() {
    live_before_the_drain(Profile::Legacy).await;
}

#[tokio::test]
async fn a_backlog_of_40_out_of_order_is_put_in_order() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let alice = world.attach("alice").await;
        let to = world.attach("bob").await;
        to.close(agentchat_core::CloseMode::Detach).await.expect("closed");
        world.server.until_sockets("bob", 0).await;
        for number in 0..40 {
            say(&alice, &to, number.to_string()).await;
        }
        world.server.faults().shuffle_pushes(7);
        let bob = world.attach("bob").await;
        let mut events = read(&bob).await;
        assert_eq!(words(&backlog(&mut events).await), numbers(0..40), "{profile:?}");
    }
}

#[tokio::test]
async fn c79_live_messages_out_of_order_are_put_in_order_without_history() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Late(1), PushFault::Pass]);
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    for expected in numbers(0..3) {
        assert_eq!(word(&message(&mut events).await), expected);
    }
    assert_eq!(world.requests("GET", "/v1/messages/conv"), 0);
}

#[tokio::test]
async fn c80_gap_filled_from_history() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Drop, PushFault::Drop, PushFault::Pass]);
    for number in 0..4 {
        say(&alice, &bob, number.to_string()).await;
    }
    let begun = Instant::now();
    let mut tags = Vec::new();
    for expected in numbers(0..4) {
        let delivery = message(&mut events).await;
        assert_eq!(word(&delivery), expected);
        tags.push(delivery.tag);
    }
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "what is late may still come: 2 s");
    assert_eq!(world.requests("GET", "/v1/messages/conv"), 1);
    bob.ack(&tags).await.expect("settled");
    within(world.server.until_stored("bob", 0)).await;
}

#[tokio::test]
async fn c82_gap_http_error_goes_on_without() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let faults = world.server.faults();
    faults.pushes([PushFault::Pass, PushFault::Drop]);
    faults.on("GET /v1/messages/*", HttpFault::status(500));
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    assert_eq!(word(&message(&mut events).await), "0");
    assert_eq!(word(&message(&mut events).await), "2");
    say(&alice, &bob, "3").await;
    assert_eq!(word(&message(&mut events).await), "3", "the same hole is not waited for again");
}

#[tokio::test]
async fn c87_own_send_no_gap() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
        let mut events = read(&bob).await;
        backlog(&mut events).await;
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
async fn c88_a_gap_holds_up_its_own_conversation_only() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let carol = world.attach("carol").await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Pass, PushFault::Drop, PushFault::Pass]);
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    assert_eq!(word(&message(&mut events).await), "0");
    let begun = Instant::now();
    say(&carol, &bob, "hers").await;
    assert_eq!(word(&message(&mut events).await), "hers");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(word(&message(&mut events).await), "1");
}

#[tokio::test]
async fn c86_late_lower_seq_is_delivered_and_called_late() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    // History does not have it either at first; it is pushed when nobody waits for it any more.
    let faults = world.server.faults();
    faults.pushes([PushFault::Pass, PushFault::Hold, PushFault::Pass]);
    faults.on("GET /v1/messages/*", HttpFault::status(500));
    for number in 0..3 {
        say(&alice, &bob, number.to_string()).await;
    }
    assert_eq!(word(&message(&mut events).await), "0");
    assert_eq!(word(&message(&mut events).await), "2");
    faults.release_pushes();
    let late = message(&mut events).await;
    assert!(late.late && word(&late) == "1", "{late:?}");
    bob.ack(&[late.tag]).await.expect("settled");
}
