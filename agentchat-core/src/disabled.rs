//! No network: what an agent stands on where none is configured.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::address::Address;
use crate::agent::Role;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::close_once::CloseOnce;
use crate::delivery::{Delivery, Receipt};
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{AckTag, ConversationId};
use crate::message::{Body, Outbound};
use crate::options::{CloseMode, Inbox, SubscribeOptions};
use crate::transport::{Connector, KeyedValue, ReplayRange, Subscription, Transport};

/// A network that need not be configured. `None` attaches to nothing, with one line at debug level and
/// without an error: what the application would do on a network is possible or says that it is not, so that
/// the same code runs with and without one. A network that is configured and cannot be reached is an error
/// as ever.
///
/// The attachment has [`Capabilities::disabled`]; an agent on it says so by
/// [`Agent::is_enabled`](crate::Agent::is_enabled). To register, to report, to unregister and to close
/// succeed and do nothing; the own inbox can be read and stays empty until the attachment is closed;
/// everything else fails as [`Unsupported`](ErrorKind::Unsupported). There is no socket and no task: put
/// what wraps a connector inside the option, as `Option<ResilientConnector>`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
/// use agentchat_core::{Agent, AgentCard, Loopback, Query};
///
/// let network: Option<Loopback> = None; // as read from a configuration
/// let connector = network.map(|network| network.connector("coder")).transpose()?;
/// let agent = Agent::builder(connector).card(AgentCard::new("coder", "Writes programs")?).start().await?;
/// assert!(!agent.is_enabled());
/// assert!(agent.discover(&Query::all()).await.is_err());
/// # Ok(()) }
/// ```
#[async_trait]
impl<C: Connector> Connector for Option<C> {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        match self {
            Some(connector) => connector.connect().await,
            None => disabled_attachment(),
        }
    }

    async fn connect_for(&self, role: Role) -> Result<Arc<dyn Transport>> {
        match self {
            Some(connector) => connector.connect_for(role).await,
            None => disabled_attachment(),
        }
    }
}

/// An attachment to nothing.
#[derive(Debug)]
struct Disabled {
    capabilities: Capabilities,
    address: Address,
    closed: watch::Sender<bool>,
    end: CloseOnce,
}

impl Disabled {
    fn new() -> Result<Self> {
        let mut capabilities = Capabilities::none(&[]);
        capabilities.disabled = true;
        Ok(Self {
            capabilities,
            address: Address::of("disabled", "nobody")?,
            closed: watch::Sender::new(false),
            end: CloseOnce::new(),
        })
    }
}

#[async_trait]
impl Transport for Disabled {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn address(&self) -> &Address {
        &self.address
    }

    async fn register(&self, _card: &AgentCard) -> Result<()> {
        Ok(())
    }

    async fn unregister(&self) -> Result<()> {
        Ok(())
    }

    async fn report(&self, _heartbeat: &Heartbeat) -> Result<()> {
        Ok(())
    }

    async fn discover(&self, _query: &Query) -> Result<Discovered> {
        Err(disabled("discover"))
    }

    async fn send(&self, _message: &Outbound) -> Result<Receipt> {
        Err(disabled("send"))
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        options.check()?;
        match options.inbox {
            Inbox::Own => {}
            Inbox::Existing(address) if address == self.address => {}
            Inbox::Existing(_) | Inbox::Fresh { .. } => return Err(disabled("subscribe")),
        }
        let mut closed = self.closed.subscribe();
        let events = futures_util::stream::once(async move {
            // An attachment that is dropped without being closed ends it too.
            let _ = closed.wait_for(|closed| *closed).await;
            Err(Error::new(ErrorKind::Closed, "subscribe", "the attachment was closed"))
        });
        Ok(Subscription::new(self.address.clone(), events.boxed()))
    }

    async fn ack(&self, _tags: &[AckTag]) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _mode: CloseMode) -> Result<()> {
        let closing = |_| async {
            self.closed.send_replace(true);
            Ok(())
        };
        // Nobody is registered: both modes are the same.
        self.end.close(CloseMode::Detach, closing).await
    }

    async fn replay(&self, _conversation: &ConversationId, _range: ReplayRange) -> Result<Vec<Delivery>> {
        Err(disabled("replay"))
    }

    async fn put(&self, _at: &Address, _key: &str, _value: Body) -> Result<()> {
        Err(disabled("put"))
    }

    async fn get(&self, _at: &Address, _key: &str) -> Result<Option<KeyedValue>> {
        Err(disabled("get"))
    }
}

/// The error for a verb that needs a network.
pub(crate) fn disabled(operation: &'static str) -> Error {
    Error::unsupported(operation, WHY)
}

fn disabled_attachment() -> Result<Arc<dyn Transport>> {
    tracing::debug!(name: "agent.disabled", "{WHY}");
    Ok(Arc::new(Disabled::new()?))
}

const WHY: &str = "messaging is disabled: no broker is configured";
