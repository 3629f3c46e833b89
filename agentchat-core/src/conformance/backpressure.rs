//! A reader is given no more than it asked for, and its being slow is its own affair.

use super::kit::{
    DAY, QUIET, attach, is_quiet, next_event, next_message, numbers, pair, read, read_own, require, send,
    send_texts, tags, take, text, texts, within, word,
};
use super::{Harness, Outcome};
use crate::message::{Body, Outbound};
use crate::options::SubscribeOptions;
use crate::transport::Event;

/// A reader that settles nothing is given no more messages than it asked for; as it settles, it gets the
/// rest.
pub async fn hold_back_at_the_bound_in_messages(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read(&bob, SubscribeOptions::own().with_max_unsettled(3)).await;
    for words in numbers(0..10) {
        send(&alice, &text(bob.address(), words)).await;
    }
    let mut taken = take(&mut events, 3).await;
    assert!(is_quiet(&mut events).await, "nothing more comes while three are unsettled");
    for next in 3..10 {
        bob.ack(&[taken[next - 3].tag.clone()]).await.expect("settled");
        taken.push(next_message(&mut events).await);
    }
    let mut texts = texts(&taken);
    texts.sort_unstable();
    assert_eq!(texts, numbers(0..10), "each comes once");
    Outcome::Held
}

/// A reader that settles nothing is given no more bytes than it asked for, but for one message over it.
pub async fn hold_back_at_the_bound_in_bytes(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let size = 1_000;
    let options = SubscribeOptions::own().with_max_unsettled_bytes(2 * size + size / 2);
    let mut events = read(&bob, options).await;
    let bodies: Vec<_> = numbers(0..8).iter().map(|number| number.repeat(size)).collect();
    for body in &bodies {
        send(&alice, &Outbound::new(bob.address().clone(), Body::text(body))).await;
    }
    let mut taken = take(&mut events, 2).await;
    // One delivery may go over the bound.
    while let Ok(event) = tokio::time::timeout(QUIET, next_event(&mut events)).await {
        taken.extend(match event {
            Event::Message(delivery) => Some(delivery),
            _ => None,
        });
    }
    assert!(taken.len() <= 3, "{} messages of {size} bytes are unsettled", taken.len());
    let mut open = tags(&taken);
    while taken.len() < bodies.len() {
        bob.ack(&[open.remove(0)]).await.expect("settled");
        let delivery = next_message(&mut events).await;
        open.push(delivery.tag.clone());
        taken.push(delivery);
    }
    let mut found = texts(&taken);
    found.sort_unstable();
    assert_eq!(found, bodies, "each comes once");
    Outcome::Held
}

/// A reader that stops reading holds up no other: not another inbox of the same attachment, nor another
/// agent, nor who sends to it. When it goes on, it has lost nothing.
pub async fn hold_back_of_one_reader_leaves_others_alone(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let carol = attach(harness, "carol").await;
    require!(bob; ExtraInbox);
    let mut stopped = read(&bob, SubscribeOptions::own().with_max_unsettled(2)).await;
    let mut beside = within(bob.subscribe(SubscribeOptions::fresh(DAY))).await.expect("opened");
    let mut other = read_own(&carol).await;
    send_texts(&alice, bob.address(), numbers(0..60)).await;
    for words in numbers(0..5) {
        send(&alice, &text(&beside.address, words.clone())).await;
        assert_eq!(word(&next_message(&mut beside.events).await), words, "another inbox goes on");
        send(&alice, &text(carol.address(), words.clone())).await;
        assert_eq!(word(&next_message(&mut other).await), words, "another agent goes on");
    }
    let mut found = Vec::new();
    for _ in 0..60 {
        let delivery = next_message(&mut stopped).await;
        bob.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
        found.push(word(&delivery).to_owned());
    }
    found.sort_unstable_by_key(|words| words.parse::<usize>().ok());
    assert_eq!(found, numbers(0..60));
    assert!(is_quiet(&mut stopped).await, "each comes once");
    Outcome::Held
}
