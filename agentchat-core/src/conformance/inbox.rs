//! `subscribe`, `ack`, keyed state, and what a cut leaves.

use std::time::Duration;

use futures_util::StreamExt;

use super::{Harness, Outcome, attach, backlog, is_quiet, next_message, read_own, texts, within};
use crate::capability::{AckGuarantee, OrderGuarantee};
use crate::error::ErrorKind;
use crate::id::ConversationId;
use crate::message::{Body, Outbound, Priority};
use crate::options::SubscribeOptions;

/// What was sent while the agent was away comes first, in order, each once; then the stream is caught up.
pub async fn subscribe_gives_the_backlog_in_order_before_it_is_caught_up(harness: &dyn Harness) -> Outcome {
    let alice = attach(harness, "alice").await;
    let address = {
        let bob = attach(harness, "bob").await;
        if !bob.capabilities().durable_inbox {
            return Outcome::Skipped("the network keeps nothing for an agent that is away");
        }
        bob.close(crate::CloseMode::Detach).await.expect("detached");
        bob.address().clone()
    };
    let conversation = ConversationId::new("c").expect("id");
    let sent: Vec<String> = (0..100).map(|number| format!("message {number}")).collect();
    for text in &sent {
        let message =
            Outbound::new(address.clone(), Body::text(text)).with_conversation(conversation.clone());
        alice.send(&message).await.expect("accepted while away");
    }
    let bob = attach(harness, "bob").await;
    assert_eq!(bob.address(), &address, "the agent finds its inbox again");
    let mut events = read_own(&bob).await;
    let waited = backlog(&mut events).await;
    let mut waited = texts(&waited);
    if bob.capabilities().order == OrderGuarantee::None {
        waited.sort_by_key(|text| sent.iter().position(|known| known == text));
    }
    assert_eq!(waited, sent, "each comes once");
    let message = Outbound::new(address, Body::text("live")).with_conversation(conversation);
    alice.send(&message).await.expect("accepted");
    assert_eq!(next_message(&mut events).await.body.as_str(), Some("live"));
    Outcome::Held
}

/// Of what waits, higher priorities come first; the order within a conversation and priority is kept.
pub async fn subscribe_delivers_urgent_messages_first(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if !bob.capabilities().priority || !bob.capabilities().durable_inbox {
        return Outcome::Skipped("the network has no priorities, or no messages that wait");
    }
    for (text, priority) in [
        ("n1", Priority::Normal),
        ("u1", Priority::Urgent),
        ("c1", Priority::Critical),
        ("n2", Priority::Normal),
        ("c2", Priority::Critical),
    ] {
        let conversation = ConversationId::new(&text[..1]).expect("id");
        let message = Outbound::new(bob.address().clone(), Body::text(text))
            .with_conversation(conversation)
            .with_priority(priority);
        alice.send(&message).await.expect("accepted");
    }
    let waited = backlog(&mut read_own(&bob).await).await;
    let mut waited = texts(&waited);
    let classes: String = waited.iter().map(|text| &text[..1]).collect();
    assert_eq!(classes, "ccunn");
    if bob.capabilities().order == OrderGuarantee::None {
        waited[..2].sort_unstable();
        waited[3..].sort_unstable();
    }
    assert_eq!(waited, ["c1", "c2", "u1", "n1", "n2"]);
    Outcome::Held
}

/// A consumer that settles nothing is given no more than it asked for; once it settles, it gets the rest.
pub async fn subscribe_stops_taking_in_when_too_much_is_unsettled(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    let options = SubscribeOptions::own().with_max_unsettled(3);
    let mut events = bob.subscribe(options).await.expect("subscribed").events;
    let sent: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    for text in &sent {
        alice.send(&Outbound::new(bob.address().clone(), Body::text(text))).await.expect("accepted");
    }
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(next_message(&mut events).await);
    }
    assert!(is_quiet(&mut events).await, "nothing more comes while three are unsettled");
    for next in 3..10 {
        bob.ack(&[taken[next - 3].tag.clone()]).await.expect("settled");
        taken.push(next_message(&mut events).await);
    }
    let mut texts = texts(&taken);
    texts.sort_unstable();
    assert_eq!(texts, sent, "each comes once");
    Outcome::Held
}

/// What is unsettled when a subscription is dropped comes again to the next one of the same attachment.
pub async fn subscribe_again_gives_what_is_unsettled(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if bob.capabilities().ack == AckGuarantee::None {
        return Outcome::Skipped("the network delivers at most once");
    }
    let mut events = read_own(&bob).await;
    for text in ["a", "b"] {
        alice.send(&Outbound::new(bob.address().clone(), Body::text(text))).await.expect("accepted");
    }
    let (first, second) = (next_message(&mut events).await, next_message(&mut events).await);
    bob.ack(&[first.tag]).await.expect("settled");
    drop(events);
    let again = next_message(&mut read_own(&bob).await).await;
    assert_eq!((again.id, again.body), (second.id, second.body));
    Outcome::Held
}

