//! `close`.

use std::time::Duration;

use super::kit::{DAY, ending, findable, is_quiet, pair, read_own, require, start, text, within};
use super::register::card;
use super::{Harness, Outcome};
use crate::address::Address;
use crate::agent::Agent;
use crate::directory::{Heartbeat, Query};
use crate::error::{Advice, ErrorKind, Reached, Result};
use crate::id::ConversationId;
use crate::message::{Body, Outbound};
use crate::options::{CloseMode, SubscribeOptions};
use crate::transport::ReplayRange;

/// Closing ends what is being read with an item that says so, and nothing comes behind it.
pub async fn close_ends_subscriptions_with_the_reason(harness: &dyn Harness) -> Outcome {
    let (_alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    let mut fresh = match bob.capabilities().extra_inbox {
        true => Some(bob.subscribe(SubscribeOptions::fresh(DAY)).await.expect("opened").events),
        false => None,
    };
    assert!(is_quiet(&mut events).await);
    within(bob.close(CloseMode::Detach)).await.expect("closed");
    for events in [Some(&mut events), fresh.as_mut()].into_iter().flatten() {
        assert_eq!(ending(events).await.kind(), ErrorKind::Closed);
    }
    Outcome::Held
}

/// Closing again is refused at once, in either mode, and closing twice at the same time is done for both.
pub async fn close_again_is_closed(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    within(bob.close(CloseMode::Detach)).await.expect("closed");
    for mode in [CloseMode::Detach, CloseMode::Retire] {
        let again = tokio::time::timeout(Duration::from_secs(1), bob.close(mode)).await;
        let error = again.expect("there is nothing to wait for").expect_err("it was closed before");
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Closed, "close"), "{error:?}");
        assert_eq!((error.advice(), error.reached()), (Advice::Never, Reached::No), "{error:?}");
    }
    let (one, two) =
        within(async { tokio::join!(alice.close(CloseMode::Detach), alice.close(CloseMode::Detach)) }).await;
    one.and(two).expect("both at once are fine");
    is_closed(within(alice.close(CloseMode::Detach)).await);
    Outcome::Held
}

/// After closing, every verb answers that the attachment is closed.
pub async fn close_makes_every_verb_answer_closed(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let to = alice.address().clone();
    within(bob.close(CloseMode::Detach)).await.expect("closed");
    let able = bob.capabilities();
    is_closed(within(bob.send(&text(&to, "x"))).await);
    is_closed(within(bob.subscribe(SubscribeOptions::own())).await);
    is_closed(within(bob.ack(&[])).await);
    if able.extra_inbox {
        is_closed(within(bob.subscribe(SubscribeOptions::fresh(DAY))).await);
    }
    if able.directory {
        is_closed(within(bob.register(&card("closed", "Is closed"))).await);
        is_closed(within(bob.unregister()).await);
        is_closed(within(bob.report(&Heartbeat::new("online", DAY))).await);
        is_closed(within(bob.discover(&Query::all())).await);
    }
    if able.keyed_state {
        is_closed(within(bob.put(&to, "key", Body::text("x"))).await);
        is_closed(within(bob.get(&to, "key")).await);
    }
    if able.replay {
        let conversation = ConversationId::new("c").expect("id");
        is_closed(within(bob.replay(&conversation, ReplayRange::new(0, 1))).await);
    }
    Outcome::Held
}

/// An agent that detaches is away, not gone: it is found and its inbox goes on collecting.
pub async fn close_detached_keeps_the_agent_findable(harness: &dyn Harness) -> Outcome {
    let asker = start(harness, "asker").await;
    require!(asker; Directory, DurableInbox);
    let (name, address) = registered_then_closed(harness, "away", CloseMode::Detach).await;
    let found = asker.discover(&Query::name(&name)).await.expect("an answer");
    assert_eq!(found.agents.len(), 1);
    asker.send(&Outbound::new(address, Body::text("for later"))).await.expect("its inbox collects");
    let back = start(harness, "worker").await;
    back.close(CloseMode::Retire, Duration::from_secs(1)).await.expect("retired");
    Outcome::Held
}

/// An agent that retires is not found any more.
pub async fn close_retired_takes_the_agent_out_of_the_directory(harness: &dyn Harness) -> Outcome {
    let asker = start(harness, "asker").await;
    require!(asker; Directory, Cards);
    let (name, _) = registered_then_closed(harness, "gone", CloseMode::Retire).await;
    assert!(asker.discover(&Query::name(&name)).await.expect("an answer").agents.is_empty());
    Outcome::Held
}

async fn registered_then_closed(harness: &dyn Harness, wish: &str, mode: CloseMode) -> (String, Address) {
    let connector = harness.connector("worker").await;
    let name = findable(&connector.connect().await.expect("attached"), wish);
    let builder = Agent::builder(connector);
    let worker = builder.card(card(&name, "Comes and goes")).start().await.expect("started");
    let address = worker.address().clone();
    let report = worker.close(mode, Duration::from_secs(5)).await.expect("closed");
    assert!(report.drained);
    (name, address)
}

fn is_closed<T: std::fmt::Debug>(answer: Result<T>) {
    let error = answer.expect_err("the attachment is closed");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Closed, false), "{error:?}");
}
