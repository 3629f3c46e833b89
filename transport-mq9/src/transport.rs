//! The transport: core's verbs as mq9 commands.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use agentchat_core::{
    AckGuarantee, AckTag, Address, AgentCard, Body, Capabilities, CloseMode, CloseOnce, Discovered, Error,
    ErrorKind, Heartbeat, Inbox, KeyedValue, MessageId, OrderGuarantee, Outbound, Query, Receipt, Result,
    SendOutcome, SubscribeOptions, Subscription, Transport,
};
use async_trait::async_trait;
use mq9_client::{Client, CreateMailbox, Lifetime, MailAddress, QueryOptions, Sent};
use tokio::sync::Mutex;

use crate::connector::Settings;
use crate::directory;
use crate::headers::MEDIA_TYPE;
use crate::inboxes::Inboxes;
use crate::map_error;
use crate::mapping;

/// One attachment to a broker.
pub(crate) struct Mq9Transport {
    client: Client,
    settings: Arc<Settings>,
    capabilities: Capabilities,
    inboxes: Arc<Inboxes>,
    /// The card this attachment registered: what a heartbeat repeats and `unregister` takes back. Held over
    /// each of the three, so that a heartbeat under way cannot put an older card back.
    card: Mutex<Option<AgentCard>>,
    end: CloseOnce,
    /// What has come of leaving the broker, until that is told.
    parting: std::sync::Mutex<Option<(CloseMode, Result<()>)>>,
}

impl Mq9Transport {
    pub(crate) fn new(client: Client, settings: Arc<Settings>, searches: bool) -> Self {
        let mut capabilities = Capabilities::none(&["mq9", "mq9s"]);
        capabilities.directory = true;
        capabilities.semantic_search = searches;
        capabilities.readable_status = true;
        capabilities.durable_inbox = true;
        capabilities.ack = AckGuarantee::Redelivers;
        capabilities.order = OrderGuarantee::ConversationAndPriority;
        capabilities.priority = true;
        capabilities.ttl = true;
        capabilities.delay = true;
        capabilities.keyed_state = true;
        capabilities.cards = true;
        capabilities.extra_inbox = true;
        capabilities.max_body = Some(max_body(client.max_payload()));
        let inboxes = Arc::new(Inboxes::new(client.clone()));
        Self {
            client,
            settings,
            capabilities,
            inboxes,
            card: Mutex::default(),
            end: CloseOnce::new(),
            parting: std::sync::Mutex::default(),
        }
    }

    /// The mailbox that holds the keyed state of the inbox `at`. It is apart from the inbox, so that
    /// state is not delivered as messages.
    fn state_of(&self, at: &Address, operation: &'static str) -> Result<MailAddress> {
        let inbox = self.settings.broker.mailbox_of(at, operation)?;
        MailAddress::new(format!("{inbox}.state")).map_err(|cause| map_error::error(operation, cause))
    }

    /// Says goodbye to the broker. Where it was dropped it goes on, with what has come of the steps before.
    async fn leave(&self, mode: CloseMode) -> Result<()> {
        if self.parting().is_none() {
            let settled = self.inboxes.close().await;
            let retired = match mode {
                CloseMode::Retire => self.unregister().await,
                _ => Ok(()),
            };
            *self.parting() = Some((mode, settled.and(retired)));
        }
        // What is left concerns the connection alone, and nothing can be asked of the broker behind it.
        self.client.close().await;
        match self.parting().take() {
            Some((CloseMode::Detach, Ok(()))) if mode == CloseMode::Retire => {
                let what =
                    "the agent was detached while it was closed before, and is still registered if it was";
                Err(Error::new(ErrorKind::Closed, "close", what))
            }
            parted => parted.map_or(Ok(()), |(_, done)| done),
        }
    }

    fn parting(&self) -> MutexGuard<'_, Option<(CloseMode, Result<()>)>> {
        self.parting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open_fresh(&self, ttl: Duration) -> Result<MailAddress> {
        let failed = |cause| map_error::error("subscribe", cause);
        let mailbox = MailAddress::generate("reply").map_err(failed)?;
        let create = CreateMailbox::named(mailbox).with_lifetime(Lifetime::For(ttl));
        self.client.create_mailbox(create).await.map_err(failed)
    }
}

