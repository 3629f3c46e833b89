//! Lost connections, outages, restarted servers, expired credentials.

use std::time::Duration;

use futures_util::future::join_all;

use super::kit::{
    Attached, DAY, attach, back, backlog, ending, findable, in_conversation, inflict, is_quiet, next_message,
    numbers, once_each, pair, read_own, redelivers, require, send, send_at_last, send_texts, tags, take,
    text, texts, within, word,
};
use super::register::card;
use super::{Harness, Outcome};
use crate::address::Address;
use crate::delivery::Receipt;
use crate::directory::Query;
use crate::error::{Error, ErrorKind, Reached};
use crate::message::Body;
use crate::options::{CloseMode, SubscribeOptions};

/// After a cut calls fail as disconnected, the stream ends with that error, and a new attachment has what
/// was not settled.
pub async fn cut_ends_the_attachment_and_loses_nothing(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; Reconnects);
    let mut events = read_own(&bob).await;
    send(&alice, &text(bob.address(), "kept")).await;
    let before = next_message(&mut events).await;
    inflict!(harness, cut, Cut);
    assert_eq!(ending(&mut events).await.kind(), ErrorKind::Disconnected);
    let error = within(bob.send(&text(bob.address(), "x"))).await.expect_err("the attachment is gone");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Disconnected, true));
    let back = attach(harness, "bob").await;
    assert_eq!(back.address(), bob.address(), "the inbox is the same");
    if redelivers(&bob) {
        let again = next_message(&mut read_own(&back).await).await;
        assert_eq!((again.id, again.body), (before.id, before.body));
    }
    Outcome::Held
}

/// A transport that reconnects by itself goes on after cuts: what it handed out before can be settled
/// afterwards and comes once, its subscriptions go on, fresh inboxes keep their address, and sends arrive.
pub async fn cut_is_survived_and_loses_nothing(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; EndsWithConnection, DurableInbox, Ack);
    let mut events = read_own(&bob).await;
    let mut fresh = match bob.capabilities().extra_inbox {
        true => Some(bob.subscribe(SubscribeOptions::fresh(DAY)).await.expect("opened")),
        false => None,
    };
    let mut taken = Vec::new();
    for round in 0..3 {
        if round > 0 {
            inflict!(harness, cut, Cut);
            let before = tags(&taken[2 * round - 2..2 * round - 1]);
            bob.ack(&before).await.expect("settled though the connection is gone");
        }
        send_texts(&alice, bob.address(), numbers(2 * round..2 * round + 2)).await;
        taken.extend(take(&mut events, 2).await);
    }
    assert_eq!(texts(&taken), numbers(0..6), "each comes once, in order");
    if let Some(fresh) = &mut fresh {
        send(&alice, &text(&fresh.address, "answer")).await;
        assert_eq!(word(&next_message(&mut fresh.events).await), "answer");
    }
    bob.ack(&tags(&taken)).await.expect("settled");
    assert!(is_quiet(&mut events).await, "nothing comes twice");
    drop((events, fresh));
    bob.close(CloseMode::Detach).await.expect("closed");
    let back = attach(harness, "bob").await;
    let again = backlog(&mut read_own(&back).await).await;
    assert!(again.is_empty(), "what was settled is settled at the network: {again:?}");
    Outcome::Held
}

/// A cut while sends are under way: each is accepted, or fails with an error that says that it may have
/// arrived, and repeating it is safe. In the end every message is there, the accepted ones among them.
pub async fn cut_during_sends_loses_nothing(harness: &dyn Harness) -> Outcome {
    let (mut alice, bob) = pair(harness).await;
    // What is delivered at most once may be on its way to a reader when the connection is cut.
    require!(bob; DurableInbox, Ack);
    let to = bob.address().clone();
    let mut all = Vec::new();
    for round in 0..3 {
        let conversation = |at: usize| format!("c{}", at % 4);
        let words = |at: usize| format!("{round}.{at}");
        let messages: Vec<_> = (0..12).map(|at| in_conversation(&to, &conversation(at), words(at))).collect();
        // The last time they are certainly under way, where the harness can hold them there.
        let stalled = round == 2 && harness.stall().await;
        let cutting = async {
            tokio::time::sleep(Duration::from_millis(if stalled { 50 } else { round })).await;
            let cut = harness.cut().await;
            harness.heal().await;
            cut
        };
        let sending = join_all(messages.iter().map(|message| alice.send(message)));
        let (outcomes, cut) = within(async { tokio::join!(sending, cutting) }).await;
        if !cut {
            return Outcome::Skipped(super::Skip::Cut);
        }
        let failed: Vec<_> = messages
            .iter()
            .zip(outcomes)
            .filter_map(|(message, outcome)| may_be_repeated(outcome).then_some(message))
            .collect();
        assert!(failed.is_empty() || !alice.capabilities().reconnects, "it was to survive this");
        alice = back(harness, alice, "alice").await;
        for message in failed {
            send(&alice, message).await;
        }
        all.extend((0..12).map(words));
    }
    let bob = attach(harness, "bob").await;
    let found = backlog(&mut read_own(&bob).await).await;
    let mut words = once_each(&found);
    words.sort_unstable();
    all.sort_unstable();
    assert_eq!(words, all);
    if bob.capabilities().server_dedup {
        assert_eq!(found.len(), all.len(), "each is stored once");
    }
    Outcome::Held
}

