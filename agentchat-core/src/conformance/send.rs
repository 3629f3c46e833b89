//! `send`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::{Harness, Outcome, attach, next_message, read_own, within};
use crate::agent::{Agent, Request, ServeOptions};
use crate::delivery::SendOutcome;
use crate::error::{ErrorKind, Reached};
use crate::id::{ClientMsgId, ConversationId, CorrelationId};
use crate::message::{Body, Outbound};

/// Every part of a message arrives as it was sent.
pub async fn send_delivers_every_part_of_a_message(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (attach(harness, "alice").await, attach(harness, "bob").await);
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(4_102_444_800_123);
    let sent = Outbound::new(bob.address().clone(), Body::json(r#"{"text":"größe", "n":1.0}"#))
        .with_conversation(ConversationId::new("conversation-1").expect("id"))
        .with_correlation_id(CorrelationId::new("call-1").expect("id"))
        .with_reply_to(alice.address().clone())
        .with_header("x-custom", "kept as it is")
        .with_tag("first")
        .with_tag("second")
        .with_deadline(deadline);
    let receipt = alice.send(&sent).await.expect("accepted");
    let delivery = next_message(&mut read_own(&bob).await).await;
    assert_eq!(receipt.outcome, SendOutcome::Accepted(delivery.id.clone()));
    assert_eq!(delivery.client_msg_id.as_ref(), Some(&sent.client_msg_id));
    assert_eq!(delivery.body, sent.body);
    assert_eq!(delivery.conversation, sent.conversation);
    assert_eq!(delivery.correlation_id, sent.correlation_id);
    assert_eq!(delivery.reply_to.as_ref(), Some(alice.address()));
    assert_eq!(delivery.sender.as_ref(), Some(alice.address()));
    assert_eq!(delivery.headers.get("X-Custom"), Some("kept as it is"));
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
    alice.send(&of(limit)).await.expect("a body at the limit is carried");
    assert_eq!(next_message(&mut read_own(&bob).await).await.body.bytes.len(), limit);
    Outcome::Held
}

/// A message sent again under its id, as after a lost answer, reaches the handler once.
pub async fn send_repeated_under_one_id_is_handled_once(harness: &dyn Harness) -> Outcome {
    let alice = Agent::builder(harness.connector("alice").await).start().await.expect("started");
    let bob = Agent::builder(harness.connector("bob").await).start().await.expect("started");
    let message = Outbound::new(bob.address().clone(), Body::text("once"))
        .with_id(ClientMsgId::derived("conformance", &super::directory::unique("once")));
    for _ in 0..3 {
        alice.send(&message).await.expect("accepted");
    }
    let end = Outbound::new(bob.address().clone(), Body::text("end"));
    alice.send(&end).await.expect("accepted");

    let handled = Arc::new(AtomicU32::new(0));
    let (done, mut ended) = tokio::sync::mpsc::channel(1);
    let counter = Arc::clone(&handled);
    let handler = move |request: Request| {
        let (counter, done) = (Arc::clone(&counter), done.clone());
        async move {
            match request.body().as_str() {
                Some("once") => drop(counter.fetch_add(1, Ordering::SeqCst)),
                _ => done.send(()).await?,
            }
            Ok(())
        }
    };
    let serving =
        bob.serve(handler, ServeOptions::default().with_concurrency(1)).await.expect("the inbox is served");
    within(ended.recv()).await.expect("the last message is handled");
    assert_eq!(handled.load(Ordering::SeqCst), 1);
    drop(serving);
    Outcome::Held
}
