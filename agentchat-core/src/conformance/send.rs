//! `send`.

use std::time::{Duration, SystemTime};

use super::{Harness, Outcome, QUIET, attach, is_quiet, next_message, read_own, within};
use crate::agent::{Agent, Request, ServeOptions};
use crate::delivery::SendOutcome;
use crate::error::{ErrorKind, Reached};
use crate::id::{ClientMsgId, ConversationId, CorrelationId};
use crate::message::{Body, Outbound, Priority};

/// Every part of a message arrives as it was sent: priority and key where the network has them.
pub async fn send_delivers_every_part_of_a_message(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(4_102_444_800_123);
    let mut sent = Outbound::new(bob.address().clone(), Body::json(r#"{"text":"größe", "n":1.0}"#))
        .with_conversation(ConversationId::new("conversation-1").expect("id"))
        .with_correlation_id(CorrelationId::new("call-1").expect("id"))
        .with_reply_to(alice.address().clone())
        .with_header("x-custom", "kept as it is")
        .with_header("x-other", "größe; a=\"b\", c")
        .with_tag("first")
        .with_tag("second")
        .with_deadline(deadline);
    if alice.capabilities().priority {
        sent.priority = Priority::Urgent;
    }
    sent.key = alice.capabilities().keyed_state.then(|| "state of things".to_owned());
    let mut events = read_own(&bob).await;
    let receipt = alice.send(&sent).await.expect("accepted");
    let delivery = next_message(&mut events).await;
    assert_eq!(receipt.outcome, SendOutcome::Accepted(delivery.id.clone()));
    assert_eq!(delivery.client_msg_id.as_ref(), Some(&sent.client_msg_id));
    assert_eq!(delivery.body, sent.body);
    assert_eq!(delivery.conversation, sent.conversation);
    assert_eq!(delivery.correlation_id, sent.correlation_id);
    assert_eq!(delivery.reply_to.as_ref(), Some(alice.address()));
    assert_eq!(delivery.sender.as_ref(), Some(alice.address()));
    assert_eq!((delivery.priority, &delivery.key), (sent.priority, &sent.key));
    for (name, value) in sent.headers.iter() {
        assert_eq!(delivery.headers.get(&name.to_uppercase()), Some(value));
    }
    assert_eq!(delivery.headers.len(), sent.headers.len(), "no line is added: {:?}", delivery.headers);
    assert_eq!(delivery.tags, ["first", "second"]);
    assert_eq!(delivery.deadline, Some(deadline));
    assert!(!delivery.redelivered);
    Outcome::Held
}

/// Bytes that are no text arrive unchanged, and so do none at all.
pub async fn send_carries_binary_bodies_unchanged(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    let every_byte: Vec<u8> = (0..=255).chain([0xff, 0xfe, 0x00]).collect();
    let mut events = read_own(&bob).await;
    for bytes in [every_byte, Vec::new(), b"\xef\xbb\xbftext".to_vec()] {
        let body = Body::binary(bytes);
        alice.send(&Outbound::new(bob.address().clone(), body.clone())).await.expect("accepted");
        assert_eq!(next_message(&mut events).await.body, body);
    }
    Outcome::Held
}

/// A send to an inbox that does not exist is the server's refusal, not a success.
pub async fn send_to_nobody_is_refused(harness: &dyn Harness) -> Outcome {
    let alice = attach(harness, "alice").await;
    let mut nobody = alice.address().as_str().to_owned();
    nobody.push_str("nobody");
    let to = crate::Address::parse(nobody).expect("valid");
    let error = alice.send(&Outbound::new(to, Body::text("hello"))).await.expect_err("there is nobody");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::NotFound, Reached::Yes));
    Outcome::Held
}

/// A body over the declared limit is refused locally; one at the limit is carried.
pub async fn send_of_too_large_a_body_is_refused_before_it_is_sent(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    let Some(limit) = alice.capabilities().max_body else {
        return Outcome::Skipped("the network has no limit");
    };
    let of = |size: usize| Outbound::new(bob.address().clone(), Body::text("x".repeat(size)));
    let error = match alice.capabilities().check(&of(limit + 1)) {
        Ok(()) => panic!("the limit is declared and not checked"),
        Err(error) => error,
    };
    assert_eq!((error.kind(), error.reached()), (ErrorKind::TooLarge, Reached::No));
    let mut events = read_own(&bob).await;
    alice.send(&of(limit)).await.expect("a body at the limit is carried");
    assert_eq!(next_message(&mut events).await.body.bytes.len(), limit);
    Outcome::Held
}

/// A network that says it recognises a repeated id answers with the first message's id.
pub async fn send_repeated_is_recognised_where_the_network_says_so(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    if !alice.capabilities().server_dedup {
        return Outcome::Skipped("the network does not recognise repeated ids itself");
    }
    let message = Outbound::new(bob.address().clone(), Body::text("once"));
    let mut events = read_own(&bob).await;
    let first = alice.send(&message).await.expect("accepted");
    let id = first.message_id().expect("an id").clone();
    assert_eq!(first.outcome, SendOutcome::Accepted(id.clone()));
    assert_eq!(alice.send(&message).await.expect("known").outcome, SendOutcome::Duplicate(id.clone()));
    assert_eq!(next_message(&mut events).await.id, id);
    assert!(is_quiet(&mut events).await, "it is stored once");
    Outcome::Held
}

/// A message sent again under its id, as after a lost answer, reaches the handler once.
pub async fn send_repeated_under_one_id_is_handled_once(harness: &dyn Harness) -> Outcome {
    let alice = Agent::builder(harness.connector("alice").await).start().await.expect("started");
    let bob = Agent::builder(harness.connector("bob").await).start().await.expect("started");
    let (handled, mut log) = tokio::sync::mpsc::channel(16);
    let handler = move |request: Request| {
        let handled = handled.clone();
        async move { Ok(handled.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("the inbox is served");
    let message = Outbound::new(bob.address().clone(), Body::text("once"))
        .with_id(ClientMsgId::derived("conformance", &super::directory::unique("once")));
    for _ in 0..3 {
        alice.send(&message).await.expect("accepted");
    }
    let end = Outbound::new(bob.address().clone(), Body::text("end"));
    alice.send(&end).await.expect("accepted");
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
