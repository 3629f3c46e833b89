//! The in-process network without everything that stands beside a body.

use std::pin::Pin;
use std::sync::Arc;

use agentchat_core::{
    AckTag, Address, AgentCard, Body, Capabilities, CloseMode, Connector, ConversationId, Delivery,
    Discovered, Event, Heartbeat, KeyedValue, LoopbackConnector, Outbound, Query, Receipt, ReplayRange,
    Result, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;

/// Carries bodies to addresses, and says so.
#[derive(Debug, Clone)]
pub struct Bodies(LoopbackConnector);

impl Bodies {
    pub fn of(network: LoopbackConnector) -> Self {
        Self(network)
    }
}

#[async_trait]
impl Connector for Bodies {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let network = self.0.connect().await?;
        let mut able = network.capabilities().clone();
        able.headers = false;
        Ok(Arc::new(Attached { network, able }))
    }
}

#[derive(Debug)]
struct Attached {
    network: Arc<dyn Transport>,
    able: Capabilities,
}

/// What is left of a delivery.
fn stripped(delivery: Delivery) -> Delivery {
    let mut bare = Delivery::new(delivery.id, delivery.tag, Body::binary(delivery.body.bytes));
    (bare.key, bare.priority) = (delivery.key, delivery.priority);
    (bare.created, bare.redelivered) = (delivery.created, delivery.redelivered);
    bare.seq = delivery.seq;
    bare
}

#[async_trait]
impl Transport for Attached {
    fn capabilities(&self) -> &Capabilities {
        &self.able
    }

    fn address(&self) -> &Address {
        self.network.address()
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
        assert!(message.headers.is_empty(), "a header on a network without any");
        let mut bare = Outbound::new(message.to.clone(), Body::binary(message.body.bytes.clone()))
            .with_id(message.client_msg_id.clone())
            .with_priority(message.priority);
        (bare.ttl, bare.delay) = (message.ttl, message.delay);
        (bare.key, bare.conversation) = (message.key.clone(), message.conversation.clone());
        self.network.send(&bare).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        let Subscription { address, events, .. } = self.network.subscribe(options).await?;
        let events = events.map(|event| match event {
            Ok(Event::Message(delivery)) => Ok(Event::Message(stripped(delivery))),
            event => event,
        });
        let events: Pin<Box<dyn futures_util::Stream<Item = Result<Event>> + Send>> = Box::pin(events);
        Ok(Subscription::new(address, events))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.network.ack(tags).await
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        self.network.close(mode).await
    }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        let rows = self.network.replay(conversation, range).await?;
        Ok(rows.into_iter().map(stripped).collect())
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.network.put(at, key, value).await
    }

    async fn get(&self, of: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.network.get(of, key).await
    }
}
