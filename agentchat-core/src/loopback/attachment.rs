//! One agent's attachment to the in-process network.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::watch;
use tokio::time::Instant;

use super::accepted::Keys;
use super::hooks::Passage;
use super::hub::{Draft, Sender, rows_of};
use super::reader::{Reader, gone};
use super::{Loopback, disconnected};
use crate::address::Address;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::clock::after;
use crate::close_once::CloseOnce;
use crate::delivery::{Delivery, Receipt};
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{AckTag, ConversationId};
use crate::message::{Body, Outbound};
use crate::options::{CloseMode, Inbox, SubscribeOptions};
use crate::transport::{KeyedValue, ReplayRange, Subscription, Transport};

/// An attachment. It lives until the network is cut or it is closed.
#[derive(Debug)]
pub(crate) struct Attachment {
    ticket: Arc<Ticket>,
    address: Address,
    capabilities: Capabilities,
    keys: Keys,
    end: CloseOnce,
}

/// The right to use the network, shared by an attachment and its subscriptions.
pub(crate) struct Ticket {
    pub(crate) network: Loopback,
    pub(crate) life: watch::Receiver<Life>,
    pub(crate) gate: Passage,
    number: u64,
    inbox: u64,
}

/// How an attachment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Live,
    Cut,
    Expired,
    Closed,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("life", &*self.life.borrow()).finish_non_exhaustive()
    }
}

impl Attachment {
    pub(crate) fn new(network: Loopback, address: Address) -> Self {
        let mut hub = network.lock();
        let (number, inbox, life) = hub.attach(&address);
        let capabilities = hub.capabilities();
        let (gate, keys) = (hub.gate.watch(), hub.keys());
        drop(hub);
        let ticket = Arc::new(Ticket { network, life, gate, number, inbox });
        Self { ticket, address, capabilities, keys, end: CloseOnce::new() }
    }

    /// The network, while the attachment lives.
    fn live(&self, operation: &'static str) -> Result<&Loopback> {
        self.ticket.check(operation)?;
        Ok(&self.ticket.network)
    }

    /// The network, once it answers.
    async fn reach(&self, operation: &'static str) -> Result<&Loopback> {
        self.ticket.pass(operation).await?;
        self.live(operation)
    }

    /// Sends after what there is to wait for: the network, its latency, and room in the inbox for
    /// [`PATIENCE`] at most.
    async fn send_later(
        &self,
        message: &Outbound,
        mut draft: Draft,
        mut crowded: Option<Pin<Box<OwnedNotified>>>,
    ) -> Result<Receipt> {
        let latency = self.reach("send").await?.lock().latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let until = after(Instant::now(), PATIENCE);
        loop {
            if let Some(room) = crowded {
                let mut life = self.ticket.life.clone();
                tokio::select! {
                    () = room => {}
                    // Whatever ended the attachment, the next look tells.
                    _ = life.changed() => {}
                    () = tokio::time::sleep_until(until) => {
                        return Err(Error::new(ErrorKind::Backpressure, "send", "the inbox is full"));
                    }
                }
            }
            draft.date(message);
            let sent = self.live("send")?.lock_unsettled().send(&self.sender(), message, &mut draft);
            match sent {
                Ok(sent) => return sent,
                Err(full) => crowded = Some(full),
            }
        }
    }

    fn sender(&self) -> Sender<'_> {
        Sender { attachment: self.ticket.number, inbox: self.ticket.inbox, address: &self.address }
    }

    fn check_state(&self, operation: &'static str) -> Result<()> {
        match self.capabilities.keyed_state {
            true => Ok(()),
            false => Err(Error::unsupported(operation, "this network keeps no keyed state")),
        }
    }
}

impl Ticket {
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        // Every attachment begins alive, and its life changes once.
        if let Ok(false) = self.life.has_changed() {
            return Ok(());
        }
        match *self.life.borrow() {
            Life::Live => Ok(()),
            Life::Cut => Err(disconnected(operation)),
            Life::Expired => Err(super::hooks::expired(operation)),
            Life::Closed => Err(Error::new(ErrorKind::Closed, operation, "the attachment was closed")),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.network.lock().detach(self.number);
    }
}

#[async_trait]
impl Transport for Attachment {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn address(&self) -> &Address {
        &self.address
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        self.reach("register").await?.lock().registry.register(&self.address, card);
        Ok(())
    }

    async fn unregister(&self) -> Result<()> {
        self.reach("unregister").await?.lock().registry.unregister(&self.address);
        Ok(())
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.reach("report").await?.lock().registry.report(&self.address, heartbeat);
        Ok(())
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        Ok(self.reach("discover").await?.lock().registry.discover(query))
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        // The other networks carry every part of a message there is.
        if self.capabilities.numbered {
            self.capabilities.check(message)?;
        }
        // Nothing here waits: without this, who sends on and on would never let the others run.
        tokio::task::coop::consume_budget().await;
        let network = self.live("send")?;
        let key = self.keys.of(self.ticket.inbox, &message.client_msg_id);
        let mut draft = Draft::new(key, message, &self.address);
        let crowded = {
            let mut hub = network.lock_unsettled();
            let at_once = hub.latency().is_zero() && !hub.gate.is_stalled();
            match at_once.then(|| hub.send(&self.sender(), message, &mut draft)) {
                Some(Ok(sent)) => return sent,
                Some(Err(crowded)) => Some(crowded),
                None => None,
            }
        };
        // Apart, so that a send that need not wait is small.
        Box::pin(self.send_later(message, draft, crowded)).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        options.check()?;
        let network = self.reach("subscribe").await?;
        let inbox = match options.inbox.clone() {
            Inbox::Own => self.address.clone(),
            Inbox::Existing(address) if address == self.address => address,
            _ if !self.capabilities.extra_inbox => {
                return Err(Error::unsupported("subscribe", "an agent of this network has one inbox"));
            }
            Inbox::Fresh { ttl } => network.lock().fresh_inbox(ttl)?,
            Inbox::Existing(address) => network.lock().opened_inbox(address)?,
        };
        let reader = Reader::open(Arc::clone(&self.ticket), &inbox, &options)?;
        Ok(Subscription::new(inbox, reader.events()))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        let rows = rows_of(tags);
        self.reach("ack").await?.lock_unsettled().acknowledge(&rows);
        match rows.len() == tags.len() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Invalid, "ack", "this tag is not from this network")),
        }
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        let closing = |mode| async move {
            let retired = match mode {
                CloseMode::Retire => self.reach("close").await.map(|network| {
                    network.lock().registry.unregister(&self.address);
                }),
                CloseMode::Detach => Ok(()),
            };
            self.ticket.network.lock().close(self.ticket.number);
            retired
        };
        self.end.close(mode, closing).await
    }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        let mut hub = self.reach("replay").await?.lock();
        let own = hub.inbox(&self.address).ok_or_else(|| gone("replay"))?;
        Ok(own.replay(conversation, range, Instant::now()))
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.check_state("put")?;
        let mut hub = self.reach("put").await?.lock();
        let limits = hub.limits;
        hub.inbox(at).ok_or_else(|| gone("put"))?.put(key, value, limits)
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.check_state("get")?;
        let mut hub = self.reach("get").await?.lock();
        let inbox = hub.inbox(at).ok_or_else(|| gone("get"))?;
        Ok(inbox.get(key).map(|(body, created)| KeyedValue::new(body, Some(created))))
    }
}

/// How long a send waits for room in the inbox it goes to.
const PATIENCE: Duration = Duration::from_secs(10);
