//! Attaching an agent to AgentChat.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agentchat_core::agent::Role;
use agentchat_core::store::CursorStore;
use agentchat_core::{
    AckGuarantee, Capabilities, CloseOnce, Connector, Error, ErrorKind, OrderGuarantee, Reached, Result,
    Transport,
};
use async_trait::async_trait;
use rustls::ClientConfig;

use super::AgentChatTransport;
use super::counts::{Counts, ReceiveStats};
use super::follower::Follower;
use super::frames::{Frames, Pushes};
use super::invitations::{Invitations, Invites};
use super::keeping::Keeping;
use super::leftover::Leftover;
use super::names::Names;
use super::positions::Positions;
use super::sends::Sends;
use super::shared::{Owner, Shared};
use super::verdict::{ending_of, verdict};
use crate::api::AgentChat;
use crate::config::AgentChatConfig;
use crate::http::RetryPolicy;
use crate::mapping::{MAX_ANY_BODY, SCHEME, address_of};
use crate::socket::{CloseMeaning, dial, run};
use crate::wire::MessageRow;

/// Attaches the agent that an API key belongs to. Cheap to clone; clones share what they know.
///
/// Wrap it in [`ResilientConnector`](agentchat_core::ResilientConnector) for a session that survives lost
/// connections, and give that to [`Agent::builder`](agentchat_core::Agent::builder).
#[derive(Clone)]
pub struct AgentChatConnector(Arc<Inner>);

struct Inner {
    config: AgentChatConfig,
    client: AgentChat,
    tls: Arc<ClientConfig>,
    /// Whose key it is: asked once.
    handle: OnceLock<Arc<str>>,
    names: Names,
    leftover: Leftover,
    positions: Positions,
    store: Option<Arc<dyn CursorStore>>,
    keeping: OnceLock<Arc<Keeping>>,
    invites: Invites,
    pushes: Pushes,
    /// Set once a socket was granted acknowledgements.
    acks: OnceLock<()>,
    /// How often in a row the server said that it got no greeting.
    unheard: AtomicU32,
    counts: Arc<Counts>,
    sends: Sends,
}

impl AgentChatConnector {
    /// A connector. It connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] without a key, or when the TLS roots cannot be used.
    pub fn new(config: AgentChatConfig) -> Result<Self> {
        if config.key().is_none() {
            return Err(Error::new(ErrorKind::Config, "connect", "an agent needs an API key to attach"));
        }
        let client = AgentChat::new(&config)?.with_retry(RetryPolicy::none());
        let tls = crate::tls::config(&config)?;
        Ok(Self::fresh(config, client, tls, None))
    }

    fn fresh(
        config: AgentChatConfig,
        client: AgentChat,
        tls: Arc<ClientConfig>,
        store: Option<Arc<dyn CursorStore>>,
    ) -> Self {
        let (invites, sends) = (Invites::new(config.invitations()), Sends::default());
        Self(Arc::new(Inner {
            config,
            client: client.with_sends(sends.clone()),
            tls,
            handle: OnceLock::new(),
            names: Names::default(),
            leftover: Leftover::default(),
            positions: Positions::default(),
            store,
            keeping: OnceLock::new(),
            invites,
            pushes: Pushes::default(),
            acks: OnceLock::new(),
            unheard: AtomicU32::new(0),
            counts: Arc::default(),
            sends,
        }))
    }

    /// The same, fresh, with a place to keep how far each conversation is settled.
    ///
    /// It makes delivery *at least once* on older servers too, which count a message as delivered when it is
    /// written to a socket: every subscription reads from the history of the conversations what nobody
    /// settled, over restarts of the process as well. Without a store such a server delivers at most once.
    /// Where the server itself waits for acknowledgements, the store is not used but for noting, once, where
    /// it began.
    ///
    /// At its first use nothing is new that was delivered before; what waits at the server is. Keys begin
    /// with `agentchat/`, the agent's handle and the server, so agents may share a store, also with their
    /// sessions. A cursor is written soon after `ack`, and before `close` returns. Cursors of conversations
    /// that the server says are gone, or not this agent's to read, are cleared.
    pub fn with_cursor_store(self, store: Arc<dyn CursorStore>) -> Self {
        let Inner { config, client, tls, .. } = &*self.0;
        Self::fresh(config.clone(), client.clone(), Arc::clone(tls), Some(store))
    }

