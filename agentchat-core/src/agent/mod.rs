//! The agent runtime: what a framework embeds.

mod call;
mod dispatch;
mod headers;
mod heartbeat;
mod replies;
mod request;
mod sent;
mod serve;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument;

pub use call::{Call, CallRequest, Reply};
pub use headers::{REPLY_ERROR, REPLY_LAST, REPLY_SEQ};
pub use request::{Handler, HandlerResult, Request};
pub use serve::{ServeOptions, Served, Serving};

use crate::address::Address;
use crate::capability::Capabilities;
use crate::card::AgentCard;
use crate::delivery::Receipt;
use crate::directory::{Discovered, Heartbeat, Query};
use crate::error::{Error, ErrorKind, Result};
use crate::id::CorrelationId;
use crate::message::{Body, Outbound};
use crate::options::CloseMode;
use crate::transport::{Connector, KeyedValue, Transport};
use replies::Replies;
use sent::SentIds;

/// A running agent: an inbox, a place in the directory, and the verbs.
///
/// Handles are cheap to clone. Dropping the last one stops every task of the agent at once and leaves
/// the registration as it is; [`Agent::close`] ends cleanly.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<AgentShared>,
    owner: Arc<Tasks>,
}

/// What the agent's tasks share. They hold no [`Tasks`], so that dropping the agent ends them.
#[derive(Debug)]
pub(crate) struct AgentShared {
    pub(crate) transport: Arc<dyn Transport>,
    /// Handlers running now, and the slots they run in: the heartbeat's load.
    pub(crate) active: AtomicU32,
    pub(crate) slots: AtomicU32,
    sent: Mutex<SentIds>,
    replies: Replies,
}

#[derive(Debug, Default)]
struct Tasks {
    heartbeat: Mutex<Option<AbortHandle>>,
    /// Stop signals of what is being served. A closed channel means it has ended.
    serving: Mutex<Vec<Arc<watch::Sender<bool>>>>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(heartbeat) = lock(&self.heartbeat).take() {
            heartbeat.abort();
        }
    }
}

/// What an agent is started with.
#[derive(Debug)]
pub struct AgentBuilder<C> {
    connector: C,
    card: Option<AgentCard>,
    heartbeat: Option<Duration>,
}

impl<C: Connector> AgentBuilder<C> {
    /// Registers the agent with this card. Without one it is not in the directory.
    pub fn card(mut self, card: AgentCard) -> Self {
        self.card = Some(card);
        self
    }

    /// Reports each `interval` that the agent is alive (default 60 s, when it has a card).
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }

    /// Connects, then registers. If registering fails the attachment is closed again, and nothing stays
    /// behind.
    ///
    /// # Errors
    /// Whatever connecting or registering answered, and [`Invalid`](ErrorKind::Invalid) for a heartbeat
    /// of zero.
    pub async fn start(self) -> Result<Agent> {
        if self.heartbeat.is_some_and(|interval| interval.is_zero()) {
            return Err(Error::new(ErrorKind::Invalid, "start", "the heartbeat interval is zero"));
        }
        let transport = self.connector.connect().await?;
        if let Some(card) = &self.card
            && let Err(error) =
                transport.register(card).instrument(tracing::info_span!("agent.register")).await
        {
            let _ = transport.close(CloseMode::Detach).await;
            return Err(error);
        }
        let shared = Arc::new(AgentShared {
            replies: Replies::new(Arc::clone(&transport)),
            transport,
            active: AtomicU32::new(0),
            slots: AtomicU32::new(0),
            sent: Mutex::default(),
        });
        let owner = Arc::new(Tasks::default());
        if self.card.is_some() {
            let interval = self.heartbeat.unwrap_or(HEARTBEAT);
            let task = tokio::spawn(heartbeat::beat(Arc::clone(&shared), interval));
            *lock(&owner.heartbeat) = Some(task.abort_handle());
        }
        Ok(Agent { shared, owner })
    }
}

/// What was left when an agent closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Whether every handler had finished before the deadline.
    pub drained: bool,
}

impl Agent {
    /// Begins an agent on the network that `connector` reaches.
    pub fn builder<C: Connector>(connector: C) -> AgentBuilder<C> {
        AgentBuilder { connector, card: None, heartbeat: None }
    }

    /// The agent's inbox.
    pub fn address(&self) -> &Address {
        self.shared.transport.address()
    }

    /// What the network can do.
    pub fn capabilities(&self) -> &Capabilities {
        self.shared.transport.capabilities()
    }

