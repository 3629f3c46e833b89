//! The order of deliveries.

use std::collections::BTreeMap;

use super::kit::{
    attach, back, backlog, in_conversation, inflict, next_message, numbers, pair, read_own, require, send,
    send_texts, take, text, texts, within, word,
};
use super::{Harness, Outcome};
use crate::capability::OrderGuarantee;
use crate::delivery::Delivery;
use crate::id::ConversationId;
use crate::message::Priority;

/// Each of many conversations that are written to at once keeps its order.
pub async fn order_holds_within_each_of_many_conversations(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; Order);
    let (conversations, length) = (8, 10);
    let mut events = read_own(&bob).await;
    let to = bob.address();
    let writing = (0..conversations).map(|number| {
        let alice = &alice;
        async move {
            for words in numbers(0..length) {
                send(alice, &in_conversation(to, &format!("c{number}"), words)).await;
            }
        }
    });
    let reading = async {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..conversations * length {
            let delivery = next_message(&mut events).await;
            bob.ack(std::slice::from_ref(&delivery.tag)).await.expect("settled");
            let conversation = delivery.conversation.as_ref().expect("carried").to_string();
            found.entry(conversation).or_default().push(word(&delivery).to_owned());
        }
        found
    };
    let (_, found) = tokio::join!(futures_util::future::join_all(writing), reading);
    assert_eq!(found.len(), conversations);
    for (conversation, words) in found {
        assert_eq!(words, numbers(0..length), "in {conversation}");
    }
    Outcome::Held
}

/// A conversation goes on in its order over a lost connection, on either side.
pub async fn order_holds_over_a_reconnect(harness: &dyn Harness) -> Outcome {
    let (mut alice, mut bob) = pair(harness).await;
    require!(bob; Order, DurableInbox, Ack);
    let to = bob.address().clone();
    let mut events = read_own(&bob).await;
    let mut settled = Vec::new();
    for round in 0..3 {
        send_texts(&alice, &to, numbers(round * 6..round * 6 + 6)).await;
        for _ in 0..3 {
            let delivery = next_message(&mut events).await;
            within(bob.ack(std::slice::from_ref(&delivery.tag))).await.expect("settled");
            settled.push(number(&delivery));
        }
        inflict!(harness, cut, Cut);
        alice = back(harness, alice, "alice").await;
        if !bob.capabilities().reconnects {
            drop(events);
            bob = attach(harness, "bob").await;
            events = read_own(&bob).await;
        }
    }
    // What was settled just before a cut may come again; the order stands all the same.
    let settled = settled.into_iter().max().expect("some were settled");
    let mut due = settled + 1;
    while due < 18 {
        let number = number(&next_message(&mut events).await);
        assert!(number == due || number <= settled, "{number} comes where {due} is due");
        due += usize::from(number == due);
    }
    Outcome::Held
}

/// The backlog comes the most urgent class first, each class in its order.
pub async fn order_puts_urgent_messages_first(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; Priority, DurableInbox);
    for (words, priority) in [
        ("n1", Priority::Normal),
        ("u1", Priority::Urgent),
        ("c1", Priority::Critical),
        ("n2", Priority::Normal),
        ("c2", Priority::Critical),
    ] {
        let conversation = ConversationId::new(&words[..1]).expect("id");
        let message = text(bob.address(), words).with_conversation(conversation).with_priority(priority);
        send(&alice, &message).await;
    }
    let waited = backlog(&mut read_own(&bob).await).await;
    let mut waited = texts(&waited);
    let classes: String = waited.iter().map(|words| &words[..1]).collect();
    assert_eq!(classes, "ccunn");
    if bob.capabilities().order == OrderGuarantee::None {
        waited[..2].sort_unstable();
        waited[3..].sort_unstable();
    }
    assert_eq!(waited, ["c1", "c2", "u1", "n1", "n2"]);
    Outcome::Held
}

/// Where order is kept within a conversation whatever the priority, an urgent message of a conversation
/// does not overtake its earlier ones.
pub async fn order_of_a_conversation_stands_over_its_priorities(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    require!(bob; Order);
    let mut events = read_own(&bob).await;
    let able = alice.capabilities();
    let by_priority = able.order == OrderGuarantee::ConversationAndPriority;
    for (at, words) in numbers(0..6).into_iter().enumerate() {
        let urgent = able.priority && at % 2 == 1;
        let message = in_conversation(bob.address(), "c", words);
        let message = if urgent { message.with_priority(Priority::Urgent) } else { message };
        send(&alice, &message).await;
    }
    let found = take(&mut events, 6).await;
    if by_priority {
        for class in [Priority::Normal, Priority::Urgent] {
            let own: Vec<_> = found.iter().filter(|delivery| delivery.priority == class).map(word).collect();
            assert!(own.is_sorted(), "{class:?}: {own:?}");
        }
    } else {
        assert_eq!(texts(&found), numbers(0..6));
    }
    Outcome::Held
}

fn number(delivery: &Delivery) -> usize {
    word(delivery).parse().expect("a number")
}