#[async_trait]
impl Transport for Mq9Transport {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn address(&self) -> &Address {
        &self.settings.address
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        let mut registered = self.card.lock().await;
        directory::register(&self.client, card, self.address()).await?;
        *registered = Some(card.clone());
        Ok(())
    }

    async fn unregister(&self) -> Result<()> {
        let (client, broker) = (&self.client, &self.settings.broker);
        let mut registered = self.card.lock().await;
        match &*registered {
            Some(card) => directory::unregister_own(client, broker, card, self.address()).await?,
            None => {
                for name in directory::names_of(client, broker, self.address()).await? {
                    directory::unregister(client, &name).await?;
                }
            }
        }
        *registered = None;
        Ok(())
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        if self.end.is_done() {
            return Err(Error::new(ErrorKind::Closed, "report", "the attachment is closed"));
        }
        let registered = self.card.lock().await;
        let card = registered
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "report", "the agent is not registered here"))?;
        directory::report(&self.client, &self.settings.broker, card, self.address(), heartbeat).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        directory::discover(&self.client, &self.settings.broker, query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let mailbox = self.settings.broker.mailbox_of(&message.to, "send")?;
        let mq9 = mapping::to_mq9(message, self.address(), &self.settings.broker)?;
        let sent = self.client.send(&mailbox, &mq9).await.map_err(|cause| map_error::error("send", cause))?;
        Ok(Receipt::new(match sent {
            Sent::Stored(id) => SendOutcome::Accepted(MessageId::new(id.to_string())?),
            _ => SendOutcome::Deferred,
        }))
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        options.check()?;
        let (mailbox, fresh) = match &options.inbox {
            Inbox::Own => (self.settings.inbox.clone(), false),
            Inbox::Fresh { ttl } => (self.open_fresh(*ttl).await?, true),
            Inbox::Existing(address) => {
                let mailbox = self.settings.broker.mailbox_of(address, "subscribe")?;
                let fresh = mailbox != self.settings.inbox;
                (mailbox, fresh)
            }
            _ => return Err(Error::unsupported("subscribe", "this kind of inbox is not known")),
        };
        let broker = &self.settings.broker;
        let mut read = self.settings.read.clone();
        if fresh {
            // A fresh inbox has one reader: its share is the whole.
            read.partition = None;
        }
        let events = self.inboxes.read(&mailbox, broker, &read, &options, fresh).await?;
        Ok(Subscription::new(broker.address_of(&mailbox)?, events))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.inboxes.settle(tags)
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        self.end.close(mode, |mode| self.leave(mode)).await
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        let failed = |cause| map_error::error("put", cause);
        let mailbox = self.state_of(at, "put")?;
        let message = mq9_client::Message::new(value.bytes)
            .with_key(key)
            .with_header(MEDIA_TYPE, value.media_type.as_str());
        match self.client.send(&mailbox, &message).await {
            Err(missing) if missing.kind() == mq9_client::ErrorKind::MailboxNotFound => {
                let create = CreateMailbox::named(mailbox.clone()).with_lifetime(Lifetime::Forever);
                self.client.ensure_mailbox(create).await.map_err(failed)?;
                self.client.send(&mailbox, &message).await.map_err(failed)?;
            }
            sent => drop(sent.map_err(failed)?),
        }
        Ok(())
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        let mailbox = self.state_of(at, "get")?;
        let rows = match self.client.query(&mailbox, &QueryOptions::key(key)).await {
            Err(missing) if missing.kind() == mq9_client::ErrorKind::MailboxNotFound => return Ok(None),
            rows => rows.map_err(|cause| map_error::error("get", cause))?,
        };
        Ok(rows.into_iter().next_back().map(|row| {
            let media_type = row.headers.get(MEDIA_TYPE).unwrap_or(mapping::UNKNOWN_MEDIA_TYPE);
            let created = UNIX_EPOCH.checked_add(Duration::from_secs(row.create_time));
            KeyedValue::new(Body::new(media_type, row.payload), created)
        }))
    }
}

impl fmt::Debug for Mq9Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mq9Transport").field("address", self.address()).finish_non_exhaustive()
    }
}

/// The largest body that fits whatever it is: headers take up to 24 KiB, and bytes that are no text grow
/// by a third.
fn max_body(max_payload: usize) -> usize {
    max_payload.saturating_sub(HEADERS) / 4 * 3
}

const HEADERS: usize = 24 * 1024;