    /// The attachment underneath, for what the agent does not wrap.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.shared.transport
    }

    /// Asks the directory.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) on a network without one; the transport's errors.
    pub async fn discover(&self, query: &Query) -> Result<Discovered> {
        if !self.capabilities().directory {
            return Err(Error::unsupported("discover", "this network has no directory"));
        }
        self.shared.transport.discover(query).instrument(tracing::info_span!("agent.discover")).await
    }

    /// Sends a message. `Ok` is the network's own answer that it has it. After an error whose
    /// [`reached`](Error::reached) is not `Yes`, sending the *same value* again is safe: the receiver
    /// recognises its id.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the id was used for another content;
    /// [`Unsupported`](ErrorKind::Unsupported), [`TooLarge`](ErrorKind::TooLarge) or
    /// [`Invalid`](ErrorKind::Invalid) before anything is sent; the transport's errors.
    pub async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.capabilities().check(message)?;
        lock(&self.shared.sent).record(message)?;
        self.shared.transmit(message).await
    }

    /// Asks `peer` and returns the stream of its replies. The request is with the network when this
    /// returns.
    ///
    /// # Errors
    /// As [`Agent::send`]; [`Unsupported`](ErrorKind::Unsupported) on a network that cannot open reply
    /// inboxes; [`Conflict`](ErrorKind::Conflict) when a call under this correlation id is under way.
    pub async fn call(&self, peer: &Address, request: CallRequest) -> Result<Call> {
        if !self.capabilities().extra_inbox {
            return Err(Error::unsupported("call", "this network cannot open an inbox for replies"));
        }
        let correlation_id = match &request.correlation_id {
            Some(id) => id.clone(),
            None => CorrelationId::new(request.client_msg_id.as_str())?,
        };
        let deadline = request.deadline();
        let (inbox, registered, replies) =
            self.shared.replies.expect(peer, correlation_id.clone(), request.private_inbox).await?;
        let timeout = request.timeout;
        let mut message = Outbound::new(peer.clone(), request.body)
            .with_id(request.client_msg_id)
            .with_correlation_id(correlation_id)
            .with_reply_to(inbox)
            .with_priority(request.priority)
            .with_deadline(deadline);
        message.headers = request.headers;
        message.conversation = request.conversation;
        self.capabilities().check(&message)?;
        self.shared.transmit(&message).await?;
        Ok(Call::new(registered, replies, timeout))
    }

    /// Serves the agent's inbox with `handler`: what waited first, then what arrives.
    ///
    /// # Errors
    /// The transport's, when the inbox cannot be read.
    pub async fn serve(&self, handler: impl Handler, options: ServeOptions) -> Result<Serving> {
        let subscription = self
            .shared
            .transport
            .subscribe(options.subscribe.clone())
            .instrument(tracing::info_span!("agent.subscribe"))
            .await?;
        let slots = u32::try_from(options.concurrency).unwrap_or(u32::MAX);
        self.shared.slots.store(slots, Ordering::Relaxed);
        let serving =
            Serving::start(Arc::clone(&self.shared), subscription.events, Arc::new(handler), options);
        let mut signals = lock(&self.owner.serving);
        signals.retain(|signal| !signal.is_closed());
        signals.push(serving.stop_signal());
        drop(signals);
        Ok(serving)
    }

    /// Reports a status at once, besides the heartbeat.
    ///
    /// # Errors
    /// The transport's.
    pub async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.shared.transport.report(heartbeat).instrument(tracing::info_span!("agent.report")).await
    }

    /// Sets state under `key` in this agent's inbox, or reads it with [`Agent::state_of`].
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) on a network without keyed state; the transport's.
    pub async fn put_state(&self, key: &str, value: Body) -> Result<()> {
        self.shared.transport.put(self.address(), key, value).await
    }

    /// Reads the newest state under `key` in the inbox `of`, without consuming anything.
    ///
    /// # Errors
    /// As [`Agent::put_state`].
    pub async fn state_of(&self, of: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.shared.transport.get(of, key).await
    }

    /// Ends the agent: stops taking messages in, lets handlers finish, acknowledges what they settled,
    /// and closes the attachment, all before `deadline` has passed. What was not settled comes again.
    ///
    /// # Errors
    /// The transport's, when it could not close cleanly; the agent is closed all the same.
    pub async fn close(&self, mode: CloseMode, deadline: Duration) -> Result<CloseReport> {
        let end = Instant::now() + deadline;
        if let Some(heartbeat) = lock(&self.owner.heartbeat).take() {
            heartbeat.abort();
        }
        let signals = std::mem::take(&mut *lock(&self.owner.serving));
        for signal in &signals {
            signal.send_replace(true);
        }
        let drained = tokio::time::timeout_at(end, async {
            for signal in &signals {
                signal.closed().await;
            }
        })
        .await
        .is_ok();
        let grace = end.max(Instant::now() + CLOSE_GRACE);
        let close = self.shared.transport.close(mode).instrument(tracing::info_span!("agent.close"));
        match tokio::time::timeout_at(grace, close).await {
            Ok(closed) => closed.map(|()| CloseReport { drained }),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "close", "the attachment did not close in time")),
        }
    }
}

impl AgentShared {
    /// One attempt at sending.
    pub(crate) async fn transmit(&self, message: &Outbound) -> Result<Receipt> {
        let span = tracing::info_span!("agent.send", client_msg_id = %message.client_msg_id);
        self.transport.send(message).instrument(span).await
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("address", self.address()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often an agent reports when it is not told otherwise.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// What the attachment gets for closing when handlers have used the deadline up.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
