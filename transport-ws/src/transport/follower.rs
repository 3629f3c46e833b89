//! The attachment of an agent that follows: REST alone, and a socket from its first subscription on.

use std::fmt;
use std::sync::Arc;

use agentchat_core::{
    AckTag, Address, AgentCard, Capabilities, CloseMode, CloseOnce, Connector, ConversationId, Delivery,
    Discovered, Error, ErrorKind, Heartbeat, Outbound, Query, Receipt, ReplayRange, Result, SubscribeOptions,
    Subscription, Transport,
};
use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::AgentChatTransport;
use super::connector::{AgentChatConnector, capabilities, unusable};
use super::ending::Ending;
use super::leftover::Leftover;
use super::positions::Positions;
use super::shared::{Owner, Shared};
use crate::mapping::address_of;

/// Sends, searches and reads history by REST. Whoever subscribes leads by then: the first subscription opens
/// the socket, and what it brings ends with it, as for any other attachment.
pub(super) struct Follower {
    connector: AgentChatConnector,
    rest: AgentChatTransport,
    live: OnceCell<Arc<dyn Transport>>,
    end: CloseOnce,
}

impl Follower {
    /// Proves the key, and opens nothing.
    pub(super) async fn attach(connector: AgentChatConnector) -> Result<Self> {
        let own = connector.asked_handle().await?;
        let address = address_of(&own).ok_or_else(unusable)?;
        let (client, names, invites) = connector.shared_parts();
        // There is no task to be ended with the attachment.
        let task = tokio::spawn(std::future::ready(()));
        let rest = AgentChatTransport {
            // Nobody can know before the greeting whether the server waits for acknowledgements: the lesser
            // promise holds in both cases.
            capabilities: capabilities(connector.is_known_to_redeliver()),
            address,
            own,
            client,
            names,
            invites,
            shared: Arc::new(Shared::new(true, Leftover::default(), Positions::default())),
            owner: Arc::new(Owner(task.abort_handle())),
            end: CloseOnce::new(),
        };
        tracing::debug!("an AgentChat agent that follows is attached without a socket");
        Ok(Self { connector, rest, live: OnceCell::new(), end: CloseOnce::new() })
    }

    fn now(&self) -> &dyn Transport {
        match self.live.get() {
            Some(live) => &**live,
            None => &self.rest,
        }
    }
}

#[async_trait]
impl Transport for Follower {
    /// Those of the socket, once there is one.
    fn capabilities(&self) -> &Capabilities {
        self.now().capabilities()
    }

    fn address(&self) -> &Address {
        self.rest.address()
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.now().register(card).await
    }

    async fn unregister(&self) -> Result<()> {
        self.now().unregister().await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.now().report(heartbeat).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.now().discover(query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.now().send(message).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        self.rest.shared.check("subscribe")?;
        let live = self.live.get_or_try_init(|| self.connector.connect()).await?;
        // It may have been closed meanwhile.
        if let Err(closed) = self.rest.shared.check("subscribe") {
            let _ = live.close(CloseMode::Detach).await;
            return Err(closed);
        }
        live.subscribe(options).await
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        match self.live.get() {
            Some(live) => live.ack(tags).await,
            None if tags.is_empty() => self.rest.shared.check("ack"),
            None => {
                self.rest.shared.check("ack")?;
                Err(Error::new(ErrorKind::Invalid, "ack", "nothing was read over this attachment"))
            }
        }
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        let closing = |mode| async move {
            self.rest.shared.end(Ending::Closed);
            let Some(live) = self.live.get() else { return Ok(()) };
            match live.close(mode).await {
                // Whoever opened it meanwhile found this closed.
                Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
                closed => closed,
            }
        };
        self.end.close(mode, closing).await
    }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        self.now().replay(conversation, range).await
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("live", &self.live.get()).finish_non_exhaustive()
    }
}
