//! `subscribe`: inboxes, and streams that are dropped.

use std::time::Duration;

use futures_util::StreamExt;

use super::kit::{
    DAY, attach, backlog, ending, is_quiet, next_message, numbers, pair, read, read_own, redelivers, require,
    send, send_texts, take, text, texts, within, word,
};
use super::{Harness, Outcome};
use crate::address::Address;
use crate::error::ErrorKind;
use crate::options::{CloseMode, SubscribeOptions};
use crate::transport::Event;

/// What is unsettled when a subscription is dropped comes again to the next one of the same attachment,
/// and what was settled does not.
pub async fn subscribe_again_gives_what_is_unsettled(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; Ack);
    let mut events = read_own(&bob).await;
    for words in ["a", "b"] {
        send(&alice, &text(bob.address(), words)).await;
    }
    let (first, second) = (next_message(&mut events).await, next_message(&mut events).await);
    bob.ack(&[first.tag]).await.expect("settled");
    drop(events);
    let mut events = read_own(&bob).await;
    let again = next_message(&mut events).await;
    assert_eq!((again.id, again.body), (second.id, second.body));
    assert!(is_quiet(&mut events).await, "the settled one does not come again");
    Outcome::Held
}

/// Waiting for the next item may be given up at any moment and taken up again: nothing is lost.
pub async fn subscribe_waits_may_be_dropped(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    let to = bob.address().clone();
    let sending = async {
        for words in numbers(0..30) {
            send(&alice, &text(&to, words)).await;
        }
    };
    let reading = async {
        let mut found = Vec::new();
        let mut patience = 0;
        while found.len() < 30 {
            patience = (patience + 137) % 2_000;
            let wait = tokio::time::timeout(Duration::from_micros(patience), events.next());
            match wait.await {
                Ok(Some(Ok(Event::Message(delivery)))) => {
                    bob.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
                    found.push(delivery);
                }
                Ok(Some(Ok(_))) | Err(_) => {}
                Ok(ended) => panic!("the stream goes on: {ended:?}"),
            }
        }
        found
    };
    let ((), found) = within(async { tokio::join!(sending, reading) }).await;
    let mut found = texts(&found);
    found.sort_unstable_by_key(|words| words.parse::<usize>().ok());
    assert_eq!(found, numbers(0..30));
    Outcome::Held
}

/// Subscribing may be given up at any moment: what waits is there for the next subscription.
pub async fn subscribe_given_up_takes_nothing_along(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox, Ack);
    send_texts(&alice, bob.address(), numbers(0..5)).await;
    for number in 0..10_u64 {
        let patience = Duration::from_micros(number * number * 20);
        let _ = tokio::time::timeout(patience, bob.subscribe(SubscribeOptions::own())).await;
    }
    let mut found = texts_sorted(&backlog(&mut read_own(&bob).await).await);
    found.dedup();
    assert_eq!(found, numbers(0..5));
    Outcome::Held
}

/// A fresh inbox has an address of its own, which messages reach, and that cannot be guessed from others.
pub async fn subscribe_opens_a_fresh_inbox(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; ExtraInbox);
    let mut first = bob.subscribe(SubscribeOptions::fresh(DAY)).await.expect("opened");
    let second = bob.subscribe(SubscribeOptions::fresh(DAY)).await.expect("opened");
    assert_ne!(first.address, second.address);
    assert_ne!(&first.address, bob.address());
    send(&alice, &text(&first.address, "answer")).await;
    assert_eq!(word(&next_message(&mut first.events).await), "answer");
    Outcome::Held
}

