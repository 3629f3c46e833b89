//! One agent's attachment to the in-process network.

use std::collections::HashSet;

use async_trait::async_trait;
use futures_util::stream;
use tokio::time::Instant;

use super::Loopback;
use super::inbox::NextRow;
use crate::address::Address;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::delivery::Receipt;
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Error, ErrorKind, Result};
use crate::id::AckTag;
use crate::message::{Body, Outbound};
use crate::options::{CloseMode, Inbox, SubscribeOptions};
use crate::transport::{Event, KeyedValue, Subscription, Transport};

/// An attachment. It lives until the network is cut or it is closed.
#[derive(Debug)]
pub(crate) struct Attachment {
    network: Loopback,
    address: Address,
    epoch: u64,
    capabilities: Capabilities,
    closed: tokio::sync::watch::Sender<bool>,
}

impl Attachment {
    pub(crate) fn new(network: Loopback, address: Address, epoch: u64, capabilities: Capabilities) -> Self {
        Self { network, address, epoch, capabilities, closed: tokio::sync::watch::Sender::new(false) }
    }

    fn live(&self, operation: &'static str) -> Result<()> {
        if *self.closed.borrow() {
            return Err(Error::new(ErrorKind::Closed, operation, "the attachment was closed"));
        }
        self.network.lock().check(self.epoch, operation)
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
        self.live("register")?;
        self.network.lock().register(&self.address, card);
        Ok(())
    }

    async fn unregister(&self) -> Result<()> {
        self.live("unregister")?;
        self.network.lock().unregister(&self.address);
        Ok(())
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.live("report")?;
        self.network.lock().report(&self.address, heartbeat);
        Ok(())
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.live("discover")?;
        Ok(self.network.lock().discover(query))
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.live("send")?;
        let latency = self.network.lock().latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        self.network.lock().send(self.epoch, &self.address, message)
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        self.live("subscribe")?;
        let inbox = match options.inbox {
            Inbox::Own => self.address.clone(),
            Inbox::Fresh { .. } => self.network.lock().fresh_inbox()?,
        };
        let reader = Reader {
            network: self.network.clone(),
            inbox: inbox.clone(),
            epoch: self.epoch,
            closed: self.closed.subscribe(),
            taken: HashSet::new(),
            options,
            caught_up: false,
        };
        let events = stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(event) => Some((Ok(event), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Subscription::new(inbox, Box::pin(events)))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.live("ack")?;
        let mut hub = self.network.lock();
        for tag in tags {
            let parsed = tag.as_str().split_once(':').and_then(|(id, inbox)| {
                Some((id.parse::<u64>().ok()?, Address::of(super::SCHEME, inbox).ok()?))
            });
            let Some((id, inbox)) = parsed else {
                return Err(Error::new(ErrorKind::Invalid, "ack", "this tag is not from this network"));
            };
            if let Some(inbox) = hub.inboxes.get_mut(&inbox) {
                inbox.acknowledge(id);
            }
        }
        Ok(())
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        if mode == CloseMode::Retire {
            self.network.lock().unregister(&self.address);
        }
        self.closed.send_replace(true);
        Ok(())
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        self.live("put")?;
        let mut hub = self.network.lock();
        let inbox = hub.inboxes.get_mut(at).ok_or_else(|| no_inbox("put"))?;
        inbox.put(key, value);
        Ok(())
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.live("get")?;
        let hub = self.network.lock();
        let inbox = hub.inboxes.get(at).ok_or_else(|| no_inbox("get"))?;
        Ok(inbox.get(key).map(|(body, created)| KeyedValue::new(body, Some(created))))
    }
}

/// One subscription's view of an inbox.
struct Reader {
    network: Loopback,
    inbox: Address,
    epoch: u64,
    closed: tokio::sync::watch::Receiver<bool>,
    /// Rows handed out here; those still stored are unsettled.
    taken: HashSet<u64>,
    options: SubscribeOptions,
    caught_up: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if *self.closed.borrow() {
                return Err(Error::new(ErrorKind::Closed, "subscribe", "the attachment was closed"));
            }
            let (changed, next) = {
                let mut hub = self.network.lock();
                hub.check(self.epoch, "subscribe")?;
                let skip = hub.reorders();
                let inbox = hub.inboxes.get_mut(&self.inbox).ok_or_else(|| no_inbox("subscribe"))?;
                let (unsettled, bytes) = inbox.unsettled(&mut self.taken);
                let full =
                    unsettled >= self.options.max_unsettled || bytes >= self.options.max_unsettled_bytes;
                let next = match full {
                    true => NextRow::Wait(None),
                    false => inbox.next(&self.inbox, &self.taken, Instant::now(), skip),
                };
                // Registered under the lock, so that no change in between is missed.
                let mut changed = Box::pin(std::sync::Arc::clone(&inbox.changed).notified_owned());
                changed.as_mut().enable();
                (changed, next)
            };
            match next {
                NextRow::Deliver(delivery) => {
                    if let Ok(id) = delivery.id.as_str().parse() {
                        self.taken.insert(id);
                    }
                    return Ok(Event::Message(*delivery));
                }
                NextRow::Wait(_) if !self.caught_up && self.taken.len() < self.options.max_unsettled => {
                    self.caught_up = true;
                    return Ok(Event::CaughtUp);
                }
                NextRow::Wait(due) => {
                    let due = due.unwrap_or_else(|| Instant::now() + FAR);
                    tokio::select! {
                        () = changed => {}
                        _ = self.closed.changed() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
            }
        }
    }
}

fn no_inbox(operation: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, operation, "no such inbox")
}

/// A wait that something else always ends.
const FAR: std::time::Duration = std::time::Duration::from_secs(3600);
