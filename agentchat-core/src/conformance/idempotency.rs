//! A message is one message, however often it is sent.

use std::time::Duration;

use tokio::sync::mpsc;

use super::kit::{QUIET, is_quiet, next_message, pair, read_own, require, start, text, unique, within};
use super::{Harness, Outcome};
use crate::agent::{Agent, Request, ServeOptions, Serving};
use crate::delivery::SendOutcome;
use crate::error::{ErrorKind, Reached};
use crate::id::ClientMsgId;
use crate::options::CloseMode;

/// A network that says it recognises a repeated id answers with the first message's id.
pub async fn repeat_is_recognised_where_the_network_says_so(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(alice; ServerDedup);
    let message = text(bob.address(), "once");
    let mut events = read_own(&bob).await;
    let first = alice.send(&message).await.expect("accepted");
    let id = first.message_id().expect("an id").clone();
    assert_eq!(first.outcome, SendOutcome::Accepted(id.clone()));
    for _ in 0..2 {
        assert_eq!(alice.send(&message).await.expect("known").outcome, SendOutcome::Duplicate(id.clone()));
    }
    assert_eq!(next_message(&mut events).await.id, id);
    assert!(is_quiet(&mut events).await, "it is stored once");
    Outcome::Held
}

/// Two senders may use the same id for two messages: it is the sender's own.
pub async fn repeat_of_anothers_id_is_a_message_of_its_own(harness: &dyn Harness) -> Outcome {
    let bob = start(harness, "bob").await;
    let to = bob.address().clone();
    let (serving, mut log) = serve(bob).await;
    let id = ClientMsgId::derived("conformance", &unique("shared"));
    for (name, words) in [("alice", "hers"), ("carol", "theirs")] {
        let sender = start(harness, name).await;
        sender.send(&text(&to, words).with_id(id.clone())).await.expect("accepted");
    }
    let mut seen = [within(log.recv()).await, within(log.recv()).await];
    seen.sort();
    assert_eq!(seen, [Some("hers".to_owned()), Some("theirs".to_owned())]);
    drop(serving);
    Outcome::Held
}

/// A message sent again under its id, as after a lost answer, reaches the handler once; also when the
/// sender was away in between.
pub async fn repeat_is_handled_once(harness: &dyn Harness) -> Outcome {
    let bob = start(harness, "bob").await;
    let to = bob.address().clone();
    let (serving, mut log) = serve(bob).await;
    let message = text(&to, "once").with_id(ClientMsgId::derived("conformance", &unique("once")));
    for _ in 0..2 {
        let alice = start(harness, "alice").await;
        for _ in 0..2 {
            alice.send(&message).await.expect("accepted");
        }
        alice.close(CloseMode::Detach, Duration::from_secs(5)).await.expect("closed");
    }
    start(harness, "alice").await.send(&text(&to, "end")).await.expect("accepted");
    let mut seen = vec![within(log.recv()).await, within(log.recv()).await];
    // A repetition that is still under way has this long to show itself.
    while let Ok(more) = tokio::time::timeout(QUIET, log.recv()).await {
        seen.push(more);
    }
    seen.sort();
    assert_eq!(seen, [Some("end".to_owned()), Some("once".to_owned())]);
    drop(serving);
    Outcome::Held
}

/// An id that was used for one content is refused for another, before it is sent: servers would answer
/// it with the old message.
pub async fn repeat_with_another_content_is_a_conflict(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (start(harness, "alice").await, start(harness, "bob").await);
    let to = bob.address().clone();
    let (serving, mut log) = serve(bob).await;
    let message = text(&to, "the first content");
    alice.send(&message).await.expect("accepted");
    let id = message.client_msg_id.clone();
    for other in [
        text(&to, "another content"),
        text(alice.address(), "the first content"),
        text(&to, "the first content").with_header("x", "y"),
    ] {
        let error = alice.send(&other.with_id(id.clone())).await.expect_err("the id is taken");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Conflict, Reached::No));
    }
    assert_eq!(within(log.recv()).await.as_deref(), Some("the first content"));
    let nothing = tokio::time::timeout(QUIET, log.recv()).await;
    assert!(nothing.is_err(), "nothing else was sent: {nothing:?}");
    drop(serving);
    Outcome::Held
}

/// Serves with a handler that tells the texts it is given.
async fn serve(agent: Agent) -> ((Agent, Serving), mpsc::Receiver<String>) {
    let (handled, log) = mpsc::channel(16);
    let handler = move |request: Request| {
        let handled = handled.clone();
        async move { Ok(handled.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    let serving = agent.serve(handler, ServeOptions::default()).await.expect("the inbox is served");
    ((agent, serving), log)
}
