//! How a session behaves.

use std::time::Duration;

use super::stores::Stores;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{BackoffPolicy, OutboxLimits, RateLimits};
use crate::store::{CursorStore, DedupStore, OutboxStore};

/// How a [`Resilient`](super::Resilient) session reconnects, retries, waits and ends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ResilientOptions {
    /// When to connect again. Former failures are forgotten only after a connection that lived for
    /// [`BackoffPolicy::stable_after`].
    pub reconnect: BackoffPolicy,
    /// When to repeat a message or call that failed on a connection that holds.
    pub retry: BackoffPolicy,
    /// How much may wait to be sent.
    pub outbox: OutboxLimits,
    /// How often attempts to send are begun (default: without limits). What has no permit waits in the
    /// outbox; nothing is dropped, and a conversation without a permit holds up no other.
    pub rate: RateLimits,
    /// How long the first connection may take, all attempts together (default 30 s).
    pub connect_timeout: Duration,
    /// How long any call but `send` may take, waiting for a connection included, and how long one attempt
    /// to send may, or ending an attachment (default 30 s).
    pub call_timeout: Duration,
    /// How long `send` may take, waiting for room and connections included (default 5 min).
    pub send_timeout: Duration,
    /// How long closing may take to send what is queued, and again to acknowledge what is settled (default
    /// 5 s). Ending the attachment is a call, bounded by `call_timeout`.
    pub drain_timeout: Duration,
    /// Whether receivers recognise a repeated `client_msg_id`, as every agent of this crate does. Only
    /// then is a message sent again that may have arrived (default true).
    pub receivers_dedup: bool,
    /// Whether what the agent itself sent is settled unseen when it comes back to its own inbox, as on
    /// networks that show a conversation to everybody in it (default true). A message to the agent's own
    /// address would then never be seen, so sending one is refused as [`ErrorKind::Invalid`]. Switched off,
    /// own messages are delivered like any other. Neither way concerns further inboxes (a message to
    /// one of those is delivered whoever sent it) or keyed state, which is not delivered.
    pub skip_own: bool,
    /// How often the session tells its status (default 60 s; zero is never).
    pub status_interval: Duration,
    /// What the session is for, as its status says (default `leader`).
    pub role: String,
    /// What survives the process, and where it is kept (default: nothing).
    pub stores: Stores,
    /// What the spread of the waits is drawn from (default: chosen anew for each session).
    pub seed: Option<u64>,
}

impl ResilientOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when to connect again.
    pub fn with_reconnect(mut self, policy: BackoffPolicy) -> Self {
        self.reconnect = policy;
        self
    }

    /// Sets when to repeat a message or call.
    pub fn with_retry(mut self, policy: BackoffPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how much may wait to be sent.
    pub fn with_outbox(mut self, limits: OutboxLimits) -> Self {
        self.outbox = limits;
        self
    }

    /// Sets how often attempts to send are begun.
    pub fn with_rate(mut self, limits: RateLimits) -> Self {
        self.rate = limits;
        self
    }

    /// Sets how long the first connection may take.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a call may take.
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets how long `send` may take.
    pub fn with_send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Sets how long closing may take to send what is queued.
    pub fn with_drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Sets whether receivers recognise a repeated `client_msg_id`.
    pub fn with_receivers_dedup(mut self, dedup: bool) -> Self {
        self.receivers_dedup = dedup;
        self
    }

    /// Sets whether the agent's own messages that come back to its inbox are settled unseen.
    pub fn with_skip_own(mut self, skip: bool) -> Self {
        self.skip_own = skip;
        self
    }

    /// Sets how often the session tells its status; zero is never.
    pub fn with_status_interval(mut self, interval: Duration) -> Self {
        self.status_interval = interval;
        self
    }

    /// Names what the session is for, in its status. An agent with a lock names its role there instead.
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.role = role.into();
        self
    }

    /// Sets what survives the process, and where it is kept.
    pub fn with_stores(mut self, stores: Stores) -> Self {
        self.stores = stores;
        self
    }

    /// Keeps everything that must survive the process in `store`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> agentchat_core::Result<()> {
    /// use std::sync::Arc;
    ///
    /// use agentchat_core::store::{MemoryStore, OutboxStore};
    /// use agentchat_core::{Body, CloseMode, Connector, Loopback, Outbound, Resilient, ResilientOptions, Transport};
    ///
    /// // In a process that ends: `DurableStore::open("agent.store").await?` (feature `store-redb`).
    /// let store = Arc::new(MemoryStore::new());
    /// let options = ResilientOptions::new().with_store(Arc::clone(&store));
    /// let network = Loopback::new();
    /// let peer = network.connector("peer")?.connect().await?;
    /// let session = Resilient::connect(network.connector("worker")?, options).await?;
    ///
    /// let note = Outbound::new(peer.address().clone(), Body::text("for later"));
    /// let mut sending = session.try_send(note).map_err(|refused| refused.1)?;
    /// sending.kept().await?; // from here on it goes out, if need be by the next process
    /// sending.detach();
    /// session.close(CloseMode::Detach).await?;
    /// assert!(store.load().await?.is_empty(), "the network has it now");
    /// # Ok(()) }
    /// ```
    pub fn with_store(self, store: impl OutboxStore + CursorStore + DedupStore) -> Self {
        self.with_stores(Stores::all_in(store))
    }

    /// Sets what the spread of the waits is drawn from.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks that the parts make sense.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field.
    pub fn check(&self) -> Result<()> {
        for (policy, name) in [(&self.reconnect, "`reconnect`"), (&self.retry, "`retry`")] {
            let named = |fault: Error| Error::new(ErrorKind::Config, "connect", format!("{name}: {fault}"));
            policy.check().map_err(named)?;
        }
        self.outbox.check()?;
        self.rate.check()?;
        for (time, name) in [
            (self.connect_timeout, "`connect_timeout`"),
            (self.call_timeout, "`call_timeout`"),
            (self.send_timeout, "`send_timeout`"),
        ] {
            if time.is_zero() {
                let what = format!("{name} must be longer than nothing");
                return Err(Error::new(ErrorKind::Config, "connect", what));
            }
        }
        Ok(())
    }
}

impl Default for ResilientOptions {
    fn default() -> Self {
        Self {
            reconnect: BackoffPolicy::default(),
            retry: BackoffPolicy::default(),
            outbox: OutboxLimits::default(),
            rate: RateLimits::default(),
            connect_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(5),
            receivers_dedup: true,
            skip_own: true,
            status_interval: Duration::from_secs(60),
            role: "leader".to_owned(),
            stores: Stores::none(),
            seed: None,
        }
    }
}