/// An inbox that the agent opened before is read again by its address, also on a new attachment: what is
/// unsettled comes again, and what arrives later comes as well.
pub async fn subscribe_reads_an_existing_inbox_again(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; ExtraInbox, Ack);
    let mut fresh = bob.subscribe(SubscribeOptions::fresh(DAY)).await.expect("opened");
    for words in ["a", "b"] {
        send(&alice, &text(&fresh.address, words)).await;
    }
    let (first, second) = (next_message(&mut fresh.events).await, next_message(&mut fresh.events).await);
    bob.ack(&[first.tag]).await.expect("settled");
    let address = fresh.address.clone();
    drop(fresh);
    let mut again = bob.subscribe(SubscribeOptions::existing(address.clone())).await.expect("it is there");
    assert_eq!(again.address, address);
    let repeated = next_message(&mut again.events).await;
    assert_eq!((repeated.id, &repeated.body), (second.id.clone(), &second.body));
    drop(again);
    bob.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(harness, "bob").await;
    let mut again = bob.subscribe(SubscribeOptions::existing(address.clone())).await.expect("it is there");
    let repeated = next_message(&mut again.events).await;
    assert_eq!((repeated.id, repeated.body), (second.id, second.body));
    bob.ack(&[repeated.tag]).await.expect("settled");
    send(&alice, &text(&address, "c")).await;
    assert_eq!(word(&next_message(&mut again.events).await), "c");
    let mut own = read(&bob, SubscribeOptions::existing(bob.address().clone())).await;
    send(&alice, &text(bob.address(), "d")).await;
    assert_eq!(word(&next_message(&mut own).await), "d");
    Outcome::Held
}

/// Many inboxes of one attachment are read side by side: each gives its own messages and no other's.
pub async fn subscribe_keeps_many_inboxes_apart(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; ExtraInbox);
    let mut inboxes = Vec::new();
    for _ in 0..20 {
        inboxes.push(within(bob.subscribe(SubscribeOptions::fresh(DAY))).await.expect("opened"));
    }
    let addresses: Vec<_> = inboxes.iter().map(|inbox| inbox.address.clone()).collect();
    for round in 0..3 {
        for (number, address) in addresses.iter().enumerate() {
            send_texts(&alice, address, [format!("{number}.{round}")]).await;
        }
    }
    for (number, inbox) in inboxes.iter_mut().enumerate() {
        let found = take(&mut inbox.events, 3).await;
        let mut found = texts(&found);
        found.sort_unstable();
        let own: Vec<_> = (0..3).map(|round| format!("{number}.{round}")).collect();
        assert_eq!(found, own);
    }
    Outcome::Held
}

/// An inbox that never was cannot be read: the call says so, or the stream's only item.
pub async fn subscribe_to_an_inbox_that_never_was_is_refused(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; ExtraInbox);
    let nowhere = Address::parse(format!("{}nowhere", alice.address().as_str())).expect("valid");
    let error = match within(bob.subscribe(SubscribeOptions::existing(nowhere))).await {
        Ok(mut opened) => ending(&mut opened.events).await,
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    Outcome::Held
}

/// Dropping attachment and subscription needs no runtime, and leaves what is unsettled in the inbox.
pub async fn subscribe_ends_by_dropping_without_a_runtime(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    send(&alice, &text(bob.address(), "kept")).await;
    let before = next_message(&mut events).await;
    let comes_again = redelivers(&bob);
    let dropped = std::thread::spawn(move || drop((events, bob))).join();
    assert!(dropped.is_ok(), "dropping panics where there is no runtime");
    let bob = attach(harness, "bob").await;
    let mut events = read_own(&bob).await;
    if comes_again {
        let again = next_message(&mut events).await;
        assert_eq!((again.id, again.body), (before.id, before.body));
    }
    Outcome::Held
}

/// A subscription lives on its own: it goes on when the last handle of its transport is dropped.
pub async fn subscribe_outlives_the_transports_handle(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    let to = bob.address().clone();
    drop(bob);
    send(&alice, &text(&to, "a")).await;
    assert_eq!(word(&next_message(&mut events).await), "a");
    Outcome::Held
}

fn texts_sorted(deliveries: &[crate::Delivery]) -> Vec<String> {
    let mut words: Vec<_> = deliveries.iter().map(|delivery| word(delivery).to_owned()).collect();
    words.sort_unstable();
    words
}
