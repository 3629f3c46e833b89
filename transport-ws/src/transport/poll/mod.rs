//! Attaching an agent without a socket: its inbox is looked into by REST.

mod pace;
mod run;
mod walk;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agentchat_core::{CloseOnce, Connector, Error, ErrorKind, Reached, Result, Transport};
use async_trait::async_trait;
use tokio::time::Instant;

use self::pace::Pace;
use self::run::{Poller, twice};
use self::walk::Walk;
use super::AgentChatTransport;
use super::connector::{capabilities, unusable};
use super::counts::{Counts, ReceiveStats};
use super::ending::Ending;
use super::invitations::{Invitations, Invites};
use super::leftover::Leftover;
use super::names::Names;
use super::positions::Positions;
use super::sends::Sends;
use super::shared::{Owner, Shared};
use super::verdict::{ending_of, verdict};
use crate::api::AgentChat;
use crate::config::AgentChatConfig;
use crate::http::RetryPolicy;
use crate::mapping::address_of;

/// Attaches the agent that an API key belongs to, for hosts that cannot hold a socket: the inbox is looked
/// into by REST. Takes the same configuration as [`AgentChatConnector`](super::AgentChatConnector), gives
/// the same [`AgentChatTransport`], and is wrapped in the same way. Cheap to clone; clones share what they
/// know.
///
/// How often it looks is
/// [`with_poll_interval`](crate::AgentChatConfigBuilder::with_poll_interval): fast while messages come,
/// rarely while none do, at once after a message of one's own. It looks only while somebody reads.
///
/// What differs from a socket:
/// - Every server delivers at least once that way, older ones too: reading by REST marks nothing.
/// - The server keeps one cursor for an agent, not one mark for each message. It is moved only over what is
///   settled without a hole: what was settled behind something that is not comes again to the next
///   attachment. A message that nobody can read holds the cursor up; it is passed over, and what comes
///   behind it is handed out.
/// - To others the agent seems to be offline, unless its presence is set by
///   [`report`](agentchat_core::Transport::report).
/// - There is no connection that could be lost. An attachment ends when the server does not answer at all,
///   or refuses to for five times in a row; being asked to wait (429) only slows it down.
/// - Invitations to groups are pushed over sockets only. Here they are looked for, rarely, while somebody wants
///   to know of them.
/// - Messages that a socket of the same agent was given by an older server do not come here.
#[derive(Clone)]
pub struct AgentChatPollConnector(Arc<Inner>);

struct Inner {
    config: AgentChatConfig,
    client: AgentChat,
    names: Names,
    invites: Invites,
    /// Whose key it is, once it was told.
    own: OnceLock<Arc<str>>,
    counts: Arc<Counts>,
    sends: Sends,
}

impl AgentChatPollConnector {
    /// A connector. It connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] without a key, or when the TLS roots cannot be used.
    pub fn new(config: AgentChatConfig) -> Result<Self> {
        if config.key().is_none() {
            return Err(Error::new(ErrorKind::Config, "connect", "an agent needs an API key to attach"));
        }
        let sends = Sends::default();
        let client = AgentChat::new(&config)?.with_retry(RetryPolicy::none()).with_sends(sends.clone());
        let invites = Invites::new(config.invitations());
        let (names, own, counts) = (Names::default(), OnceLock::new(), Arc::default());
        Ok(Self(Arc::new(Inner { config, client, names, invites, own, counts, sends })))
    }

    /// What its attachments have met that is not as it should be.
    pub fn receive_stats(&self) -> ReceiveStats {
        self.0.counts.snapshot()
    }

    /// The API under the agent's key, for what the transport does not wrap. Calls are tried once.
    pub fn client(&self) -> &AgentChat {
        &self.0.client
    }

    /// Invitations to groups: those that wait when an attachment connects or registers, and those that have
    /// come by one of the looks at every fourth of the slowest intervals (once a minute by default). What has
    /// been seen before is told first.
    pub fn invitations(&self) -> Invitations {
        self.0.invites.told()
    }

    /// Whose key it is. Asked each time, since that is what shows that the server is there.
    async fn handle(&self) -> Result<Arc<str>> {
        let inner = &self.0;
        let client = inner.client.clone().with_call_timeout(inner.config.hello_timeout());
        let me = match twice(|| client.me()).await {
            Ok(me) => me,
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                return Err(verdict(&inner.client, inner.own.get().map(|own| &**own), error.to_string())
                    .await
                    .error("connect", Reached::Yes));
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(status @ ("suspended" | "deleted")) = me.status.as_deref() {
            let ending = Ending::Refused(format!("the account is {status}"));
            return Err(ending.error("connect", Reached::Yes));
        }
        Ok(Arc::clone(inner.own.get_or_init(|| me.handle.as_str().into())))
    }
}

#[async_trait]
impl Connector for AgentChatPollConnector {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = &self.0;
        let own = self.handle().await?;
        let address = address_of(&own).ok_or_else(unusable)?;
        let shared = Shared::new(true, Leftover::default(), Positions::default());
        let shared = Arc::new(shared.with_counts(Arc::clone(&inner.counts)));
        inner.sends.tell(&shared);
        let (fastest, slowest) = inner.config.poll_interval();
        let poller = Poller {
            client: inner.client.clone(),
            shared: Arc::clone(&shared),
            own: Arc::clone(&own),
            pace: Pace::new(fastest, slowest, Instant::now()),
            walk: Walk::default(),
            rng: fastrand::Rng::new(),
            given: HashSet::new(),
            reader: 0,
            refused: 0,
            waiting: Vec::new(),
        };
        let (client, task_shared, task_own) = (inner.client.clone(), Arc::clone(&shared), Arc::clone(&own));
        let invites = inner.invites.clone();
        let between = slowest.saturating_mul(INVITATIONS);
        if invites.are_wanted() {
            shared.invited.notify_one();
        }
        let task = tokio::spawn(async move {
            let end = tokio::select! {
                end = poller.run() => end,
                never = invites.watch_every(&client, &task_shared.invited, between) => match never {},
            };
            let ending = ending_of(&client, &task_own, end).await;
            tracing::debug!(?ending, "looking into an AgentChat inbox has ended");
            task_shared.end(ending);
        });
        Ok(Arc::new(AgentChatTransport {
            capabilities: capabilities(true),
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
}

impl fmt::Debug for AgentChatPollConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentChatPollConnector")
            .field("base_url", &self.0.config.base_url())
            .finish_non_exhaustive()
    }
}

/// How many of the slowest intervals are between two looks for invitations.
const INVITATIONS: u32 = 4;
/// How often the inbox is looked into while messages come, and while none do.
pub(crate) const INTERVAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
