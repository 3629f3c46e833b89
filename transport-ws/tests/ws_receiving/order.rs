//! Live beside stored: what comes is in its conversation's order.

use transport_ws::testing::{Profile, PushFault};

use crate::ws_support::{World, backlog, is_quiet, message, numbers, read, say, word, words};

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
