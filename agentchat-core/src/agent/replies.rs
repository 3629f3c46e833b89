//! Reply inboxes: one for each peer, and who reads it.
//!
//! Who learns an address can read it on some networks, so no peer may learn where another one answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::calls::{Calls, Registered};
use super::own_inbox::OwnInbox;
use super::pending::Pending;
use super::reply_reader::ReplyReader;
use super::role::Seat;
use crate::address::Address;
use crate::clock::{FAR, after};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ClientMsgId, CorrelationId};
use crate::options::SubscribeOptions;
use crate::telemetry::{observed, verb_span};
use crate::transport::Transport;

/// Opens reply inboxes and enters calls.
#[derive(Debug)]
pub(crate) struct Replies {
    transport: Arc<dyn Transport>,
    pub(super) calls: Arc<Calls>,
    /// Where the network has no inboxes but the agent's own.
    pub(super) own: Option<OwnInbox>,
    peers: Mutex<HashMap<Address, Peer>>,
}

/// The inbox in which a peer answers. Its lock is held while one is opened, so that only calls to this
/// peer wait for that.
#[derive(Debug, Default)]
struct Peer {
    inbox: Arc<tokio::sync::Mutex<Option<Arc<PeerInbox>>>>,
    used: Option<Instant>,
}

/// A reply inbox and the task that reads it, which ends with it. It lives as long as a call waits on it or
/// further calls may use it.
#[derive(Debug)]
pub(crate) struct PeerInbox {
    pub(crate) address: Address,
    opened: Instant,
    ends: Instant,
    pub(super) room: Arc<Notify>,
    /// Whether replies are behind messages that nobody has settled. Only the agent's own inbox has such.
    pub(super) crowded: Arc<AtomicBool>,
    /// Replies that are not read fill it up: further calls go elsewhere.
    congested: Arc<AtomicBool>,
    reader: AbortHandle,
}

impl Replies {
    pub(crate) fn new(transport: Arc<dyn Transport>, seat: Arc<Seat>) -> Self {
        let able = transport.capabilities();
        let calls = Arc::<Calls>::default();
        let own = (!able.extra_inbox && !able.disabled)
            .then(|| OwnInbox::new(Arc::clone(&transport), Arc::clone(&calls), seat));
        Self { transport, calls, own, peers: Mutex::default() }
    }

    /// Makes room for the replies of `peer` to `request` until `deadline`, and says where they should go.
    pub(crate) async fn expect(
        &self,
        peer: &Address,
        request: &ClientMsgId,
        correlation_id: CorrelationId,
        deadline: Instant,
        private: bool,
    ) -> Result<(Address, Registered)> {
        self.calls.check_open()?;
        let inbox = match (&self.own, private) {
            (Some(own), _) => own.open().await?,
            (None, true) => self.open(deadline).await?,
            (None, false) => self.inbox_of(peer, deadline).await?,
        };
        let (address, room) = (inbox.address.clone(), Arc::clone(&inbox.room));
        let pending = Pending::new(Arc::clone(&room), deadline);
        let registered = self.calls.register(correlation_id, (peer, request.clone()), inbox, pending)?;
        // The own inbox is read while a call waits.
        room.notify_one();
        Ok((address, registered))
    }

    /// Ends every call under way, and says how many there were.
    pub(crate) fn close(&self) -> usize {
        let ended = self.calls.close();
        let peers = std::mem::take(&mut *self.lock());
        drop(peers);
        if let Some(own) = &self.own {
            own.close();
        }
        ended
    }

    async fn inbox_of(&self, peer: &Address, deadline: Instant) -> Result<Arc<PeerInbox>> {
        let slot = self.slot(peer)?;
        let mut current = slot.lock().await;
        if let Some(inbox) = current.as_ref().filter(|inbox| inbox.serves(deadline)) {
            return Ok(Arc::clone(inbox));
        }
        let opened = self.open(deadline).await?;
        *current = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn slot(&self, peer: &Address) -> Result<Arc<tokio::sync::Mutex<Option<Arc<PeerInbox>>>>> {
        let mut peers = self.lock();
        if !peers.contains_key(peer) && peers.len() >= PEERS {
            let idle = peers.iter().filter(|(_, peer)| peer.is_idle()).min_by_key(|(_, peer)| peer.used);
            let Some(idle) = idle.map(|(peer, _)| peer.clone()) else {
                let what = "calls to as many peers as the agent keeps reply inboxes for are under way";
                return Err(Error::new(ErrorKind::Backpressure, "call", what));
            };
            peers.remove(&idle);
        }
        let peer = peers.entry(peer.clone()).or_default();
        peer.used = Some(Instant::now());
        Ok(Arc::clone(&peer.inbox))
    }

    async fn open(&self, deadline: Instant) -> Result<Arc<PeerInbox>> {
        let opened = Instant::now();
        let waits = deadline.saturating_duration_since(opened);
        let ttl = waits.saturating_mul(2).clamp(REPLY_TTL, LONGEST_TTL);
        let options = SubscribeOptions::fresh(ttl);
        let subscription =
            observed(verb_span!(INFO, "agent.subscribe"), self.transport.subscribe(options.clone())).await?;
        let address = subscription.address.clone();
        let (room, congested) = (Arc::<Notify>::default(), Arc::<AtomicBool>::default());
        let reader = ReplyReader::new(
            Arc::clone(&self.transport),
            Arc::clone(&self.calls),
            address.clone(),
            &options,
            Arc::clone(&congested),
        );
        let reader = tokio::spawn(reader.run(subscription.events, Arc::clone(&room))).abort_handle();
        let ends = after(opened, ttl);
        let crowded = Arc::default();
        Ok(Arc::new(PeerInbox { address, opened, ends, room, crowded, congested, reader }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.calls.close();
    }
}

impl Peer {
    /// Whether no call uses its inbox or is about to.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.inbox) == 1
            && self.inbox.try_lock().is_ok_and(|inbox| inbox.as_ref().is_none_or(PeerInbox::is_idle))
    }
}

impl PeerInbox {
    /// The agent's own inbox, and the task that reads it.
    pub(super) fn own(
        address: Address,
        room: Arc<Notify>,
        crowded: Arc<AtomicBool>,
        reader: AbortHandle,
    ) -> Self {
        let opened = Instant::now();
        Self { address, opened, ends: after(opened, FAR), room, crowded, congested: Arc::default(), reader }
    }

    /// Whether a call that waits until `deadline` may use it.
    fn serves(&self, deadline: Instant) -> bool {
        self.opened.elapsed() < REPLY_TTL / 2
            && (deadline <= self.ends || self.ends >= after(self.opened, LONGEST_TTL))
            && !self.congested.load(Ordering::Relaxed)
            && !self.reader.is_finished()
    }

    fn is_idle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }
}

impl Drop for PeerInbox {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// How many peers keep a reply inbox at a time.
const PEERS: usize = 1_024;
/// How long a reply inbox lives: as long as a late answer may still be wanted. Traffic does not prolong
/// it, so a peer gets a new one at half that age.
const REPLY_TTL: Duration = Duration::from_secs(86_400);
/// How long one lives at most, however long a call waits.
const LONGEST_TTL: Duration = Duration::from_secs(30 * 86_400);