/// During an outage connecting fails, soon, with an error that says that trying again may help; it does.
pub async fn outage_is_told_as_worth_trying_again(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; Reconnects);
    inflict!(harness, outage, Outage);
    let error = within(alice.send(&text(bob.address(), "x"))).await.expect_err("nothing is reached");
    assert_ne!(error.reached(), Reached::Yes);
    let connecting = harness.connector("alice").await;
    let connecting = tokio::time::timeout(harness.patience(), connecting.connect()).await;
    let error = connecting.expect("it ends by its deadline").expect_err("nobody is let in");
    assert!(error.is_retryable() && !error.is_fatal(), "{error:?}");
    assert!(matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Timeout), "{error:?}");
    harness.heal().await;
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    send(&alice, &text(bob.address(), "after")).await;
    assert_eq!(word(&next_message(&mut events).await), "after");
    Outcome::Held
}

/// A transport that reconnects waits for the end of an outage: sends begun in it are accepted afterwards,
/// and its subscriptions give them.
pub async fn outage_is_waited_out(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; EndsWithConnection, DurableInbox);
    let mut events = read_own(&bob).await;
    inflict!(harness, outage, Outage);
    let to = bob.address().clone();
    let messages: Vec<_> = numbers(0..5).into_iter().map(|words| in_conversation(&to, "c", words)).collect();
    let mut sending = Box::pin(join_all(messages.iter().map(|message| alice.send(message))));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut sending).await;
    assert!(early.is_err(), "nothing is accepted that reaches nobody: {early:?}");
    harness.heal().await;
    for outcome in within(sending).await {
        outcome.expect("accepted after the outage");
    }
    assert_eq!(texts(&take(&mut events, 5).await), numbers(0..5));
    assert!(is_quiet(&mut events).await, "each comes once");
    Outcome::Held
}

/// A server that is started again has what it had accepted: messages, cards, keyed state.
pub async fn restart_keeps_what_was_accepted(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; DurableInbox);
    let able = bob.capabilities().clone();
    let name = findable(&bob, "coder");
    if able.directory {
        bob.register(&card(&name, "Outlives its server")).await.expect("registered");
    }
    if able.keyed_state {
        bob.put(bob.address(), "progress", Body::text("90%")).await.expect("stored");
    }
    send_texts(&alice, bob.address(), numbers(0..20)).await;
    inflict!(harness, restart, Restart);
    let alice = back(harness, alice, "alice").await;
    let bob = back(harness, bob, "bob").await;
    for words in numbers(20..22) {
        send_at_last(&alice, &in_conversation(bob.address(), "c", words)).await;
    }
    let found = backlog(&mut read_own(&bob).await).await;
    let mut found = texts(&found);
    found.sort_unstable_by_key(|words| words.parse::<usize>().ok());
    // A repeated attempt may be stored twice where the network does not recognise it.
    found.dedup();
    assert_eq!(found, numbers(0..22));
    if able.directory {
        let found = alice.discover(&Query::name(&name)).await.expect("an answer");
        assert_eq!(found.agents.len(), 1, "the card is kept");
        assert_eq!(found.agents[0].address.as_ref(), Some(bob.address()));
        bob.unregister().await.expect("unregistered");
    }
    if able.keyed_state {
        let value = alice.get(bob.address(), "progress").await.expect("an answer").expect("it is kept");
        assert_eq!(value.body, Body::text("90%"));
    }
    Outcome::Held
}

/// Credentials that expire end the attachment with one error that says that repeating cannot help, also
/// of a transport that reconnects; so does connecting with them. Only a new attachment comes back.
pub async fn expire_is_told_once_and_is_final(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    inflict!(harness, expire, Expire);
    let error = ending(&mut events).await;
    assert!(error.is_fatal() && !error.is_retryable(), "{error:?}");
    let to = bob.address().clone();
    let reached = final_error(&alice, &to).await;
    let connecting = harness.connector("bob").await;
    let connecting = tokio::time::timeout(harness.patience(), connecting.connect()).await;
    let error = connecting.expect("it ends by its deadline").expect_err("the credentials are refused");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unauthorized, false), "{error:?}");
    harness.heal().await;
    final_error(&alice, &to).await;
    let bob = attach(harness, "bob").await;
    let mut events = read_own(&bob).await;
    send(&attach(harness, "alice").await, &text(&to, "again")).await;
    let mut next = next_message(&mut events).await;
    // A session may not have known yet that it was over, and one with a store sends later what it kept.
    while reached != Reached::No && word(&next) != "again" {
        next = next_message(&mut events).await;
    }
    assert_eq!(word(&next), "again", "what certainly did not arrive does not arrive later");
    Outcome::Held
}

async fn final_error(on: &Attached, to: &Address) -> Reached {
    let error = within(on.send(&text(to, "x"))).await.expect_err("the attachment has ended");
    assert!(!error.is_retryable(), "{error:?}");
    error.reached()
}

/// Whether a send failed, in a way that permits to repeat it.
fn may_be_repeated(outcome: Result<Receipt, Error>) -> bool {
    let Err(error) = outcome else { return false };
    assert!(matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Timeout), "{error:?}");
    assert!(error.reached() != Reached::Yes && error.is_retryable(), "{error:?}");
    true
}
