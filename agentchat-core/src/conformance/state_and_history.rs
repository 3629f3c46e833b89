//! What capabilities add: keyed state, history.

use super::kit::{
    backlog, in_conversation, next_message, numbers, pair, read_own, require, send, send_texts, tags, take,
    text, texts, word,
};
use super::{Harness, Outcome};
use crate::address::Address;
use crate::delivery::Delivery;
use crate::id::ConversationId;
use crate::message::Body;
use crate::transport::{EventStream, ReplayRange};

/// Of several values under a key the newest is read; reading consumes nothing, and state is no message.
pub async fn put_keeps_the_newest_value(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; KeyedState);
    assert!(alice.get(bob.address(), "progress").await.expect("an answer").is_none());
    for value in ["10%", "60%", "90%"] {
        bob.put(bob.address(), "progress", Body::text(value)).await.expect("stored");
    }
    for _ in 0..2 {
        let value = alice.get(bob.address(), "progress").await.expect("an answer").expect("a value");
        assert_eq!(value.body, Body::text("90%"));
    }
    let delivered = backlog(&mut read_own(&bob).await).await;
    assert!(delivered.is_empty(), "state is not delivered as messages: {delivered:?}");
    Outcome::Held
}

/// Each inbox has its own keys, and each key its own value, whatever bytes it is; others can set it too.
pub async fn put_keeps_keys_and_inboxes_apart(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; KeyedState);
    let values = [
        (&alice, &bob, "a", Body::text("bob's a, by alice")),
        (&bob, &bob, "b", Body::binary(vec![0xff, 0x00, 0xfe])),
        (&alice, &alice, "a", Body::json(r#"{"n":1.0}"#)),
    ];
    for (by, at, key, value) in &values {
        by.put(at.address(), key, value.clone()).await.expect("stored");
    }
    for (_, at, key, value) in &values {
        let found = bob.get(at.address(), key).await.expect("an answer").expect("a value");
        assert_eq!(&found.body, value);
    }
    assert!(bob.get(alice.address(), "b").await.expect("an answer").is_none());
    Outcome::Held
}

/// History gives a stretch of one conversation, oldest first, settled or not, as it was delivered.
pub async fn replay_gives_a_stretch_of_a_conversation(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; Replay);
    let mut events = read_own(&bob).await;
    send_texts(&alice, bob.address(), numbers(0..6)).await;
    let delivered = take(&mut events, 6).await;
    send(&alice, &in_conversation(bob.address(), "another", "x")).await;
    next_message(&mut events).await;
    bob.ack(&tags(&delivered[..4])).await.expect("settled");
    let seq = |at: usize| delivered[at].seq.expect("a network with history numbers its messages");
    let conversation = ConversationId::new("c").expect("id");
    for (from, limit, expected) in [(0, 100, 0..6), (2, 3, 2..5), (5, 10, 5..6), (0, 0, 0..0)] {
        let range = ReplayRange::new(seq(from), limit);
        let found = bob.replay(&conversation, range).await.expect("an answer");
        assert_eq!(texts(&found), numbers(expected.clone()));
        for (row, before) in found.iter().zip(&delivered[expected]) {
            assert_eq!(
                (&row.id, row.seq, &row.client_msg_id),
                (&before.id, before.seq, &before.client_msg_id)
            );
        }
    }
    let past_the_end = ReplayRange::new(seq(5) + 1, 10);
    assert!(bob.replay(&conversation, past_the_end).await.expect("an answer").is_empty());
    let nothing = ConversationId::new("never-begun").expect("id");
    assert!(bob.replay(&nothing, ReplayRange::new(0, 10)).await.expect("an answer").is_empty());
    send(&alice, &text(bob.address(), "live")).await;
    assert_eq!(word(&next_message(&mut events).await), "live", "reading history takes nothing away");
    Outcome::Held
}

/// Numbers count every message of a conversation that an inbox gets or its owner sends, without holes; the
/// receipt tells the sender its number, and history has them all.
pub async fn replay_numbers_both_sides_of_a_conversation(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; Numbered, Replay);
    let (mut hers, mut his) = (read_own(&alice).await, read_own(&bob).await);
    let mut numbers = Vec::new();
    for (from_bob, words) in [(false, "one"), (false, "two"), (true, "three"), (false, "four")] {
        let (from, to) = if from_bob { (&bob, &alice) } else { (&alice, &bob) };
        let receipt = from.send(&in_conversation(to.address(), "c", words)).await.expect("accepted");
        let own = if from_bob { &mut hers } else { &mut his };
        let delivery = next_from(own, from.address()).await;
        assert_eq!(word(&delivery), words);
        let seq = if from_bob { receipt.seq } else { delivery.seq };
        numbers.push(seq.expect("a number as bob's inbox counts"));
    }
    let first = numbers[0];
    assert!(numbers.iter().copied().eq(first..first + 4), "{numbers:?}");
    let conversation = ConversationId::new("c").expect("id");
    let found = bob.replay(&conversation, ReplayRange::new(first, 10)).await.expect("an answer");
    assert_eq!(texts(&found), ["one", "two", "three", "four"]);
    assert!(found.iter().map(|row| row.seq).eq(numbers.into_iter().map(Some)));
    Outcome::Held
}

/// The next message of that sender: a network may echo what its agent sends.
async fn next_from(events: &mut EventStream, sender: &Address) -> Delivery {
    loop {
        let delivery = next_message(events).await;
        if delivery.sender.as_ref() == Some(sender) {
            return delivery;
        }
    }
}
