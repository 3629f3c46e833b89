//! A double with agents attached to it.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::{
    Body, Connector, Delivery, Error, Event, EventStream, Outbound, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use transport_ws::testing::{AgentChatServer, AgentChatServerBuilder, JournalEntry, Profile};
use transport_ws::{AgentChatConfig, AgentChatConfigBuilder, AgentChatConnector, ApiKey};

pub(crate) struct World {
    pub(crate) server: AgentChatServer,
}

pub(crate) type Attached = Arc<dyn Transport>;

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(Profile::Current).await
    }

    /// Without the rule that a first message must be answered before the second one.
    pub(crate) async fn of(profile: Profile) -> Self {
        Self::with(AgentChatServer::builder().profile(profile).switches(|it| it.awaiting_reply = false)).await
    }

    pub(crate) async fn with(builder: AgentChatServerBuilder) -> Self {
        Self { server: builder.start().await.expect("a free port") }
    }

    pub(crate) fn config(&self, name: &str) -> AgentChatConfigBuilder {
        let key = ApiKey::new(self.server.agent(name)).expect("a key");
        AgentChatConfig::builder(key).with_base_url(self.server.base_url())
    }

    pub(crate) fn connector(&self, name: &str) -> AgentChatConnector {
        connector(self.config(name))
    }

    pub(crate) async fn attach(&self, name: &str) -> Attached {
        self.connector(name).connect().await.expect("attached")
    }

    /// The frames that a client sent, on whichever socket.
    pub(crate) fn received(&self) -> Vec<String> {
        let text = |entry| match entry {
            JournalEntry::Received { text, .. } => Some(text),
            _ => None,
        };
        self.server.journal().into_iter().filter_map(text).collect()
    }

    pub(crate) fn acks(&self) -> usize {
        self.received().iter().filter(|text| text.contains(r#""type":"ack""#)).count()
    }

    /// How many requests went to paths that begin so.
    pub(crate) fn requests(&self, method: &str, begin: &str) -> usize {
        let is_it = |entry: &JournalEntry| matches!(entry, JournalEntry::Request { method: m, path, .. } if m == method && path.starts_with(begin));
        self.server.journal().iter().filter(|entry| is_it(entry)).count()
    }
}

pub(crate) fn connector(config: AgentChatConfigBuilder) -> AgentChatConnector {
    AgentChatConnector::new(config.build().expect("a valid configuration")).expect("a connector")
}

pub(crate) async fn read(transport: &Attached) -> EventStream {
    transport.subscribe(SubscribeOptions::own()).await.expect("read").events
}

/// Reads until nothing waits any more.
pub(crate) async fn backlog(events: &mut EventStream) -> Vec<Delivery> {
    let mut found = Vec::new();
    loop {
        match next(events).await {
            Event::Message(delivery) => found.push(delivery),
            Event::CaughtUp => return found,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn next(events: &mut EventStream) -> Event {
    within(events.next()).await.expect("the stream goes on").expect("no error")
}

pub(crate) async fn message(events: &mut EventStream) -> Delivery {
    loop {
        if let Event::Message(delivery) = next(events).await {
            return delivery;
        }
    }
}

/// The error that ends a stream.
pub(crate) async fn ending(events: &mut EventStream) -> Error {
    loop {
        if let Err(error) = within(events.next()).await.expect("it ends with an error") {
            return error;
        }
    }
}

pub(crate) async fn is_quiet(events: &mut EventStream) -> bool {
    tokio::time::timeout(Duration::from_millis(300), message(events)).await.is_err()
}

pub(crate) async fn say(from: &Attached, to: &Attached, words: impl Into<String>) -> agentchat_core::Receipt {
    let message = Outbound::new(to.address().clone(), Body::text(words));
    within(from.send(&message)).await.expect("accepted")
}

pub(crate) fn words(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(word).collect()
}

pub(crate) fn word(delivery: &Delivery) -> String {
    delivery.body.as_str().expect("text").to_owned()
}

pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens within 20 s")
}
