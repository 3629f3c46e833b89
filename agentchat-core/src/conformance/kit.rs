//! What the cases share.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::Harness;
use crate::address::Address;
use crate::agent::Agent;
use crate::capability::AckGuarantee;
use crate::delivery::Delivery;
use crate::error::Error;
use crate::id::{AckTag, ConversationId};
use crate::message::{Body, Outbound};
use crate::options::SubscribeOptions;
use crate::transport::{Event, EventStream, Transport};

/// Skips the case for the first of these reasons that follows from the capabilities.
macro_rules! require {
    ($transport:expr; $($skip:ident),+) => {
        for skip in [$(crate::conformance::Skip::$skip),+] {
            if skip.follows_from($transport.capabilities()) {
                return crate::conformance::Outcome::Skipped(skip);
            }
        }
    };
}

/// Makes a fault happen, or skips the case.
macro_rules! inflict {
    ($harness:expr, $fault:ident, $skip:ident) => {
        if !$harness.$fault().await {
            return crate::conformance::Outcome::Skipped(crate::conformance::Skip::$skip);
        }
    };
}

pub(super) use {inflict, require};

pub(super) type Attached = Arc<dyn Transport>;

/// Attaches `name` to the network under test.
pub(super) async fn attach(harness: &dyn Harness, name: &str) -> Attached {
    harness.connector(name).await.connect().await.expect("the network under test accepts connections")
}

/// Attaches `alice` and `bob`.
pub(super) async fn pair(harness: &dyn Harness) -> (Attached, Attached) {
    (attach(harness, "alice").await, attach(harness, "bob").await)
}

/// What goes on after a lost connection: the same transport, if it survives that, else a new attachment.
pub(super) async fn back(harness: &dyn Harness, transport: Attached, name: &str) -> Attached {
    match transport.capabilities().reconnects {
        true => transport,
        false => attach(harness, name).await,
    }
}

pub(super) async fn start(harness: &dyn Harness, name: &str) -> Agent {
    Agent::builder(harness.connector(name).await).start().await.expect("the agent starts")
}

/// Subscribes to the agent's own inbox.
pub(super) async fn read_own(transport: &Attached) -> EventStream {
    read(transport, SubscribeOptions::own()).await
}

pub(super) async fn read(transport: &Attached, options: SubscribeOptions) -> EventStream {
    within(transport.subscribe(options)).await.expect("the inbox can be read").events
}

/// The next message; other events are passed over.
pub(super) async fn next_message(events: &mut EventStream) -> Delivery {
    loop {
        if let Event::Message(delivery) = next_event(events).await {
            return delivery;
        }
    }
}

pub(super) async fn next_event(events: &mut EventStream) -> Event {
    within(events.next()).await.expect("the stream goes on").expect("no error")
}

/// The next `count` messages.
pub(super) async fn take(events: &mut EventStream, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(next_message(events).await);
    }
    taken
}

/// Everything up to [`Event::CaughtUp`].
pub(super) async fn backlog(events: &mut EventStream) -> Vec<Delivery> {
    let mut found = Vec::new();
    loop {
        match next_event(events).await {
            Event::Message(delivery) => found.push(delivery),
            Event::CaughtUp => return found,
            _ => {}
        }
    }
}

/// Whether no message comes for a while; other events are passed over.
pub(super) async fn is_quiet(events: &mut EventStream) -> bool {
    let message = async {
        loop {
            match events.next().await {
                Some(Ok(Event::Message(delivery))) => return delivery,
                Some(Ok(_)) => {}
                ended => panic!("the stream goes on: {ended:?}"),
            }
        }
    };
    tokio::time::timeout(QUIET, message).await.is_err()
}

/// The error that ends a stream, behind which nothing may come.
pub(super) async fn ending(events: &mut EventStream) -> Error {
    loop {
        match within(events.next()).await.expect("the stream ends with an error, not in silence") {
            Ok(_) => {}
            Err(error) => {
                assert!(within(events.next()).await.is_none(), "nothing comes after the error");
                return error;
            }
        }
    }
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens within 20 s")
}

/// A text message.
pub(super) fn text(to: &Address, text: impl Into<String>) -> Outbound {
    Outbound::new(to.clone(), Body::text(text))
}

pub(super) fn in_conversation(to: &Address, name: &str, words: impl Into<String>) -> Outbound {
    text(to, words).with_conversation(ConversationId::new(name).expect("a valid id"))
}

pub(super) async fn send(from: &Attached, message: &Outbound) {
    within(from.send(message)).await.expect("accepted");
}

/// Sends as somebody does who repeats the same value for as long as the error advises it: what a transport
/// keeps from before an outage, such as a connection in a pool, may cost the first attempts.
pub(super) async fn send_at_last(from: &Attached, message: &Outbound) {
    let sending = async {
        while let Err(error) = from.send(message).await {
            assert!(error.is_retryable(), "{error:?}");
            tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_millis(10))).await;
        }
    };
    within(sending).await;
}

/// Sends texts, one after the other, as one conversation.
pub(super) async fn send_texts(from: &Attached, to: &Address, texts: impl IntoIterator<Item = String>) {
    for words in texts {
        send(from, &in_conversation(to, "c", words)).await;
    }
}

pub(super) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// The texts of some deliveries.
pub(super) fn texts(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(word).collect()
}

pub(super) fn word(delivery: &Delivery) -> &str {
    delivery.body.as_str().expect("text")
}

pub(super) fn tags(deliveries: &[Delivery]) -> Vec<AckTag> {
    deliveries.iter().map(|delivery| delivery.tag.clone()).collect()
}

/// The texts without repetitions of the same client id, which a network may deliver where it says nothing
/// of recognising them.
pub(super) fn once_each(deliveries: &[Delivery]) -> Vec<&str> {
    let mut seen = BTreeMap::new();
    let mut words = Vec::new();
    for delivery in deliveries {
        let id = delivery.client_msg_id.as_ref().map(|id| id.as_str());
        let id = id.expect("the id from birth is carried");
        match seen.insert(id, word(delivery)) {
            Some(first) => assert_eq!(first, word(delivery), "a repetition has the same content"),
            None => words.push(word(delivery)),
        }
    }
    words
}

/// Whether what is unsettled waits for the next attachment.
pub(super) fn redelivers(transport: &Attached) -> bool {
    let able = transport.capabilities();
    able.durable_inbox && able.ack != AckGuarantee::None
}

/// A name no other run has used, since some directories keep what they were given.
pub(super) fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}

/// The name under which an agent is found once it has registered: the one on its card where the directory
/// keeps cards, else that of its account, which is in its address.
pub(super) fn findable(agent: &Attached, wish: &str) -> String {
    match agent.capabilities().cards {
        true => unique(wish),
        false => agent.address().name().to_owned(),
    }
}

/// How long nothing must happen to show that nothing does.
pub(super) const QUIET: Duration = Duration::from_millis(200);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
