//! `ack`.

use std::collections::BTreeSet;

use super::kit::{
    DAY, attach, backlog, is_quiet, next_message, numbers, pair, read, read_own, redelivers, require, send,
    send_texts, tags, take, text, texts, within, word,
};
use super::{Harness, Outcome};
use crate::error::{ErrorKind, Reached};
use crate::id::AckTag;
use crate::options::{CloseMode, SubscribeOptions};

/// What was acknowledged before a clean close does not come again.
pub async fn ack_settles_for_good(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox, Ack);
    send_texts(&alice, bob.address(), numbers(0..3)).await;
    let mut events = read_own(&bob).await;
    let taken = take(&mut events, 2).await;
    bob.ack(&tags(&taken)).await.expect("settled");
    drop(events);
    bob.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(harness, "bob").await;
    let again = backlog(&mut read_own(&bob).await).await;
    let mut rest = numbers(0..3);
    rest.retain(|words| !texts(&taken).contains(&words.as_str()));
    assert_eq!(texts(&again), rest);
    Outcome::Held
}

/// What was not acknowledged comes again to the next attachment, whatever was acknowledged around it.
pub async fn ack_of_nothing_leaves_everything_to_come_again(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox, Ack, AckInOrder);
    send_texts(&alice, bob.address(), numbers(0..3)).await;
    let mut events = read_own(&bob).await;
    let taken = take(&mut events, 2).await;
    bob.ack(std::slice::from_ref(&taken[1].tag)).await.expect("settled out of order");
    drop(events);
    drop(bob);
    let bob = attach(harness, "bob").await;
    let again = backlog(&mut read_own(&bob).await).await;
    let again = texts(&again);
    for words in numbers(0..3) {
        let settled = words == word(&taken[1]);
        assert!(settled || again.contains(&words.as_str()), "unsettled messages come again: {again:?}");
    }
    Outcome::Held
}

/// Deliveries may be settled in any order: none of them comes again, and none beside them is taken for
/// settled.
pub async fn ack_out_of_order_settles_exactly_those(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; AckInOrder);
    let mut events = read_own(&bob).await;
    send_texts(&alice, bob.address(), numbers(0..6)).await;
    let taken = take(&mut events, 6).await;
    for at in [4, 1, 3] {
        bob.ack(&[taken[at].tag.clone()]).await.expect("settled");
    }
    if redelivers(&bob) {
        drop(events);
        bob.close(CloseMode::Detach).await.expect("closed");
        let bob = attach(harness, "bob").await;
        let mut events = read_own(&bob).await;
        let again = backlog(&mut events).await;
        let again: BTreeSet<_> = texts(&again).into_iter().map(str::to_owned).collect();
        for at in [0, 2, 5] {
            assert!(again.contains(word(&taken[at])), "{at} was not settled: {again:?}");
        }
        return Outcome::Held;
    }
    for at in [0, 2, 5] {
        bob.ack(&[taken[at].tag.clone()]).await.expect("settled");
    }
    assert!(is_quiet(&mut events).await, "nothing comes again");
    Outcome::Held
}

/// Settling in any order, once all is settled, leaves nothing to come again.
pub async fn ack_of_everything_in_any_order_leaves_nothing(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox, Ack);
    send_texts(&alice, bob.address(), numbers(0..6)).await;
    let mut events = read_own(&bob).await;
    let taken = take(&mut events, 6).await;
    for at in [5, 0, 3, 1, 4, 2] {
        bob.ack(&[taken[at].tag.clone()]).await.expect("settled");
    }
    assert!(is_quiet(&mut events).await, "nothing comes again");
    drop(events);
    bob.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(harness, "bob").await;
    let again = backlog(&mut read_own(&bob).await).await;
    assert!(again.is_empty(), "everything was settled: {again:?}");
    Outcome::Held
}

/// Settling twice is fine, also in one call, and so is settling nothing.
pub async fn ack_twice_is_fine(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    send(&alice, &text(bob.address(), "a")).await;
    let tag = next_message(&mut events).await.tag;
    bob.ack(&[]).await.expect("nothing is fine");
    bob.ack(&[tag.clone(), tag.clone()]).await.expect("settled");
    bob.ack(&[tag]).await.expect("twice is fine");
    send(&alice, &text(bob.address(), "b")).await;
    assert_eq!(word(&next_message(&mut events).await), "b");
    Outcome::Held
}

/// A tag that is not from this transport is refused by name; the others of the call can be handed in again.
pub async fn ack_of_an_unknown_tag_is_refused_by_name(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    send(&alice, &text(bob.address(), "a")).await;
    let own = next_message(&mut events).await.tag;
    let foreign = AckTag::new("of-another/transport").expect("a legal tag");
    let error = bob.ack(&[own.clone(), foreign]).await.expect_err("the tag is foreign");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No));
    assert!(error.to_string().contains("tag"), "{error}");
    bob.ack(&[own]).await.expect("settled");
    Outcome::Held
}

/// A tag of an earlier attachment is refused, or settles what it was given for: never another message.
pub async fn ack_of_an_earlier_attachment_settles_no_other_message(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox, Ack, ExtraInbox);
    let mut own = read_own(&bob).await;
    let mut fresh = bob.subscribe(SubscribeOptions::fresh(DAY)).await.expect("opened");
    send(&alice, &text(bob.address(), "own")).await;
    send(&alice, &text(&fresh.address, "fresh")).await;
    let old = [next_message(&mut own).await.tag, next_message(&mut fresh.events).await.tag];
    let address = fresh.address.clone();
    drop((own, fresh));
    bob.close(CloseMode::Detach).await.expect("closed");
    for settled in 0..2 {
        let bob = attach(harness, "bob").await;
        // In the other order than before, so that numbers that begin anew would be mixed up.
        let mut fresh = read(&bob, SubscribeOptions::existing(address.clone())).await;
        let mut own = read_own(&bob).await;
        if settled == 0 {
            next_message(&mut fresh).await;
            next_message(&mut own).await;
        }
        let answer = within(bob.ack(std::slice::from_ref(&old[0]))).await;
        assert!(answer.is_ok() || answer.is_err_and(|error| error.kind() == ErrorKind::Invalid));
        drop((own, fresh));
        bob.close(CloseMode::Detach).await.expect("closed");
    }
    let bob = attach(harness, "bob").await;
    let mut fresh = read(&bob, SubscribeOptions::existing(address)).await;
    assert_eq!(word(&next_message(&mut fresh).await), "fresh", "the tag was another message's");
    Outcome::Held
}