/// A fresh inbox has an address of its own, which messages reach.
pub async fn subscribe_opens_a_fresh_inbox(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if !bob.capabilities().extra_inbox {
        return Outcome::Skipped("the network cannot open an extra inbox");
    }
    let day = Duration::from_secs(86_400);
    let mut first = bob.subscribe(SubscribeOptions::fresh(day)).await.expect("opened");
    let second = bob.subscribe(SubscribeOptions::fresh(day)).await.expect("opened");
    assert_ne!(first.address, second.address);
    assert_ne!(&first.address, bob.address());
    alice.send(&Outbound::new(first.address.clone(), Body::text("answer"))).await.expect("accepted");
    assert_eq!(next_message(&mut first.events).await.body.as_str(), Some("answer"));
    Outcome::Held
}

/// An inbox that the agent opened before is read again by its address, also on a new attachment: what is
/// unsettled comes again, and what arrives later comes as well.
pub async fn subscribe_reads_an_existing_inbox_again(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if !bob.capabilities().extra_inbox || bob.capabilities().ack == AckGuarantee::None {
        return Outcome::Skipped("the network cannot open an extra inbox, or delivers at most once");
    }
    let day = Duration::from_secs(86_400);
    let mut fresh = bob.subscribe(SubscribeOptions::fresh(day)).await.expect("opened");
    for text in ["a", "b"] {
        alice.send(&Outbound::new(fresh.address.clone(), Body::text(text))).await.expect("accepted");
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
    bob.close(crate::CloseMode::Detach).await.expect("closed");
    let bob = attach(harness, "bob").await;
    let mut again = bob.subscribe(SubscribeOptions::existing(address.clone())).await.expect("it is there");
    let repeated = next_message(&mut again.events).await;
    assert_eq!((repeated.id, repeated.body), (second.id, second.body));
    bob.ack(&[repeated.tag]).await.expect("settled");
    alice.send(&Outbound::new(address, Body::text("c"))).await.expect("accepted");
    assert_eq!(next_message(&mut again.events).await.body.as_str(), Some("c"));
    let own = SubscribeOptions::existing(bob.address().clone());
    let mut own = bob.subscribe(own).await.expect("the own inbox is one, too").events;
    alice.send(&Outbound::new(bob.address().clone(), Body::text("d"))).await.expect("accepted");
    assert_eq!(next_message(&mut own).await.body.as_str(), Some("d"));
    Outcome::Held
}

/// What was acknowledged before a clean close does not come again.
pub async fn ack_settles_for_good(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if !redelivers(&bob) {
        return Outcome::Skipped("the network delivers at most once, or nothing waits for a new attachment");
    }
    for text in ["a", "b", "c"] {
        alice.send(&Outbound::new(bob.address().clone(), Body::text(text))).await.expect("accepted");
    }
    let mut events = read_own(&bob).await;
    let (one, two) = (next_message(&mut events).await, next_message(&mut events).await);
    let settled = [one.body.clone(), two.body.clone()];
    bob.ack(&[one.tag.clone(), two.tag]).await.expect("settled");
    bob.ack(&[one.tag]).await.expect("twice is fine");
    bob.ack(&[]).await.expect("nothing is fine");
    drop(events);
    bob.close(crate::CloseMode::Detach).await.expect("closed");
    let bob = attach(harness, "bob").await;
    let again = backlog(&mut read_own(&bob).await).await;
    let mut rest = vec!["a", "b", "c"];
    rest.retain(|text| settled.iter().all(|body| body.as_str() != Some(text)));
    assert_eq!(texts(&again), rest);
    Outcome::Held
}

/// What was not acknowledged comes again to the next attachment.
pub async fn ack_of_nothing_leaves_everything_to_come_again(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if !redelivers(&bob) {
        return Outcome::Skipped("the network delivers at most once, or nothing waits for a new attachment");
    }
    for text in ["a", "b", "c"] {
        alice.send(&Outbound::new(bob.address().clone(), Body::text(text))).await.expect("accepted");
    }
    let mut events = read_own(&bob).await;
    let (_unsettled, second) = (next_message(&mut events).await, next_message(&mut events).await);
    bob.ack(&[second.tag]).await.expect("settled out of order");
    drop(events);
    drop(bob);
    let bob = attach(harness, "bob").await;
    let again = backlog(&mut read_own(&bob).await).await;
    let again = texts(&again);
    let settled = second.body.as_str().expect("text");
    for text in ["a", "b", "c"] {
        assert!(text == settled || again.contains(&text), "unsettled messages come again: {again:?}");
    }
    Outcome::Held
}

/// Of several values under a key the newest is read; reading consumes nothing.
pub async fn put_keeps_the_newest_value(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if !bob.capabilities().keyed_state {
        return Outcome::Skipped("the network keeps no keyed state");
    }
    assert!(alice.get(bob.address(), "progress").await.expect("an answer").is_none());
    for value in ["10%", "60%", "90%"] {
        bob.put(bob.address(), "progress", Body::text(value)).await.expect("stored");
    }
    bob.put(bob.address(), "other", Body::text("x")).await.expect("stored");
    for _ in 0..2 {
        let value = alice.get(bob.address(), "progress").await.expect("an answer").expect("a value");
        assert_eq!(value.body, Body::text("90%"));
    }
    let delivered = backlog(&mut read_own(&bob).await).await;
    assert!(delivered.is_empty(), "state is not delivered as messages: {delivered:?}");
    Outcome::Held
}

/// After a cut calls fail as disconnected, the stream ends with that error, and a new attachment has what
/// was not settled.
pub async fn a_cut_ends_the_attachment_and_loses_nothing(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if bob.capabilities().reconnects {
        return Outcome::Skipped("the transport survives cuts");
    }
    let mut events = read_own(&bob).await;
    alice.send(&Outbound::new(bob.address().clone(), Body::text("kept"))).await.expect("accepted");
    let before = next_message(&mut events).await;
    if !harness.cut().await {
        return Outcome::Skipped("the harness cannot cut connections");
    }
    assert_eq!(ending(&mut events).await, ErrorKind::Disconnected);
    assert!(within(events.next()).await.is_none(), "nothing comes after the error");
    let message = Outbound::new(bob.address().clone(), Body::text("x"));
    let error = within(bob.send(&message)).await.expect_err("the attachment is gone");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    let back = attach(harness, "bob").await;
    if redelivers(&bob) {
        let again = next_message(&mut read_own(&back).await).await;
        assert_eq!((again.id, again.body), (before.id, before.body));
    }
    Outcome::Held
}

/// A transport that reconnects by itself goes on after cuts: what it handed out before can be settled
/// afterwards and comes once, its subscriptions go on, fresh inboxes keep their address, and sends arrive.
pub async fn a_cut_is_survived_and_loses_nothing(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if !bob.capabilities().reconnects || !redelivers(&bob) {
        return Outcome::Skipped("the transport ends with its connection, or messages are lost with it");
    }
    let mut events = read_own(&bob).await;
    let mut fresh = match bob.capabilities().extra_inbox {
        true => {
            let fresh = SubscribeOptions::fresh(Duration::from_secs(86_400));
            Some(bob.subscribe(fresh).await.expect("opened"))
        }
        false => None,
    };
    let conversation = ConversationId::new("c").expect("id");
    let numbered = |number: usize| {
        Outbound::new(bob.address().clone(), Body::text(number.to_string()))
            .with_conversation(conversation.clone())
    };
    let mut taken = Vec::new();
    for number in 0..2 {
        alice.send(&numbered(number)).await.expect("accepted");
        taken.push(next_message(&mut events).await);
    }
    for round in 1..3 {
        if !harness.cut().await {
            return Outcome::Skipped("the harness cannot cut connections");
        }
        bob.ack(&[taken[2 * round - 2].tag.clone()]).await.expect("settled though the connection is gone");
        for number in 2 * round..2 * round + 2 {
            within(alice.send(&numbered(number))).await.expect("accepted over a new connection");
            taken.push(next_message(&mut events).await);
        }
    }
    assert_eq!(texts(&taken), ["0", "1", "2", "3", "4", "5"], "each comes once, in order");
    if let Some(fresh) = &mut fresh {
        alice.send(&Outbound::new(fresh.address.clone(), Body::text("answer"))).await.expect("accepted");
        assert_eq!(next_message(&mut fresh.events).await.body.as_str(), Some("answer"));
    }
    let rest: Vec<_> = taken.iter().map(|delivery| delivery.tag.clone()).collect();
    bob.ack(&rest).await.expect("settled");
    assert!(is_quiet(&mut events).await, "nothing comes twice");
    drop((events, fresh));
    bob.close(crate::CloseMode::Detach).await.expect("closed");
    let back = attach(harness, "bob").await;
    let again = backlog(&mut read_own(&back).await).await;
    assert!(again.is_empty(), "what was settled is settled at the network: {again:?}");
    Outcome::Held
}

/// Closing ends what is being read with an error and makes further calls fail. Closing again ends too.
pub async fn close_ends_subscriptions_and_may_be_repeated(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    let mut events = read_own(&bob).await;
    assert!(is_quiet(&mut events).await);
    within(bob.close(crate::CloseMode::Detach)).await.expect("closed");
    ending(&mut events).await;
    // It may report what it likes, as there is nothing left to do.
    let _ = within(bob.close(crate::CloseMode::Detach)).await;
    let message = Outbound::new(alice.address().clone(), Body::text("x"));
    within(bob.send(&message)).await.expect_err("the attachment is closed");
    Outcome::Held
}

/// Whether what is unsettled waits for the next attachment.
fn redelivers(transport: &std::sync::Arc<dyn crate::Transport>) -> bool {
    let able = transport.capabilities();
    able.durable_inbox && able.ack == AckGuarantee::Redelivers
}

/// The kind of the error that ends a stream.
async fn ending(events: &mut crate::EventStream) -> ErrorKind {
    loop {
        match within(events.next()).await.expect("the stream ends with an error, not in silence") {
            Ok(_) => {}
            Err(error) => return error.kind(),
        }
    }
}
