//! What waited comes first, then the word that it is over, then what arrives.

use super::kit::{
    attach, backlog, next_event, next_message, numbers, pair, read, read_own, require, send_texts, texts,
    within, word,
};
use super::{Harness, Outcome};
use crate::capability::OrderGuarantee;
use crate::options::SubscribeOptions;
use crate::transport::Event;

/// What waited is delivered first, oldest first; then comes `CaughtUp`, then what arrives.
pub async fn catch_up_gives_the_backlog_in_order_first(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox);
    send_texts(&alice, bob.address(), numbers(0..20)).await;
    let mut events = read_own(&bob).await;
    let waited = backlog(&mut events).await;
    let mut waited = texts(&waited);
    if bob.capabilities().order == OrderGuarantee::None {
        waited.sort_unstable_by_key(|words| words.parse::<usize>().ok());
    }
    assert_eq!(waited, numbers(0..20));
    send_texts(&alice, bob.address(), ["live".to_owned()]).await;
    assert_eq!(word(&next_message(&mut events).await), "live");
    Outcome::Held
}

/// An empty inbox is caught up with at once.
pub async fn catch_up_with_nothing_is_told(harness: &dyn Harness) -> Outcome {
    let bob = attach(harness, "bob").await;
    let mut events = read_own(&bob).await;
    assert_eq!(next_event(&mut events).await, Event::CaughtUp);
    Outcome::Held
}

/// `CaughtUp` comes although the reader has settled nothing and its bounds are full.
pub async fn catch_up_is_told_though_the_bounds_are_full(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox);
    send_texts(&alice, bob.address(), numbers(0..3)).await;
    let mut events = read(&bob, SubscribeOptions::own().with_max_unsettled(3)).await;
    assert_eq!(backlog(&mut events).await.len(), 3);
    Outcome::Held
}

/// `CaughtUp` comes behind all that waited, also where that is much more than the bounds allow at a time.
pub async fn catch_up_is_not_told_before_the_end(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox);
    send_texts(&alice, bob.address(), numbers(0..25)).await;
    let mut events = read(&bob, SubscribeOptions::own().with_max_unsettled(3)).await;
    let mut found = 0;
    while let Event::Message(delivery) = next_event(&mut events).await {
        within(bob.ack(&[delivery.tag])).await.expect("settled");
        found += 1;
    }
    assert_eq!(found, 25, "so many of 25 waiting messages came before the word that nothing waits");
    Outcome::Held
}

/// While messages keep arriving during the catching up, the backlog runs into what is live without a hole
/// and without a repetition, and `CaughtUp` comes once, behind all that waited.
pub async fn catch_up_runs_into_live_without_gap_or_repetition(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox);
    let (waiting, all) = (30, 120);
    let to = bob.address().clone();
    send_texts(&alice, &to, numbers(0..waiting)).await;
    let arriving = send_texts(&alice, &to, numbers(waiting..all));
    let reading = async {
        let mut events = read(&bob, SubscribeOptions::own().with_max_unsettled(4)).await;
        let (mut found, mut caught_up) = (Vec::new(), Vec::new());
        while found.len() < all || caught_up.is_empty() {
            match next_event(&mut events).await {
                Event::Message(delivery) => {
                    within(bob.ack(std::slice::from_ref(&delivery.tag))).await.expect("settled");
                    found.push(word(&delivery).to_owned());
                }
                Event::CaughtUp => caught_up.push(found.clone()),
                other => panic!("nothing is missing: {other:?}"),
            }
        }
        (found, caught_up)
    };
    let ((), (mut found, caught_up)) = tokio::join!(arriving, reading);
    assert_eq!(caught_up.len(), 1, "it is told once");
    for words in numbers(0..waiting) {
        assert!(caught_up[0].contains(&words), "{words} waited, and comes after the word that nothing does");
    }
    if bob.capabilities().order == OrderGuarantee::None {
        found.sort_unstable_by_key(|words| words.parse::<usize>().ok());
    }
    assert_eq!(found, numbers(0..all));
    Outcome::Held
}