    /// The server says that it got no greeting. A slow line makes it say so, and an outage; one that says it
    /// again and again, and takes the key beside the socket, never will take the greeting.
    async fn unheard(&self, error: Error) -> Error {
        let times = self.0.unheard.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let client = self.0.client.clone().with_call_timeout(self.0.config.hello_timeout());
        if times <= UNHEARD || client.me().await.is_err() {
            return error;
        }
        let what = format!("the server takes the key and not the greeting, {times} times in a row");
        Error::new(ErrorKind::Config, "connect", what).with_reached(Reached::Yes).with_source(error)
    }

    /// What is kept, read from the store before the socket is there: what arrives later is new.
    async fn keeping(&self, own: &str) -> Result<Option<Arc<Keeping>>> {
        let inner = &self.0;
        let Some(store) = &inner.store else { return Ok(None) };
        let keeping = inner
            .keeping
            .get_or_init(|| Arc::new(Keeping::new(Arc::clone(store), inner.config.base_url(), own)));
        keeping.prepare(&inner.client).await?;
        Ok(Some(Arc::clone(keeping)))
    }

    /// The API under the agent's key, for what the transport does not wrap. Calls are tried once.
    pub fn client(&self) -> &AgentChat {
        &self.0.client
    }

    /// What its attachments have met that is not as it should be.
    pub fn receive_stats(&self) -> ReceiveStats {
        self.0.counts.snapshot()
    }

    /// What an attachment without a socket shares with those that have one.
    pub(super) fn shared_parts(&self) -> (AgentChat, Names, Invites) {
        (self.0.client.clone(), self.0.names.clone(), self.0.invites.clone())
    }

    /// Whether what is not settled comes again, as far as is known without a socket: where a store keeps it
    /// it does, and a server that grants acknowledgements goes on to.
    pub(super) fn is_known_to_redeliver(&self) -> bool {
        self.0.store.is_some() || self.0.acks.get().is_some()
    }

    /// Invitations to groups, as this connector's attachments see them: those that wait when one connects or
    /// registers, and what comes then. What has been seen before is told first.
    pub fn invitations(&self) -> Invitations {
        self.0.invites.told()
    }

    /// What the server pushes beside messages, over whichever socket of this connector: receipts, presence, who
    /// writes, warnings, groups that are gone, and what this version does not know. From now on.
    pub fn frames(&self) -> Frames {
        self.0.pushes.frames()
    }

    async fn handle(&self) -> Result<Arc<str>> {
        match self.0.handle.get() {
            Some(handle) => Ok(Arc::clone(handle)),
            None => self.asked_handle().await,
        }
    }

    /// Whose key it is, by the server's word of now.
    pub(super) async fn asked_handle(&self) -> Result<Arc<str>> {
        let client = self.0.client.clone().with_call_timeout(self.0.config.hello_timeout());
        let me = match client.me().await {
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                let ending = verdict(&self.0.client, None, error.to_string()).await;
                return Err(ending.error("connect", Reached::Yes));
            }
            me => me?,
        };
        if address_of(&me.handle).is_none() {
            return Err(Error::new(ErrorKind::Protocol, "connect", "the server names no usable handle"));
        }
        if self.0.config.handle().is_some_and(|expected| expected != me.handle) {
            let what = "the API key belongs to another account than the configured handle";
            return Err(Error::new(ErrorKind::Config, "connect", what));
        }
        Ok(Arc::clone(self.0.handle.get_or_init(|| me.handle.as_str().into())))
    }
}

