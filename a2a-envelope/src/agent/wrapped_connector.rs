//! A connector for networks that carry nothing but bodies. What goes into a body is in `wrapping.rs`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agentchat_core::agent::Role;
use agentchat_core::{
    AckTag, Address, AgentCard, Body, Capabilities, CloseMode, ConnectionState, Connector, ConversationId,
    Delivery, Discovered, Event, EventStream, Heartbeat, KeyedValue, Outbound, Query, Receipt, ReplayRange,
    Result, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use futures_core::Stream;

use super::wrapping::{largest_body, unwrap, wrap};

/// A network that carries nothing but bodies, used as one that carries everything: what stands beside a body is
/// put into it, in the wrapped carriage of `WIRE.md`.
///
/// Agents over it call, serve and stream as over any other network, and they understand peers that write and
/// read the wrapped carriage without this library. On a network that
/// [has headers](Capabilities::headers) it changes nothing, so it may stand before any connector;
/// [`always`](Self::always) is for peers that cannot read the headers of theirs. What comes unwrapped is read
/// as it is.
///
/// A wrapped message is larger than its body, so the largest body is smaller than the network's. A body that is
/// no text, or whose escapes would make it too large, travels in base 64, marked by the header
/// `mq9-content-encoding`.
#[derive(Debug, Clone)]
pub struct Wrapped<C> {
    connector: C,
    always: bool,
}

impl<C: Connector> Wrapped<C> {
    /// Wraps messages where the network of `connector` has no headers.
    pub fn new(connector: C) -> Self {
        Self { connector, always: false }
    }

    /// Wraps messages on every network.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }
}

#[async_trait]
impl<C: Connector> Connector for Wrapped<C> {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let network = self.connector.connect().await?;
        let mut able = network.capabilities().clone();
        if (able.headers && !self.always) || able.disabled {
            return Ok(network);
        }
        able.max_body = Some(largest_body(&able));
        able.headers = true;
        Ok(Arc::new(Attached { network, able }))
    }
}

/// An attachment that wraps what it sends.
struct Attached {
    network: Arc<dyn Transport>,
    able: Capabilities,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Transport for Attached {
    fn capabilities(&self) -> &Capabilities {
        &self.able
    }

    fn address(&self) -> &Address {
        self.network.address()
    }

    fn connection(&self) -> ConnectionState {
        self.network.connection()
    }

    fn set_role(&self, role: Role) {
        self.network.set_role(role);
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.network.register(card).await
    }

    async fn unregister(&self) -> Result<()> {
        self.network.unregister().await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.network.report(heartbeat).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.network.discover(query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let able = self.network.capabilities();
        let wrapped = wrap(message, self.address(), able)?;
        able.check(&wrapped)?;
        self.network.send(&wrapped).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        let Subscription { address, events, .. } = self.network.subscribe(options).await?;
        let own = self.address().clone();
        Ok(Subscription::new(address, Box::pin(Unwrapping { events, own })))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.network.ack(tags).await
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        self.network.close(mode).await
    }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        let rows = self.network.replay(conversation, range).await?;
        Ok(rows.into_iter().map(|row| unwrap(row, self.address())).collect())
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.network.put(at, key, value).await
    }

    async fn get(&self, of: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.network.get(of, key).await
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wrapped").field(&self.network).finish()
    }
}

/// The events of a network, each message as it was before it was wrapped.
struct Unwrapping {
    events: EventStream,
    own: Address,
}

impl Stream for Unwrapping {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = self.events.as_mut().poll_next(cx);
        event.map(|event| match event {
            Some(Ok(Event::Message(delivery))) => Some(Ok(Event::Message(unwrap(delivery, &self.own)))),
            event => event,
        })
    }
}
