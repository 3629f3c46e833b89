//! Reply inboxes, and which call a reply belongs to.
//!
//! Each peer gets a reply inbox of its own: who learns an address can read it on some networks, so no
//! peer may learn where another one answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::address::Address;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::id::CorrelationId;
use crate::options::SubscribeOptions;
use crate::transport::{Event, Subscription, Transport};

/// Routes replies to the calls that wait for them.
#[derive(Debug)]
pub(crate) struct Replies {
    transport: Arc<dyn Transport>,
    calls: Arc<Calls>,
    inboxes: tokio::sync::Mutex<Inboxes>,
}

/// The reply inboxes by peer, and those that are only kept until no call waits on them.
#[derive(Debug, Default)]
struct Inboxes {
    current: HashMap<Address, PeerInbox>,
    retired: Vec<PeerInbox>,
}

/// What reaches a call.
#[derive(Debug)]
pub(crate) enum Routed {
    Reply(Box<Delivery>),
    Lost(Error),
}

/// A call's entry in the routing table; dropping it removes the entry (and a private inbox with it).
#[derive(Debug)]
pub(crate) struct Registered {
    correlation_id: CorrelationId,
    calls: Arc<Calls>,
    private: Option<PeerInbox>,
}

#[derive(Debug, Default)]
struct Calls(Mutex<HashMap<CorrelationId, Waiting>>);

#[derive(Debug)]
struct Waiting {
    inbox: Address,
    replies: mpsc::Sender<Routed>,
}

/// A reply inbox and the task that reads it.
#[derive(Debug)]
struct PeerInbox {
    address: Address,
    opened: Instant,
    reader: AbortHandle,
}

impl PeerInbox {
    /// Whether a call begun now can still be answered here in good time.
    fn is_fresh(&self) -> bool {
        self.opened.elapsed() < REPLY_TTL / 2 && !self.reader.is_finished()
    }
}

impl Drop for PeerInbox {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Registered {
    pub(crate) fn correlation_id(&self) -> &CorrelationId {
        &self.correlation_id
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.correlation_id);
        drop(self.private.take());
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, HashMap<CorrelationId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, delivery: &Delivery) -> Option<mpsc::Sender<Routed>> {
        let id = delivery.correlation_id.as_ref()?;
        self.lock().get(id).map(|waiting| waiting.replies.clone())
    }

    /// Tells every call that waits on `inbox` that no more replies will come there.
    fn lose(&self, inbox: &Address, error: &Error) {
        for waiting in self.lock().values().filter(|waiting| waiting.inbox == *inbox) {
            let lost = Error::new(error.kind(), "call", "the reply inbox can no longer be read")
                .with_advice(error.advice());
            // A full channel means the call has replies to read first; it ends by its deadline then.
            let _ = waiting.replies.try_send(Routed::Lost(lost));
        }
    }
}

impl Replies {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, calls: Arc::default(), inboxes: tokio::sync::Mutex::default() }
    }

    /// Makes room for the replies to `correlation_id` from `peer`, and says where they should go.
    pub(crate) async fn expect(
        &self,
        peer: &Address,
        correlation_id: CorrelationId,
        private: bool,
    ) -> Result<(Address, Registered, mpsc::Receiver<Routed>)> {
        let private = match private {
            true => Some(self.open().await?),
            false => None,
        };
        let inbox = match &private {
            Some(inbox) => inbox.address.clone(),
            None => self.inbox_of(peer).await?,
        };
        let (sender, receiver) = mpsc::channel(REPLIES_WAITING);
        let waiting = Waiting { inbox: inbox.clone(), replies: sender };
        let mut calls = self.calls.lock();
        if calls.contains_key(&correlation_id) {
            let what = "a call under this correlation id is under way";
            return Err(Error::new(ErrorKind::Conflict, "call", what));
        }
        calls.insert(correlation_id.clone(), waiting);
        drop(calls);
        let registered = Registered { correlation_id, calls: Arc::clone(&self.calls), private };
        Ok((inbox, registered, receiver))
    }

    async fn inbox_of(&self, peer: &Address) -> Result<Address> {
        let mut inboxes = self.inboxes.lock().await;
        if let Some(inbox) = inboxes.current.get(peer).filter(|inbox| inbox.is_fresh()) {
            return Ok(inbox.address.clone());
        }
        self.make_room(&mut inboxes);
        if inboxes.current.len() >= PEERS && !inboxes.current.contains_key(peer) {
            let what = "calls to as many peers as the agent keeps reply inboxes for are under way";
            return Err(Error::new(ErrorKind::Backpressure, "call", what));
        }
        let opened = self.open().await?;
        let address = opened.address.clone();
        let replaced = inboxes.current.insert(peer.clone(), opened);
        inboxes.retired.extend(replaced);
        Ok(address)
    }

    /// Drops retired inboxes that no call waits on, and an idle current one when there are too many.
    fn make_room(&self, inboxes: &mut Inboxes) {
        let calls = self.calls.lock();
        let busy = |inbox: &PeerInbox| calls.values().any(|waiting| waiting.inbox == inbox.address);
        inboxes.retired.retain(busy);
        if inboxes.current.len() >= PEERS {
            let idle = inboxes.current.iter().find(|(_, inbox)| !busy(inbox)).map(|(peer, _)| peer.clone());
            if let Some(idle) = idle {
                inboxes.current.remove(&idle);
            }
        }
    }

    async fn open(&self) -> Result<PeerInbox> {
        let subscription = self.transport.subscribe(SubscribeOptions::fresh(REPLY_TTL)).await?;
        let address = subscription.address.clone();
        let reader = tokio::spawn(read(Arc::clone(&self.transport), Arc::clone(&self.calls), subscription));
        Ok(PeerInbox { address, opened: Instant::now(), reader: reader.abort_handle() })
    }
}

/// Reads one reply inbox until it ends. A reply is settled once its call has it; one that no call waits
/// for is settled and dropped, since nothing would ever read it.
async fn read(transport: Arc<dyn Transport>, calls: Arc<Calls>, subscription: Subscription) {
    let Subscription { address, mut events } = subscription;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Message(delivery)) => {
                let tag = delivery.tag.clone();
                match calls.find(&delivery) {
                    // Waits while the call has unread replies: that stops the intake of this peer alone.
                    Some(call) => drop(call.send(Routed::Reply(Box::new(delivery))).await),
                    None => {
                        tracing::debug!(name: "reply.late", id = %delivery.id, "no call waits for this reply")
                    }
                }
                if let Err(error) = transport.ack(&[tag]).await {
                    tracing::debug!(name: "reply.ack_failed", %error, "a reply could not be settled");
                }
            }
            Ok(_) => {}
            Err(error) => {
                calls.lose(&address, &error);
                return;
            }
        }
    }
    calls.lose(&address, &Error::new(ErrorKind::Closed, "call", "the reply inbox was closed"));
}

/// How many replies of one call may wait to be read.
const REPLIES_WAITING: usize = 256;
/// How many peers keep a reply inbox at a time.
const PEERS: usize = 1_024;
/// How long a reply inbox lives: as long as a late answer may still be wanted. Traffic does not prolong
/// it, so a peer gets a new one at half that age.
const REPLY_TTL: Duration = Duration::from_secs(86_400);