#[async_trait]
impl Connector for AgentChatConnector {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = &self.0;
        let own = self.handle().await?;
        let address = address_of(&own).ok_or_else(unusable)?;
        let keeping = self.keeping(&own).await?;
        // Boxed, since what is handed to a task has its room there twice.
        let mut early = Vec::new();
        let dialled = dial(&inner.config, &inner.tls, &mut early).await;
        if inner.acks.get().is_none() && dialled.as_ref().is_err_and(|it| it.meaning == CloseMeaning::Lost) {
            inner.keep_early(early);
        }
        let greeted = match dialled {
            Ok(greeted) => {
                inner.unheard.store(0, Ordering::Relaxed);
                Box::new(greeted)
            }
            Err(refused) if refused.meaning == CloseMeaning::KeyInQuestion => {
                let ending = verdict(&inner.client, Some(&own), refused.error.to_string()).await;
                return Err(ending.error("connect", Reached::Yes));
            }
            Err(refused) if refused.meaning == CloseMeaning::GreetingMissed => {
                return Err(self.unheard(refused.error).await);
            }
            Err(refused) => return Err(refused.error),
        };
        let acks = greeted.acks;
        if acks {
            let _ = inner.acks.set(());
        }
        let keeping = keeping.filter(|_| !acks);
        let shared = Shared::new(acks, inner.leftover.clone(), inner.positions.clone());
        let shared = shared.with_keeping(keeping.clone()).with_counts(Arc::clone(&inner.counts));
        let shared = Arc::new(shared);
        inner.sends.tell(&shared);
        let kept = keeping.is_some();
        let within = inner.config.pong_timeout();
        let (client, task_shared, task_own) = (inner.client.clone(), Arc::clone(&shared), Arc::clone(&own));
        let (invites, pushes) = (inner.invites.clone(), inner.pushes.clone());
        if invites.are_wanted() {
            shared.invited.notify_one();
        }
        // What is rare is boxed: it must not take room in the task of every agent.
        let task = tokio::spawn(async move {
            let end = tokio::select! {
                end = run(greeted, Arc::clone(&task_shared), &pushes, within) => end,
                never = keep(keeping.as_deref(), &client) => match never {},
                never = invites.watch(&client, &task_shared.invited) => match never {},
            };
            let ending = ending_of(&client, &task_own, end).await;
            tracing::debug!(?ending, "an AgentChat socket has ended");
            task_shared.end(ending);
            if task_shared.inner().reading == super::shared::Reads::Nothing {
                task_shared.salvage();
            }
            if let Some(keeping) = keeping {
                Box::pin(keeping.flush_within(&client, FLUSHING)).await;
            }
        });
        Ok(Arc::new(AgentChatTransport {
            capabilities: capabilities(acks || kept),
            address,
            own,
            client: inner.client.clone(),
            names: inner.names.clone(),
            invites: inner.invites.clone(),
            shared,
            owner: Arc::new(Owner(task.abort_handle())),
            end: CloseOnce::new(),
        }))
    }

    /// An agent that follows is attached by REST alone, and opens its socket when it first subscribes: until
    /// then nothing is pushed to it, so it takes nothing from the leader. It does not seem to be online
    /// either.
    async fn connect_for(&self, role: Role) -> Result<Arc<dyn Transport>> {
        match role {
            Role::Follower => Ok(Arc::new(Follower::attach(self.clone()).await?)),
            _ => self.connect().await,
        }
    }
}

impl Inner {
    /// Keeps what came over a socket that was never live for the next one: an older server does not bring it again.
    /// What finds no room, or was lost with this socket or the one before, is looked for in history.
    fn keep_early(&self, rows: Vec<MessageRow>) {
        if rows.is_empty() {
            return;
        }
        self.leftover.look_for(self.positions.due(Vec::new()));
        self.positions.arrived(rows.iter().filter_map(MessageRow::place));
        self.counts.unkept(self.leftover.keep(rows));
    }
}

impl fmt::Debug for AgentChatConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentChatConnector")
            .field("base_url", &self.0.config.base_url())
            .finish_non_exhaustive()
    }
}

/// Keeps what is settled, where that is kept.
async fn keep(keeping: Option<&Keeping>, client: &AgentChat) -> Infallible {
    match keeping {
        Some(keeping) => Box::pin(keeping.run(client)).await,
        None => std::future::pending().await,
    }
}

/// What an attachment can do. `acks`: what is not settled comes again.
pub(super) fn capabilities(acks: bool) -> Capabilities {
    let mut able = Capabilities::none(&[SCHEME]);
    able.directory = true;
    able.durable_inbox = true;
    able.ack = if acks { AckGuarantee::Redelivers } else { AckGuarantee::None };
    able.order = OrderGuarantee::Conversation;
    able.server_dedup = true;
    able.replay = true;
    able.max_body = Some(MAX_ANY_BODY);
    able
}

pub(super) fn unusable() -> Error {
    Error::new(ErrorKind::Protocol, "connect", "the server names no usable handle")
}

/// How often in a row a greeting that the server did not get is tried again.
const UNHEARD: u32 = 3;
/// How long the store may take for what was settled before a connection was lost.
const FLUSHING: Duration = Duration::from_secs(1);
