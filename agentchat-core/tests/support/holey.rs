//! A network that loses what the test says.

use std::sync::{Arc, Mutex};

use agentchat_core::{
    AckTag, Address, AgentCard, Body, Capabilities, CloseMode, Connector, ConversationId, Delivery,
    Discovered, Event, Heartbeat, KeyedValue, LoopbackConnector, OrderGuarantee, Outbound, Query, Receipt,
    ReplayRange, Result, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use futures_util::StreamExt;

/// Loses each message that says it is gone or found; the latter are in its history.
#[derive(Debug, Clone)]
pub(crate) struct Holey {
    inner: LoopbackConnector,
    history: Arc<Mutex<Vec<Delivery>>>,
}

impl Holey {
    pub(crate) fn new(inner: LoopbackConnector) -> Self {
        Self { inner, history: Arc::default() }
    }
}

#[derive(Debug)]
struct HoleyTransport {
    inner: Arc<dyn Transport>,
    capabilities: Capabilities,
    history: Arc<Mutex<Vec<Delivery>>>,
}

#[async_trait]
impl Connector for Holey {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = self.inner.connect().await?;
        let mut capabilities = inner.capabilities().clone();
        (capabilities.order, capabilities.replay) = (OrderGuarantee::Conversation, true);
        Ok(Arc::new(HoleyTransport { inner, capabilities, history: Arc::clone(&self.history) }))
    }
}

#[async_trait]
impl Transport for HoleyTransport {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn address(&self) -> &Address {
        self.inner.address()
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.inner.register(card).await
    }

    async fn unregister(&self) -> Result<()> {
        self.inner.unregister().await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.inner.report(heartbeat).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.inner.discover(query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.inner.send(message).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        let opened = self.inner.subscribe(options).await?;
        let history = Arc::clone(&self.history);
        let events = opened.events.filter(move |event| {
            let body = match event {
                Ok(Event::Message(delivery)) => delivery.body.as_str(),
                _ => None,
            };
            if let (Some("found"), Ok(Event::Message(delivery))) = (body, event) {
                history.lock().expect("not poisoned").push(delivery.clone());
            }
            std::future::ready(!matches!(body, Some("found" | "gone")))
        });
        Ok(Subscription::new(opened.address, Box::pin(events)))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.inner.ack(tags).await
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        self.inner.close(mode).await
    }

    async fn replay(&self, of: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        let history = self.history.lock().expect("not poisoned");
        let of_it = |row: &&Delivery| row.conversation.as_ref() == Some(of) && row.seq >= Some(range.from);
        Ok(history.iter().filter(of_it).cloned().collect())
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.inner.put(at, key, value).await
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.inner.get(at, key).await
    }
}
