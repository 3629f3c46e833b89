//! `send`.

use std::time::{Duration, Instant, SystemTime};

use super::kit::{
    DAY, backlog, in_conversation, is_quiet, next_message, once_each, pair, read_own, require, send, take,
    text, texts, within, word,
};
use super::{Harness, Outcome};
use crate::delivery::SendOutcome;
use crate::error::{ErrorKind, Reached};
use crate::id::{ConversationId, CorrelationId};
use crate::message::{Body, Outbound, Priority};

/// Every part of a message arrives as it was sent: priority and key where the network has them.
pub async fn send_delivers_every_part_of_a_message(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(4_102_444_800_123);
    let mut sent = Outbound::new(bob.address().clone(), Body::json(r#"{"text":"größe", "n":1.0}"#))
        .with_conversation(ConversationId::new("conversation-1").expect("id"))
        .with_correlation_id(CorrelationId::new("call-1").expect("id"))
        .with_reply_to(alice.address().clone())
        .with_header("x-custom", "kept as it is")
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
    assert_eq!(delivery.headers.get("x-custom"), Some("kept as it is"));
    assert_eq!(delivery.tags, ["first", "second"]);
    assert_eq!(delivery.deadline, Some(deadline));
    assert!(!delivery.redelivered);
    Outcome::Held
}

/// Headers arrive as they were sent, the trace context among them: no line is added, changed or lost.
pub async fn send_carries_headers_unchanged(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let sent = text(bob.address(), "traced")
        .with_header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .with_header("tracestate", "vendor=a:b;c, other=1")
        .with_header("X-Mixed-Case", "größe; a=\"b\", c")
        .with_header("x_under.score", "1")
        .with_header("empty", "")
        .with_header("long", "x".repeat(4096));
    let mut events = read_own(&bob).await;
    send(&alice, &sent).await;
    let got = next_message(&mut events).await.headers;
    for (name, value) in sent.headers.iter() {
        assert_eq!(got.get(&name.to_uppercase()), Some(value), "the header {name}");
    }
    assert_eq!(got.len(), sent.headers.len(), "no line is added: {got:?}");
    Outcome::Held
}

/// Bytes that are no text arrive unchanged, and so do none at all.
pub async fn send_carries_binary_bodies_unchanged(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let every_byte: Vec<u8> = (0..=255).chain([0xff, 0xfe, 0x00]).collect();
    let mut events = read_own(&bob).await;
    for bytes in [every_byte, Vec::new(), b"\xef\xbb\xbftext".to_vec(), b"\r\n\r\n".to_vec()] {
        let body = Body::binary(bytes);
        send(&alice, &Outbound::new(bob.address().clone(), body.clone())).await;
        assert_eq!(next_message(&mut events).await.body, body);
    }
    Outcome::Held
}

/// A body at the declared limit is carried, text or not, and one over it is refused before it is sent. A
/// network that declares none carries 4 MiB.
pub async fn send_carries_a_body_at_the_limit_and_none_over_it(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let limit = alice.capabilities().max_body;
    let size = limit.unwrap_or(4 * 1024 * 1024);
    if let Some(limit) = limit {
        let error = alice.capabilities().check(&text(bob.address(), "x".repeat(limit + 1)));
        let error = error.expect_err("the limit is declared and not checked");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::TooLarge, Reached::No));
    }
    let mut events = read_own(&bob).await;
    for byte in [b'x', 0xff] {
        let body = Body::binary(vec![byte; size]);
        send(&alice, &Outbound::new(bob.address().clone(), body.clone())).await;
        let delivery = next_message(&mut events).await;
        assert!(delivery.body == body, "{} of {size} bytes arrive", delivery.body.bytes.len());
        within(bob.ack(&[delivery.tag])).await.expect("settled");
    }
    Outcome::Held
}

/// A message whose time is over is not delivered any more; one with time left is.
pub async fn send_expires_with_its_ttl(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(alice; Ttl, DurableInbox);
    send(&alice, &text(bob.address(), "stale").with_ttl(Duration::from_secs(1))).await;
    send(&alice, &text(bob.address(), "fresh").with_ttl(DAY)).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(texts(&backlog(&mut read_own(&bob).await).await), ["fresh"]);
    Outcome::Held
}

/// A message that is to be held back arrives, and not before its time.
pub async fn send_held_back_arrives_after_its_delay(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(alice; Delay);
    let mut events = read_own(&bob).await;
    let (begun, delay) = (Instant::now(), Duration::from_secs(1));
    send(&alice, &text(bob.address(), "later").with_delay(delay)).await;
    send(&alice, &text(bob.address(), "now")).await;
    assert_eq!(word(&next_message(&mut events).await), "now");
    assert_eq!(word(&next_message(&mut events).await), "later");
    // Clocks that count whole seconds may have just begun one.
    assert!(begun.elapsed() + Duration::from_millis(10) >= delay, "after {:?}", begun.elapsed());
    Outcome::Held
}

/// Of several messages under one key that nobody has read, the newest is delivered; others are untouched.
pub async fn send_under_one_key_keeps_the_newest(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(alice; KeyedState, DurableInbox);
    for (words, key) in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a")] {
        send(&alice, &text(bob.address(), words).with_key(key)).await;
    }
    send(&alice, &text(bob.address(), "free")).await;
    let found = backlog(&mut read_own(&bob).await).await;
    let mut found = texts(&found);
    found.sort_unstable();
    assert_eq!(found, ["a3", "b1", "free"]);
    Outcome::Held
}

/// A send may be dropped at any moment: the attachment goes on, and the same value sent again arrives.
pub async fn send_dropped_at_any_point_can_be_repeated(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    let mut expected = Vec::new();
    for number in 0..24_u64 {
        let message = in_conversation(bob.address(), &format!("c{number}"), number.to_string());
        // Not even begun, then ever later on its way.
        let patience = Duration::from_micros(number * number * 10);
        let _ = tokio::time::timeout(patience, alice.send(&message)).await;
        send(&alice, &message).await;
        expected.push(number.to_string());
    }
    send(&alice, &text(bob.address(), "end")).await;
    expected.push("end".to_owned());
    let mut found = Vec::new();
    while once_each(&found).len() < expected.len() {
        let delivery = next_message(&mut events).await;
        within(bob.ack(std::slice::from_ref(&delivery.tag))).await.expect("settled");
        found.push(delivery);
    }
    let mut words = once_each(&found);
    words.sort_unstable();
    expected.sort_unstable();
    assert_eq!(words, expected);
    if alice.capabilities().server_dedup {
        assert_eq!(found.len(), expected.len(), "each is stored once");
    }
    Outcome::Held
}

/// Many sends under way at once are each accepted under an id of their own, and all arrive.
pub async fn send_many_at_once_loses_none(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    let messages: Vec<_> = (0..50).map(|number| text(bob.address(), format!("{number:02}"))).collect();
    let sends = messages.iter().map(|message| alice.send(message));
    let receipts = within(futures_util::future::join_all(sends)).await;
    let mut accepted: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt.as_ref().expect("accepted").message_id().expect("an id").clone())
        .collect();
    let found = take(&mut events, messages.len()).await;
    let mut delivered: Vec<_> = found.iter().map(|delivery| delivery.id.clone()).collect();
    accepted.sort();
    delivered.sort();
    assert_eq!(accepted, delivered);
    accepted.dedup();
    assert_eq!(accepted.len(), messages.len(), "no two have one id");
    assert!(is_quiet(&mut events).await, "each comes once");
    Outcome::Held
}
