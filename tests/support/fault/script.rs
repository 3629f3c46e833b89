//! A script of messages from one session to another, and what must be true of it afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agentchat_core::{
    Body, CloseMode, Connector, ConversationId, ErrorKind, Event, Outbound, Resilient, SubscribeOptions,
    Transport,
};
use futures_util::StreamExt;

use super::{MS, SECOND, message, session, soon, text};

/// How many conversations the messages are spread over; each fifth message belongs to none.
const CONVERSATIONS: u64 = 7;

/// Which conversation message `number` belongs to.
pub fn line(number: u64) -> Option<u64> {
    (number % 5 != 4).then_some(number % CONVERSATIONS)
}

/// Message `number` of a script.
pub fn outbound(to: &agentchat_core::Address, number: u64) -> Outbound {
    let message = Outbound::new(to.clone(), Body::text(number.to_string()));
    match line(number) {
        Some(line) => message.with_conversation(ConversationId::new(format!("c{line}")).expect("id")),
        None => message,
    }
}

/// Sends `count` messages from `alice` to `bob`, who settles them in batches and not always in order. Then
/// everything accepted has come once and in order, nothing else has within `quiet`, and the network has
/// forgotten it all.
pub async fn run(
    alice: impl Connector + Clone,
    bob: impl Connector + Clone,
    count: u64,
    seed: u64,
    quiet: Duration,
) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let (writer, reader) = (session(alice, seed).await, session(bob.clone(), seed + 1).await);
    let to = reader.address().clone();
    let bounds = SubscribeOptions::own().with_max_unsettled(dice.usize(8..256));
    let mut events = soon("subscribing", reader.subscribe(bounds)).await.expect("subscribed").events;
    let pause = MS * dice.u32(0..3);
    let sender = tokio::spawn(async move {
        let mut under_way = Vec::new();
        for number in 0..count {
            under_way.push(writer.try_send(outbound(&to, number)).expect("there is room"));
            tokio::time::sleep(pause).await;
        }
        for (number, sending) in under_way.into_iter().enumerate() {
            let sent = soon("sending", sending).await;
            assert!(sent.is_ok(), "message {number} was not accepted: {sent:?}");
        }
        writer
    });
    let mut order = Order::default();
    let mut unsettled = Vec::new();
    let mut batch = dice.usize(1..8);
    for _ in 0..count {
        let delivery = message(&mut events, 600 * SECOND).await.unwrap_or_else(|| order.report(count));
        order.add(&text(&delivery));
        unsettled.push(delivery.tag);
        if unsettled.len() >= batch {
            dice.shuffle(&mut unsettled);
            let kept = unsettled.split_off(dice.usize(1..=unsettled.len()));
            reader.ack(&std::mem::replace(&mut unsettled, kept)).await.expect("settled");
            batch = dice.usize(1..8);
        }
    }
    reader.ack(&unsettled).await.expect("settled");
    let writer = soon("the sender", sender).await.expect("no panic");
    if let Some(more) = message(&mut events, quiet).await {
        panic!("message {} came again", text(&more));
    }
    order.check(count);
    let (sent, got) = (writer.stats(), reader.stats());
    assert_eq!((sent.queued_messages, sent.queued_bytes, sent.parked), (0, 0, 0));
    assert_eq!((got.delivered, got.received), (count, count + got.duplicates));
    drop(events);
    let mut clean = true;
    for session in [writer, reader] {
        let closed = soon("closing", session.close(CloseMode::Detach)).await;
        // Closing itself may be cut, or get no answer.
        let cut = |kind| matches!(kind, ErrorKind::Disconnected | ErrorKind::Timeout);
        assert!(closed.as_ref().err().is_none_or(|error| cut(error.kind())), "{closed:?}");
        clean &= closed.is_ok();
    }
    // A closing that was cut may have left acknowledgements behind.
    if clean {
        is_empty(session(bob, seed + 2).await).await;
    }
}

/// The session's own inbox has nothing in it.
pub async fn is_empty(reader: Resilient) {
    let opened = soon("subscribing", reader.subscribe(SubscribeOptions::own())).await.expect("subscribed");
    let mut events = opened.events;
    let first = soon("the first event", events.next()).await.expect("an event").expect("no error");
    assert_eq!(first, Event::CaughtUp, "the network still has it");
}

/// What came, in the order it came.
#[derive(Debug, Default)]
pub struct Order {
    seen: BTreeSet<u64>,
    lines: BTreeMap<u64, u64>,
}

impl Order {
    /// Takes in what came, which must be new and in its conversation's order.
    pub fn add(&mut self, text: &str) {
        let number: u64 = text.parse().expect("a number");
        assert!(self.seen.insert(number), "message {number} came twice");
        if let Some(line) = line(number)
            && let Some(before) = self.lines.insert(line, number)
        {
            assert!(before < number, "message {number} came after {before}");
        }
    }

    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// All of `0..count` came.
    pub fn check(&self, count: u64) {
        assert!(self.seen.iter().copied().eq(0..count), "something else came: {:?}", self.missing(count));
    }

    fn missing(&self, count: u64) -> Vec<u64> {
        (0..count).filter(|number| !self.seen.contains(number)).collect()
    }

    fn report<T>(&self, count: u64) -> T {
        panic!("nothing comes any more, and these are missing: {:?}", self.missing(count))
    }
}

/// A pause that lets everything come to rest in virtual time.
pub async fn rest() {
    tokio::time::sleep(60 * SECOND).await;
}
